"""What a role reads, as KV segments that are each computed at their own tree level.

Everything here is written for one sequence and lifted over the axes of the tree: an
argument that does not vary along an axis gets `in_axes=None` there, so it is computed,
stored and read once for everything below. Sampling, replay and training share `read`
and `decoder.forward`, and so agree up to rounding.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from c3jax.core.types import Questions, Script, Segment, Turn
from c3jax.policy import decoder
from c3jax.protocol.graph import Protocol
from c3jax.rollout import sample

# The axis of questions; a tree axis is named by the index of its role.
BATCH = -1


class Part(NamedTuple):
    """The policy that plays a role.

    Attributes:
        shape: its sizes.
        name: its key among the parameters; roles of one name share one policy.
    """

    shape: decoder.Shape
    name: str = "shared"


@dataclasses.dataclass(frozen=True)
class Team:
    """All that is static about a rollout; hashable, for jit.

    Parameters come as {name of a policy: its parameters}.

    Attributes:
        cast: per role, who plays it.
        protocol: roles and branching.
        scripts: per role, how its context is spelled.
        sampling: how tokens are drawn.
        silenced: indices of roles whose messages are empty.
        at_once: messages written at a time; 0 for all (see `rollout.desks`).
        mesh: the devices, if there are several.
    """

    cast: tuple[Part, ...]
    protocol: Protocol
    scripts: tuple[Script, ...]
    sampling: sample.Sampling
    silenced: tuple[int, ...] = ()
    at_once: int = 0
    mesh: jax.sharding.Mesh | None = None

    def replace(self, **changes) -> "Team":
        return dataclasses.replace(self, **changes)

    def reshaped(self, **changes) -> "Team":
        """The same team with some fields of every policy's shape changed."""
        cast = tuple(
            part._replace(shape=part.shape.replace(**changes)) for part in self.cast
        )
        return self.replace(cast=cast)

    def policy(self, params: dict, level: int) -> tuple[dict, decoder.Shape]:
        """The parameters and sizes of the policy that plays a role."""
        part = self.cast[level]
        return params[part.name], part.shape

    @property
    def finishes(self) -> bool:
        """Whether somebody may end the talk before its last role has spoken."""
        return any(script.finish for script in self.scripts)

    @property
    def shapes(self) -> dict[str, decoder.Shape]:
        """The sizes of every policy, by name."""
        return {part.name: part.shape for part in self.cast}


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
        deep = len(axes) > _CPU_AXES and axis == axes[0]
        if deep and jax.default_backend() == "cpu":
            fn = _in_turn(fn, in_axes, out)
        else:
            fn = jax.vmap(fn, in_axes=in_axes, out_axes=out)
    return fn


# With one axis more, keys and values have eight, and XLA's matrix products on a CPU
# end the process (jaxlib 0.10: ynn_emitter.cc, b_rank < YNN_MAX_TENSOR_RANK).
_CPU_AXES = 4


def _in_turn(fn: Callable, in_axes: tuple, out) -> Callable:
    """What `jax.vmap` computes, one after the other."""

    def spread(prefix, tree):
        # -1, since a None of the prefix would be taken for one of the arguments.
        known = jax.tree.map(
            lambda axis: -1 if axis is None else axis,
            prefix,
            is_leaf=lambda x: x is None,
        )
        return jax.tree.leaves(jax.tree.broadcast(known, tree))

    def run(*args):
        leaves, treedef = jax.tree.flatten(args)
        at = spread(in_axes, args)
        moved = {
            index: jnp.moveaxis(leaf, axis, 0)
            for index, (leaf, axis) in enumerate(zip(leaves, at, strict=True))
            if axis >= 0
        }

        def one(part):
            whole = [part.get(index, leaf) for index, leaf in enumerate(leaves)]
            return fn(*treedef.unflatten(whole))

        found = jax.lax.map(one, moved)
        results, shape = jax.tree.flatten(found)
        places = spread(out, found)
        return shape.unflatten(
            jnp.moveaxis(x, 0, axis) for x, axis in zip(results, places, strict=True)
        )

    return run


