"""Contexts of roles, as KV segments that are each computed at their own tree level.

Everything here is written for one sequence and vmapped over the axes of the tree (see
`vmaps`), so a segment is computed, stored and read once for everything below it.
Sampling, replay and training share `read` and `decoder.forward`, and so agree up to
rounding.
"""

import dataclasses
import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from c3jax.core.types import ContextTemplate, Questions, Segment, Turn
from c3jax.policy import decoder
from c3jax.protocol.graph import Protocol
from c3jax.rollout import draws, vmaps

# The axis of questions; a tree axis is named by the index of its role.
BATCH = -1


class PolicyRef(NamedTuple):
    """The policy of a role.

    Attributes:
        name: its key among the parameters; roles of one name share one policy.
    """

    shape: decoder.Shape
    name: str = "shared"


@dataclasses.dataclass(frozen=True)
class Team:
    """All that is static about a rollout; hashable, for jit.

    Parameters come as {name of a policy: its parameters}.

    Attributes:
        policies: per role, the policy that writes its messages.
        templates: per role, how its context is spelled.
        silenced: indices of roles whose messages are empty.
        max_concurrent: messages sampled at a time; 0 for all (see `continuous`).
        mesh: the devices, if there are several.
    """

    policies: tuple[PolicyRef, ...]
    protocol: Protocol
    templates: tuple[ContextTemplate, ...]
    sampling: draws.Sampling
    silenced: tuple[int, ...] = ()
    max_concurrent: int = 0
    mesh: jax.sharding.Mesh | None = None

    def replace(self, **changes) -> "Team":
        return dataclasses.replace(self, **changes)

    def silencing(self, *levels: int) -> "Team":
        """The same team with these roles silenced, too."""
        return self.replace(silenced=tuple(sorted({*self.silenced, *levels})))

    def reshaped(self, **changes) -> "Team":
        """The same team with some fields of every policy's shape changed."""
        policies = tuple(
            ref._replace(shape=ref.shape.replace(**changes)) for ref in self.policies
        )
        return self.replace(policies=policies)

    def policy(self, params: dict, level: int) -> tuple[dict, decoder.Shape]:
        """The parameters and sizes of a role's policy."""
        ref = self.policies[level]
        return params[ref.name], ref.shape

    @property
    def finishes(self) -> bool:
        """Whether a role may end the dialogue before its last role has written."""
        return any(template.finish for template in self.templates)

    @property
    def shapes(self) -> dict[str, decoder.Shape]:
        """The sizes of every policy, by name."""
        return {ref.name: ref.shape for ref in self.policies}


# A segment's tree axes stay behind its layer axis, which `jax.lax.scan` consumes first.
_KV = Segment(k=1, v=1, length=0)


class Context(NamedTuple):
    """A role's context: segments in order, and the axes along which each varies."""

    segments: tuple[Segment, ...] = ()
    axes: tuple[tuple[int, ...], ...] = ()

    @property
    def in_axes(self) -> tuple[vmaps.InAxes, ...]:
        return tuple(vmaps.InAxes(axes, _KV) for axes in self.axes)


class Piece(NamedTuple):
    """Token ids that are read as one block and become one segment.

    Attributes:
        ids: [*axes, T] int32, padded on the right.
        length: [*axes] int32, valid ids.
        axes: the axes along which they, or the pieces before them, vary.
    """

    ids: jax.Array
    length: jax.Array
    axes: tuple[int, ...]


def read(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
    instruction: Context | None = None,
) -> Context:
    """Computes a role's context, every piece at its own level of the tree.

    An instruction is computed once, the rest of a prompt once a question. A message is
    computed once for each history of its tokens, that is along its own axes and those
    of the pieces before it.

    Args:
        params: the policies; a role reads with its own.
        turns: at least the turns of the roles it reads.
        instruction: the result of `instruction`, where that was computed before.
    """
    pieces = _pieces(team, level, questions, turns)
    if instruction is None:
        instruction = Context()
    return _read(params, team, level, pieces[len(instruction.axes) :], instruction)[0]


def instruction(params: dict, team: Team, level: int) -> Context:
    """A role's instruction, where that is a piece of its own; else an empty context."""
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
        params, team, level, questions, turns: as in `read`.
        ids: [*axes, T] int32, padded.
        axes: tree axes, all those of the context among them.

    Returns:
        [*axes, T, width] hidden states of the block after the final norm.
    """
    chex.assert_rank(ids, len(axes) + 1)
    pieces = _pieces(team, level, questions, turns)
    length = jnp.full(ids.shape[:-1], ids.shape[-1], jnp.int32)
    pieces.append(Piece(ids, length, axes))
    return _read(params, team, level, pieces, Context(), last=True)[1]


def after(tokens: jax.Array, first_token: int) -> jax.Array:
    """[.., 1 + T] inputs whose hidden states score [.., T] tokens, or draw the next."""
    first = jnp.full((*tokens.shape[:-1], 1), first_token, jnp.int32)
    return jnp.concatenate([first, tokens], -1)


def _instruction(team: Team, level: int) -> list[Piece]:
    instruction = team.templates[level].instruction
    ids, length = jnp.array(instruction, jnp.int32), jnp.int32(len(instruction))
    return [Piece(ids, length, ())] if instruction else []


def _pieces(team: Team, level: int, questions, turns) -> list[Piece]:
    """The pieces of a role's context, in order."""
    template, piece_axes = team.templates[level], segment_axes(team, level)
    pieces, shared = _instruction(team, level), len(template.instruction)
    ids, length = questions.prompts[level], questions.lengths[level]
    chex.assert_rank([ids, length], [2, 1])
    pieces.append(Piece(ids[:, shared:], length - shared, (BATCH,)))
    for index, separator in zip(template.reads, template.separators, strict=True):
        own_axes = (BATCH, *team.protocol.ancestors[index], index)
        ids, length = splice(turns[index], separator)
        axes = piece_axes[len(pieces)]
        whole = sizes(team, axes, ids.shape[0])
        # Size 1 along axes that only the pieces before it have.
        own = tuple(
            size if axis in own_axes else 1
            for axis, size in zip(axes, whole, strict=True)
        )
        ids = jnp.broadcast_to(ids.reshape(*own, -1), (*whole, ids.shape[-1]))
        pieces.append(Piece(ids, jnp.broadcast_to(length.reshape(own), whole), axes))
    return pieces


