"""What a run will need on each device, before anything is allocated there."""

import dataclasses
import math

import jax
import jax.numpy as jnp

from c3jax.policy import decoder
from c3jax.train.setup import Setup

# What to change if a part is too large.
_KNOBS = {
    "parameters": "spread them with mesh.fsdp or mesh.tensor",
    "optimiser": "spread it with mesh.fsdp or mesh.tensor",
    "gradients": "spread them with mesh.fsdp or mesh.tensor",
    "starting policy": "spread it with mesh.fsdp, or do without it (train.kl=0)",
    "keys and values": "write fewer messages at a time (sampling.at_once)",
    "activations": "raise train.accumulate, or choose policy.remat='layer'",
    "logits": "lower policy.logits_chunk",
}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Bytes on the fullest device, by what they are for.

    Attributes:
        parts: name to bytes. Keys and values are of sampling; activations and logits of
            the update, which does not happen at the same time.
    """

    parts: dict[str, int]

    @property
    def total(self) -> int:
        """What is needed at once."""
        held = ("parameters", "optimiser", "starting policy")
        update = ("gradients", "activations", "logits")
        return sum(self.parts[name] for name in held) + max(
            self.parts["keys and values"], sum(self.parts[name] for name in update)
        )

    def __str__(self) -> str:
        parts = ", ".join(f"{k} {_shown(v)}" for k, v in self.parts.items() if v)
        return f"a device needs about {_shown(self.total)}: {parts}"


def estimate(setup: Setup) -> Estimate:
    """What training needs on one device; the compiler may need some more.

    Args:
        setup: of the run.
    """
    c, s = setup.config, setup.team.shape
    weights = sum(
        4 * math.prod(p.sharding.shard_shape(p.shape))
        for p in jax.tree.leaves(setup.abstract_params())
    )
    parts = setup.mesh.shape["data"] * setup.mesh.shape["fsdp"]
    item = jnp.dtype(s.dtype).itemsize
    tensor = setup.mesh.shape["tensor"]
    piece = c.train.batch_size // max(
        c.train.groups, c.train.minibatches * c.train.accumulate
    )
    longest = max(role.max_tokens for role in setup.team.protocol.roles)
    # Tokens whose logits exist at once, and then their gradient.
    chunk = min(s.logits_chunk or longest, longest)
    messages = piece * max(
        setup.team.protocol.contexts(level) * k
        for level, k in enumerate(setup.team.protocol.branching)
    )
    return Estimate(
        {
            "parameters": weights,
            "optimiser": 2 * weights,
            "starting policy": weights if c.train.kl else 0,
            "gradients": weights * (1 if c.train.accumulate == 1 else 2),
            "keys and values": _sampling(setup) * _kv(s, item) // parts // tensor,
            "activations": _tokens(setup, piece) * _kept(s, item) // parts,
            "logits": 2 * 4 * messages * chunk * s.vocab // parts // tensor,
        }
    )


def check(found: Estimate, device: jax.Device) -> None:
    """Refuses a run that cannot fit.

    Args:
        found: what it needs.
        device: where; one that does not say how much it has is taken for large enough.

    Raises:
        ValueError: it is too much; says what to change.
    """
    limit = (device.memory_stats() or {}).get("bytes_limit")
    if limit and found.total > limit:
        worst = max(found.parts, key=found.parts.get)
        raise ValueError(
            f"{found}; {device.device_kind} has {_shown(limit)}. Most are {worst}: "
            f"{_KNOBS[worst]}."
        )


def _kv(s: decoder.Shape, item: int) -> int:
    """Bytes of one token's keys and values."""
    return 2 * s.layers * s.kv_heads * s.head_dim * item


def _kept(s: decoder.Shape, item: int) -> int:
    """Bytes that the backward pass finds of one token."""
    inside = (2 * s.heads + 2 * s.kv_heads) * s.head_dim + 3 * s.hidden + 4 * s.width
    if s.remat == "none":
        # Also what norms, rotations and the gate's curve are computed from.
        steps = (s.heads + 2 * s.kv_heads) * s.head_dim + 2 * s.hidden + 4 * s.width
        return s.layers * (inside + steps) * item + _kv(s, item)
    # The inputs of all layers, and of one of them what is computed again.
    return (s.layers * s.width + inside) * item + _kv(s, item)


def _tokens(setup: Setup, questions: int) -> int:
    """Tokens that an update of some questions reads, each context once."""
    protocol, total = setup.team.protocol, 0
    for level, role in enumerate(protocol.roles):
        contexts, k = protocol.contexts(level), protocol.branching[level]
        total += setup.config.data.prompt_tokens + contexts * k * role.max_tokens
        for i in setup.team.scripts[level].reads:
            total += contexts * protocol.roles[i].max_tokens
    return questions * total


def _sampling(setup: Setup) -> int:
    """Tokens whose keys and values exist at once while messages are written."""
    c, protocol = setup.config, setup.team.protocol
    questions = c.train.batch_size // c.train.groups
    worst = 0
    for level, role in enumerate(protocol.roles):
        read = sum(
            protocol.roles[i].max_tokens for i in setup.team.scripts[level].reads
        )
        contexts, k = protocol.contexts(level), protocol.branching[level]
        places = questions * contexts
        if c.sampling.at_once:
            places = min(places, max(1, c.sampling.at_once // k))
        heads = min(places, questions) * c.data.prompt_tokens
        worst = max(worst, heads + places * (read + k * role.max_tokens))
    return worst


def _shown(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count > 2**28 else f"{count / 2**20:.0f} MiB"
