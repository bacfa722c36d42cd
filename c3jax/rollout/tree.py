"""Grow the tree of a protocol, replay one of its nodes, score its tokens again.

Everything here is written for one sequence and lifted over the axes of the tree: an
argument that does not vary along an axis gets `in_axes=None` there, so it is computed,
stored and read once for everything below. Sampling, replay and training share
`context` and `decoder.forward`, and so agree up to rounding.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from c3jax.core import keys
from c3jax.core.types import Questions, Script, Segment, Turn
from c3jax.policy import decoder
from c3jax.protocol.graph import Protocol
from c3jax.rollout import sample

# The axis of questions; a tree axis is named by the index of its role.
BATCH = -1


@dataclasses.dataclass(frozen=True)
class Team:
    """All that is static about a rollout; hashable, for jit.

    Attributes:
        shape: sizes of the policy, which all roles share.
        protocol: roles and branching.
        scripts: per role, how its context is spelled.
        sampling: how tokens are drawn.
        silenced: indices of roles whose messages are empty.
    """

    shape: decoder.Shape
    protocol: Protocol
    scripts: tuple[Script, ...]
    sampling: sample.Sampling
    silenced: tuple[int, ...] = ()

    def replace(self, **changes) -> "Team":
        return dataclasses.replace(self, **changes)


class Lane(NamedTuple):
    """Where an argument of a lifted function varies.

    Attributes:
        span: the axes it has.
        at: `in_axes` along each of them.
    """

    span: tuple[int, ...]
    at: object = 0


# A segment's tree axes stay behind its layer axis, which `jax.lax.scan` consumes first.
_KV = Segment(k=1, v=1, length=0)


def lift(fn: Callable, axes: tuple[int, ...], lanes: tuple, out=0) -> Callable:
    """`fn` of one sequence, vmapped over `axes`, the first outermost.

    Args:
        fn: positional arguments only.
        axes: the axes of the result.
        lanes: a `Lane` per argument, or a tuple of them for an argument that is one.
        out: `out_axes` along each axis.
    """
    for axis in reversed(axes):
        in_axes = jax.tree.map(
            lambda lane, axis=axis: lane.at if axis in lane.span else None,
            lanes,
            is_leaf=lambda x: isinstance(x, Lane),
        )
        fn = jax.vmap(fn, in_axes=in_axes, out_axes=out)
    return fn


class Context(NamedTuple):
    """What a role reads: segments in order, and the axes along which each varies."""

    segments: tuple[Segment, ...]
    spans: tuple[tuple[int, ...], ...]

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return tuple(Lane(span, _KV) for span in self.spans)


def context(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
) -> Context:
    """Computes a role's context, every piece at its own level of the tree.

    The head is computed once a question. A message is computed once for each of its
    tokens' histories, that is along its own axes and those of what stands before it.

    Args:
        params: the policy.
        team: static description.
        level: index of the role.
        questions: heads of B questions.
        turns: at least the turns of the roles it reads.
    """
    protocol, script = team.protocol, team.scripts[level]
    pieces = [(questions.heads[level], questions.lengths[level], (BATCH,))]
    for index, glue in zip(script.reads, script.glue, strict=True):
        axes = (BATCH, *protocol.spans[index], index)
        ids, length = splice(turns[index], glue)
        sizes = _sizes(team, axes, ids.shape[0])
        pieces.append((ids.reshape(*sizes, -1), length.reshape(sizes), axes))

    def read(ids, length, past):
        segment = decoder.forward(params, team.shape, ids, past)[1]
        return segment.replace(length=length)

    done = Context((), ())
    span: tuple[int, ...] = ()
    for ids, length, axes in pieces:
        span = tuple(sorted({*span, *axes}))
        segment = lift(read, span, (Lane(axes), Lane(axes), done.lanes), out=_KV)(
            ids, length, done.segments
        )
        done = Context((*done.segments, segment), (*done.spans, span))
    return done


def splice(turn: Turn, glue: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """A message as another role reads it: its ids without the end token, then glue.

    Returns:
        [B, N, K, T + len(glue)] ids, zero-padded on the right, and [B, N, K] lengths.
    """
    kept = (turn.length - turn.ended)[..., None]
    slot = jnp.arange(turn.tokens.shape[-1] + len(glue))
    ids = jnp.pad(turn.tokens, [(0, 0)] * 3 + [(0, len(glue))])
    if glue:
        after = jnp.array(glue, jnp.int32)[jnp.clip(slot - kept, 0, len(glue) - 1)]
        ids = jnp.where(slot < kept, ids, after)
    length = kept + len(glue)
    return jnp.where(slot < length, ids, 0), length[..., 0]


@functools.partial(jax.jit, static_argnums=1)
def grow(
    params: dict, team: Team, questions: Questions, key: jax.Array
) -> tuple[Turn, ...]:
    """Samples the whole tree of B questions without returning to the host.

    Args:
        params: the behaviour policy.
        team: static description.
        questions: heads of B questions.
        key: the key of the step (see `core.keys`).

    Returns:
        One `Turn` a role, in topological order.
    """
    turns: tuple[Turn, ...] = ()
    for level, role in enumerate(team.protocol.roles):
        axes = (BATCH, *team.protocol.spans[level], level)
        sizes = _sizes(team, axes, questions.uid.shape[0])
        contexts = team.protocol.contexts(level)
        flat = (sizes[0], contexts, sizes[-1])
        if level in team.silenced:
            turns += (_blank(team, flat, role.max_tokens),)
            continue
        node = keys.nodes(key, questions.uid, level, contexts * sizes[-1])
        turn = generate(
            params,
            team,
            team.scripts[level].opener,
            context(params, team, level, questions, turns),
            node.reshape(sizes),
            axes,
            role.max_tokens,
        )
        turns += (_fold(turn, len(sizes), flat),)
    return turns


def prefilled(team: Team, questions: Questions, turns: tuple[Turn, ...]) -> int:
    """Context tokens that `grow` ran through the policy, by the lengths that occurred.

    Each counts as often as `context` computes it, once at its own level of the tree.

    Args:
        team: static description.
        questions: heads of B questions.
        turns: one a role, as grown.
    """
    total = 0
    for level, script in enumerate(team.scripts):
        if level in team.silenced:
            continue
        total += int(questions.lengths[level].sum())
        span: set[int] = set()
        for index, glue in zip(script.reads, script.glue, strict=True):
            axes = {*team.protocol.spans[index], index}
            span |= axes
            repeats = math.prod(team.protocol.branching[a] for a in span - axes)
            turn = turns[index]
            total += repeats * int((turn.length - turn.ended + len(glue)).sum())
    return total


@struct.dataclass
class _Writing:
    """The loop's carry: t tokens are written, `token` is the last of them."""

    t: jax.Array
    token: jax.Array
    turn: Turn
    cache: tuple[jax.Array, jax.Array]


