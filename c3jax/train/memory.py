"""What a device will need at once, phase by phase, of each mode.

Nothing is allocated to know it; see `admission`, which refuses what cannot fit. In six
settings of a model of 135M parameters an update is said to need 0.96 to 1.16 times what
the compiler asks for on a CPU.
"""

import dataclasses
import math
from collections.abc import Iterable

import jax
import jax.numpy as jnp

from c3jax.core import mesh as meshes
from c3jax.policy import weights
from c3jax.rollout import contexts
from c3jax.train import blocks, critics, update
from c3jax.train.setup import Setup

# Bytes by what for; and these by when: one phase happens at a time.
Parts = dict[str, int]
Phases = dict[str, Parts]


def training(setup: Setup) -> Phases:
    """Of a run, what a device needs. Of the trees it may choose, the largest counts.

    Args:
        setup: of the run.
    """
    c, held = setup.config, _held(setup)
    found = {"warm start": _warm_start(setup)} if setup.warm_steps else {}
    trees = [setup.branched(each) for each in setup.choice.candidates]
    found["sampling"] = held | _grown(setup)
    if c.train.kl:
        at_once = c.train.batch_size // c.train.groups
        found["starting policy's scores"] = held | most(
            _scored(setup, each.team, at_once) for each in trees
        )
    pieces = max(c.train.groups, c.train.minibatches * c.train.accumulate)
    size = c.train.batch_size // pieces
    learned = update.learned(setup.abstract_params(), setup.objective.learners)
    found["update"] = held | most(
        _learnt(each, learned, each.team, size, c.train.accumulate > 1)
        for each in trees
    )
    if setup.critic is not None:
        found["critic's update"] = held | most(map(_lesson, trees))
    found["evaluation"] = held | _evaluated(setup)
    if _is_cpu(setup):
        found["saving"] = {**held, "files": sum(restored(setup).values()) // 3}
    return found


def evaluating(setup: Setup) -> Phases:
    """Of an evaluation of a checkpoint, what a device needs.

    Args:
        setup: of the run.
    """
    return {"evaluation of a checkpoint": restored(setup) | _evaluated(setup)}


def replaying(setup: Setup) -> Phases:
    """Of a replay of saved trees, what a device needs.

    With fewer bits than float32 a role's messages are sampled together, as they were;
    otherwise each is computed again alone.

    Args:
        setup: of the run.
    """
    chain = setup.team.replace(protocol=setup.team.protocol.chain())
    parts = written(setup, chain, 1)
    if any(shape.dtype != "float32" for shape in setup.team.shapes.values()):
        parts = _grown(setup)
    return {"replay": restored(setup) | parts}


def exporting(setup: Setup) -> Phases:
    """Of an export of a checkpoint, what a device needs.

    Adapters are merged into copies of their weights in float32, a policy at a time. On
    a CPU a file is in memory before it is written.

    Args:
        setup: of the run.
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
    """What a checkpoint holds, which every mode reads as a whole.

    Args:
        setup: of the run.
    """
    critic = 0
    if setup.critic is not None:  # With its moments.
        critic = 3 * _bytes(critics.abstract_params(setup))
    return {
        "parameters": _bytes(setup.abstract_params()),
        "optimiser": 2 * _moving(setup),
        "critic": critic,
    }


def _held(setup: Setup) -> Parts:
    """What is there as long as a run trains."""
    start = _moving(setup) if setup.config.train.kl else 0
    return restored(setup) | {"starting policy": start}


def _moving(setup: Setup) -> int:
    """Bytes of what training changes."""
    params = setup.abstract_params()
    return _bytes(update.learned(params, setup.objective.learners))


def _bytes(params: object) -> int:
    """Of the part of some parameters that one device holds."""
    return sum(
        p.dtype.itemsize * math.prod(p.sharding.shard_shape(p.shape))
        for p in jax.tree.leaves(params)
    )


def _warm_start(setup: Setup) -> Parts:
    """Every policy imitates as a whole, by the plain softmax."""
    c, setup = setup.config.warm_start, setup.bare()
    params = setup.abstract_params()
    plain = dataclasses.replace(setup.team.sampling, top_k=0)
    team = setup.team.replace(protocol=setup.team.protocol.chain(), sampling=plain)
    size = c.batch_size // c.accumulate
    return {
        "parameters": _bytes(params),
        "optimiser": 2 * _bytes(params),
        **_learnt(setup, params, team, size, c.accumulate > 1),
    }


def _lesson(setup: Setup) -> Parts:
    """What a critic's update needs beside the critic, for one piece of it."""
    made = critics.course(setup)
    size = setup.config.train.batch_size // (made.minibatches * made.accumulate)
    found = _learnt(setup, critics.abstract_params(setup), made.team, size, True)
    return {**found, "logits": 0}


def _learnt(
    setup: Setup,
    learned: dict,
    team: contexts.Team,
    questions: int,
    summed: bool,
) -> Parts:
    """What a gradient needs beside the policies.

    Args:
        setup: of the run.
        learned: what it is of, by policy.
        team: whose messages it is taken on.
        questions: in one piece.
        summed: whether it is one of several pieces.
    """
    parts, tensor = _spread(setup)
    levels = [n for n in _writers(team) if team.cast[n].name in learned]
    gradients = _bytes(learned) if summed else 0
    for name, part in learned.items():
        # Each role's pass has a gradient of its own by all layers, and the compiler
        # adds all of these up at once.
        layers = _bytes(part.get("layers", part))
        count = sum(team.cast[n].name == name for n in levels)
        gradients += _bytes(part) - layers + count * layers
    kept = sum(blocks.kept(setup, team, n, questions) for n in levels)
    logits = sum(2 * blocks.logits(setup, team, n, questions) for n in levels)
    return {
        "gradients": gradients,
        "activations": kept // parts,
        "logits": logits // parts // tensor,
    }


def _scored(setup: Setup, team: contexts.Team, questions: int) -> Parts:
    """What it takes to score the messages of all roles, one after the other."""
    parts, tensor = _spread(setup)

    def of(level):
        read = blocks.blocks(setup, team, level, questions)
        logits = blocks.logits(setup, team, level, questions)
        return {
            "activations": blocks.passing(team.cast[level].shape, read) // parts,
            "logits": logits // parts // tensor,
        }

    return most(map(of, _writers(team)))


def _grown(setup: Setup) -> Parts:
    """What it takes to grow the trees of a training step."""
    c = setup.config.train
    trees = [setup.branched(each).team for each in setup.choice.candidates]
    return most(
        written(setup, setup.team.replace(protocol=tree), c.batch_size // c.groups)
        for team in trees
        for tree in team.protocol.trees
    )


def _evaluated(setup: Setup) -> Parts:
    """What it takes to play `evaluate.samples` episodes."""
    c, chain = setup.config.evaluate, setup.team.protocol.chain
    episodes = c.samples if chain().is_episodic else 1
    played = setup.team.replace(protocol=chain(episodes))
    return written(setup, played, c.batch_size)


def written(setup: Setup, team: contexts.Team, questions: int) -> Parts:
    """What it takes to write the messages of all roles, one after the other.

    Args:
        setup: of the run.
        team: as it speaks.
        questions: at a time.
    """
    parts, tensor = _spread(setup)

    def of(level):
        k, at_once = team.protocol.branching[level], team.at_once
        cached = blocks.cached(setup, team, level, questions if not at_once else 1)
        rows, reads = questions * team.protocol.contexts(level) * k, questions
        if at_once:  # Every desk has a context of its own; see `rollout.desks`.
            few, reads = k // 4, 1
            wide, narrow = max(1, at_once // k), max(1, at_once // 2 // max(few, 1))
            desks = wide * blocks.desk(setup, team, level, k)
            desks += narrow * blocks.desk(setup, team, level, few) if few else 0
            cached, rows = cached + desks, wide * k
        shape = team.cast[level].shape
        *context, _ = blocks.blocks(setup, team, level, reads)
        return {
            "keys and values": cached // parts // tensor,
            "activations": blocks.passing(shape, context) // parts,
            "logits": 2 * 4 * rows * shape.vocab // parts // tensor,
        }

    return most(map(of, _writers(team)))


def _writers(team: contexts.Team) -> list[int]:
    return [n for n in range(len(team.cast)) if n not in team.silenced]


def _is_cpu(setup: Setup) -> bool:
    return setup.mesh.local_devices[0].platform == "cpu"


def _spread(setup: Setup) -> tuple[int, int]:
    """Over how many devices questions are spread, and heads."""
    return meshes.batch_size(setup.mesh), setup.mesh.shape["tensor"]
