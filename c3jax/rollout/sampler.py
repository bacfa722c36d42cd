"""The trees of one step: a nested one, or those of a vine.

A vine (TRPO, arXiv:1502.05477, section 5.2; VinePPO, arXiv:2410.01679) is one base
episode, with alternatives and their continuations at each of its decisions. The tree of
a decision has the base episode's context there, K messages sampled from it, and M
continuations of each. It is an ordinary tree of the same team whose first levels are
given, so it is sampled, scored, credited, learned from and replayed like any other.

The base episode's own message at a decision only leads to the next context. The K
messages are drawn independently of it, and the trees of each other: each tree has a key
of its own. All messages before a decision are given, even those that its role does not
read; the later ones are sampled again in its tree.
"""

from collections.abc import Callable, Iterator

import jax

from c3jax.core import keys
from c3jax.core.types import Questions, Turn
from c3jax.rollout import continuous, loads
from c3jax.rollout.contexts import Team
from c3jax.rollout.tree import Tree


def address(seed: int, step: int, decision: int | None = None) -> jax.Array:
    """The key of a decision's tree, or of the base episode or a nested tree.

    Args:
        decision: index of the role that decides; None for the base episode, whose key
            is that of a nested tree.
    """
    if decision is None:
        return jax.random.fold_in(keys.stream(seed, "rollout"), step)
    at_step = jax.random.fold_in(keys.stream(seed, "vine"), step)
    return jax.random.fold_in(at_step, decision)


def base(team: Team) -> Team:
    """The team of a vine's base episode; no role reads the last one's message."""
    last = len(team.protocol.roles) - 1
    return team.silencing(last).replace(protocol=team.protocol.chain())


def decisions(team: Team) -> tuple[Team, ...]:
    """The team of each decision of a vine, a role each; the roles before are given."""
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

    Yields:
        Each tree, and the load of sampling it. For a vine, the base episode comes
        first, which compares no messages, then a tree for each role.

    Raises:
        signals.Stopped: `stop` was true.
    """
    key = address(seed, step)
    if not team.protocol.continuations:
        turns, load = continuous.sample(params, team, questions, key, stop=stop)
        yield whole(team, turns), load
        return

    base_team = base(team)
    base_turns, load = continuous.sample(params, base_team, questions, key, stop=stop)
    yield Tree(base_turns, base_team, ()), load
    for level, decision in enumerate(decisions(team)):
        given = dict(enumerate(base_turns[:level]))
        key = address(seed, step, level)
        turns, load = continuous.sample(params, decision, questions, key, given, stop)
        yield Tree(turns, decision, (level,), tuple(given)), load


def whole(team: Team, turns: tuple[Turn, ...]) -> Tree:
    """A tree that compares the messages of all roles that write."""
    levels = range(len(turns))
    return Tree(turns, team, tuple(n for n in levels if n not in team.silenced))
