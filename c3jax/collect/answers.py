"""Which messages are scored, and which of them is the answer of each leaf."""

import math
from collections.abc import Sequence

import chex
import jax
import numpy as np

from c3jax.core.types import Turn
from c3jax.credit import arrays
from c3jax.rollout.contexts import Team


def levels(team: Team) -> tuple[int, ...]:
    """Role indices whose messages may be scored.

    That is the last role; under a vote, the voters; in a dialogue that may finish
    early, every role that answers.
    """
    roles = team.protocol.roles
    if roles[-1].counts:
        return team.templates[-1].reads
    last = len(roles) - 1
    return tuple(
        level
        for level, role in enumerate(roles)
        if level == last or (team.finishes and role.solves)
    )


def of_leaves(team: Team, turns: Sequence[Turn]) -> np.ndarray:
    """The last answer on the path to each leaf, in a dialogue that may finish early.

    Args:
        team: as it was sampled.
        turns: one a role, in NumPy arrays.

    Returns:
        [B, k_1, .., k_R] int, an index into the messages of `levels`, level after
        level and each row-major; -1 where the episode has no answer.
    """
    chex.assert_rank([turn.length for turn in turns], 3)
    protocol, first = team.protocol, 0
    sizes = (len(turns[0].length), *protocol.branching)
    answer = np.full(sizes, -1)
    for level in levels(team):
        length = turns[level].length
        index = first + np.arange(length[0].size).reshape(length.shape[1:])
        index = np.where(length > 0, index, -1)
        index = arrays.on_tree(index, protocol.ancestors[level], level, sizes)
        # A later answer replaces an earlier one.
        answer = np.where(index < 0, answer, index)
        first += length[0].size
    return answer


def cut(team: Team, turns: Sequence[Turn]) -> np.ndarray:
    """How many messages on the path to each leaf were cut at their limit.

    Args:
        team: as it was sampled.
        turns: one a role, in NumPy arrays.

    Returns:
        [B, k_1, .., k_R] int.
    """
    chex.assert_rank([turn.length for turn in turns], 3)
    protocol = team.protocol
    sizes = (len(turns[0].length), *protocol.branching)
    count = np.zeros(sizes, int)
    for level, turn in enumerate(turns):
        is_cut = ~turn.ended & (turn.length > 0)
        count += arrays.on_tree(is_cut, protocol.ancestors[level], level, sizes)
    return count


def used(answer: np.ndarray, count: int) -> np.ndarray:
    """Which messages are the answer of a leaf, each to be scored once.

    Args:
        answer: as `of_leaves` returns it.
        count: messages of `levels` per question.

    Returns:
        [B, count] bool.
    """
    is_used = np.zeros((len(answer), count + 1), bool)
    np.put_along_axis(is_used, answer.reshape(len(answer), -1), True, 1)
    return is_used[:, :count]  # The index -1, no answer, is the column behind them.


def texts(setup, turns, levels, share: np.ndarray, count: int) -> list[str]:
    """Messages of some levels on a share of the questions, question by question.

    Args:
        setup: decodes the messages.
        turns: one a level, on the host.
        levels: role indices.
        share: rows of this process.
        count: how many of them are decoded, from the first.
    """
    by_level = []
    for turn, level in zip(turns, levels, strict=True):
        mine = jax.tree.map(lambda x: x[share[:count]], turn)
        decoded = setup.texts(mine, level)
        size = math.prod(turn.length.shape[1:])
        by_level.append([decoded[row * size :][:size] for row in range(count)])
    return [
        text
        for question in zip(*by_level, strict=True)
        for messages in question
        for text in messages
    ]
