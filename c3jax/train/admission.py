"""Admits what fits in memory, before anything is allocated, and refuses the rest."""

import dataclasses

import jax

from c3jax.core import memory as system
from c3jax.train import memory
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
# A run that exists keeps its config; how much of it is audited may be changed.
_AUDIT = {
    "frozen contexts": "lower audit.batch_size, audit.candidates or audit.extra",
    "trees around them": "lower audit.batch_size or audit.candidates",
}
_SETTLED = "use a machine with more, as the config of a run that exists stays as it is"
# Of a process on a CPU: itself, before there are any arrays.
_ITSELF = "itself"
# What it has more of once its programs are compiled.
_COMPILED = 900 << 20
# It computes in float32, and has activations of 16 bits once more in that.
_WIDENED = 3


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Bytes that are needed at once, by when and by what for.

    Attributes:
        phases: name to parts, each name to bytes.
        whole: whether they are of this process, on a CPU; or of the fullest device.
    """

    phases: memory.Phases
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
            f"({', '.join(parts)}){'; ' * bool(others)}{', '.join(others)}"
        )


def admit(setup: Setup, phases: memory.Phases) -> None:
    """Says what a process with a published model needs; refuses what cannot fit.

    Args:
        setup: of the run.
        phases: what it will do, per device.

    Raises:
        ValueError: it is too much; says what to change.
    """
    needed = estimate(setup, phases)
    if any(player.model for player in setup.players.values()):
        print(needed, flush=True)
    check(needed, setup.mesh.local_devices[0])


def estimate(setup: Setup, phases: memory.Phases) -> Estimate:
    """What is needed on the fullest device, or on a CPU in this process.

    Args:
        setup: of the run.
        phases: per device.
    """
    devices = setup.mesh.local_devices
    if devices[0].platform != "cpu":
        return Estimate(phases)
    itself = {_ITSELF: system.resident() + _COMPILED}
    is_narrow = any(s.dtype != "float32" for s in setup.team.shapes.values())

    def times(part):
        is_wider = is_narrow and part == "activations"
        return len(devices) * (_WIDENED if is_wider else 1)

    return Estimate(
        {
            name: itself | {part: times(part) * n for part, n in parts.items()}
            for name, parts in phases.items()
        },
        whole=True,
    )


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
        left = system.available()
        limit = None if left is None else left + system.resident()
        what = "this machine"
    if limit is None or found.total <= limit:
        return
    worst = found.worst
    parts = {k: n for k, n in found.phases[worst].items() if k != _ITSELF}
    largest = max(parts, key=parts.get)
    raise ValueError(
        f"{found}. But {what} has {_shown(limit)}. Most are {largest}: "
        f"{_advice(worst, largest)}."
    )


def _advice(phase: str, part: str) -> str:
    """What to change if a part of a phase is too large."""
    if phase in _KNOBS:
        return _HELD.get(part) or _KNOBS[phase]
    return _SETTLED if part in _HELD else _AUDIT.get(phase, _SETTLED)


def _shown(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count > 2**28 else f"{count / 2**20:.0f} MiB"
