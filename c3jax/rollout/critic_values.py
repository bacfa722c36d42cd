"""A critic's values of the contexts in a tree, or of the messages.

A critic is one more reader of the same token ids. Its team is that of the tree with the
critic in every role (`critic_team`), and each context is computed once for all messages
that share it, as it is for a policy.
"""

import chex
import jax
import jax.numpy as jnp

from c3jax.core.types import Questions, Turn
from c3jax.policy import decoder, value_head
from c3jax.rollout import contexts
from c3jax.rollout.contexts import BATCH, PolicyRef, Team

NAME = "critic"


def critic_team(team: Team, shape: decoder.Shape) -> Team:
    """The team as a critic reads it.

    Args:
        shape: sizes of the critic, whose parameters are under `NAME`.
    """
    critic = PolicyRef(shape.replace(mesh=team.mesh), NAME)
    return team.replace(policies=(critic,) * len(team.policies))


def of_contexts(
    params: dict, team: Team, level: int, questions: Questions, turns: tuple[Turn, ...]
) -> jax.Array:
    """V(context) of one role, read at the context's last token.

    Args:
        params: the critic, with the head "value".
        turns: at least the turns of the roles it reads.

    Returns:
        [B, N] float32 in reward units, differentiable.
    """
    critic, _ = team.policy(params, level)
    first_token = team.templates[level].first_token
    axes = (BATCH, *team.protocol.ancestors[level])
    sizes = contexts.sizes(team, axes, questions.uid.shape[0])
    inputs = jnp.full((*sizes, 1), first_token, jnp.int32)
    hidden = contexts.hidden(params, team, level, questions, turns, inputs, axes)
    value = value_head.predict(critic, "value", hidden)
    return value.reshape(value.shape[0], -1)


def of_messages(
    params: dict, team: Team, level: int, questions: Questions, turns: tuple[Turn, ...]
) -> jax.Array:
    """Q(context, message) of one role, read at the message's last token.

    That is its end token, or where it was cut; for an empty message it is the last
    token of the context.

    Args:
        params: the critic, with the head "q".
        turns: its turn, and at least those of the roles it reads.

    Returns:
        [B, N, K] float32 in reward units, differentiable.
    """
    critic, turn = team.policy(params, level)[0], turns[level]
    chex.assert_rank([turn.tokens, turn.length], [4, 3])
    axes = (BATCH, *team.protocol.ancestors[level], level)
    sizes = contexts.sizes(team, axes, turn.tokens.shape[0])
    tokens = turn.tokens.reshape(*sizes, -1)
    inputs = contexts.after(tokens, team.templates[level].first_token)
    hidden = contexts.hidden(params, team, level, questions, turns, inputs, axes)
    predicted = value_head.predict(critic, "q", hidden)
    last = turn.length.reshape(*sizes, 1)
    return jnp.take_along_axis(predicted, last, -1).reshape(turn.length.shape)


# A critic's heads, which are fields of `Evidence`, to the functions that read them.
VALUES = {"value": of_contexts, "q": of_messages}
