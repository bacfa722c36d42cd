"""The three figures against their exact values on teams that can be enumerated."""

import numpy as np
import pytest
from scipy import stats

from c3jax import audit
from tests import tabular


def candidates(team, count, number, rng):
    """[count, Q, number] messages of the first role."""
    size = (count, len(team.reward), number, 1)
    return tabular.draw(team, 0, (), size, rng)[..., 0]


def replies(team, sent, number, rng):
    """[.., number] messages of the second role to each of the first's."""
    size = (*sent.shape, number)
    return tabular.draw(team, 1, (sent[..., None],), size, rng)


def at(table, sent):
    """[count, Q, J], what a table over questions and messages has for each."""
    return table[np.arange(len(table))[:, None], sent]


def flat(x):
    """Contexts of all questions one below the other."""
    return x.reshape(-1, *x.shape[2:])


def test_variance_converges_to_that_of_the_policy():
    team, rng = tabular.team(seed=1), np.random.default_rng(0)
    q, value = team.q(0)[..., 0], team.value(0)[..., 0]
    exact = (team.policy[0][..., 0] * (q - value) ** 2).sum(1).mean()
    sent = candidates(team, 4000, 4, rng)
    found = audit.variance(flat(at(q - value, sent)))
    # The mean of J messages takes its part of their variance with it.
    assert found.low < exact * 3 / 4 < found.high
    assert found.mean == pytest.approx(exact * 3 / 4, rel=0.03)


def test_influence_converges_to_the_mutual_information_of_two_roles():
    team, rng = tabular.team(actions=4, seed=2), np.random.default_rng(1)
    exact = team.influence(0, 1).mean()
    gaps = []
    for number in (4, 32, 512):
        symbols = flat(replies(team, candidates(team, 8, number, rng), 64, rng))
        found = audit.influence(symbols, correct=True).value
        gaps.append(abs(found.mean - exact))
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.02 * exact


def test_fidelity_converges_to_that_of_the_exact_advantage():
    team, rng = tabular.team(actions=6, questions=60, seed=3), np.random.default_rng(2)
    exact = at((team.q(0) - team.value(0))[..., 0], candidates(team, 1, 5, rng))
    credit = exact + 0.05 * rng.normal(size=exact.shape)
    sent = candidates(team, 1, 5, np.random.default_rng(2))
    wanted = stats.spearmanr(credit.ravel(), exact.ravel()).statistic
    question = np.arange(60)[:, None, None]
    gaps, ceilings = [], []
    for number in (2, 32, 2048):
        said = replies(team, sent, number, rng)
        returns = team.reward[question, sent[..., None], said]
        more = candidates(team, 1, number, rng)
        extra = team.reward[question[..., 0], more, replies(team, more, 1, rng)[..., 0]]
        worth = returns.mean(-1) - extra.mean(-1, keepdims=True)
        noise = returns.var(-1, ddof=1) + extra.var(-1, ddof=1, keepdims=True)
        found = audit.fidelity(flat(credit), flat(worth), flat(noise / number))
        gaps.append(abs(found.spearman.mean - wanted))
        ceilings.append(found.ceiling.mean)
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 0.01
    assert ceilings == sorted(ceilings) and ceilings[-1] > 0.99
