"""Frozen contexts: messages sampled from one, their continuations, trees around it.

A context is frozen by the messages in it. Three things are sampled from it: messages of
the role that reads it (`sampled`), the team's continuations of each (`continued`), and
a tree as in training that holds the context and some of the messages (`around`). Each
is the team's own rollout with some levels given.
"""

from collections.abc import Callable, Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np

from c3jax.core.types import Questions, Turn
from c3jax.rollout import continuous
from c3jax.rollout.contexts import Team

Given = Mapping[int, Turn]


def repeated(questions: Questions, times: int, first: int) -> Questions:
    """The same questions several times, each copy with draws of its own.

    Args:
        first: address of the first row; the others count up.

    Returns:
        times * B questions, all once, then all again.
    """
    uid = first + jnp.arange(times * questions.uid.shape[0], dtype=jnp.uint32)
    return tiled(questions, times).replace(uid=uid)


def tiled(trees, times: int):
    """Arrays [B, ..] as [times * B, ..], all rows once, then all again."""
    return jax.tree.map(lambda x: jnp.tile(x, (times, *[1] * (x.ndim - 1))), trees)


def sampled(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    given: Given,
    alternatives: int,
    key: jax.Array,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Team, tuple[Turn, ...]]:
    """Messages of one role, all from one context a question.

    Args:
        team: the team; its branching does not matter.
        given: [B, 1, 1] messages of the roles it depends on, by level.
        alternatives: K, messages a question.
        key: the root of these draws alone.

    Returns:
        The team with the branching and the silenced roles of this rollout, and a `Turn`
        a role: [B, 1, K] messages of this one, the given ones, and empty others.
    """
    count = len(team.protocol.roles)
    others = (n for n in range(count) if n != level and n not in given)
    alone = _branched(team, {level: alternatives}).silencing(*others)
    return alone, continuous.sample(params, alone, questions, key, given, stop)[0]


def chain(
    params: dict,
    team: Team,
    questions: Questions,
    key: jax.Array,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Team, tuple[Turn, ...]]:
    """Samples one episode a question, [B, 1, 1] a role; the last role is silenced.

    Returns:
        The team with the branching and the silenced roles of this rollout, and a `Turn`
        a role.
    """
    last = len(team.protocol.roles) - 1
    alone = _branched(team, {}).silencing(last)
    return alone, continuous.sample(params, alone, questions, key, stop=stop)[0]


def continued(team: Team, level: int, alternatives: int, times: int):
    """Plans the continuations of some messages, each independent of the others.

    Where one role reads the message before all others do, it writes `times` messages
    and the context is computed once for all. Otherwise, say where a later role does not
    read it, the whole tree is sampled `times` times.

    Args:
        team: the team; its branching does not matter.
        level: index of the role that wrote the messages.

    Returns:
        The team with the branching to sample with, and the number of copies of the
        questions. Leaves [copies * B, k_1, .., k_R] are [copies, B, alternatives, m]
        in this order, with copies * m = times unless no role writes after this one.
    """
    ancestors = team.protocol.ancestors
    rest = [
        n for n in range(len(ancestors)) if n != level and n not in ancestors[level]
    ]
    if not rest:
        return _branched(team, {level: alternatives}), 1

    # Whether the first of the others stands between the message and all the rest.
    first = rest[0]
    if all(level in ancestors[n] and first in (n, *ancestors[n]) for n in rest):
        return _branched(team, {level: alternatives, first: times}), 1
    return _branched(team, {level: alternatives}), times


def around(
    params: dict,
    team: Team,
    questions: Questions,
    given: Given,
    key: jax.Array,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Turn, ...]:
    """Samples a whole tree of the team around some given messages.

    They stand first: in the first context of their level, before its other siblings,
    which are sampled, as are all other contexts.

    Args:
        team: the team, with the branching of the tree.
        given: per level, [B, 1, k] messages, k at most the alternatives there; a level
            that depends on others is given with all of these.
        key: the root of this tree's draws.

    Returns:
        One `Turn` a role.
    """
    protocol, turns = team.protocol, {}
    for level in range(len(protocol.roles)):
        frozen = given.get(level)
        whole = (protocol.contexts(level), protocol.branching[level])
        if frozen is not None and frozen.length.shape[1:] == whole:
            turns[level] = frozen
            continue
        # One level at a time, since the next ones have to read the given messages.
        so_far = team.silencing(*range(level + 1, len(protocol.roles)))
        turn = continuous.sample(params, so_far, questions, key, turns, stop)[0][level]
        turns[level] = turn if frozen is None else _put(turn, frozen)
    return tuple(turns.values())


def groups(turn: Turn, size: int) -> Turn:
    """[B, 1, K] messages as [K / size * B, 1, size], group after group."""
    chex.assert_shape(turn.length, (None, 1, None))

    def cut(x):
        parts = x.reshape(x.shape[0], -1, size, *x.shape[3:])
        return jnp.moveaxis(parts, 1, 0).reshape(-1, 1, size, *x.shape[3:])

    return jax.tree.map(cut, turn)


def _put(turn: Turn, first: Turn) -> Turn:
    count = first.length.shape[2]
    return jax.tree.map(lambda x, y: x.at[:, :1, :count].set(y), turn, first)


def _branched(team: Team, sizes: Mapping[int, int]) -> Team:
    """The team with the branching of these levels; 1 elsewhere."""
    levels = range(len(team.protocol.roles))
    branching = tuple(sizes.get(level, 1) for level in levels)
    return team.replace(protocol=team.protocol.branched(branching))


def leaves(values: np.ndarray, copies: int, alternatives: int) -> np.ndarray:
    """Values of the leaves of `continued`, message by message.

    Args:
        values: [copies * B, ..], one a leaf.
        copies: the number that `continued` returned.

    Returns:
        [B, alternatives, times].
    """
    parts = np.reshape(values, (copies, len(values) // copies, alternatives, -1))
    return np.moveaxis(parts, 0, 2).reshape(*parts.shape[1:3], -1)