class Context(NamedTuple):
    """What a role reads: segments in order, and the axes along which each varies."""

    segments: tuple[Segment, ...] = ()
    spans: tuple[tuple[int, ...], ...] = ()

    @property
    def lanes(self) -> tuple[Lane, ...]:
        return tuple(Lane(span, _KV) for span in self.spans)


class Piece(NamedTuple):
    """Token ids that are read in one go.

    Attributes:
        ids: [*span, T] int32, padded.
        length: [*span] int32.
        span: the axes along which they or what stands before them varies.
    """

    ids: jax.Array
    length: jax.Array
    span: tuple[int, ...]


def read(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
    told: Context | None = None,
) -> Context:
    """Computes a role's context, every piece at its own level of the tree.

    An instruction is computed once, the rest of a head once a question. A message is
    computed once for each of its tokens' histories, that is along its own axes and
    those of what stands before it.

    Args:
        params: the policies; a role reads with its own.
        team: static description.
        level: index of the role.
        questions: heads of B questions.
        turns: at least the turns of the roles it reads.
        told: of `told`, if it is there already.
    """
    pieces = _pieces(team, level, questions, turns)
    if told is None:
        told = Context()
    return _read(params, team, level, pieces[len(told.spans) :], told)[0]


def told(params: dict, team: Team, level: int) -> Context:
    """A role's instruction, where it is a piece of its own."""
    pieces = _instruction(team, level)
    return _read(params, team, level, pieces, Context())[0] if pieces else Context()


def hidden(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
    ids: jax.Array,
    axes: tuple[int, ...],
) -> jax.Array:
    """Reads a role's context and a block of ids after it, differentiable.

    Args:
        params, team, level, questions, turns: as of `read`.
        ids: [*axes, T] int32, padded.
        axes: tree axes, all those of the context among them.

    Returns:
        [*axes, T, width] hidden states of the block after the final norm.
    """
    pieces = _pieces(team, level, questions, turns)
    length = jnp.full(ids.shape[:-1], ids.shape[-1], jnp.int32)
    pieces.append(Piece(ids, length, axes))
    return _read(params, team, level, pieces, Context(), last=True)[1]


def after(tokens: jax.Array, opener: int) -> jax.Array:
    """[.., 1 + T], what is read to score or to write more of [.., T] tokens."""
    first = jnp.full((*tokens.shape[:-1], 1), opener, jnp.int32)
    return jnp.concatenate([first, tokens], -1)


def _instruction(team: Team, level: int) -> list[Piece]:
    told = team.scripts[level].told
    ids, length = jnp.array(told, jnp.int32), jnp.int32(len(told))
    return [Piece(ids, length, ())] if told else []


def _pieces(team: Team, level: int, questions, turns) -> list[Piece]:
    """What a role's context is made of, in order."""
    script, over = team.scripts[level], spans(team, level)
    pieces, shared = _instruction(team, level), len(script.told)
    ids, length = questions.heads[level], questions.lengths[level]
    pieces.append(Piece(ids[:, shared:], length - shared, (BATCH,)))
    for index, glue in zip(script.reads, script.glue, strict=True):
        axes = (BATCH, *team.protocol.spans[index], index)
        ids, length = splice(turns[index], glue)
        span, batch = over[len(pieces)], ids.shape[0]
        # With a size of 1 along the axes of what stands before it alone.
        own = tuple(
            size if axis in axes else 1
            for axis, size in zip(span, sizes(team, span, batch), strict=True)
        )
        whole = sizes(team, span, batch)
        ids = jnp.broadcast_to(ids.reshape(*own, -1), (*whole, ids.shape[-1]))
        pieces.append(Piece(ids, jnp.broadcast_to(length.reshape(own), whole), span))
    return pieces


