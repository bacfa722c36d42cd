"""Random evidence of the kind each estimator needs."""

import numpy as np

from c3jax.core.types import Evidence
from c3jax.credit import api, branchings

DUO = ((), (0,))
VOTE = ((), (), (), (0, 1, 2))


def ancestors(name: str) -> tuple[tuple[int, ...], ...]:
    return VOTE if api.ESTIMATORS[name].team == "vote" else DUO


def evidence(name: str, questions: int = 5, seed: int = 0) -> Evidence:
    """Eight answers a question, from the branching that the estimator resolves to."""
    rng, team = np.random.default_rng(seed), ancestors(name)
    sizes = branchings.branching(name, len(team), 8, None)
    reward = (rng.random((questions, *sizes)) < 0.5).astype(float)
    messages = [
        (questions, int(np.prod([sizes[a] for a in above])), sizes[level])
        for level, above in enumerate(team)
    ]
    known = Evidence(
        reward,
        team,
        value=tuple(rng.random(shape[:2]) for shape in messages),
        q=tuple(rng.random(shape) for shape in messages),
        without=tuple(rng.random(reward.shape) for _ in team),
    )
    if api.ESTIMATORS[name].plan == "vine":
        return known
    if team == VOTE:
        ballots = tuple(rng.integers(-1, 3, (questions, k)) for k in sizes[:-1])
        return known.replace(
            ballots=ballots, correct=tuple((b == 1).astype(float) for b in ballots)
        )
    return known.replace(
        solo=(rng.random((questions, 8)) < 0.4).astype(float),
        finished=rng.random(reward.shape) < 0.9,
        ratings=rng.integers(1, 10, (questions, 8, 2, 2)) / 10,
    )