def generate(
    params: dict,
    team: Team,
    opener: int,
    context: Context,
    node: jax.Array,
    axes: tuple[int, ...],
    limit: int,
) -> Turn:
    """Samples one message at every node.

    The loop runs until every message has ended or reached the limit. Its carry holds
    the suffix cache, updated in place; the context is read, never copied per sibling.

    Args:
        params: the policy.
        team: static description.
        opener: the last id of the context, the first input.
        context: what the messages follow.
        node: [*axes] keys.
        axes: the tree axes of the result; () for a single node.
        limit: T.

    Returns:
        The messages, with [*axes, ..] in place of the [B, N, K, ..] of `Turn`.
    """
    shape, sampling, sizes = team.shape, team.sampling, node.shape
    slot_axis = 1 + len(axes)

    def step(t, token, key, past, segments):
        suffix = Segment(*past, length=t)
        hidden, new = decoder.forward(params, shape, token[None], (*segments, suffix))
        scores = decoder.logits(params, shape, hidden[0])
        return sample.draw(scores, key, t, sampling), (new.k, new.v)

    step = lift(
        step,
        axes,
        (Lane(()), Lane(axes), Lane(axes), Lane(axes, 1), context.lanes),
        out=(0, 1),
    )

    def body(c: _Writing) -> _Writing:
        drawn, new = step(c.t, c.token, node, c.cache, context.segments)
        alive = ~c.turn.ended
        put = jax.lax.dynamic_update_index_in_dim

        def record(all_t, value):
            shown = alive.reshape(alive.shape + (1,) * (value.ndim - alive.ndim))
            return put(all_t, jnp.where(shown, value, 0), c.t, len(axes))

        turn = c.turn
        return _Writing(
            t=c.t + 1,
            token=drawn.token,
            turn=Turn(
                tokens=record(turn.tokens, drawn.token),
                length=turn.length + alive,
                ended=turn.ended | jnp.isin(drawn.token, jnp.array(sampling.end)),
                logp=record(turn.logp, drawn.logp),
                margin=record(turn.margin, drawn.margin),
                support=None
                if drawn.support is None
                else record(turn.support, drawn.support),
            ),
            cache=tuple(
                jax.lax.dynamic_update_slice_in_dim(whole, part, c.t, slot_axis)
                for whole, part in zip(c.cache, new, strict=True)
            ),
        )

    cache = (shape.layers, *sizes, limit, shape.kv_heads, shape.head_dim)
    start = _Writing(
        t=jnp.int32(0),
        token=jnp.full(sizes, opener, jnp.int32),
        turn=_blank(team, sizes, limit),
        cache=(jnp.zeros(cache, shape.dtype),) * 2,
    )
    unfinished = lambda c: (c.t < limit) & ~c.turn.ended.all()  # noqa: E731
    return jax.lax.while_loop(unfinished, body, start).turn


