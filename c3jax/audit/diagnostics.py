"""Three figures that say how good credit is, whoever assigned it.

A *context* is what somebody was about to answer; in each of C contexts J *candidates*,
messages sampled from the audited team, were played on M times. All intervals are 95%
bootstrap intervals over contexts, which are the independent units.

Contexts may have fewer candidates, and candidates fewer continuations: what is not
there is NaN among numbers and -1 among symbols.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special

from c3jax.core import stats
from c3jax.core.stats import Interval

_ELEMENTS = 1 << 24  # of counts that are held at a time


class Fidelity(NamedTuple):
    """How well credit agrees with what messages are worth.

    Attributes:
        spearman: rank correlation of credit and target over all messages.
        pearson: linear correlation of the same.
        error: mean square difference, in squared reward units.
        ceiling: the rank correlation that perfect credit could be expected to reach,
            as the target is noisy itself; None if the target came without parts.
    """

    spearman: Interval
    pearson: Interval
    error: Interval
    ceiling: Interval | None


def fidelity(advantage: np.ndarray, target: np.ndarray) -> Fidelity:
    """Whether credit ranks messages as what they are worth does.

    The target of a message is its mean return minus the value of its context, both from
    samples that the credit has not seen: else they agree by construction.

    From h estimates of the target by disjoint samples, let r be the rank correlation
    between the mean of the first, third, .. and that of the others. The reliability of
    the mean of all is then 2 r / (1 + r) (Spearman and Brown), and what is perfectly
    right correlates with it as the square root of that: the ceiling.

    Source: C3, arXiv:2603.06859, credit fidelity; Spearman, "Correlation calculated
    from faulty data", British Journal of Psychology 3, 1910, for the ceiling.

    Args:
        advantage: [C, J] float, the credit of each message.
        target: [C, J] float, or [C, J, h] for h independent estimates of it.

    Raises:
        ValueError: the figure would mean nothing: one context, one candidate, credit
            or target that is the same everywhere, or a target that is the credit.
    """
    advantage = _messages(advantage)
    target = np.asarray(target, np.float64)
    if target.ndim not in (2, 3) or target.shape[:2] != advantage.shape:
        raise ValueError(
            f"target is {target.shape} and advantage {advantage.shape}: give one of "
            "each a message, or [.., h] for h independent estimates of the target."
        )
    parts = target.reshape(*advantage.shape, -1)
    mean, there = parts.mean(-1), np.isfinite(advantage)
    if not np.isfinite(mean[there]).all():
        raise ValueError("target is missing for messages that have an advantage.")
    if np.allclose(advantage[there], mean[there], rtol=1e-9, atol=1e-12):
        raise ValueError(
            "target is the advantage itself, so they agree by construction; take "
            "returns of continuations that the advantage was not computed from."
        )
    for name, values in (("advantage", advantage), ("target", mean)):
        if np.ptp(values[there]) == 0:
            raise ValueError(f"{name} is the same for all messages: nothing to rank.")
    # One row a message; a context is drawn with all of its messages.
    context, flat = np.nonzero(there)[0], lambda x: x[there]
    credit, wanted = flat(advantage), flat(mean)
    agreement = _Ranks(credit, wanted)

    def over(figure: Callable) -> Interval:
        return stats.resampled(lambda w: figure(w[context]), len(advantage))

    ceiling = None
    if parts.shape[-1] > 1:
        halves = _Ranks(*(flat(parts[..., n::2].mean(-1)) for n in range(2)))
        ceiling = over(lambda w: _ceiling(halves.correlation(w)))
    return Fidelity(
        spearman=over(agreement.correlation),
        pearson=over(lambda w: _correlation(credit, wanted, w)),
        error=over(lambda w: float(np.average((credit - wanted) ** 2, weights=w))),
        ceiling=ceiling,
    )


def variance(advantage: np.ndarray) -> Interval:
    """How far credit differs between messages of one context.

        mean over contexts of mean_j (A_j - mean_j A_j)^2

    Source: C3, arXiv:2603.06859, within-context variance.

    Args:
        advantage: [C, J] float, the credit of each message.

    Returns:
        In squared reward units. Compare methods at equal cost: leave-one-out has
        (J / (J - 1))^2 times the variance that the mean of all J leaves.

    Raises:
        ValueError: one context or one candidate.
    """
    return stats.bootstrap(np.nanvar(_messages(advantage), axis=1))


class Influence(NamedTuple):
    """How much the next message tells of which candidate was sent.

    Attributes:
        value: mutual information in nats, mean over contexts.
        null: the same where symbols are shuffled within each context, so that there is
            none: what of `value` is bias. Its interval is over shuffles.
    """

    value: Interval
    null: Interval


def influence(
    symbols: np.ndarray,
    *,
    smoothing: float = 0.01,
    common: int = 64,
    correct: bool = False,
    shuffles: int = 20,
) -> Influence:
    """Whether whoever reads a message does something else for it.

    In each context, with c_jy how often the reply to candidate j was symbol y, n_j the
    sum over y, V the number of symbols and a the smoothing,

        p(y|j) = (c_jy + a) / (n_j + a V),    p(y) = mean_j p(y|j),
        I = mean_j sum_y p(y|j) ln(p(y|j) / p(y)).

    Of more than `common` symbols in a context the rarer ones count as one. This is
    biased upward where few replies are seen: compare it with `null`. `correct` takes
    the bias off to first order, without smoothing: of the entropy of a candidate's
    replies that is (symbols seen - 1) / (2 n_j), after Miller and Madow; of the
    entropy of p(y), which is sampled candidate by candidate,

        sum_y sum_j p(y|j) (1 - p(y|j)) / (n_j - 1) / (2 J^2 p(y)).

    Source: C3, arXiv:2603.06859, influence; Miller, "Note on the bias of information
    estimates", 1955; the second term is the same expansion with that variance.

    Args:
        symbols: [C, J, M] int, what was replied to each continuation of each candidate:
            a number for a message, or for the answer in it; equal for equal ones.
        smoothing: a.
        common: symbols of a context that are told apart.
        correct: whether the bias is taken off.
        shuffles: how many times the null is drawn.

    Raises:
        ValueError: the figure would mean nothing: one context, one candidate, or one
            continuation, with which it measures the smoothing alone.
    """
    symbols = np.asarray(symbols)
    if symbols.ndim != 3 or not np.issubdtype(symbols.dtype, np.integer):
        raise ValueError(
            f"symbols are {symbols.dtype} {symbols.shape}; wanted whole numbers, "
            "[contexts, candidates, continuations]."
        )
    there = symbols >= 0
    _several(there.any(-1))
    if (there.sum(-1)[there.any(-1)] < 2).any():
        raise ValueError(
            "a candidate has one continuation: with one reply each nothing says if "
            "replies differ by candidate or by chance; play on 2 times or more."
        )
    options = dict(smoothing=0.0 if correct else smoothing, correct=correct)
    rng, found, null = np.random.default_rng(0), [], np.zeros(shuffles)
    chunk = max(1, _ELEMENTS // (symbols.shape[1] * (common + 1)))
    for begin in range(0, len(symbols), chunk):
        some = _by_frequency(symbols[begin : begin + chunk], common)
        found.append(_information(some, common, **options))
        for draw in range(shuffles):
            null[draw] += _information(_shuffled(some, rng), common, **options).sum()
    low, high = np.quantile(null / len(symbols), (0.025, 0.975))
    return Influence(
        value=stats.bootstrap(np.concatenate(found)),
        null=Interval(float(null.mean() / len(symbols)), float(low), float(high)),
    )


def _by_frequency(symbols: np.ndarray, common: int) -> np.ndarray:
    """Symbols as their place by frequency in their context, `common` for all beyond."""
    flat = symbols.reshape(len(symbols), -1)
    context = np.broadcast_to(np.arange(len(flat))[:, None], flat.shape)
    there = flat >= 0
    pairs = np.stack([context[there], flat[there]])
    (owner, _), kind, count = np.unique(
        pairs, axis=1, return_inverse=True, return_counts=True
    )
    order = np.lexsort((-count, owner))
    place = np.empty(len(order), np.int64)
    first = np.searchsorted(owner[order], owner[order])
    place[order] = np.arange(len(order)) - first
    found = np.full(flat.shape, -1)
    found[there] = np.minimum(place[kind.reshape(-1)], common)
    return found.reshape(symbols.shape)


def _information(
    symbols: np.ndarray, common: int, smoothing: float, correct: bool
) -> np.ndarray:
    """[C] nats, of symbols from 0 to `common`."""
    contexts, candidates, _ = symbols.shape
    cell = np.arange(contexts * candidates).reshape(contexts, candidates, 1)
    cell = (cell * (common + 1) + symbols)[symbols >= 0]
    size = (contexts, candidates, common + 1)
    count = np.bincount(cell, minlength=np.prod(size)).reshape(size)
    total = count.sum(-1)
    asked = total > 0  # [C, J], candidates that there are
    seen = count.sum(1) > 0  # [C, V]
    padded = np.where(seen[:, None], count + smoothing, 0)
    rate = padded / np.maximum(padded.sum(-1, keepdims=True), 1e-300)
    share = asked / asked.sum(-1, keepdims=True)
    mixed = (share[..., None] * rate).sum(1)
    own = special.entr(rate).sum(-1)
    whole = special.entr(mixed).sum(-1)
    if correct:
        spread = rate * (1 - rate) / np.maximum(total - 1, 1)[..., None]
        spread = (share[..., None] ** 2 * spread).sum(1)
        whole = whole + (spread / np.where(seen, 2 * mixed, 1)).sum(-1)
        own = own + ((count > 0).sum(-1) - 1) / (2 * np.maximum(total, 1))
    return whole - (share * own).sum(-1)


def _shuffled(symbols: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The symbols of each context dealt anew to the places where there are some."""
    flat = symbols.reshape(len(symbols), -1)
    there = flat >= 0
    # Sorting draws puts the places that are filled first, in random order.
    order = np.argsort(np.where(there, rng.random(flat.shape), 2.0), axis=1)
    filled = np.argsort(~there, axis=1, kind="stable")
    dealt = np.empty_like(flat)
    np.put_along_axis(dealt, filled, np.take_along_axis(flat, order, 1), 1)
    return dealt.reshape(symbols.shape)