def _read(params, team, level, pieces, context, last=False):
    """The context with the pieces after it; or the hidden states of the `last` piece.

    All pieces go through a layer before any goes through the next, as the rows of one
    matrix: so each weight is read once, and its gradient is written once. Over several
    devices every piece is a matrix of its own, since the rows of all would have to be
    split among the devices again.
    """
    policy, s = team.policy(params, level)

    # Positions of every piece, which follow from the lengths of all before it.
    lengths = [part.length for part in (*context.segments, *pieces)]
    axes = [*context.axes, *(piece.axes for piece in pieces)]
    first, waves = len(context.axes), []
    for at, piece in enumerate(pieces, first):
        above = axes[at - 1] if at else ()
        waves.append(_waves(s, piece.ids.shape[-1], above, axes[:at], lengths[:at]))

    # A pack is the pieces that share one matrix.
    packs = [pieces] if s.mesh is None else [[piece] for piece in pieces]

    def attend(kv, pack, *qkv):
        """Each piece of a pack in turn, after the `kv` of all before."""
        outs, kv = [], list(kv)
        for piece, *own in zip(pack, *(_apart(pack, x) for x in qkv), strict=True):
            at = len(kv)
            above = axes[at - 1] if at else ()
            past = [(k, v, n) for (k, v), n in zip(kv, lengths[:at], strict=True)]
            in_axes = (
                *[vmaps.InAxes(piece.axes)] * 3,
                vmaps.InAxes(above),
                [*map(vmaps.InAxes, axes[:at])],
            )
            one = functools.partial(decoder.attention, s)
            y, new = vmaps.nested_vmap(one, piece.axes, in_axes)(
                *own, waves[at - first], past
            )
            outs.append(y)
            kv.append(new)
        return _joined(pack, outs), kv

    def layer(weights, xs, kv):
        outs = []
        for pack, x in zip(packs, xs, strict=True):
            x, kv = decoder.layer(s, weights, x, functools.partial(attend, kv, pack))
            outs.append(x)
        return outs, None if last else kv[first:]

    # All layers. If only the last states are asked for, no segment is kept.
    xs = [
        decoder.embedded(policy, s, _joined(pack, [piece.ids for piece in pack]))
        for pack in packs
    ]
    past = [(segment.k, segment.v) for segment in context.segments]
    xs, kv = decoder.scan(policy, s, layer, xs, past)
    if last:
        return None, decoder.normed(policy, s, _apart(packs[-1], xs[-1])[-1])
    new = [Segment(k, v, n) for (k, v), n in zip(kv, lengths[first:], strict=True)]
    return Context((*context.segments, *new), tuple(axes)), None


def _apart(pack: list[Piece], x: jax.Array) -> list[jax.Array]:
    """Rows of one matrix, divided among its pieces: [N, ..] to [*axes, T, ..] each."""
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


def _waves(s, size, axes, before, lengths):
    """[*axes, 2, T, D / 2], positions of a block after segments of given lengths."""

    def waves(*lengths):
        return decoder.positions(s, sum(lengths), size)

    return vmaps.nested_vmap(waves, axes, tuple(map(vmaps.InAxes, before)))(*lengths)


def segment_axes(team: Team, level: int) -> tuple[tuple[int, ...], ...]:
    """The axes along which each segment of a role's context varies."""
    template = team.templates[level]
    axes = [(BATCH,)]
    for index in template.reads:
        own = {*axes[-1], *team.protocol.ancestors[index], index}
        axes.append(tuple(sorted(own)))
    return tuple([(), *axes] if template.instruction else axes)


def splice(turn: Turn, separator: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """A message as another role reads it: ids without the end token, then a separator.

    Args:
        turn: [B, N, K] messages.
        separator: P ids that follow each of them.

    Returns:
        [B, N, K, T + P] ids, zero-padded on the right, and [B, N, K] lengths.
    """
    chex.assert_rank([turn.tokens, turn.length], [4, 3])
    chex.assert_equal_shape([turn.length, turn.ended])
    kept = (turn.length - turn.ended)[..., None]
    slot = jnp.arange(turn.tokens.shape[-1] + len(separator))
    ids = jnp.pad(turn.tokens, [(0, 0)] * 3 + [(0, len(separator))])
    if separator:
        place = jnp.clip(slot - kept, 0, len(separator) - 1)
        ids = jnp.where(slot < kept, ids, jnp.array(separator, jnp.int32)[place])
    length = kept + len(separator)
    return jnp.where(slot < length, ids, 0), length[..., 0]


def sizes(team: Team, axes: tuple[int, ...], batch: int) -> tuple[int, ...]:
    """The size of each axis, for `batch` questions."""
    return tuple(
        batch if axis == BATCH else team.protocol.branching[axis] for axis in axes
    )
