"""The rank correlation that perfect credit would reach with a noisily measured worth.

It depends on the whole distribution of what messages are worth, not on its variance
alone. So the distribution is fitted, and perfect credit tried on it.

The chances of success of a context's messages follow one of a few hundred given
distributions, each on a grid: one value, a beta distribution, or two values. How often
each occurs is estimated by maximum likelihood (Kiefer and Wolfowitz) from counts of
successes, with the EM algorithm (Laird). From the fit, messages are drawn with their
true worth, and with a worth measured by as many samples as the audit has.

Source: Kiefer and Wolfowitz, Annals of Mathematical Statistics 27, 1956; Laird, Journal
of the American Statistical Association 73, 1978.
"""

import itertools
import math

import numpy as np
from scipy import special, stats

from c3jax.audit import buckets, diagnostics
from c3jax.core.stats import Interval

ENOUGH = 8  # continuations of each message that tell distributions apart
_MOST = 500  # contexts that are fitted; more would tell little more
_STEPS, _AGAIN, _RESAMPLES, _DRAWS = 60, 20, 40, 20_000

# Chances of success, closer to each other near 0 and 1.
_GRID = (1 - np.cos(np.linspace(0, np.pi, 33))) / 2
_SAFE = np.clip(_GRID, 1e-6, 1 - 1e-6)
_ONE = np.eye(len(_GRID))
_EDGES = np.concatenate([[0], (_GRID[1:] + _GRID[:-1]) / 2, [1]])
_BETAS = np.array(
    [
        np.diff(special.betainc(mean * size, (1 - mean) * size, _EDGES))
        for mean in _GRID[1:-1:2]
        for size in (0.3, 1, 2, 4, 8, 16, 32, 64)
    ]
)
_TWO = np.array(
    [
        share * low + (1 - share) * high
        for low, high in itertools.combinations(_ONE[::4], 2)
        for share in (0.1, 0.3, 0.5, 0.7, 0.9)
    ]
)


def ranks(arrays: buckets.Arrays) -> Interval | None:
    """The Spearman correlation that exactly true credit is expected to reach.

    Args:
        arrays: contexts with one extra sample or more.

    Returns:
        With `ENOUGH` continuations of every message, the ceiling with its interval over
        contexts. With fewer the fits differ and nothing tells which holds: the lowest
        of them and the highest, or the ceiling of Pearson's correlation if that is
        higher, and NaN for a mean. None unless rewards are of two values, like 0 and 1,
        and worths have noise that is known.
    """
    returns, extra, noise = arrays.returns, arrays.extra, arrays.noise
    values = np.unique(np.concatenate([returns.ravel(), extra.ravel()]))
    values = values[np.isfinite(values)]
    if len(values) != 2 or noise is None:
        return None
    worth, count = arrays.worth, np.isfinite(returns).sum(-1)
    linear = 1 - np.nanmean(noise) / max(np.nanvar(worth), 1e-12)
    if len(returns) > _MOST:
        kept = np.random.default_rng(0).choice(len(returns), _MOST, replace=False)
        returns, extra = returns[kept], extra[kept]
    # NaN is no success.
    counts = [
        ((x == values[1]).sum(-1), np.isfinite(x).sum(-1)) for x in (returns, extra)
    ]
    if count[count > 0].min() >= ENOUGH:
        return _interval(*counts)
    smooth, rough = np.concatenate([_ONE, _BETAS]), np.concatenate([_ONE, _TWO])
    ends = [_Fit(*counts, each).correlation() for each in (smooth, rough)]
    ends.append(math.sqrt(max(linear, 0.0)))
    return Interval(math.nan, float(min(ends[:2])), float(max(ends)))


def _interval(of_messages: tuple, of_contexts: tuple) -> Interval:
    """The ceiling of the best fit, with twice its deviation over resampled contexts."""
    fit = _Fit(of_messages, of_contexts, np.concatenate([_ONE, _BETAS, _TWO]))
    rng, n = np.random.default_rng(0), len(of_contexts[0])
    again = [
        fit.correlation(np.bincount(rng.integers(n, size=n), minlength=n))
        for _ in range(_RESAMPLES)
    ]
    best, half = fit.correlation(), 1.96 * np.nanstd(again)
    return Interval(float(best), float(max(best - half, 0)), float(min(best + half, 1)))


class _Fit:
    """How often each kind of context occurs, and messages drawn from that."""

    def __init__(self, of_messages: tuple, of_contexts: tuple, kinds: np.ndarray):
        """Successes and samples, each [C, J] and [C], and [kinds, grid] chances."""
        self._likelihood = _likelihood(of_messages, of_contexts, kinds)
        # Kinds with one value alone first, lest ties of worth be taken for noise.
        start = np.where((kinds > 0).sum(1) == 1, 200.0, 1.0)
        self._share = self._fitted(start / start.sum(), 1.0, _STEPS)

        # Messages of contexts of each kind, in audits of as many samples.
        rng = np.random.default_rng(0)
        self._kind = rng.choice(len(kinds), _DRAWS, p=self._share)
        below = np.cumsum(kinds, 1)[self._kind] < rng.random((_DRAWS, 1))
        chance = _GRID[np.minimum(below.sum(1), len(_GRID) - 1)]
        value = np.clip(kinds @ _GRID, 0, 1)[self._kind]
        context, message = np.nonzero(of_messages[1])
        drawn = rng.integers(len(context), size=_DRAWS)
        count = of_messages[1][context, message][drawn]
        more = of_contexts[1][context][drawn]
        measured = rng.binomial(count, chance) / count
        measured -= rng.binomial(more, value) / more
        # Rounded, so that equal worths are ties.
        worths = np.round(chance - value, 9), np.round(measured, 9)
        self._ranks = diagnostics.Ranks(*worths)

    def _fitted(self, share: np.ndarray, weight, steps: int) -> np.ndarray:
        weight = np.broadcast_to(weight, len(self._likelihood)) / len(self._likelihood)
        for _ in range(steps):
            share = share * ((weight / (self._likelihood @ share)) @ self._likelihood)
        return share / share.sum()

    def correlation(self, drawn: np.ndarray | None = None) -> float:
        """Of true and measured worth; with each context `drawn` times, [C]."""
        weight = np.ones(_DRAWS)
        if drawn is not None:
            share = self._fitted(self._share, drawn, _AGAIN)
            weight = (share / np.maximum(self._share, 1e-300))[self._kind]
        return self._ranks.correlation(weight)


def _likelihood(of_messages, of_contexts, kinds: np.ndarray) -> np.ndarray:
    """[C, kinds], of each context's counts, up to a factor of the context."""
    # Few pairs of counts differ.
    (right, count), (more_right, more) = of_messages, of_contexts
    pairs = np.stack([right.ravel(), count.ravel()], 1)
    pairs, pair = np.unique(pairs, axis=0, return_inverse=True)
    each = stats.binom.pmf(pairs[:, :1], pairs[:, 1:], _SAFE) @ kinds.T
    log = np.log(np.maximum(each, 1e-300))[pair.ravel()]
    log = log.reshape(*right.shape, -1).sum(1)
    value = np.clip(kinds @ _GRID, _SAFE[0], _SAFE[-1])
    log += special.xlogy(more_right[:, None], value)
    log += special.xlog1py((more - more_right)[:, None], -value)
    return np.exp(log - log.max(1, keepdims=True))
