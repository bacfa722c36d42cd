"""Frozen contexts: what may be said in one, what becomes of it, and trees around it.

A context is frozen by the messages in it. Three things are grown from it: messages of
the role that reads it (`sampled`), what the others make of each (`continued`), and a
tree as training grows one, in which the context and some of the messages have their
places (`around`). Each is the team's own rollout with some levels given.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from c3jax.core.types import Questions, Turn
from c3jax.rollout import desks
from c3jax.rollout.contexts import Team

Given = Mapping[int, Turn]


def repeated(questions: Questions, times: int, first: int) -> Questions:
    """The same questions again and again, each time with draws of their own.

    Args:
        questions: heads of B questions.
        times: how often.
        first: address of the first; the others follow.

    Returns:
        Heads of times * B questions, all once, then all again.
    """
    rows = first + jnp.arange(times * questions.uid.shape[0], dtype=jnp.uint32)
    return tiled(questions, times).replace(uid=rows)


def tiled(trees, times: int):
    """Arrays [B, ..] as [times * B, ..], all once, then all again."""
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
        params: the policies.
        team: static description; its branching does not matter.
        level: index of the role.
        questions: heads of B questions.
        given: [B, 1, 1] messages of the roles it depends on.
        alternatives: K.
        key: of this use.
        stop: as of `desks.grow`.

    Returns:
        The team as it spoke, and a `Turn` a role: [B, 1, K] messages of this one, and
        those of the given; the others say nothing.
    """
    count = len(team.protocol.roles)
    others = (n for n in range(count) if n != level and n not in given)
    alone = _silent(_branched(team, {level: alternatives}), others)
    return alone, desks.grow(params, alone, questions, key, given, stop)[0]


def chain(
    params: dict,
    team: Team,
    questions: Questions,
    key: jax.Array,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Team, tuple[Turn, ...]]:
    """One episode a question, [B, 1, 1] a role; the last role says nothing.

    Returns:
        The team as it spoke, and a `Turn` a role.
    """
    last = len(team.protocol.roles) - 1
    alone = _silent(_branched(team, {}), [last])
    return alone, desks.grow(params, alone, questions, key, stop=stop)[0]


def continued(team: Team, level: int, alternatives: int, times: int):
    """How the team goes on from each of some messages, independently each time.

    Where one role hears the message before all others do, it speaks `times` times and
    the context is computed once for all. Otherwise, say where somebody speaks who does
    not hear it, the whole tree is grown once for each time.

    Args:
        team: static description; its branching does not matter.
        level: index of the role whose messages they are.
        alternatives: how many messages there are.
        times: how often it goes on from each.

    Returns:
        The team with the branching of what is to be grown, and how many copies of the
        questions. Leaves [copies * B, k_1, .., k_R] are [copies, B, alternatives, m]
        in this order, with copies * m = times unless nobody speaks after the role.
    """
    spans = team.protocol.spans
    rest = [n for n in range(len(spans)) if n != level and n not in spans[level]]
    if not rest:
        return _branched(team, {level: alternatives}), 1
    first = rest[0]
    if all(level in spans[n] and first in (n, *spans[n]) for n in rest):
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
    """A whole tree of the team in which some messages are those given.

    They stand first: in the first context of their level, before its other siblings,
    which are sampled, as are all other contexts.

    Args:
        params: the policies.
        team: static description, with the branching of the tree.
        questions: heads of B questions.
        given: per level, [B, 1, k] messages, k at most the alternatives there; a level
            that depends on others is given with all of these.
        key: of this tree.
        stop: as of `desks.grow`.

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
        # One level at a time, since what comes next has to read what is given here.
        so_far = _silent(team, range(level + 1, len(protocol.roles)))
        found = desks.grow(params, so_far, questions, key, turns, stop)[0][level]
        turns[level] = found if frozen is None else _put(found, frozen)
    return tuple(turns.values())


def groups(turn: Turn, size: int) -> Turn:
    """[B, 1, K] messages as [K / size * B, 1, size], group after group."""

    def cut(x):
        parts = x.reshape(x.shape[0], -1, size, *x.shape[3:])
        return jnp.moveaxis(parts, 1, 0).reshape(-1, 1, size, *x.shape[3:])

    return jax.tree.map(cut, turn)


def _put(turn: Turn, first: Turn) -> Turn:
    count = first.length.shape[2]
    return jax.tree.map(lambda x, y: x.at[:, :1, :count].set(y), turn, first)


def _branched(team: Team, sizes: Mapping[int, int]) -> Team:
    every = range(len(team.protocol.roles))
    branching = tuple(sizes.get(level, 1) for level in every)
    return team.replace(protocol=team.protocol.branched(branching))


def _silent(team: Team, levels: Sequence[int]) -> Team:
    return team.replace(silenced=tuple(sorted({*team.silenced, *levels})))


def leaves(values: np.ndarray, copies: int, alternatives: int) -> np.ndarray:
    """What belongs to the leaves of `continued`, message by message.

    Args:
        values: [copies * B, ..], as many a row as leaves.
        copies: as there.
        alternatives: the same.

    Returns:
        [B, alternatives, times].
    """
    parts = np.reshape(values, (copies, len(values) // copies, alternatives, -1))
    return np.moveaxis(parts, 0, 2).reshape(*parts.shape[1:3], -1)