def _read(params, team, level, pieces, context, last=False):
    """The context with the pieces, or, of the `last` one, its hidden states.

    All pieces go through a layer before any goes through the next, as the rows of one
    matrix: so each weight is read once, and its gradient is written once. Over several
    devices every piece is a matrix, since the rows of all would have to be dealt out
    again.
    """
    policy, s = team.policy(params, level)
    lengths = [each.length for each in (*context.segments, *pieces)]
    over = [*context.spans, *(piece.span for piece in pieces)]
    first, waves = len(context.spans), []
    for at, piece in enumerate(pieces, first):
        above = over[at - 1] if at else ()
        waves.append(_waves(s, piece.ids.shape[-1], above, over[:at], lengths[:at]))
    packs = [pieces] if s.mesh is None else [[piece] for piece in pieces]

    def attend(kv, pack, *qkv):
        """Each piece of a pack in turn, after the `kv` of all before."""
        found, kv = [], list(kv)
        for piece, *own in zip(pack, *(_apart(pack, x) for x in qkv), strict=True):
            at = len(kv)
            above = over[at - 1] if at else ()
            read = [(*each, n) for each, n in zip(kv, lengths[:at], strict=True)]
            lanes = (*[Lane(piece.span)] * 3, Lane(above), [*map(Lane, over[:at])])
            one = functools.partial(decoder.attention, s)
            y, new = lift(one, piece.span, lanes)(*own, waves[at - first], read)
            found.append(y)
            kv.append(new)
        return _joined(pack, found), kv

    def layer(weights, xs, kv):
        found = []
        for pack, x in zip(packs, xs, strict=True):
            read = functools.partial(attend, kv, pack)
            x, kv = decoder.layer(s, weights, x, read)
            found.append(x)
        return found, None if last else kv[first:]

    xs = [
        decoder.embedded(policy, s, _joined(pack, [piece.ids for piece in pack]))
        for pack in packs
    ]
    past = [(each.k, each.v) for each in context.segments]
    xs, kv = decoder.scan(policy, s, layer, xs, past)
    if last:
        return None, decoder.normed(policy, s, _apart(packs[-1], xs[-1])[-1])
    new = [Segment(k, v, n) for (k, v), n in zip(kv, lengths[first:], strict=True)]
    return Context((*context.segments, *new), tuple(over)), None


def _apart(pack: list[Piece], x: jax.Array) -> list[jax.Array]:
    """Rows of one matrix as what they are of each piece: [N, ..] to [*span, T, ..]."""
    ends = np.cumsum([piece.ids.size for piece in pack])[:-1]
    return [
        rows.reshape(*piece.ids.shape, *x.shape[1:])
        for piece, rows in zip(pack, jnp.split(x, ends), strict=True)
    ]


def _joined(pack: list[Piece], parts: list[jax.Array]) -> jax.Array:
    """The inverse of `_apart`."""
    rows = [
        x.reshape(-1, *x.shape[piece.ids.ndim :])
        for piece, x in zip(pack, parts, strict=True)
    ]
    return jnp.concatenate(rows)


def _waves(s, size, axes, spans, lengths):
    """[*axes, 2, T, D / 2], positions of a block after segments of some lengths."""

    def waves(*lengths):
        return decoder.positions(s, sum(lengths), size)

    return lift(waves, axes, tuple(map(Lane, spans)))(*lengths)


def spans(team: Team, level: int) -> tuple[tuple[int, ...], ...]:
    """The axes along which each segment of a role's context varies."""
    script = team.scripts[level]
    found: list[tuple[int, ...]] = [(), (BATCH,)] if script.told else [(BATCH,)]
    for index in script.reads:
        axes = {*found[-1], *team.protocol.spans[index], index}
        found.append(tuple(sorted(axes)))
    return tuple(found)


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


def sizes(team: Team, axes: tuple[int, ...], batch: int) -> tuple[int, ...]:
    """How many there are along each axis, for `batch` questions."""
    return tuple(
        batch if axis == BATCH else team.protocol.branching[axis] for axis in axes
    )
