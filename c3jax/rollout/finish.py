"""Dialogues that are over: no role that reads a message with a mark writes."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np

from c3jax.core.types import Turn
from c3jax.rollout import contexts


@functools.partial(jax.jit, static_argnums=(0, 1))
def marked(mark: str, table: bytes, turn: Turn) -> jax.Array:
    """Which messages hold a mark.

    With s_0 = 0 and token x_t, s_t = table[x_t, s_{t-1}], until that is M.

    Args:
        mark: M characters.
        table: [V, M] uint8, row-major, how tokens write it; see `protocol.marks`.
        turn: [B, N, K] messages.

    Returns:
        [B, N, K] bool.
    """
    chex.assert_rank([turn.tokens, turn.length], [4, 3])
    states = np.frombuffer(table, np.uint8).reshape(-1, len(mark))

    def read(state, slot):
        t, token = slot
        last = jnp.minimum(state, len(mark) - 1)
        # Ids beyond the table are in no text.
        after = jnp.asarray(states).at[token, last].get(mode="fill", fill_value=0)
        goes_on = (t < turn.length) & (state < len(mark))
        return jnp.where(goes_on, after, state), None

    tokens = jnp.moveaxis(turn.tokens, -1, 0)
    start = jnp.zeros(turn.length.shape, jnp.uint8)
    state, _ = jax.lax.scan(read, start, (jnp.arange(len(tokens)), tokens))
    return state == len(mark)


def over(team: contexts.Team, level: int, turns: tuple[Turn, ...]) -> jax.Array | None:
    """The contexts of a role in which an ancestor has ended the dialogue.

    Args:
        turns: at least those of its ancestors.

    Returns:
        [B, k_a, k_b, ..] bool, an axis an ancestor; None if none of them could end it.
    """
    protocol, is_over = team.protocol, None
    axes = protocol.ancestors[level]
    sizes = [protocol.branching[axis] for axis in axes]
    for index in axes:
        table = team.templates[index].finish
        if not table:
            continue
        # Along the ancestor's own axes; the same along all others.
        own = {*protocol.ancestors[index], index}
        shape = [k if a in own else 1 for a, k in zip(axes, sizes, strict=True)]
        ends = marked(protocol.roles[index].finishes, table, turns[index])
        ends = ends.reshape(-1, *shape)
        is_over = ends if is_over is None else is_over | ends
    if is_over is None:
        return None
    return jnp.broadcast_to(is_over, (len(is_over), *sizes))
