"""The trees of one step: a nested one, or those of a comb.

A comb is one base episode, and at each of its decisions alternatives that go on. A
*tooth* is one decision: the context that the base episode came to there, K messages
sampled from it, and M continuations of each. It is an ordinary tree of the same team
whose first levels are given, so it is sampled, scored, credited, learned from and
replayed like any other.

What the base episode says at a decision only leads to the next context. The K messages
are drawn independently of it, and the teeth of each other: every tooth has a key of its
own. All roles before a decision are given, those too that its role does not read; the
others speak again in the tooth.
"""

from collections.abc import Callable, Iterator

import jax

from c3jax.core import keys
from c3jax.core.types import Questions, Turn
from c3jax.rollout import desks, loads
from c3jax.rollout.contexts import Team
from c3jax.rollout.tree import Tree


def address(seed: int, step: int, tooth: int | None = None) -> jax.Array:
    """The key of one tooth, or of the base episode, which is that of the step's tree.

    Args:
        seed: of the run.
        step: which step.
        tooth: index of the role that decides; None for the base episode.
    """
    if tooth is None:
        return jax.random.fold_in(keys.stream(seed, "rollout"), step)
    at_step = jax.random.fold_in(keys.stream(seed, "comb"), step)
    return jax.random.fold_in(at_step, tooth)


def base(team: Team) -> Team:
    """The team as it plays the base episode; nobody reads the last role's message.

    Args:
        team: whose protocol is a comb.
    """
    last = len(team.protocol.roles) - 1
    silenced = tuple(sorted({*team.silenced, last}))
    return team.replace(protocol=team.protocol.chain(), silenced=silenced)


def teeth(team: Team) -> tuple[Team, ...]:
    """The team as it plays each tooth, one a role; the roles before it are given.

    Args:
        team: whose protocol is a comb.
    """
    return tuple(team.replace(protocol=tree) for tree in team.protocol.trees)


def trees(
    params: dict,
    team: Team,
    questions: Questions,
    seed: int,
    step: int,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[Tree, loads.Load]]:
    """Samples the trees of a step, one after the other.

    Args:
        params: the behaviour policies.
        team: static description.
        questions: heads of B questions.
        seed: of the run.
        step: which step; see `address`.
        stop: as of `desks.grow`.

    Yields:
        Each tree, and what it took. Of a comb, first the base episode, which compares
        nobody's messages, then a tree for each role.

    Raises:
        signals.Stopped: it was stopped.
    """
    key = address(seed, step)
    if not team.protocol.continuations:
        turns, load = desks.grow(params, team, questions, key, stop=stop)
        yield whole(team, turns), load
        return
    alone = base(team)
    said, load = desks.grow(params, alone, questions, key, stop=stop)
    yield Tree(said, alone, ()), load
    for level, tooth in enumerate(teeth(team)):
        given = dict(enumerate(said[:level]))
        key = address(seed, step, level)
        turns, load = desks.grow(params, tooth, questions, key, given, stop)
        yield Tree(turns, tooth, (level,), tuple(given)), load


def whole(team: Team, turns: tuple[Turn, ...]) -> Tree:
    """A tree that compares the messages of all who write."""
    levels = range(len(turns))
    return Tree(turns, team, tuple(n for n in levels if n not in team.silenced))
