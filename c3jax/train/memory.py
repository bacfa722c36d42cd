"""What a run will need at once, phase by phase, before anything is allocated."""

import dataclasses
import math
from collections.abc import Iterable

import jax

from c3jax.core import memory
from c3jax.core import mesh as meshes
from c3jax.rollout import contexts
from c3jax.train import blocks, critics, update
from c3jax.train.setup import Setup

# What to change if a phase is too large by a part of its own.
_KNOBS = {
    "warm start": "raise warm_start.accumulate, lower warm_start.batch_size, or choose "
    "policy.remat='layer'",
    "sampling": "write fewer messages at a time (sampling.at_once)",
    "starting policy's scores": "raise train.groups, or do without them (train.kl=0)",
    "update": "raise train.accumulate, choose policy.remat='layer', or lower "
    "policy.logits_chunk",
    "critic's update": "raise critic.minibatches or train.accumulate",
    "evaluation": "lower evaluate.batch_size or evaluate.samples",
}
# What is there in every phase, and what to change if most is of that.
_HELD = {
    "parameters": "spread them with mesh.fsdp or mesh.tensor",
    "optimiser": "spread it with mesh.fsdp, or learn less (policy.adapters.rank)",
    "gradients": "spread them with mesh.fsdp, or learn less (policy.adapters.rank)",
    "starting policy": "spread it with mesh.fsdp, or do without it (train.kl=0)",
    "critic": "spread it with mesh.fsdp, or name a smaller one in critic.policy",
}
# Of a process on a CPU: itself, before there are any arrays.
_ITSELF = "itself"
# What it has more of once its programs are compiled.
_COMPILED = 900 << 20


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Bytes that are needed at once, by when and by what for.

    Attributes:
        phases: name to parts, each name to bytes; one phase happens at a time.
        whole: whether they are of this process, on a CPU; or of the fullest device.
    """

    phases: dict[str, dict[str, int]]
    whole: bool = False

    @property
    def worst(self) -> str:
        """The phase that needs most."""
        return max(self.phases, key=self._sum)

    @property
    def total(self) -> int:
        """What that phase needs."""
        return self._sum(self.worst)

    def _sum(self, phase: str) -> int:
        return sum(self.phases[phase].values())

    def __str__(self) -> str:
        who, worst = "this process" if self.whole else "a device", self.worst
        parts = [f"{k} {_shown(v)}" for k, v in self.phases[worst].items() if v]
        others = [f"{k} {_shown(self._sum(k))}" for k in self.phases if k != worst]
        return (
            f"{who} needs about {_shown(self.total)}, most in the {worst} "
            f"({', '.join(parts)}); {', '.join(others)}"
        )


def estimate(setup: Setup) -> Estimate:
    """What training needs on the fullest device, or on a CPU in this process.

    Args:
        setup: of the run.
    """
    found, devices = phases(setup), setup.mesh.local_devices
    if devices[0].platform != "cpu":
        return Estimate(found)
    itself = {_ITSELF: memory.resident() + _COMPILED}
    found["saving"] = {**_held(setup), "files": _state(setup) // 3}
    return Estimate(
        {
            name: itself | {part: len(devices) * n for part, n in parts.items()}
            for name, parts in found.items()
        },
        whole=True,
    )


def phases(setup: Setup) -> dict[str, dict[str, int]]:
    """Per phase of a run, what a device needs, by parts.

    Of the trees that a run may choose, the largest counts.

    Args:
        setup: of the run.
    """
    c, held = setup.config, _held(setup)
    found = {"warm start": _warm_start(setup)} if setup.warm_steps else {}
    trees = [setup.branched(each) for each in setup.choice.candidates]
    grown = [
        setup.team.replace(protocol=tree)
        for each in trees
        for tree in each.team.protocol.trees
    ]
    at_once = c.train.batch_size // c.train.groups
    found["sampling"] = held | _most(_written(setup, t, at_once) for t in grown)
    if c.train.kl:
        found["starting policy's scores"] = held | _most(
            _scored(setup, each.team, at_once) for each in trees
        )
    pieces = max(c.train.groups, c.train.minibatches * c.train.accumulate)
    size = c.train.batch_size // pieces
    learned = update.learned(setup.abstract_params(), setup.objective.learners)
    found["update"] = held | _most(
        _learnt(each, learned, each.team, size, c.train.accumulate > 1)
        for each in trees
    )
    if setup.critic is not None:
        found["critic's update"] = held | _most(map(_lesson, trees))
    chain = setup.team.protocol.chain
    episodes = c.evaluate.samples if chain().is_episodic else 1
    played = setup.team.replace(protocol=chain(episodes))
    found["evaluation"] = held | _written(setup, played, c.evaluate.batch_size)
    return found


def check(found: Estimate, device: jax.Device) -> None:
    """Refuses a run that cannot fit.

    Args:
        found: what it needs.
        device: where; one that does not say how much it has is taken for large enough,
            but for a CPU, which has what the system has left and this process has.

    Raises:
        ValueError: it is too much; says what to change.
    """
    limit, what = (device.memory_stats() or {}).get("bytes_limit"), device.device_kind
    if limit is None and found.whole:
        left = memory.available()
        limit = None if left is None else left + memory.resident()
        what = "this machine"
    if limit is None or found.total <= limit:
        return
    worst = found.worst
    parts = {k: n for k, n in found.phases[worst].items() if k != _ITSELF}
    most = max(parts, key=parts.get)
    raise ValueError(
        f"{found}. But {what} has {_shown(limit)}. Most are {most}: "
        f"{_HELD.get(most) or _KNOBS[worst]}."
    )


def _most(found: Iterable[dict[str, int]]) -> dict[str, int]:
    """The largest of some phases' parts."""
    return max(found, key=lambda parts: sum(parts.values()))


