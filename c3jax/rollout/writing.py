"""Writing messages token by token after a context, many at once."""

import jax
import jax.numpy as jnp
from flax import struct

from c3jax.core import mesh as meshes
from c3jax.core.types import Segment, Turn
from c3jax.policy import decoder
from c3jax.rollout import contexts, sample
from c3jax.rollout.contexts import Context, Lane, Team


@struct.dataclass
class Writing:
    """Messages in the making.

    Attributes:
        t: int32, tokens written so far: a scalar, or one each along the first axis of
            the messages.
        token: [*axes] int32, the last of them; the opener before the first.
        turn: what is written, with [*axes, ..] in place of the [B, N, K, ..] of `Turn`.
        cache: keys and values of the messages, [L, *axes, kv_heads, T, head_dim] each.
    """

    t: jax.Array
    token: jax.Array
    turn: Turn
    cache: tuple[jax.Array, jax.Array]

    @property
    def alive(self) -> jax.Array:
        """[*axes] bool, messages that want another token."""
        t = self.t.reshape(self.t.shape + (1,) * (self.token.ndim - self.t.ndim))
        return ~self.turn.ended & (t < self.turn.tokens.shape[-1])


def begin(
    team: Team,
    level: int,
    size: tuple[int, ...],
    clocks: int = 0,
    over: jax.Array | None = None,
) -> Writing:
    """Messages of no tokens yet.

    Args:
        team: static description.
        level: index of the role.
        size: of the tree axes.
        clocks: 0 if all messages write their token t together, 1 if the first axis
            has a clock of its own each.
        over: [*axes[:-1]] bool, contexts in which nothing is written; None for none.
    """
    shape, limit = team.cast[level].shape, team.protocol.roles[level].max_tokens
    cache = (shape.layers, *size, shape.kv_heads, limit, shape.head_dim)
    turn = blank(team, level, size)
    if over is not None:
        turn = turn.replace(ended=jnp.broadcast_to(over[..., None], size))
    return Writing(
        t=jnp.zeros(size[:clocks], jnp.int32),
        token=jnp.full(size, team.scripts[level].opener, jnp.int32),
        turn=turn,
        cache=(jnp.zeros(cache, shape.dtype), jnp.zeros(cache, shape.dtype)),
    )


def blank(team: Team, level: int, size: tuple[int, ...]) -> Turn:
    """Messages of no tokens, to be written or to be left empty."""
    limit = team.protocol.roles[level].max_tokens
    vocab = team.sampling.vocab or team.cast[level].shape.vocab
    kept = min(team.sampling.top_k, vocab)
    return Turn(
        tokens=jnp.zeros((*size, limit), jnp.int32),
        length=jnp.zeros(size, jnp.int32),
        ended=jnp.zeros(size, bool),
        logp=jnp.zeros((*size, limit), jnp.float32),
        margin=jnp.zeros((*size, limit), jnp.float32),
        support=jnp.zeros((*size, limit, kept), jnp.int32) if kept else None,
    )


