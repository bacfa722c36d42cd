"""Intervals, pass@k and tests of significance."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats


class Interval(NamedTuple):
    """A mean and its 95% confidence interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1%} [{100 * self.low:.1f}, {100 * self.high:.1f}]"


def bootstrap(values: np.ndarray, resamples: int = 2000) -> Interval:
    """The mean of independent values, with a percentile bootstrap interval.

    The resampling is seeded, so equal values give an equal interval.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.

    Args:
        values: [n] float, one a question or other independent unit, n >= 2.
        resamples: how many times n values are drawn with replacement.
    """
    ends = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(float(np.mean(values)), float(ends.low), float(ends.high))


def accuracy(solved: np.ndarray, samples: int) -> Interval:
    """The mean of rates of questions, with an interval that holds at 0 and 1, too.

    Clopper and Pearson's, of as many independent answers as the spread over questions
    says (Kish), at least one and at most `samples` a question: with p the mean of n
    rates of variance s^2, and k the questions with an answer of the rarer kind,

        n_eff = n p (1 - p) / s^2 (z_.975 / t_.975,k-1)^2.

    t allows for how little k questions tell of s (Korn and Graubard). Where the answers
    to each question agree, n_eff is n.

    Source: Clopper and Pearson, Biometrika 26, 1934; Kish, Survey Sampling, 1965; Korn
    and Graubard, Survey Methodology 24, 1998.

    Args:
        solved: [n] float in [0, 1], a question each: the share of its answers that are
            right, or an unbiased estimate from them.
        samples: answers to each question.
    """
    n, mean = len(solved), np.mean(solved)
    variance = np.sum((solved - mean) ** 2) / max(n - 1, 1)
    rarer = min(np.sum(solved > 0), np.sum(solved < 1))
    ends = clopper_pearson(mean, effective(n, samples, mean, variance, rarer))
    return Interval(float(mean), *map(float, ends))


def effective(n: int, samples: int, mean, variance, rarer) -> np.ndarray:
    """The independent answers that those to n questions are worth; see `accuracy`.

    Args:
        n: questions.
        samples: answers to each.
        mean, variance: [..] float, of the rates of questions.
        rarer: [..] int, questions with an answer of the rarer kind.

    Returns:
        [..] float, n to n * samples; n where fewer than two questions tell.
    """
    t = special.stdtrit(np.maximum(rarer, 2) - 1.0, 0.975)
    spread = np.maximum(variance, 1e-12) * (t / special.ndtri(0.975)) ** 2
    count = np.clip(n * mean * (1 - mean) / spread, n, n * samples)
    return np.where(rarer < 2, n, count)


def clopper_pearson(mean, count) -> tuple[np.ndarray, np.ndarray]:
    """The 95% interval of a proportion; `count` may be a fraction.

    Args:
        mean: [..] float in [0, 1].
        count: [..] float, independent answers.

    Returns:
        [..] float, the lower end, and the upper one.
    """
    right, wrong = np.multiply(mean, count), np.multiply(np.subtract(1, mean), count)
    # The inverse is not defined at 0 right or 0 wrong, where the end is 0 or 1.
    low = special.betaincinv(np.maximum(right, 1e-9), wrong + 1, 0.025)
    high = special.betaincinv(right + 1, np.maximum(wrong, 1e-9), 0.975)
    return np.where(right < 1e-9, 0, low), np.where(wrong < 1e-9, 1, high)


def resampled(
    figures: Callable[[np.ndarray], Sequence[float]], n: int, resamples: int = 1000
) -> tuple[Interval, ...]:
    """Any figures of n independent units, with percentile bootstrap intervals.

    Draws on which a figure is undefined, NaN, are left out of its interval; if no draw
    is left, its ends are NaN.

    Args:
        figures: maps how often each unit is drawn, [n] float, to the figures; all ones
            give the figures themselves.
        n: units, 2 or more.
        resamples: how many times n units are drawn with replacement.

    Returns:
        One interval a figure.
    """
    rng, drawn = np.random.default_rng(0), []
    for _ in range(resamples):
        unit = rng.integers(n, size=n)
        drawn.append(figures(np.bincount(unit, minlength=n).astype(float)))
    intervals = []
    for mean, values in zip(figures(np.ones(n)), np.transpose(drawn), strict=True):
        known = values[~np.isnan(values)]
        ends = np.quantile(known, (0.025, 0.975)) if len(known) else (math.nan,) * 2
        intervals.append(Interval(*map(float, (mean, *ends))))
    return tuple(intervals)


def pass_at_k(correct: np.ndarray, n: int, k: int) -> np.ndarray:
    """Unbiased probability that at least one of k answers is correct, of n sampled.

        1 - C(n - c, k) / C(n, k).

    Source: Chen et al., arXiv:2107.03374, equation 1.

    Args:
        correct: [..] int, c, correct answers among the n.
        n: answers sampled.
        k: answers that may be handed in, 1 <= k <= n.

    Returns:
        [..] float in [0, 1].

    Raises:
        ValueError: k is not between 1 and n.
    """
    if not 1 <= k <= n:
        raise ValueError(f"k={k}: it must be between 1 and the n={n} answers sampled.")
    return 1 - special.comb(n - np.asarray(correct), k) / special.comb(n, k)


def student(values: np.ndarray) -> Interval:
    """The mean of a few values, with Student's 95% interval.

    The interval assumes draws from a normal distribution.

        mean +- t_{0.975, n - 1} s / sqrt(n).

    Source: Student, The probable error of a mean, Biometrika 6, 1908.

    Args:
        values: [n] float, one a seed or other independent unit.

    Returns:
        An interval; its bounds are NaN for a single value, which has no spread.
    """
    mean, n = float(np.mean(values)), len(values)
    if n < 2:
        return Interval(mean, math.nan, math.nan)
    half = float(stats.t.ppf(0.975, n - 1) * stats.sem(values))
    return Interval(mean, mean - half, mean + half)


def paired_p(one: np.ndarray, other: np.ndarray) -> float:
    """The p-value of equal means, two-sided, by the paired t-test.

    A test by flipping the signs of n differences cannot give less than 2 / 2^n, which
    is too coarse for the few seeds of a comparison.

    Args:
        one, other: [n] float, paired: element i of both has the same seed.

    Returns:
        A probability; 1 if all pairs are equal, NaN for n < 2.
    """
    difference = np.asarray(one) - np.asarray(other)
    if len(difference) < 2:
        return math.nan
    if not difference.any():
        return 1.0
    if np.ptp(difference) == 0:  # The statistic is infinite.
        return 0.0
    return float(stats.ttest_1samp(difference, 0.0).pvalue)


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusts p-values for the number of tests, by Holm's step-down.

    With p sorted ascending, p_(1) .. p_(m),

        adjusted_(i) = max over j <= i of min(1, (m - j + 1) p_(j)).

    If hypotheses with an adjusted value of at most alpha are rejected, the chance of
    rejecting any true one is at most alpha, however the tests depend on each other.

    Source: Holm, Scandinavian Journal of Statistics 6, 1979, pages 65-70.

    Args:
        p: [m] float, the p-values of one family of tests; NaN for a test not made.

    Returns:
        [m] float, in the order of p.
    """
    p = np.asarray(p, float)
    made = np.flatnonzero(~np.isnan(p))
    order = made[np.argsort(p[made], kind="stable")]
    adjusted = np.full(p.shape, math.nan)
    stepped = np.minimum(p[order] * np.arange(len(order), 0, -1), 1.0)
    adjusted[order] = np.maximum.accumulate(stepped)
    return adjusted
