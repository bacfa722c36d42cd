"""Extra runs that an estimator needs beside the tree: the team with somebody silent.

A silent role's message is empty; who reads it reads the words around it. `EXTRA` names
what can be gathered so. What a critic says of a tree (`value`, `q`) needs no run, and
is not in it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from c3jax.core.types import Questions, Turn
from c3jax.rollout import desks, loads
from c3jax.rollout.contexts import Team


class Run(NamedTuple):
    """A team that plays once more.

    Attributes:
        team: with its branching, and who is silent.
        given: levels whose messages are those of the tree.
    """

    team: Team
    given: tuple[int, ...] = ()

    def grow(
        self,
        params: dict,
        questions: Questions,
        turns: Sequence[Turn],
        key: jax.Array,
        stop: Callable[[], bool] = lambda: False,
    ) -> tuple[tuple[Turn, ...], loads.Load]:
        """Samples it; see `desks.grow`.

        Args:
            params: the behaviour policies.
            questions: heads of B questions.
            turns: the tree's, one a role.
            key: of this run, not that of the tree.
            stop: as of `desks.grow`.
        """
        given = {level: turns[level] for level in self.given}
        return desks.grow(params, self.team, questions, key, given, stop)


def alone(team: Team) -> Run:
    """The last role without a message of the others, once for each leaf of the tree.

    All of its answers are siblings: they have one context.
    """
    last = len(team.protocol.roles) - 1
    return Run(_silent(team, range(last), (1,) * last + (team.protocol.leaves,)))


def removed(team: Team, level: int) -> Run:
    """The tree as it would be had one role said nothing.

    Who could have read it, at first or at second hand, speaks again; the other messages
    are those of the tree. If it is the last role that is silent, all leaves are the
    same empty answer, and there is one of them; but where a talk may finish earlier,
    the answer is then the one before.
    """
    spans = team.protocol.spans
    if level == len(spans) - 1 and not team.finishes:
        return Run(_silent(team, range(len(spans)), (1,) * len(spans)))
    kept = (n for n, span in enumerate(spans) if level not in (n, *span))
    silent = _silent(team, (level,), team.protocol.branching)
    return Run(silent, tuple(n for n in kept if n not in silent.silenced))


def _silent(team: Team, levels, branching: tuple[int, ...]) -> Team:
    silenced = tuple(sorted({*team.silenced, *levels}))
    protocol = team.protocol.branched(branching)
    return team.replace(protocol=protocol, silenced=silenced)


class Extra(NamedTuple):
    """A field of `Evidence` that comes of running the team once more.

    Attributes:
        runs: (team) -> the runs.
        field: (leaf rewards of each run) -> the field.
    """

    runs: Callable[[Team], tuple[Run, ...]]
    field: Callable[[Sequence[np.ndarray]], object]


def _removed(team: Team) -> tuple[Run, ...]:
    return tuple(removed(team, level) for level in range(len(team.protocol.roles)))


EXTRA: Mapping[str, Extra] = {
    "solo": Extra(
        lambda team: (alone(team),),
        lambda reward: reward[0].reshape(len(reward[0]), -1),
    ),
    "without": Extra(_removed, tuple),
}
