"""Which messages are scored, and which of them is the answer of each leaf."""

import math
from collections.abc import Sequence

import jax
import numpy as np

from c3jax.core.types import Turn
from c3jax.credit import arrays
from c3jax.rollout.contexts import Team


def levels(team: Team) -> tuple[int, ...]:
    """Levels whose messages may be scored.

    That is the last one; where votes are counted, those that are; where a talk may
    finish before its last role, all that hold an answer.
    """
    roles = team.protocol.roles
    if roles[-1].counts:
        return team.scripts[-1].reads
    last = len(roles) - 1
    return tuple(
        level
        for level, role in enumerate(roles)
        if level == last or (team.finishes and role.solves)
    )


def of_leaves(team: Team, turns: Sequence[Turn]) -> np.ndarray:
    """Where the answer of each leaf is, of a talk that may finish: the last one given.

    Args:
        team: static description.
        turns: one a role, in NumPy arrays.

    Returns:
        [B, k_1, .., k_R] int, the place among the messages of `levels`, level after
        level and each row-major; -1 where nobody answered.
    """
    protocol, first = team.protocol, 0
    sizes = (len(turns[0].length), *protocol.branching)
    found = np.full(sizes, -1)
    for level in levels(team):
        length = turns[level].length
        places = first + np.arange(length[0].size).reshape(length.shape[1:])
        places = np.where(length > 0, places, -1)
        places = arrays.on_tree(places, protocol.spans[level], level, sizes)
        found = np.where(places < 0, found, places)
        first += length[0].size
    return found


def cut(team: Team, turns: Sequence[Turn]) -> np.ndarray:
    """How many messages on the way to each leaf were cut at their limit.

    Args:
        team: static description.
        turns: one a role, in NumPy arrays.

    Returns:
        [B, k_1, .., k_R] int.
    """
    protocol = team.protocol
    sizes = (len(turns[0].length), *protocol.branching)
    found = np.zeros(sizes, int)
    for level, turn in enumerate(turns):
        here = ~turn.ended & (turn.length > 0)
        found += arrays.on_tree(here, protocol.spans[level], level, sizes)
    return found


def used(answer: np.ndarray, count: int) -> np.ndarray:
    """Which messages are the answer of a leaf, each to be scored once.

    Args:
        answer: as `of_leaves`.
        count: messages of `levels` per question.

    Returns:
        [B, count] bool.
    """
    found = np.zeros((len(answer), count + 1), bool)
    np.put_along_axis(found, answer.reshape(len(answer), -1), True, 1)
    return found[:, :count]  # Nobody's answer, -1, is behind them.


def texts(setup, turns, levels, share: np.ndarray, count: int) -> list[str]:
    """Messages of some levels on a share of the questions, question by question.

    Args:
        setup: of the run.
        turns: one a level, on the host.
        levels: of roles.
        share: rows of this process.
        count: how many of them are asked for.
    """
    found = []
    for turn, level in zip(turns, levels, strict=True):
        mine = jax.tree.map(lambda x: x[share[:count]], turn)
        each = math.prod(turn.length.shape[1:])
        said = setup.texts(mine, level)
        found.append([said[row * each : (row + 1) * each] for row in range(count)])
    return [text for each in zip(*found, strict=True) for some in each for text in some]
