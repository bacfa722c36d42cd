"""How many alternatives each role gets, chosen from where the reward's variance lies.

A tree spends one budget of answers on all roles. What a level's message adds to the
reward's variance, its *spread*, is estimated from trees, and says which roles gain from
more alternatives.
"""

import itertools
import math

import numpy as np

from c3jax.core.types import Evidence
from c3jax.credit import baselines


def spread(evidence: Evidence) -> np.ndarray:
    """How much each role's choice of message adds to the reward's variance.

    Values of siblings differ by their own effect and by the sampling of what follows:
    their variance within a context is

        t_r = s_r + sum over roles d that read r of s_d / copies(r, d),

    copies being the messages of d below one of r. Solved from the last role to the
    first. A role that does not read r is shared by r's siblings, and cancels. In a
    chain the s_r sum to the variance of the reward, by the law of total variance.

    Args:
        evidence: rewards of trees, every role with K >= 2 alternatives.

    Returns:
        [R] float64 in squared reward units, unbiased in a chain; small ones may come
        out negative.

    Raises:
        ValueError: a role has one alternative, so that its spread cannot be seen.
    """
    reward, spans = np.asarray(evidence.reward), evidence.spans
    branching = reward.shape[1:]
    if min(branching) < 2:
        raise ValueError(
            f"branching={branching}: the spread of a role shows between siblings, so "
            "every entry must be 2 or more."
        )
    found = np.zeros(len(spans))
    for level in reversed(range(len(spans))):
        value = baselines.tree_value(reward, spans[level], level)
        within = value.var(-1, ddof=1).mean()
        found[level] = within - _below(level, found, branching, spans)
    return found


def variance(
    branching: tuple[int, ...],
    spans: tuple[tuple[int, ...], ...],
    spread: np.ndarray,
    *,
    blend: bool = False,
) -> np.ndarray:
    """The variance that a tree leaves in each role's gradient, one question.

    Let a role's gradient be the mean over its N K messages of advantage times score,
    and count the scores as independent of the values with unit mean square, so that the
    variance is E[A^2] / (N K). (This leaves out terms in the square of the gradient
    itself, small where it is lost in noise.) With t the variance of a value within its
    context, as in `spread`, and D the mean square of context worth minus baseline,

        var_r = (t_r + D_r) / (N_r K_r),
        D = t / (K - 1)                      siblings only (`c3`),
        D = 1 / ((K - 1) / t + 1 / gap)      siblings and other contexts (`c3_shrunk`),

    where gap is the same for the mean of the other contexts alone: the spread of the
    ancestors that a context does not share with them, and their own sampling. So of
    two roles with s = (Bv, W) and B answers, the first has about Bv / k_1 + W / B: it
    loses Bv (1 / k_1 - 1 / B) against B episodes, whatever W. The second has
    W k_2 / (k_2 - 1) / B instead of (Bv + W) / (1 - 1 / B) / B: it gains where Bv is
    more than about W / (k_2 - 1).

    Args:
        branching: alternatives per role.
        spans: per role, the tree axes of its contexts, ascending.
        spread: [R] float >= 0, as `spread` estimates it.
        blend: whether other contexts are in the baseline, too.

    Returns:
        [R] float64 in squared reward units; inf where a role has no baseline.
    """
    found = np.zeros(len(spans))
    for level, span in enumerate(spans):
        k = branching[level]
        t = spread[level] + _below(level, spread, branching, spans)
        known = (k - 1) / t if t > 0 else math.inf
        if blend:
            gap = _gap(level, branching, spans, spread, t)
            known += 1 / gap if gap > 0 else math.inf
        distance = 1 / known if known > 0 else math.inf
        contexts = math.prod(branching[axis] for axis in span)
        found[level] = (t + distance) / (contexts * k)
    return found


