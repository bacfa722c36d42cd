"""The ceiling of rank correlation against what exactly true credit reaches."""

import numpy as np
import pytest

from benchmarks import statistics
from c3jax.audit import buckets, ceiling


@pytest.mark.parametrize("worths", statistics.WORTHS)
def test_a_ceiling_is_what_exactly_true_credit_reaches(worths):
    reached, found = [], []
    for seed in range(3):
        arrays, exact = statistics.audited(worths, 400, 8, seed)
        reached.append(statistics.reached(arrays, exact)[1])
        found.append(ceiling.ranks(arrays).mean)
    assert np.mean(found) == pytest.approx(np.mean(reached), abs=0.06)


@pytest.mark.parametrize("worths", statistics.WORTHS)
def test_with_few_continuations_a_ceiling_is_a_range_with_the_truth_in_it(worths):
    arrays, exact = statistics.audited(worths, 500, 2, 0)
    mean, low, high = ceiling.ranks(arrays)
    assert np.isnan(mean)
    assert low - 0.07 < statistics.reached(arrays, exact)[1] < high + 0.07


def test_there_is_no_ceiling_of_ranks_for_graded_rewards_or_unknown_noise():
    rng = np.random.default_rng(0)
    graded = buckets.Arrays(rng.random((9, 3, 8)), rng.random((9, 4)), {}, {})
    once = buckets.Arrays(np.eye(9)[:, :3, None], np.eye(9)[:, :4], {}, {})
    assert ceiling.ranks(graded) is None and ceiling.ranks(once) is None
