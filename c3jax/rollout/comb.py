"""A comb: one base episode, and at each of its decisions alternatives that go on.

A *tooth* is one decision: the context that the base episode came to there, K messages
sampled from it, and M continuations of each. It is an ordinary tree of the same team
whose first levels are given, so it is grown, scored and replayed like any other.

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


def grow(
    params: dict,
    team: Team,
    questions: Questions,
    seed: int,
    step: int,
    stop: Callable[[], bool] = lambda: False,
) -> Iterator[tuple[tuple[Turn, ...], loads.Load]]:
    """Samples the base episode, then tooth after tooth.

    Args:
        params: the behaviour policies.
        team: whose protocol is a comb.
        questions: heads of B questions.
        seed: of the run.
        step: which step; see `address`.
        stop: as of `desks.grow`.

    Yields:
        One `Turn` a role of the base episode, and what it took; then the same of each
        tooth, the given messages with it.
    """
    key = address(seed, step)
    said, load = desks.grow(params, base(team), questions, key, stop=stop)
    yield said, load
    for level, tooth in enumerate(teeth(team)):
        given = dict(enumerate(said[:level]))
        key = address(seed, step, level)
        yield desks.grow(params, tooth, questions, key, given, stop)


def at(
    team: Team, level: int, turns: tuple[Turn, ...], base: tuple[Turn, ...]
) -> tuple[Team, tuple[Turn, ...]]:
    """A role's messages and what they were written after, as `tree.logp` reads both.

    Args:
        team: static description.
        level: index of the role.
        turns: one a role; of a comb, [B, 1, K] alternatives to what the base says.
        base: of a comb, the base episode but for the last role's turn; () of a tree.
    """
    if not team.protocol.continuations:
        return team, turns
    return teeth(team)[level], (*base[:level], turns[level])
