"""Admission of runs that fit in memory, before anything is allocated."""

import dataclasses

import jax

from c3jax.core import host_memory
from c3jax.setup.experiment import Setup
from c3jax.train import device_memory

# The fields to change if a phase is too large by a part of its own.
_KNOBS = {
    "warm start": "raise warm_start.grad_accumulation, lower warm_start.batch_size, or "
    "choose policy.remat='layer'",
    "sampling": "decode fewer messages at a time (sampling.max_concurrent)",
    "starting policy's scores": "raise train.groups, or do without them (train.kl=0)",
    "update": "raise train.grad_accumulation, choose policy.remat='layer', or lower "
    "policy.logits_chunk",
    "critic's update": "raise critic.minibatches or train.grad_accumulation",
    "evaluation": "lower evaluate.batch_size or evaluate.samples",
}
# The parts that are there in every phase, and the fields to change for each.
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
# The part of a process on a CPU that is no arrays.
_ITSELF = "itself"
# Bytes that compiled programs add to it.
_COMPILED = 900 << 20
# A CPU computes in float32: 16-bit activations are there once more, twice as large.
_WIDENED = 3


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Bytes that are needed at once, by phase and part.

    Attributes:
        phases: name to parts, each name to bytes.
        whole: whether they are this process's, on a CPU, or the fullest device's.
    """

    phases: device_memory.Phases
    whole: bool = False

    @property
    def worst(self) -> str:
        """The phase that needs most."""
        return max(self.phases, key=self._sum)

    @property
    def total(self) -> int:
        """Bytes that this phase needs."""
        return self._sum(self.worst)

    def _sum(self, phase: str) -> int:
        return sum(self.phases[phase].values())

    def __str__(self) -> str:
        place, worst = "this process" if self.whole else "a device", self.worst
        parts = [f"{k} {_shown(v)}" for k, v in self.phases[worst].items() if v]
        others = [f"{k} {_shown(self._sum(k))}" for k in self.phases if k != worst]
        text = f"{place} needs about {_shown(self.total)}, most in the {worst} "
        text += f"({', '.join(parts)})"
        return f"{text}; {', '.join(others)}" if others else text


def admit(setup: Setup, phases: device_memory.Phases) -> None:
    """Refuses a run that cannot fit; prints the needs of a published model.

    Args:
        setup: its devices, and its models.
        phases: of the mode, per device.

    Raises:
        ValueError: it does not fit; says which fields to change.
    """
    needed = estimate(setup, phases)
    if any(spec.model for spec in setup.policies.values()):
        print(needed, flush=True)
    check(needed, setup.mesh.local_devices[0])


def estimate(setup: Setup, phases: device_memory.Phases) -> Estimate:
    """The bytes that the fullest device needs, or on a CPU this process.

    Args:
        setup: its devices, and the dtypes of its policies.
        phases: of the mode, per device.
    """
    devices = setup.mesh.local_devices
    if devices[0].platform != "cpu":
        return Estimate(phases)
    itself = {_ITSELF: host_memory.resident() + _COMPILED}
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

    A device that does not report its memory counts as large enough; a CPU has what the
    system has left and what this process already uses.

    Args:
        found: the needs of the run.
        device: the fullest one.

    Raises:
        ValueError: it does not fit; says which fields to change.
    """
    limit, what = (device.memory_stats() or {}).get("bytes_limit"), device.device_kind
    if limit is None and found.whole:
        left = host_memory.available()
        limit = None if left is None else left + host_memory.resident()
        what = "this machine"
    if limit is None or found.total <= limit:
        return

    # The largest part that a field can change.
    worst = found.worst
    parts = {k: n for k, n in found.phases[worst].items() if k != _ITSELF}
    largest = max(parts, key=parts.get)
    raise ValueError(
        f"{found}. But {what} has {_shown(limit)}. Most are {largest}: "
        f"{_advice(worst, largest)}."
    )


def _advice(phase: str, part: str) -> str:
    """The fields to change if a part of a phase is too large."""
    if phase in _KNOBS:
        return _HELD.get(part) or _KNOBS[phase]
    return _SETTLED if part in _HELD else _AUDIT.get(phase, _SETTLED)


def _shown(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count > 2**28 else f"{count / 2**20:.0f} MiB"
