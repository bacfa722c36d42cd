import itertools

import numpy as np
import pytest

from c3jax.core import stats


def test_pass_at_k_is_the_chance_that_k_answers_drawn_from_n_hold_a_right_one():
    n = 5
    for correct, k in itertools.product(range(n + 1), range(1, n + 1)):
        answers = [True] * correct + [False] * (n - correct)
        drawn = list(itertools.combinations(answers, k))
        share = np.mean([any(hand) for hand in drawn])
        assert stats.pass_at_k(np.array(correct), n, k) == pytest.approx(share)


def test_pass_at_one_is_the_fraction_of_right_answers():
    correct = np.array([[0, 3], [10, 7]])
    np.testing.assert_allclose(stats.pass_at_k(correct, 10, 1), correct / 10)


@pytest.mark.parametrize("k", [0, 11])
def test_pass_at_k_needs_k_answers(k):
    with pytest.raises(ValueError, match=f"k={k}: it must be between 1 and the n=10"):
        stats.pass_at_k(np.array([3]), 10, k)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    samples = rng.random((300, 80)) < 0.7
    found = [stats.bootstrap(row, resamples=500) for row in samples]
    covered = np.mean([i.low <= 0.7 <= i.high for i in found])
    assert 0.90 < covered < 0.99


def test_equal_values_have_an_equal_interval():
    values = np.random.default_rng(2).random(50)
    assert stats.bootstrap(values) == stats.bootstrap(values.copy())
    assert stats.bootstrap(np.ones(9)) == (1.0, 1.0, 1.0)
