"""Three figures of how good credit is, for any system that assigned it.

A *context* is what a role reads before it writes; in each of C contexts J *candidates*,
messages sampled from the audited team, were continued M times. All intervals are 95%
bootstrap intervals over contexts, which are the independent units.

Contexts may have fewer candidates, and candidates fewer continuations: missing numbers
are NaN, missing symbols -1.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import special

from c3jax.core import stats
from c3jax.core.stats import Interval

_ELEMENTS = 1 << 24  # of counts that are held at a time

# The fewest contexts of a figure. A draw of n contexts from n is n times the same one
# with probability n^(1-n), which must be less than the 2.5% at an end of an interval.
LEAST = 4
NOT_IDENTIFIABLE = "not identifiable"


class Fidelity(NamedTuple):
    """How well credit agrees with the worth of messages.

    Attributes:
        pearson: linear correlation of credit and target over all messages.
        ceiling: the linear correlation that perfect credit is expected to reach, as the
            target is noisy itself; None if its noise is not known.
        spearman: rank correlation of credit and target.
        rank_ceiling: the same for ranks, see `c3jax.audit.ceiling`; a range, its mean
            NaN, where no more is known; None if nothing is.
        error: mean square difference, in squared reward units.
    """

    pearson: Interval
    ceiling: Interval | None
    spearman: Interval
    rank_ceiling: Interval | None
    error: Interval


def fidelity(
    advantage: np.ndarray,
    target: np.ndarray,
    noise: np.ndarray | None = None,
    rank_ceiling: Interval | None = None,
) -> Fidelity:
    """Whether credit agrees with the worth of messages.

    The target of a message is its mean return minus the value of its context, both from
    samples that the credit has not seen: else they agree by construction. With s^2 the
    variance of the target and n^2 the mean variance of its noise, perfect credit
    correlates with it as sqrt(1 - n^2 / s^2): the ceiling.

    Source: C3, arXiv:2603.06859, credit fidelity; the ceiling: Spearman, American
    Journal of Psychology 15, 1904.

    Args:
        advantage, target: [C, J] float, of each message.
        noise: [C, J] float, unbiased estimates of each target's variance about what the
            message is worth.
        rank_ceiling: handed on.

    Raises:
        ValueError: the figure would mean nothing: too few contexts, one candidate,
            credit or target that never varies, or a target that is the credit.
    """
    advantage = _messages(advantage)
    target = np.asarray(target, np.float64)
    noise = np.zeros_like(target) if (silent := noise is None) else noise
    if not target.shape == noise.shape == advantage.shape:
        raise ValueError(
            f"target is {target.shape}, its noise {noise.shape} and advantage "
            f"{advantage.shape}: give one of each a message."
        )
    known = np.isfinite(advantage)
    if not np.isfinite([target[known], noise[known]]).all():
        raise ValueError("target is missing for messages that have an advantage.")

    # Figures that would mean nothing.
    for name, values in (("advantage", advantage), ("target", target)):
        if np.ptp(values[known]) == 0:
            raise ValueError(f"{name} is the same for all messages: nothing to rank.")
    if np.allclose(advantage[known], target[known], rtol=1e-9, atol=1e-12):
        raise ValueError(
            "target is the advantage itself, so they agree by construction; take "
            "returns of continuations that the advantage was not computed from."
        )

    # One row a message; a context is drawn with all of its messages.
    context = np.nonzero(known)[0]
    agreement = Ranks(advantage[known], target[known])
    moments = _Moments(advantage[known], target[known], noise[known], context)

    def figures(drawn: np.ndarray) -> list[float]:
        return [*moments.figures(drawn), agreement.correlation(drawn[context])]

    pearson, error, limit, spearman = stats.resampled(figures, len(advantage))
    ceiling = None if silent or math.isnan(limit.mean) else limit
    return Fidelity(pearson, ceiling, spearman, rank_ceiling, error)


def variance(advantage: np.ndarray) -> Interval:
    """How far credit differs between messages of one context.

        mean over contexts of mean_j (A_j - mean_j A_j)^2

    Source: C3, arXiv:2603.06859, within-context variance.

    Args:
        advantage: [C, J] float, the credit of each message.

    Returns:
        A mean in squared reward units. Compare at equal cost: leave-one-out has
        (J / (J - 1))^2 times the variance that the mean of all J leaves.

    Raises:
        ValueError: too few contexts, or one candidate.
    """
    return stats.bootstrap(np.nanvar(_messages(advantage), axis=1))


class Influence(NamedTuple):
    """How much the next message depends on which candidate was sent.

    Attributes:
        value: mutual information in nats, mean over contexts.
        null: the same with symbols shuffled within each context, so that there is no
            dependence. Its interval is over shuffles.
        beyond: `value` less `null`, its bias; None if the bias was taken off before.
    """

    value: Interval
    null: Interval
    beyond: Interval | None = None


def influence(
    symbols: np.ndarray,
    *,
    smoothing: float = 0.01,
    common: int = 64,
    correct: bool = False,
    shuffles: int = 20,
) -> Influence:
    """Whether readers of a message act on it.

    In each context, with c_jy how often the reply to candidate j was symbol y, n_j the
    sum over y, V the number of symbols and a the smoothing,

        p(y|j) = (c_jy + a) / (n_j + a V),    p(y) = mean_j p(y|j),
        I = mean_j sum_y p(y|j) ln(p(y|j) / p(y)).

    Beyond the `common` most frequent symbols of a context all count as one. This is
    biased upward where few replies are seen: compare it with `null`. `correct` takes
    the bias off to first order, without smoothing: of the entropy of a candidate's
    replies that is (symbols seen - 1) / (2 n_j), after Miller and Madow; of the
    entropy of p(y), which is sampled candidate by candidate,

        sum_y sum_j p(y|j) (1 - p(y|j)) / (n_j - 1) / (2 J^2 p(y)).

    Means alone are cut at 0 and ln J: to cut each context would be a bias. Where more
    than half of what candidates draw was never seen, no correction can know the rest.

    Source: C3, arXiv:2603.06859, influence; Miller, "Note on the bias of information
    estimates", 1955; the second term is the same expansion with that variance; Good,
    Biometrika 40, 1953, for the coverage.

    Args:
        symbols: [C, J, M] int, a number for the reply in each continuation of each
            candidate, or for the answer in it; equal for equal texts.
        smoothing: a, added to every count.
        common: the number of symbols of a context that are told apart.
        correct: whether the bias is taken off.
        shuffles: how many times the null is drawn.

    Raises:
        ValueError: the figure would mean nothing: too few contexts, one candidate, or
            one continuation, with which it measures the smoothing alone; or `correct`
            with a coverage below a half.
    """
    symbols = np.asarray(symbols)
    known = _checked(symbols, correct)

    # In chunks of contexts, since counts take memory.
    options = dict(smoothing=0.0 if correct else smoothing, correct=correct)
    rng, values, null = np.random.default_rng(0), [], np.zeros(shuffles)
    chunk = max(1, _ELEMENTS // (symbols.shape[1] * (common + 1)))
    for begin in range(0, len(symbols), chunk):
        part = _by_frequency(symbols[begin : begin + chunk], common)
        values.append(_information(part, **options))
        for draw in range(shuffles):
            null[draw] += _information(_shuffled(part, rng), **options).sum()

    most = float(np.log(known.any(-1).sum(1)).mean())
    null = np.clip(null / len(symbols), 0, most)
    value = stats.bootstrap(np.concatenate(values))
    beyond = np.clip(np.subtract(value, null.mean()), 0, most).tolist()
    chance = [null.mean(), *np.quantile(null, (0.025, 0.975))]
    return Influence(
        value=Interval(*np.clip(value, 0, most).tolist()),
        null=Interval(*map(float, chance)),
        beyond=None if correct else Interval(*beyond),
    )


def _checked(symbols: np.ndarray, correct: bool) -> np.ndarray:
    """[C, J, M] bool, which symbols there are; refuses those that tell nothing."""
    if symbols.ndim != 3 or not np.issubdtype(symbols.dtype, np.integer):
        raise ValueError(
            f"symbols are {symbols.dtype} {symbols.shape}; wanted whole numbers, "
            "[contexts, candidates, continuations]."
        )
    known = symbols >= 0
    _several(known.any(-1))
    if (known.sum(-1)[known.any(-1)] < 2).any():
        raise ValueError(
            "a candidate has one continuation: with one reply each nothing says if "
            "replies differ by candidate or by chance; play on 2 times or more."
        )
    if correct and (seen := coverage(symbols)) < 0.5:
        raise ValueError(
            f"{NOT_IDENTIFIABLE}: by their repetitions the replies seen are {seen:.0%} "
            "of what a candidate draws; it takes half. Play on more, or look at texts "
            "that repeat, like answers."
        )
    return known


def coverage(symbols: np.ndarray) -> float:
    """The probability of what was seen of a candidate's replies, mean over replies.

    1 - replies that a candidate gave once / all replies (Good and Turing).

    Args:
        symbols: [C, J, M] int, -1 where there is none.
    """
    ordered = np.sort(symbols, -1)
    differs = np.ones((*ordered.shape[:2], ordered.shape[2] + 1), bool)
    differs[..., 1:-1] = ordered[..., 1:] != ordered[..., :-1]
    known = ordered >= 0
    return float(1 - (differs[..., 1:] & differs[..., :-1] & known).sum() / known.sum())


def _by_frequency(symbols: np.ndarray, common: int) -> np.ndarray:
    """Symbols as their place by frequency in their context, `common` for all beyond."""
    # Pairs of a context and a symbol, with how often they occur.
    flat = symbols.reshape(len(symbols), -1)
    known, kinds = flat >= 0, int(flat.max()) + 1
    pairs = (np.arange(len(flat))[:, None] * kinds + flat)[known]
    pair, kind, count = np.unique(pairs, return_inverse=True, return_counts=True)
    # The place of a pair among those of its context.
    owner = pair // kinds
    order = np.lexsort((-count, owner))
    place = np.empty(len(order), np.int64)
    first = np.searchsorted(owner[order], owner[order])
    place[order] = np.arange(len(order)) - first
    ranked = np.full(flat.shape, -1)
    ranked[known] = np.minimum(place[kind], common)
    return ranked.reshape(symbols.shape)


def _information(symbols: np.ndarray, smoothing: float, correct: bool) -> np.ndarray:
    """[C] nats, of symbols by frequency.

    Most candidates have few of their context's symbols, so only counts that are not 0
    are gone through; a symbol that a candidate lacks has the rate that smoothing gives.
    """
    # Cells of candidate and symbol that are not empty.
    contexts, candidates, _ = symbols.shape
    kinds = int(symbols.max()) + 1
    row = np.arange(contexts * candidates).reshape(contexts, candidates, 1)
    counts = np.bincount((row * kinds + symbols)[symbols >= 0])
    cell = np.flatnonzero(counts)
    row, count = cell // kinds, counts[cell]
    owner = row // candidates
    symbol = owner * kinds + cell % kinds  # of its context

    def over(places: np.ndarray, values: np.ndarray | None, size: tuple) -> np.ndarray:
        return np.bincount(places, values, math.prod(size)).reshape(size)

    # How often each candidate was continued, and in how many symbols.
    senders, alphabet = (contexts, candidates), (contexts, kinds)
    total, own_kinds = over(row, count, senders), over(row, None, senders)
    occurs = over(symbol, None, alphabet) > 0
    number = occurs.sum(1, keepdims=True)
    share = (total > 0) / (total > 0).sum(1, keepdims=True)  # of candidates there are

    # p(y|j), and the entropy of each candidate's replies.
    scale = np.maximum(total + smoothing * number, 1e-300)
    rate = (count + smoothing) / scale.ravel()[row]
    lacking = smoothing / scale  # the rate of a symbol that is not among the replies
    own = over(row, special.entr(rate), senders)
    own = own + (number - own_kinds) * special.entr(lacking)

    # p(y), and its entropy.
    weight = share.ravel()[row]
    mixed = over(symbol, weight * (rate - lacking.ravel()[row]), alphabet)
    mixed = np.where(occurs, mixed + (share * lacking).sum(1, keepdims=True), 0)
    joint = special.entr(mixed).sum(1)
    if correct:
        noise = rate * (1 - rate) / np.maximum(total - 1, 1).ravel()[row]
        noise = over(symbol, weight**2 * noise, alphabet)
        joint = joint + (noise / np.where(occurs, 2 * mixed, 1)).sum(1)
        own = own + (own_kinds - 1) / (2 * np.maximum(total, 1))
    return joint - (share * own).sum(1)


def _shuffled(symbols: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The symbols of each context in a random order, missing ones where they were."""
    flat = symbols.reshape(len(symbols), -1)
    known = flat >= 0
    # Sorting draws puts the places that are filled first, in random order.
    order = np.argsort(np.where(known, rng.random(flat.shape), 2.0), axis=1)
    first = np.arange(flat.shape[1]) < known.sum(1, keepdims=True)
    mixed = np.full_like(flat, -1)
    mixed[known] = np.take_along_axis(flat, order, 1)[first]
    return mixed.reshape(symbols.shape)


