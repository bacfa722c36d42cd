import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmarks import statistics
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


def test_several_figures_of_units_that_are_drawn_together_have_their_intervals():
    values = np.random.default_rng(3).random(200)

    def figures(drawn):
        mean = np.average(values, weights=drawn)
        return mean, np.nan if drawn[0] > 1 else -mean

    mean, other = stats.resampled(figures, len(values))
    assert mean == pytest.approx(stats.bootstrap(values), abs=0.005)
    # Draws without a figure are left out.
    assert other == pytest.approx((-mean.mean, -mean.high, -mean.low), abs=0.01)


def test_students_interval_is_that_of_the_table():
    # t_{0.975, 4} = 2.776; the values have mean 3 and standard error sqrt(0.5).
    found = stats.student(np.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert found == pytest.approx((3.0, 3 - 2.776445 * 0.5**0.5, 3 + 1.963243), 1e-5)


def test_one_value_has_a_mean_and_no_interval():
    mean, low, high = stats.student(np.array([0.25]))
    assert mean == 0.25
    assert np.isnan([low, high]).all()


def test_paired_differences_are_tested_as_student_did():
    # His table of the hours of sleep gained by two drugs: t = 4.06, 9 degrees.
    one = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    two = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    assert stats.paired_p(one, two) == pytest.approx(0.002833, abs=1e-6)
    assert stats.paired_p(two, one) == stats.paired_p(one, two)


def test_equal_values_do_not_differ_and_one_pair_tells_nothing():
    assert stats.paired_p(np.ones(5), np.ones(5)) == 1.0
    assert stats.paired_p(np.full(5, 2.0), np.ones(5)) == 0.0
    assert np.isnan(stats.paired_p(np.ones(1), np.zeros(1)))


def test_holms_adjustment_of_a_worked_example():
    # 0.01 * 4, 0.02 * 3, then 0.03 * 2, 0.04: neither may fall below the one before.
    found = stats.holm(np.array([0.04, 0.01, 0.03, 0.02]))
    np.testing.assert_allclose(found, [0.06, 0.04, 0.06, 0.06])


def test_holm_leaves_one_test_as_it_is_and_never_exceeds_one():
    np.testing.assert_allclose(stats.holm(np.array([0.03])), [0.03])
    np.testing.assert_allclose(stats.holm(np.array([0.6, 0.7])), [1.0, 1.0])


def test_holm_does_not_count_tests_that_were_not_made():
    found = stats.holm(np.array([np.nan, 0.02, 0.01]))
    np.testing.assert_allclose(found, [np.nan, 0.02, 0.02])


def test_an_accuracy_at_the_edge_is_as_uncertain_as_its_questions_are_few():
    # The rule of three: 0.05 / 2 = (1 - p)^n.
    for samples in (1, 10):
        mean, low, high = stats.accuracy(np.ones(512), samples)
        assert (mean, high) == (1, 1) and low == pytest.approx(0.025 ** (1 / 512))
        assert stats.accuracy(np.zeros(512), samples).high == pytest.approx(1 - low)


def test_an_accuracy_of_single_answers_has_the_interval_of_a_binomial_test():
    solved = np.repeat([1.0, 0.0], [17, 483])
    _, low, high = stats.accuracy(solved, 1)
    wanted = scipy_stats.binomtest(17, 500).proportion_ci(method="exact")
    assert (low, high) == pytest.approx((wanted.low, wanted.high))


def test_answers_that_agree_within_questions_count_as_one_each():
    solved = np.repeat([1.0, 0.0], [30, 70])
    assert stats.accuracy(solved, 10) == stats.accuracy(solved, 1)


@pytest.mark.parametrize("correlation", [0, 0.3, 1])
@pytest.mark.parametrize("samples", [1, 2, 10])
def test_intervals_of_accuracies_hold_their_95_percent_up_to_the_edges(
    samples, correlation
):
    for questions in (30, 500):
        least, _, width = statistics.covered(samples, correlation, questions, 1000)
        assert least >= 0.93  # The least of 50, each with an error of 0.007.
    assert width <= 1.2