def _held(setup: Setup) -> dict[str, int]:
    """What is there as long as a run trains."""
    moving = _moving(setup)
    critic = 0
    if setup.critic is not None:  # With its moments.
        critic = 3 * _bytes(critics.abstract_params(setup))
    return {
        "parameters": _bytes(setup.abstract_params()),
        "optimiser": 2 * moving,
        "starting policy": moving if setup.config.train.kl else 0,
        "critic": critic,
    }


def _state(setup: Setup) -> int:
    """Bytes of what a checkpoint holds."""
    held = _held(setup)
    return sum(held.values()) - held["starting policy"]


def _moving(setup: Setup) -> int:
    """Bytes of what training changes."""
    params = setup.abstract_params()
    return _bytes(update.learned(params, setup.objective.learners))


def _bytes(params: dict) -> int:
    """Of the part of some parameters that one device holds."""
    return sum(
        p.dtype.itemsize * math.prod(p.sharding.shard_shape(p.shape))
        for p in jax.tree.leaves(params)
    )


def _warm_start(setup: Setup) -> dict[str, int]:
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


def _lesson(setup: Setup) -> dict[str, int]:
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
) -> dict[str, int]:
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
        # Each block has a gradient of its own by all layers, and the compiler adds all
        # of these up at once.
        layers = _bytes(part.get("layers", part))
        mine = [n for n in levels if team.cast[n].name == name]
        count = sum(len(blocks.blocks(setup, team, n, questions)) for n in mine)
        gradients += _bytes(part) - layers + count * layers
    kept = sum(blocks.kept(setup, team, n, questions) for n in levels)
    logits = sum(2 * blocks.logits(setup, team, n, questions) for n in levels)
    return {
        "gradients": gradients,
        "activations": kept // parts,
        "logits": logits // parts // tensor,
    }


def _scored(setup: Setup, team: contexts.Team, questions: int) -> dict[str, int]:
    """What it takes to score the messages of all roles, one after the other."""
    parts, tensor = _spread(setup)
    return _most(
        {
            "keys and values": blocks.cached(setup, team, level, questions)
            // parts
            // tensor,
            "activations": blocks.passing(setup, team, level, questions) // parts,
            "logits": blocks.logits(setup, team, level, questions) // parts // tensor,
        }
        for level in _writers(team)
    )


def _written(setup: Setup, team: contexts.Team, questions: int) -> dict[str, int]:
    """What it takes to write the messages of all roles, one after the other."""
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
        vocab = team.cast[level].shape.vocab
        return {
            "keys and values": cached // parts // tensor,
            "activations": blocks.passing(setup, team, level, reads) // parts,
            "logits": 2 * 4 * rows * vocab // parts // tensor,
        }

    return _most(map(of, _writers(team)))


def _writers(team: contexts.Team) -> list[int]:
    return [n for n in range(len(team.cast)) if n not in team.silenced]


def _spread(setup: Setup) -> tuple[int, int]:
    """Over how many devices questions are spread, and heads."""
    return meshes.batch_size(setup.mesh), setup.mesh.shape["tensor"]


def _shown(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count > 2**28 else f"{count / 2**20:.0f} MiB"
