"""What a run will need on each device, before anything is allocated there."""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp

from c3jax.core import mesh as meshes
from c3jax.policy import decoder
from c3jax.rollout import contexts
from c3jax.train import critics, update
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
    "critic": "spread it with mesh.fsdp, or name a smaller one in critic.policy",
    "critic's update": "raise critic.minibatches or train.accumulate",
}


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Bytes on the fullest device, by what they are for.

    Attributes:
        parts: name to bytes. Keys and values are of sampling; activations and logits of
            the update, which does not happen at the same time; nor does the critic's.
    """

    parts: dict[str, int]

    @property
    def total(self) -> int:
        """What is needed at once."""
        held = ("parameters", "optimiser", "starting policy", "critic")
        update = ("gradients", "activations", "logits")
        return sum(self.parts[name] for name in held) + max(
            self.parts["keys and values"],
            sum(self.parts[name] for name in update),
            self.parts["critic's update"],
        )

    def __str__(self) -> str:
        parts = ", ".join(f"{k} {_shown(v)}" for k, v in self.parts.items() if v)
        return f"a device needs about {_shown(self.total)}: {parts}"


def estimate(setup: Setup) -> Estimate:
    """What training needs on one device; the compiler may need some more.

    Of the trees that a run may choose, the largest counts.

    Args:
        setup: of the run.
    """
    c = setup.config
    params = setup.abstract_params()
    moving = _bytes(update.learned(params, setup.objective.learners))
    parts = setup.mesh.shape["data"] * setup.mesh.shape["fsdp"]
    tensor = setup.mesh.shape["tensor"]
    piece = c.train.batch_size // max(
        c.train.groups, c.train.minibatches * c.train.accumulate
    )
    levels = setup.objective.levels(setup.team)
    trees = [setup.branched(each) for each in setup.choice.candidates]

    def most(of):
        return max(map(of, trees))

    def activations(setup):
        return sum(_kept(setup, setup.team, level, piece) for level in levels)

    def logits(setup):
        return max(_logits(setup, level, piece) for level in levels)

    critic, lesson = map(max, zip(*map(_critic, trees), strict=True))
    return Estimate(
        {
            "parameters": _bytes(params),
            "optimiser": 2 * moving,
            "starting policy": moving if c.train.kl else 0,
            "gradients": moving * (1 if c.train.accumulate == 1 else 2),
            "keys and values": most(_sampling) // parts // tensor,
            "activations": most(activations) // parts,
            "logits": most(logits) // parts // tensor,
            "critic": critic,
            "critic's update": lesson,
        }
    )


def _critic(setup: Setup) -> tuple[int, int]:
    """Bytes of a critic with its moments, and of what else its update needs."""
    if setup.critic is None:
        return 0, 0
    made = critics.course(setup)
    params = _bytes(critics.abstract_params(setup))
    batch = setup.config.train.batch_size
    kept = sum(_kept(setup, made.team, n, batch) for n in made.levels)
    pieces = made.minibatches * made.accumulate
    # What is summed over pieces and what one of them adds.
    return 3 * params, 2 * params + kept // pieces // meshes.batch_size(setup.mesh)


def _bytes(params: dict) -> int:
    """Of the part of some parameters that one device holds."""
    return sum(
        p.dtype.itemsize * math.prod(p.sharding.shard_shape(p.shape))
        for p in jax.tree.leaves(params)
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


def _kv(s: decoder.Shape) -> int:
    """Bytes of one token's keys and values."""
    return 2 * s.layers * s.kv_heads * s.head_dim * jnp.dtype(s.dtype).itemsize


def _kept(setup: Setup, team: contexts.Team, level: int, questions: int) -> int:
    """Bytes that the backward pass finds of a role's tokens, each context's once."""
    s, protocol = team.cast[level].shape, team.protocol
    inside = (2 * s.heads + 2 * s.kv_heads) * s.head_dim + 3 * s.hidden + 4 * s.width
    if s.remat == "none":
        # Also what norms, rotations and the gate's curve are computed from.
        steps = (s.heads + 2 * s.kv_heads) * s.head_dim + 2 * s.hidden + 4 * s.width
        numbers = s.layers * (inside + steps)
    else:  # The inputs of all layers, and of one what is computed again.
        numbers = s.layers * s.width + inside
    token = numbers * jnp.dtype(s.dtype).itemsize + _kv(s)
    count, k = protocol.contexts(level), protocol.branching[level]
    read = sum(protocol.roles[i].max_tokens for i in team.scripts[level].reads)
    tokens = count * (read + k * protocol.roles[level].max_tokens)
    return questions * (setup.heads.sizes[-1] + tokens) * token


def _logits(setup: Setup, level: int, questions: int) -> int:
    """Bytes of the logits of a role's messages that exist at once, and their slope."""
    s, protocol = setup.team.cast[level].shape, setup.team.protocol
    limit = protocol.roles[level].max_tokens
    chunk = min(s.logits_chunk or limit, limit)
    messages = questions * protocol.contexts(level) * protocol.branching[level]
    return 2 * 4 * messages * chunk * s.vocab


def _sampling(setup: Setup) -> int:
    """Bytes of keys and values that exist at once while messages are written."""
    c, trees = setup.config, setup.team.protocol.trees
    questions = c.train.batch_size // c.train.groups
    worst = 0
    for protocol, (level, role) in itertools.product(trees, enumerate(trees[0].roles)):
        if level in setup.team.silenced:
            continue
        read = sum(
            protocol.roles[i].max_tokens for i in setup.team.scripts[level].reads
        )
        count, k = protocol.contexts(level), protocol.branching[level]
        places = questions * count
        if c.sampling.at_once:
            places = min(places, max(1, c.sampling.at_once // k))
        heads = min(places, questions) * setup.heads.sizes[-1]
        tokens = heads + places * (read + k * role.max_tokens)
        worst = max(worst, tokens * _kv(setup.team.cast[level].shape))
    return worst


def _shown(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count > 2**28 else f"{count / 2**20:.0f} MiB"
