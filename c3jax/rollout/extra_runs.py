"""Extra runs that an estimator needs beside the tree: the team with roles silenced.

A silenced role's message is empty; its readers see the words around it. `EXTRA` names
the evidence that comes from such runs. A critic's values of a tree (`value`, `q`) need
no run, and are not in it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from c3jax.core.types import Questions, Turn
from c3jax.rollout import continuous, loads
from c3jax.rollout.contexts import Team


class Run(NamedTuple):
    """One more rollout of the team.

    Attributes:
        team: the team, with its branching and the roles that are silenced.
        given: levels whose messages are those of the tree.
    """

    team: Team
    given: tuple[int, ...] = ()

    def sample(
        self,
        params: dict,
        questions: Questions,
        turns: Sequence[Turn],
        key: jax.Array,
        stop: Callable[[], bool] = lambda: False,
    ) -> tuple[tuple[Turn, ...], loads.Load]:
        """Samples the run; see `continuous.sample`.

        Args:
            turns: the tree's, one a role.
            key: another key than that of the tree.
        """
        given = {level: turns[level] for level in self.given}
        return continuous.sample(params, self.team, questions, key, given, stop)


def alone(team: Team) -> Run:
    """The last role without the messages of the others, once for each leaf of the tree.

    All of its answers are siblings: they have one context.
    """
    last = len(team.protocol.roles) - 1
    return Run(_silenced(team, range(last), (1,) * last + (team.protocol.leaves,)))


def removed(team: Team, level: int) -> Run:
    """The tree as it would be had one role written nothing.

    Roles that read it, directly or indirectly, are sampled again; the other messages
    are those of the tree. With the last role silenced every leaf has the same empty
    answer, so one is sampled; if the dialogue may end early, the previous answer counts
    instead.
    """
    ancestors = team.protocol.ancestors
    if level == len(ancestors) - 1 and not team.finishes:
        return Run(_silenced(team, range(len(ancestors)), (1,) * len(ancestors)))
    kept = (n for n, above in enumerate(ancestors) if level not in (n, *above))
    rest = _silenced(team, (level,), team.protocol.branching)
    return Run(rest, tuple(n for n in kept if n not in rest.silenced))


def _silenced(team: Team, levels, branching: tuple[int, ...]) -> Team:
    return team.silencing(*levels).replace(protocol=team.protocol.branched(branching))


class Extra(NamedTuple):
    """A field of `Evidence` that comes from extra runs.

    Attributes:
        runs: (team) -> the runs.
        field: (leaf rewards of each run) -> the field's value.
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
