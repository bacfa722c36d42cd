"""Decode slots: contexts with a few messages each, written side by side on the devices.

Slots of one width make a pool. Programs here put a slot into a pool, take one out with
some of its rows, and copy its messages to where the tree keeps them.
"""

import functools

import jax
import jax.numpy as jnp
from flax import struct

from c3jax.core import sharding
from c3jax.core.types import Segment, Turn
from c3jax.rollout import decode
from c3jax.rollout.contexts import Team


@struct.dataclass
class DecodeSlot:
    """The contents of one slot or, with a first axis of slots, of a pool.

    Arrays of a pool have the axis of slots where those of a tree have questions.

    Attributes:
        segments: the context behind the instruction; [L, .., kv_heads, S, head_dim]
            keys and values.
        node: [.., R] keys.
        state: R messages, with one clock a slot.
    """

    segments: tuple[Segment, ...]
    node: jax.Array
    state: decode.DecodeState


def slot_axes(slot: DecodeSlot) -> DecodeSlot:
    """The place of the axis of slots: behind that of layers, where there is one."""
    return DecodeSlot(
        segments=tuple(Segment(k=1, v=1, length=0) for _ in slot.segments),
        node=0,
        state=slot.state.replace(
            t=0, token=0, turn=jax.tree.map(lambda _: 0, slot.state.turn), cache=(1, 1)
        ),
    )


def spread(team: Team, pool: DecodeSlot) -> DecodeSlot:
    """The slots of a pool, divided among the devices."""
    if team.mesh is None:
        return pool

    def place(axis, x):
        # Only keys and values have layers in front of the slots.
        where = sharding.kv(team.mesh, x.ndim) if axis else sharding.batch(team.mesh)
        return jax.lax.with_sharding_constraint(x, where)

    return jax.tree.map(place, slot_axes(pool), pool)


@functools.partial(jax.jit, static_argnums=(0, 2))
def allocate(team: Team, slot: DecodeSlot, width: int) -> DecodeSlot:
    """A pool of `width` slots, all like this one."""

    def repeat(axis, x):
        return jnp.repeat(jnp.expand_dims(x, axis), width, axis)

    return spread(team, jax.tree.map(repeat, slot_axes(slot), slot))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def insert(team: Team, pool: DecodeSlot, slot: DecodeSlot, at: jax.Array) -> DecodeSlot:
    """The pool with slot number `at` replaced."""

    def put(axis, whole, one):
        return jax.lax.dynamic_update_index_in_dim(whole, one, at, axis)

    return spread(team, jax.tree.map(put, slot_axes(pool), pool, slot))


@functools.partial(jax.jit, static_argnums=0)
def evict(
    team: Team, pool: DecodeSlot, at, rows: jax.Array, count: jax.Array
) -> DecodeSlot:
    """Slot number `at` with some of its rows; of these the first `count` go on."""

    def pick(axis, x):
        if team.mesh is not None and axis:
            return sharding.kv_at(team.mesh, x, at)
        return jax.lax.dynamic_index_in_dim(x, at, axis, keepdims=False)

    slot = jax.tree.map(pick, slot_axes(pool), pool)
    state = slot.state
    turn = jax.tree.map(lambda x: x[rows], state.turn)
    is_idle = jnp.arange(rows.shape[0]) >= count
    return slot.replace(
        node=slot.node[rows],
        state=state.replace(
            token=state.token[rows],
            turn=turn.replace(ended=turn.ended | is_idle),
            cache=tuple(x[:, rows] for x in state.cache),
        ),
    )


@functools.partial(jax.jit, donate_argnums=0)
def write_back(written: Turn, pool: DecodeSlot, at, context, siblings) -> Turn:
    """The messages of a level with those of slot `at`; unfinished ones come again.

    Args:
        written: [contexts, K] messages, the argument's memory is used again.
        pool: the slot's pool.
        at: scalar int, the slot's place in it.
        context: scalar int, the context in the slot.
        siblings: [R] int, per row which sibling; K for an empty row.
    """

    def put(whole, one):
        return whole.at[context, siblings].set(one[at], mode="drop")

    return jax.tree.map(put, written, pool.state.turn)