def write(
    params: dict,
    team: Team,
    level: int,
    context: Context,
    node: jax.Array,
    axes: tuple[int, ...],
    now: Writing,
) -> Writing:
    """One more token of every message that is alive.

    Args:
        params: the policies.
        team: static description.
        level: index of the role.
        context: what the messages follow; it is read, never copied per sibling.
        node: [*axes] keys.
        axes: the tree axes of the messages.
        now: messages in the making.
    """
    clocked, depth = now.t.ndim == 1, len(axes)
    policy, shape = team.policy(params, level)

    def read(t, token, past, segments):
        suffix = Segment(*past, length=t)
        hidden, new = decoder.forward(policy, shape, token[None], (*segments, suffix))
        return decoder.logits(policy, shape, hidden[0]), (new.k, new.v)

    clock = Lane(axes[:1] if clocked else ())
    lanes = (clock, Lane(axes), Lane(axes, 1), context.lanes)
    logits, new = contexts.lift(read, axes, lanes, out=(0, 1))(
        now.t, now.token, now.cache, context.segments
    )
    drawn = _draw(team, axes, logits, node, now.t)

    def put(whole, part, axis, clock_axis=0):
        if not clocked:
            update = jax.lax.dynamic_update_slice_in_dim
            return update(whole, jnp.expand_dims(part, axis), now.t, axis)

        def each(whole, part, t):
            # A message at its limit stays as it is while its neighbours go on.
            return whole.at[(slice(None),) * (axis - 1) + (t,)].set(part, mode="drop")

        at = clock_axis
        return jax.vmap(each, (at, at, 0), at)(whole, part, now.t)

    alive, turn = now.alive, now.turn

    def record(whole, value):
        shown = alive.reshape(alive.shape + (1,) * (value.ndim - depth))
        value = jnp.where(shown, value, 0)
        return put(whole, value, depth)

    is_end = jnp.isin(drawn.token, jnp.array(team.sampling.end))
    return Writing(
        t=now.t + 1,
        token=drawn.token,
        turn=Turn(
            tokens=record(turn.tokens, drawn.token),
            length=turn.length + alive,
            ended=turn.ended | (alive & is_end),
            logp=record(turn.logp, drawn.logp),
            margin=record(turn.margin, drawn.margin),
            support=None
            if turn.support is None
            else record(turn.support, drawn.support),
        ),
        cache=jax.tree.map(
            lambda whole, part: put(whole, part.squeeze(2 + depth), 2 + depth, 1),
            now.cache,
            new,
        ),
    )


def _draw(team: Team, axes: tuple[int, ...], logits, key, t) -> sample.Draw:
    """`sample.draw` of all messages: [*axes, V] logits, [*axes] keys and the clock.

    Over several devices each draws for its own questions. Left to itself, the compiler
    brings the logits of all questions together to look for the largest.
    """

    def draw(logits, key, t):
        return sample.draw(logits, key, t, team.sampling)

    clock = Lane(axes[: t.ndim])
    draw = contexts.lift(draw, axes, (Lane(axes), Lane(axes), clock))
    if team.mesh is None or not axes:
        return draw(logits, key, t)
    # Whole rows are needed; but the table that they come from is not to be gathered.
    logits = jax.lax.with_sharding_constraint(
        logits, meshes.logits(team.mesh, len(axes))
    )
    return meshes.apart(draw, team.mesh, (True, True, t.ndim == 1))(logits, key, t)


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
        params: the policies.
        team: static description.
        level: index of the role.
        context: what the messages follow.
        node: [*axes] keys.
        axes: the tree axes of the result; () for a single node.
        over: [*axes[:-1]] bool, contexts in which nothing is written; None for none.

    Returns:
        The messages, with [*axes, ..] in place of the [B, N, K, ..] of `Turn`.
    """
    begun = begin(team, level, node.shape, over=over)
    return finished(go_on(params, team, level, context, node, axes, begun))


def go_on(
    params: dict,
    team: Team,
    level: int,
    context: Context,
    node: jax.Array,
    axes: tuple[int, ...],
    now: Writing,
    steps: int | None = None,
) -> Writing:
    """Writes until every message has ended or reached the limit.

    The carry of the loop holds the cache of the messages, updated in place.

    Args:
        params: the policies.
        team: static description.
        level: index of the role.
        context: what the messages follow.
        node: [*axes] keys.
        axes: the tree axes of the messages.
        now: messages in the making, of one clock.
        steps: tokens at most; None for no matter how many.
    """
    until = now.t + (now.turn.tokens.shape[-1] if steps is None else steps)
    return jax.lax.while_loop(
        lambda now: now.alive.any() & (now.t < until),
        lambda now: write(params, team, level, context, node, axes, now),
        now,
    )


def finished(now: Writing) -> Turn:
    """The messages; one without tokens, as its talk was over, has no end token."""
    return now.turn.replace(ended=now.turn.ended & (now.turn.length > 0))
