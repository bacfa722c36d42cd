"""Which talks are over: after a message with a mark nobody who reads it writes."""

import functools

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
        mark: of M characters.
        table: how tokens write it, see `protocol.marks`.
        turn: some messages.

    Returns:
        [B, N, K] bool.
    """
    states = np.frombuffer(table, np.uint8).reshape(-1, len(mark))

    def read(state, at):
        t, token = at
        last = jnp.minimum(state, len(mark) - 1)
        # Beyond the table are ids that no text has.
        after = jnp.asarray(states).at[token, last].get(mode="fill", fill_value=0)
        goes_on = (t < turn.length) & (state < len(mark))
        return jnp.where(goes_on, after, state), None

    tokens = jnp.moveaxis(turn.tokens, -1, 0)
    none = jnp.zeros(turn.length.shape, jnp.uint8)
    state, _ = jax.lax.scan(read, none, (jnp.arange(len(tokens)), tokens))
    return state == len(mark)


def over(team: contexts.Team, level: int, turns: tuple[Turn, ...]) -> jax.Array | None:
    """The contexts of a role in which somebody has ended the talk.

    Args:
        team: static description.
        level: index of the role.
        turns: at least those of its ancestors.

    Returns:
        [B, k_a, k_b, ..] bool, an axis an ancestor; None if none of them could end it.
    """
    protocol, found = team.protocol, None
    axes = protocol.spans[level]
    sizes = [protocol.branching[axis] for axis in axes]
    for index in axes:
        table = team.scripts[index].finish
        if not table:
            continue
        own = {*protocol.spans[index], index}
        shape = [k if a in own else 1 for a, k in zip(axes, sizes, strict=True)]
        said = marked(protocol.roles[index].finishes, table, turns[index])
        said = said.reshape(-1, *shape)
        found = said if found is None else found | said
    return None if found is None else jnp.broadcast_to(found, (len(found), *sizes))