def _blank(team: Team, sizes: tuple[int, ...], limit: int) -> Turn:
    """Messages of no tokens, to be written or to be left empty."""
    kept = min(team.sampling.top_k, team.shape.vocab)
    zeros = jnp.zeros((*sizes, limit), jnp.float32)
    return Turn(
        tokens=zeros.astype(jnp.int32),
        length=jnp.zeros(sizes, jnp.int32),
        ended=jnp.zeros(sizes, bool),
        logp=zeros,
        margin=zeros,
        support=jnp.zeros((*sizes, limit, kept), jnp.int32) if kept else None,
    )


def replay(
    params: dict, team: Team, level: int, ids: jax.Array, length: int, key: jax.Array
) -> Turn:
    """Samples one node again from its rebuilt context, alone.

    Args:
        params: the policy the tree was grown with.
        team: static description; only the role's opener and limit and the sampling
            are used.
        level: index of the role.
        ids: [P] int32, the node's whole context without its opener, padded.
        length: valid ids.
        key: the node's key.

    Returns:
        A `Turn` with arrays [T] and scalars.
    """
    segment = decoder.forward(params, team.shape, ids)[1].replace(length=length)
    return generate(
        params,
        team,
        team.scripts[level].opener,
        Context((segment,), ((),)),
        key,
        (),
        team.protocol.roles[level].max_tokens,
    )


def logp(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
) -> jax.Array:
    """Log-probability of every token of one role's messages, differentiable.

    The contexts are computed here, once each, so the gradient reaches the policy
    through them too and equals that of the repeated-prompt computation.

    Returns:
        [B, N, K, T] float32 nats under the sampled distribution, 0 beyond a message.
    """
    turn, opener = turns[level], team.scripts[level].opener
    axes = (BATCH, *team.protocol.spans[level], level)
    sizes = _sizes(team, axes, turn.tokens.shape[0])

    def score(token, support, hidden, t):
        if support is None:
            scores = decoder.logits(params, team.shape, hidden)
            scores, place = sample.shape_logits(scores, t, team.sampling), token
        else:
            ids = jnp.maximum(support, 0)
            scores = decoder.logits_at(params, team.shape, hidden, ids)
            scores = jnp.where(
                support < 0, -jnp.inf, scores / team.sampling.temperature
            )
            place = jnp.argmax(support == token)
        return jax.nn.log_softmax(scores)[place]

    def one(tokens, support, segments):
        inputs = jnp.concatenate([jnp.array([opener], jnp.int32), tokens[:-1]])
        hidden, _ = decoder.forward(params, team.shape, inputs, segments)
        return _in_chunks(
            score,
            (tokens, support, hidden, jnp.arange(tokens.shape[0])),
            team.shape.logits_chunk,
        )

    unfold = lambda x: x.reshape(*sizes, *x.shape[3:])  # noqa: E731
    ctx = context(params, team, level, questions, turns)
    values = lift(one, axes, (Lane(axes), Lane(axes), ctx.lanes))(
        unfold(turn.tokens),
        None if turn.support is None else unfold(turn.support),
        ctx.segments,
    )
    return jnp.where(turn.mask, values.reshape(turn.tokens.shape), 0)


def _in_chunks(fn: Callable, args: tuple, size: int):
    """`fn` over the first axis of its arguments, at most `size` at a time.

    What a chunk computes on the way is not kept for the backward pass but computed
    again: for a large vocabulary, its logits are most of a training step's memory.
    """
    if not size:
        return jax.vmap(fn)(*args)
    return jax.lax.map(jax.checkpoint(lambda x: fn(*x)), args, batch_size=size)


def _fold(turn: Turn, depth: int, flat: tuple[int, ...]) -> Turn:
    """Replaces the first `depth` axes by `flat`."""
    return jax.tree.map(lambda x: x.reshape(*flat, *x.shape[depth:]), turn)


def _sizes(team: Team, axes: tuple[int, ...], batch: int) -> tuple[int, ...]:
    return tuple(
        batch if axis == BATCH else team.protocol.branching[axis] for axis in axes
    )