def cost(
    branching: tuple[int, ...],
    spans: tuple[tuple[int, ...], ...],
    tokens: tuple[float, ...] | None = None,
    answer: float = 1.0,
) -> float:
    """What a tree costs: its messages by their tokens, its answers by their scoring.

    Args:
        branching: alternatives per role.
        spans: per role, the tree axes of its contexts, ascending.
        tokens: per role, what a message costs, say its mean length; None for nothing.
        answer: what it costs to score one, in the same unit.
    """
    messages = (_messages(branching, span, r) for r, span in enumerate(spans))
    tokens = tokens or (0.0,) * len(spans)
    generated = sum(n * each for n, each in zip(messages, tokens, strict=True))
    return generated + answer * math.prod(branching)


def best(
    spread: np.ndarray,
    spans: tuple[tuple[int, ...], ...],
    budget: int,
    *,
    weight: tuple[float, ...] | None = None,
    tokens: tuple[float, ...] | None = None,
    answer: float = 1.0,
    blend: bool = False,
) -> tuple[int, ...]:
    """The branching with the least variance for its cost.

    Over many questions a total cost C buys C / cost trees, whose mean has variance
    var * cost / C; so the best tree has the least var * cost, of all with at most
    `budget` answers and a baseline for every role.

    Args:
        spread: [R] float, as `spread` estimates it; what is negative counts as 0.
        spans: per role, the tree axes of its contexts, ascending.
        budget: most answers a tree may have.
        weight: per role, the mean square of a message's score, by which its variance
            counts; None for equal ones. It grows with the message's tokens.
        tokens: as in `cost`.
        answer: as in `cost`.
        blend: as in `variance`.

    Returns:
        Alternatives per role; of equally good ones the one with the most answers, then
        the most alternatives near the root.

    Raises:
        ValueError: no tree with so few answers gives every role a baseline.
    """
    spread = np.maximum(spread, 0)
    weight = np.ones(len(spans)) if weight is None else np.asarray(weight)
    ranked = []
    for branching in _branchings(len(spans), budget):
        if not _comparable(branching, spans, blend):
            continue
        left = float(weight @ variance(branching, spans, spread, blend=blend))
        price = left * cost(branching, spans, tokens, answer)
        ranked.append(
            (price, -math.prod(branching), tuple(-k for k in branching), branching)
        )
    if not ranked:
        raise ValueError(
            f"budget={budget}: no tree with so few answers gives each of {len(spans)} "
            f"roles a baseline; try {2 ** len(spans)}."
        )
    return min(ranked)[-1]


def _branchings(levels, budget):
    """All trees of at most `budget` answers."""
    if not levels:
        yield ()
        return
    for k in range(1, budget + 1):
        for rest in _branchings(levels - 1, budget // k):
            yield k, *rest


def _comparable(branching, spans, blend) -> bool:
    """Whether every role has someone to be compared with."""
    if not blend:
        return min(branching) >= 2
    return all(_messages(branching, span, r) > 1 for r, span in enumerate(spans))


def _messages(branching, span, level) -> int:
    return math.prod(branching[axis] for axis in (*span, level))


def _below(level, spread, branching, spans) -> float:
    """The part of a value's variance that comes from the sampling of what follows."""
    own = {*spans[level], level}
    return sum(
        spread[d] / math.prod(branching[axis] for axis in {*span, d} - own)
        for d, span in enumerate(spans)
        if level in span
    )


def _gap(level, branching, spans, spread, t) -> float:
    """Mean square of what a context is worth minus the mean of the other contexts.

    Two contexts share the effect of an ancestor where they agree on its axis and on all
    that it has read; the first context against all stands for any.
    """
    span = spans[level]
    contexts = np.array(list(itertools.product(*(range(branching[a]) for a in span))))
    count = len(contexts)
    if count < 2:
        return math.inf
    shared = np.zeros((count, count))
    for ancestor in span:
        at = [span.index(axis) for axis in (*spans[ancestor], ancestor)]
        keys = contexts[:, at]
        shared += spread[ancestor] * (keys[:, None] == keys[None]).all(-1)
    others = shared[1:, 1:].mean() + t / branching[level] / (count - 1)
    return shared[0, 0] - 2 * shared[0, 1:].mean() + others
