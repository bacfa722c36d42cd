"""Estimates of the memory that a device needs, phase by phase, for each mode.

Nothing is allocated for them; `admission` refuses what cannot fit. In six settings of a
model of 135M parameters the estimate for an update is 0.96 to 1.16 times what the
compiler asks for on a CPU.
"""

import dataclasses
import math
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from c3jax.collect import critics
from c3jax.core import sharding
from c3jax.learn import critic_update
from c3jax.policy import weights
from c3jax.rollout import contexts
from c3jax.setup import train_state
from c3jax.setup.experiment import Setup
from c3jax.train import blocks

# Bytes by part; and parts by phase: one phase happens at a time.
Parts = dict[str, int]
Phases = dict[str, Parts]


def training(setup: Setup) -> Phases:
    """The needs of a run; the largest of the branchings it may choose counts."""
    c, held = setup.config, _held(setup)
    phases = {"warm start": _warm_start(setup)} if setup.warm_steps else {}

    # Collecting, a group at a time.
    setups = [setup.branched(tree) for tree in setup.schedule.candidates]
    phases["sampling"] = held | _grown(setup)
    if c.train.kl:
        at_once = c.train.batch_size // c.train.groups
        phases["starting policy's scores"] = held | most(
            _scored(setup, branched.team, at_once) for branched in setups
        )

    # Learning, a microbatch at a time.
    microbatches = max(c.train.groups, c.train.minibatches * c.train.grad_accumulation)
    size = c.train.batch_size // microbatches
    learned = train_state.trainable(setup.abstract_params(), setup.objective.learners)
    phases["update"] = held | most(
        _learnt(branched, learned, branched.team, size, c.train.grad_accumulation > 1)
        for branched in setups
    )
    if setup.critic is not None:
        phases["critic's update"] = held | most(map(_lesson, setups))

    # Evaluation, and checkpoints, whose files are in memory on a CPU.
    phases["evaluation"] = held | _evaluated(setup)
    if _is_cpu(setup):
        phases["saving"] = {**held, "files": sum(restored(setup).values()) // 3}
    return phases


def evaluating(setup: Setup) -> Phases:
    """The needs of an evaluation of a checkpoint."""
    return {"evaluation of a checkpoint": restored(setup) | _evaluated(setup)}


def replaying(setup: Setup) -> Phases:
    """The needs of a replay of saved trees.

    With fewer bits than float32 a role's messages are sampled together, as they were;
    otherwise each is computed again alone.
    """
    chain = setup.team.replace(protocol=setup.team.protocol.chain())
    parts = written(setup, chain, 1)
    if any(shape.dtype != "float32" for shape in setup.team.shapes.values()):
        parts = _grown(setup)
    return {"replay": restored(setup) | parts}


def exporting(setup: Setup) -> Phases:
    """The needs of an export of a checkpoint.

    Adapters are merged into copies of their weights in float32, a policy at a time. On
    a CPU a file is in memory before it is written.
    """
    parts = []
    for params in setup.abstract_params().values():
        layers = params["layers"]
        changed = [layers[name] for name in params.get("adapters", {})]
        files = min(_bytes(params), weights.SHARD_BYTES)
        parts.append(
            {
                "merged": _bytes([x.update(dtype=jnp.float32) for x in changed]),
                "files": files if _is_cpu(setup) else 0,
            }
        )
    return {"export": restored(setup) | most(parts)}


def most(found: Iterable[Parts]) -> Parts:
    """The largest of some phases' parts."""
    return max(found, key=lambda parts: sum(parts.values()))


def restored(setup: Setup) -> Parts:
    """The parts of a checkpoint, which every mode reads as a whole."""
    critic = 0
    if setup.critic is not None:  # With its moments.
        critic = 3 * _bytes(critic_update.abstract_params(setup))
    return {
        "parameters": _bytes(setup.abstract_params()),
        "optimiser": 2 * _moving(setup),
        "critic": critic,
    }


def _held(setup: Setup) -> Parts:
    """The parts that are in memory in every phase of training."""
    start = _moving(setup) if setup.config.train.kl else 0
    return restored(setup) | {"starting policy": start}


def _moving(setup: Setup) -> int:
    """Bytes of the trainable parameters."""
    params = setup.abstract_params()
    return _bytes(train_state.trainable(params, setup.objective.learners))


def _bytes(params: object) -> int:
    """Bytes of the shard of some parameters that one device holds."""
    return sum(
        p.dtype.itemsize * math.prod(p.sharding.shard_shape(p.shape))
        for p in jax.tree.leaves(params)
    )


def _warm_start(setup: Setup) -> Parts:
    """The needs of a warm start, of every policy as a whole, by the plain softmax."""
    c, setup = setup.config.warm_start, setup.bare()
    params = setup.abstract_params()
    plain = dataclasses.replace(setup.team.sampling, top_k=0)
    team = setup.team.replace(protocol=setup.team.protocol.chain(), sampling=plain)
    size = c.batch_size // c.grad_accumulation
    return {
        "parameters": _bytes(params),
        "optimiser": 2 * _bytes(params),
        **_learnt(setup, params, team, size, c.grad_accumulation > 1),
    }


def _lesson(setup: Setup) -> Parts:
    """The needs of a critic's update beside the critic, for one microbatch."""
    critic, batch_size = critics.critic_config(setup), setup.config.train.batch_size
    size = batch_size // (critic.minibatches * critic.grad_accumulation)
    params = critic_update.abstract_params(setup)
    return {**_learnt(setup, params, critic.team, size, True), "logits": 0}


def _learnt(
    setup: Setup,
    learned: dict,
    team: contexts.Team,
    questions: int,
    summed: bool,
) -> Parts:
    """The needs of a gradient beside the policies.

    Args:
        setup: the lengths of prompts, and the mesh.
        learned: the trainable parameters, by policy.
        team: its messages are learned from.
        questions: in one microbatch.
        summed: whether there are several microbatches.
    """
    parts, tensor = _spread(setup)
    levels = [n for n in _writers(team) if team.policies[n].name in learned]
    gradients = _bytes(learned) if summed else 0
    for name, part in learned.items():
        # Each role's pass has its own gradient of all layers, and the compiler adds
        # them up at once.
        layers = _bytes(part.get("layers", part))
        count = sum(team.policies[n].name == name for n in levels)
        gradients += _bytes(part) - layers + count * layers
    kept = sum(blocks.kept(setup, team, n, questions) for n in levels)
    logits = sum(2 * blocks.logits(setup, team, n, questions) for n in levels)
    return {
        "gradients": gradients,
        "activations": kept // parts,
        "logits": logits // parts // tensor,
    }


def _scored(setup: Setup, team: contexts.Team, questions: int) -> Parts:
    """The needs of scoring the messages of all roles, one after the other."""
    parts, tensor = _spread(setup)

    def of(level):
        read = blocks.blocks(setup, team, level, questions)
        logits = blocks.logits(setup, team, level, questions)
        return {
            "activations": blocks.passing(team.policies[level].shape, read) // parts,
            "logits": logits // parts // tensor,
        }

    return most(map(of, _writers(team)))


def _grown(setup: Setup) -> Parts:
    """The needs of sampling the trees of a training step."""
    c = setup.config.train
    teams = [setup.branched(tree).team for tree in setup.schedule.candidates]
    return most(
        written(setup, setup.team.replace(protocol=tree), c.batch_size // c.groups)
        for team in teams
        for tree in team.protocol.trees
    )


def _evaluated(setup: Setup) -> Parts:
    """The needs of sampling `evaluate.samples` episodes."""
    c, chain = setup.config.evaluate, setup.team.protocol.chain
    episodes = c.samples if chain().is_episodic else 1
    team = setup.team.replace(protocol=chain(episodes))
    return written(setup, team, c.batch_size)


def written(setup: Setup, team: contexts.Team, questions: int) -> Parts:
    """The needs of sampling the messages of all roles, one after the other.

    Args:
        setup: the lengths of prompts, and the mesh.
        team: with the protocol to sample.
        questions: at a time.
    """
    parts, tensor = _spread(setup)

    def of(level):
        k, at_once = team.protocol.branching[level], team.max_concurrent
        cached = blocks.cached(setup, team, level, questions if not at_once else 1)
        rows, reads = questions * team.protocol.contexts(level) * k, questions
        if at_once:  # Every slot has a context of its own; see `rollout.continuous`.
            few, reads = k // 4, 1
            wide, narrow = max(1, at_once // k), max(1, at_once // 2 // max(few, 1))
            slots = wide * blocks.slot(setup, team, level, k)
            slots += narrow * blocks.slot(setup, team, level, few) if few else 0
            cached, rows = cached + slots, wide * k
        shape = team.policies[level].shape
        *context, _ = blocks.blocks(setup, team, level, reads)
        return {
            "keys and values": cached // parts // tensor,
            "activations": blocks.passing(shape, context) // parts,
            "logits": 2 * 4 * rows * shape.vocab // parts // tensor,
        }

    return most(map(of, _writers(team)))


def _writers(team: contexts.Team) -> list[int]:
    return [n for n in range(len(team.policies)) if n not in team.silenced]


def _is_cpu(setup: Setup) -> bool:
    return setup.mesh.local_devices[0].platform == "cpu"


def _spread(setup: Setup) -> tuple[int, int]:
    """Numbers of devices that questions are spread over, and attention heads."""
    return sharding.batch_size(setup.mesh), setup.mesh.shape["tensor"]