class Ranks:
    """The rank correlation of two variables over weighted messages."""

    def __init__(self, one: np.ndarray, other: np.ndarray):
        self._groups = [np.unique(x, return_inverse=True)[1] for x in (one, other)]

    def correlation(self, weight: np.ndarray) -> float:
        """The correlation with each message `weight` times; ties have mean ranks."""
        # Sums by einsum: a dot product of this size would wake all of BLAS's threads.
        ranks, scale = [], 1.0
        for group in self._groups:
            size = np.bincount(group, weight)
            end = np.cumsum(size)
            # The mean of all ranks is half the total.
            rank = end - size / 2 - end[-1] / 2
            ranks.append(rank[group])
            scale *= np.einsum("i,i,i", size, rank, rank)
        return _ratio(np.einsum("i,i,i", weight, *ranks), scale)


class _Moments:
    """Linear correlation, mean square difference and ceiling, by context."""

    def __init__(self, one, other, noise, context):
        gap = (one - other) ** 2
        # Near 0, squares of values that vary little lose no digits.
        one, other = one - one.mean(), other - other.mean()
        terms = (np.ones_like(one), one, other, one * other, one**2, other**2)
        terms += (gap, noise)
        self._sums = np.stack([np.bincount(context, term) for term in terms])

    def figures(self, drawn: np.ndarray) -> tuple[float, float, float]:
        """The figures with each context taken `drawn` times."""
        total, *sums = np.einsum("ij,j", self._sums, drawn)
        one, other, product, square, other_square, gap, noise = np.array(sums) / total
        variances = square - one**2, other_square - other**2
        # Rounding leaves a little variance where all values are the same.
        varies = variances[0] > 1e-12 * square and variances[1] > 1e-12 * other_square
        scale = variances[0] * variances[1] if varies else 0.0
        true = max(variances[1] - noise, 0.0)
        ceiling = math.sqrt(true / variances[1]) if varies else math.nan
        return _ratio(product - one * other, scale), float(gap), ceiling


def _ratio(product: float, squares: float) -> float:
    """A correlation; NaN where one of two variables does not vary."""
    return float(product / math.sqrt(squares)) if squares > 0 else math.nan


def _messages(advantage: np.ndarray) -> np.ndarray:
    """Credit as [C, J] float64, if it is not the same everywhere."""
    advantage = np.asarray(advantage, np.float64)
    if advantage.ndim != 2:
        raise ValueError(
            f"advantage is {advantage.shape}; wanted [contexts, candidates]."
        )
    _several(np.isfinite(advantage))
    return advantage


def _several(known: np.ndarray) -> None:
    """Refuses few contexts, and one candidate in any; [C, J] bool."""
    if len(known) < LEAST:
        raise ValueError(
            f"too few contexts ({len(known)}): intervals are over contexts; give "
            f"{LEAST} or more."
        )
    alone = known.sum(1) < 2
    if alone.any():
        raise ValueError(
            f"context {int(np.argmax(alone))} has fewer than 2 candidates: credit of "
            "one message has nothing to be compared with; sample 2 or more, or leave "
            "the context out."
        )
