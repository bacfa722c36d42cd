"""How sure a figure is, and how often one of k tries succeeds."""

from collections.abc import Callable
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
    found = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(float(np.mean(values)), float(found.low), float(found.high))


def resampled(
    figure: Callable[[np.ndarray], float], n: int, resamples: int = 1000
) -> Interval:
    """Any figure of n independent units, with a percentile bootstrap interval.

    Draws on which the figure is not defined, NaN, are left out of the interval.

    Args:
        figure: of how often each unit is drawn, [n] float: all ones for the figure.
        n: units, 2 or more.
        resamples: how many times n units are drawn with replacement.
    """
    rng, even = np.random.default_rng(0), np.full(n, 1 / n)
    drawn = [figure(rng.multinomial(n, even).astype(float)) for _ in range(resamples)]
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return Interval(float(figure(np.ones(n))), float(low), float(high))


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