class _Ranks:
    """The rank correlation of two variables over messages that count differently."""

    def __init__(self, one: np.ndarray, other: np.ndarray):
        self._groups = [np.unique(x, return_inverse=True)[1] for x in (one, other)]

    def correlation(self, weight: np.ndarray) -> float:
        """As if each message was there `weight` times; ties have their mean rank."""
        return _correlation(*(self._rank(g, weight) for g in self._groups), weight)

    @staticmethod
    def _rank(group: np.ndarray, weight: np.ndarray) -> np.ndarray:
        size = np.bincount(group, weight)
        return (np.cumsum(size) - size / 2)[group]


def _correlation(one: np.ndarray, other: np.ndarray, weight: np.ndarray) -> float:
    """NaN where one of them does not vary."""
    one = one - np.average(one, weights=weight)
    other = other - np.average(other, weights=weight)
    both = np.sqrt((weight * one**2).sum() * (weight * other**2).sum())
    return float((weight * one * other).sum() / both) if both > 0 else np.nan


def _ceiling(half: float) -> float:
    """What perfect credit reaches, from the correlation of two halves."""
    half = max(half, 0.0)
    return np.sqrt(2 * half / (1 + half))


def _messages(advantage: np.ndarray) -> np.ndarray:
    """Credit as [C, J] float64, if it says something."""
    advantage = np.asarray(advantage, np.float64)
    if advantage.ndim != 2:
        raise ValueError(
            f"advantage is {advantage.shape}; wanted [contexts, candidates]."
        )
    _several(np.isfinite(advantage))
    return advantage


def _several(there: np.ndarray) -> None:
    """Refuses one context, and one candidate in any; [C, J] bool."""
    if len(there) < 2:
        raise ValueError(
            f"{len(there)} context: intervals are over contexts; give 2 or more."
        )
    if (alone := there.sum(1) < 2).any():
        raise ValueError(
            f"context {int(np.argmax(alone))} has fewer than 2 candidates: credit of "
            "one message has nothing to be compared with; sample 2 or more, or leave "
            "the context out."
        )
