"""Decoding: messages written token by token after a context, many at once."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from c3jax.core import sharding
from c3jax.core.types import Segment, Turn
from c3jax.policy import decoder
from c3jax.rollout import draws, vmaps
from c3jax.rollout.contexts import Context, Team


@struct.dataclass
class DecodeState:
    """Unfinished messages.

    Attributes:
        t: int32, tokens written so far: a scalar, or one each along the first axis of
            the messages.
        token: [*axes] int32, the last token written; at first the context's last id.
        turn: the messages, with [*axes, ..] in place of the [B, N, K, ..] of `Turn`.
        cache: keys and values of the messages, [L, *axes, kv_heads, T, head_dim] each.
    """

    t: jax.Array
    token: jax.Array
    turn: Turn
    cache: tuple[jax.Array, jax.Array]

    @property
    def alive(self) -> jax.Array:
        """[*axes] bool, messages that need another token."""
        t = self.t.reshape(self.t.shape + (1,) * (self.token.ndim - self.t.ndim))
        return ~self.turn.ended & (t < self.turn.tokens.shape[-1])


def begin(
    team: Team,
    level: int,
    size: tuple[int, ...],
    clocks: int = 0,
    over: jax.Array | None = None,
) -> DecodeState:
    """Messages of no tokens yet.

    Args:
        size: the size of every tree axis.
        clocks: 0 if all messages write their token t together, 1 if each place along
            the first axis has a clock of its own.
        over: [*axes[:-1]] bool, contexts in which nothing is written; None for none.
    """
    shape, limit = team.policies[level].shape, team.protocol.roles[level].max_tokens
    cache = (shape.layers, *size, shape.kv_heads, limit, shape.head_dim)
    turn = blank(team, level, size)
    if over is not None:
        turn = turn.replace(ended=jnp.broadcast_to(over[..., None], size))
    return DecodeState(
        t=jnp.zeros(size[:clocks], jnp.int32),
        token=jnp.full(size, team.templates[level].first_token, jnp.int32),
        turn=turn,
        cache=(jnp.zeros(cache, shape.dtype), jnp.zeros(cache, shape.dtype)),
    )


def blank(team: Team, level: int, size: tuple[int, ...]) -> Turn:
    """Messages of no tokens, to be written or to be left empty."""
    limit = team.protocol.roles[level].max_tokens
    vocab = team.sampling.vocab or team.policies[level].shape.vocab
    kept = min(team.sampling.top_k, vocab)
    return Turn(
        tokens=jnp.zeros((*size, limit), jnp.int32),
        length=jnp.zeros(size, jnp.int32),
        ended=jnp.zeros(size, bool),
        logp=jnp.zeros((*size, limit), jnp.float32),
        margin=jnp.zeros((*size, limit), jnp.float32),
        support=jnp.zeros((*size, limit, kept), jnp.int32) if kept else None,
    )


def step(
    params: dict,
    team: Team,
    level: int,
    context: Context,
    node: jax.Array,
    axes: tuple[int, ...],
    now: DecodeState,
) -> DecodeState:
    """One more token of every message that is alive.

    Args:
        context: the segments that the messages follow; never copied per sibling.
        axes: the tree axes of the messages.
        now: the messages before this token.
    """
    clocked, depth = now.t.ndim == 1, len(axes)
    policy, shape = team.policy(params, level)
    chex.assert_rank(node, depth)
    chex.assert_equal_shape([node, now.token])

    # Logits of the next token, and its draw.
    def read(t, token, past, segments):
        suffix = Segment(*past, length=t)
        hidden, new = decoder.forward(policy, shape, token[None], (*segments, suffix))
        return decoder.logits(policy, shape, hidden[0]), (new.k, new.v)

    clock = vmaps.InAxes(axes[:1] if clocked else ())
    in_axes = (clock, vmaps.InAxes(axes), vmaps.InAxes(axes, 1), context.in_axes)
    logits, new = vmaps.nested_vmap(read, axes, in_axes, out=(0, 1))(
        now.t, now.token, now.cache, context.segments
    )
    drawn = _draw(team, axes, logits, node, now.t)

    # Write it at place t of `axis`: one place for all, or one a clock.
    def put(whole, part, axis, clock_axis=0):
        if not clocked:
            update = jax.lax.dynamic_update_slice_in_dim
            return update(whole, jnp.expand_dims(part, axis), now.t, axis)

        def one(whole, part, t):
            # A message at its limit stays as it is while its neighbours go on.
            return whole.at[(slice(None),) * (axis - 1) + (t,)].set(part, mode="drop")

        at = clock_axis
        return jax.vmap(one, (at, at, 0), at)(whole, part, now.t)

    alive, turn = now.alive, now.turn

    def record(whole, value):
        is_written = alive.reshape(alive.shape + (1,) * (value.ndim - depth))
        return put(whole, jnp.where(is_written, value, 0), depth)

    is_end = jnp.isin(drawn.token, jnp.array(team.sampling.end))
    written = Turn(
        tokens=record(turn.tokens, drawn.token),
        length=turn.length + alive,
        ended=turn.ended | (alive & is_end),
        logp=record(turn.logp, drawn.logp),
        margin=record(turn.margin, drawn.margin),
    )
    if turn.support is not None:
        written = written.replace(support=record(turn.support, drawn.support))
    # The new token's axis of size 1 goes; a cache has layers in front.
    cache = jax.tree.map(
        lambda whole, part: put(whole, part.squeeze(2 + depth), 2 + depth, 1),
        now.cache,
        new,
    )
    return DecodeState(t=now.t + 1, token=drawn.token, turn=written, cache=cache)


def _draw(team: Team, axes: tuple[int, ...], logits, key, t) -> draws.Draw:
    """`draws.draw` of all messages: [*axes, V] logits, [*axes] keys and the clock.

    Each of several devices draws for its own questions. Left to itself, the compiler
    gathers the logits of all questions to find the largest.
    """

    def draw(logits, key, t):
        return draws.draw(logits, key, t, team.sampling)

    clock = vmaps.InAxes(axes[: t.ndim])
    draw = vmaps.nested_vmap(
        draw, axes, (vmaps.InAxes(axes), vmaps.InAxes(axes), clock)
    )
    if team.mesh is None or not axes:
        return draw(logits, key, t)
    # The draw needs whole rows of logits; the output table must not be gathered.
    logits = jax.lax.with_sharding_constraint(
        logits, sharding.logits(team.mesh, len(axes))
    )
    return sharding.per_question(draw, team.mesh, (True, True, t.ndim == 1))(
        logits, key, t
    )


def generate(
    params: dict,
    team: Team,
    level: int,
    context: Context,
    node: jax.Array,
    axes: tuple[int, ...],
    over: jax.Array | None = None,
) -> Turn:
    """Samples one message at every node, all at once.

    Args:
        context: the segments that the messages follow.
        axes: the tree axes of the result; () for a single node.
        over: [*axes[:-1]] bool, contexts in which nothing is written; None for none.

    Returns:
        The messages, with [*axes, ..] in place of the [B, N, K, ..] of `Turn`.
    """
    begun = begin(team, level, node.shape, over=over)
    return finished(resume(params, team, level, context, node, axes, begun))


def resume(
    params: dict,
    team: Team,
    level: int,
    context: Context,
    node: jax.Array,
    axes: tuple[int, ...],
    now: DecodeState,
    steps: int | None = None,
) -> DecodeState:
    """Writes until every message has ended or reached the limit.

    The carry of the loop holds the cache of the messages, updated in place.

    Args:
        context, axes, now: as in `step`; the messages have one clock.
        steps: tokens to write at most; None for all.
    """
    until = now.t + (now.turn.tokens.shape[-1] if steps is None else steps)
    return jax.lax.while_loop(
        lambda now: now.alive.any() & (now.t < until),
        lambda now: step(params, team, level, context, node, axes, now),
        now,
    )


def finished(now: DecodeState) -> Turn:
    """The messages; an empty one, where the dialogue was over, has no end token."""
    return now.turn.replace(ended=now.turn.ended & (now.turn.length > 0))
