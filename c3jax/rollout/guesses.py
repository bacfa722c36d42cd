"""What a critic says of a tree: of the contexts in it, or of the messages.

A critic is one more reader of the same token ids. Its team is that of the tree with the
critic in every role (`watched`), and each context is computed once for all messages
that share it, as it is for a policy.
"""

import jax
import jax.numpy as jnp

from c3jax.core.types import Questions, Turn
from c3jax.policy import critic, decoder
from c3jax.rollout import contexts
from c3jax.rollout.contexts import BATCH, Part, Team

NAME = "critic"


def watched(team: Team, shape: decoder.Shape) -> Team:
    """The team as a critic reads it.

    Args:
        team: that grew the trees.
        shape: of the critic, whose parameters are under `NAME`.
    """
    part = Part(shape.replace(mesh=team.mesh), NAME)
    return team.replace(cast=(part,) * len(team.cast))


def of_contexts(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
) -> jax.Array:
    """V(context) of one role, read at the context's last token: its opener.

    Args:
        params: the critic, with the head "value".
        team: of `watched`.
        level: index of the role.
        questions: heads of B questions.
        turns: at least the turns of the roles it reads.

    Returns:
        [B, N] float32 in reward units, differentiable.
    """
    mind, opener = team.policy(params, level)[0], team.scripts[level].opener
    axes = (BATCH, *team.protocol.spans[level])
    sizes = contexts.sizes(team, axes, questions.uid.shape[0])
    inputs = jnp.full((*sizes, 1), opener, jnp.int32)
    hidden = contexts.hidden(params, team, level, questions, turns, inputs, axes)
    found = critic.guess(mind, "value", hidden)
    return found.reshape(found.shape[0], -1)


def of_messages(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
) -> jax.Array:
    """Q(context, message) of one role, read at the message's last token.

    That is its end token, or where it was cut; of an empty message, the opener.

    Args:
        params: the critic, with the head "q".
        team: of `watched`.
        level: index of the role.
        questions: heads of B questions.
        turns: its turn, and at least those of the roles it reads.

    Returns:
        [B, N, K] float32 in reward units, differentiable.
    """
    mind, turn = team.policy(params, level)[0], turns[level]
    axes = (BATCH, *team.protocol.spans[level], level)
    sizes = contexts.sizes(team, axes, turn.tokens.shape[0])
    tokens = turn.tokens.reshape(*sizes, -1)
    inputs = contexts.after(tokens, team.scripts[level].opener)
    hidden = contexts.hidden(params, team, level, questions, turns, inputs, axes)
    guess = critic.guess(mind, "q", hidden)
    last = turn.length.reshape(*sizes, 1)
    found = jnp.take_along_axis(guess, last, -1)
    return found.reshape(turn.length.shape)


# Fields of `Evidence`, and heads of a critic, to what reads them.
GUESSES = {"value": of_contexts, "q": of_messages}
