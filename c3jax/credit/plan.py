"""How many alternatives each role gets, chosen from where the reward's variance lies.

A tree spends one budget of answers on all roles. The variance that a role's message
adds to the reward, its *component*, is estimated from trees, and shows which roles gain
from more alternatives.
"""

import math

import chex
import numpy as np

from c3jax.core.types import Evidence
from c3jax.credit import baselines, shrunk


def variance_components(evidence: Evidence) -> np.ndarray:
    """The variance that each role's choice of message adds to the reward.

    Values of siblings differ by their own effect and by the sampling of what follows:
    their variance within a context is

        t_r = s_r + sum over roles d that read r of s_d / copies(r, d),

    copies being the messages of d below one of r. Solved from the last role to the
    first. A role that does not read r is shared by r's siblings, and cancels. In a
    chain the s_r sum to the variance of the reward, by the law of total variance.

    Args:
        evidence: rewards of trees, every role with K >= 2 alternatives.

    Returns:
        [R] float64 in squared reward units, unbiased in a chain; small estimates may be
        negative.

    Raises:
        ValueError: a role has one alternative, so that its component cannot be seen.
    """
    reward, ancestors = np.asarray(evidence.reward), evidence.ancestors
    chex.assert_rank(reward, 1 + len(ancestors))
    branching = reward.shape[1:]
    if min(branching) < 2:
        raise ValueError(
            f"branching={branching}: a role's component shows between siblings, so "
            "every entry must be 2 or more."
        )
    components = np.zeros(len(ancestors))
    # Last role first: each needs the components of the roles that read it.
    for level in reversed(range(len(ancestors))):
        value = baselines.tree_value(reward, ancestors[level], level)
        within = value.var(-1, ddof=1).mean()
        components[level] = within - _below(level, components, branching, ancestors)
    return components


def variance(
    branching: tuple[int, ...],
    ancestors: tuple[tuple[int, ...], ...],
    components: np.ndarray,
    *,
    blend: bool = False,
) -> np.ndarray:
    """The variance that a tree leaves in each role's gradient, one question.

    Let a role's gradient be the mean over its N K messages of advantage times score,
    and count the scores as independent of the values with unit mean square, so that the
    variance is E[A^2] / (N K). (This leaves out terms in the square of the gradient
    itself, small where it is lost in noise.) Let values be sums of independent effects:
    those of the ancestors, of variance s_a, shared by contexts that agree on a's
    message and all that it read, and of each message alone, t_r as in
    `variance_components`. With C their covariance and l the weights of the messages in
    the first one's baseline,

        var_r = (e - l)' C (e - l) / (N_r K_r),

    where e picks the first message, which stands for any. With siblings only (`c3`)
    this is t K / (K - 1) / (N K). With `blend`, l goes from far to near as
    `c3_shrunk` does, except for its mean over other questions.

    So for two roles with s = (Bv, W) and B answers, the first has about
    Bv / k_1 + W / B under either: it loses Bv (1 / k_1 - 1 / B) against B episodes,
    whatever W. The second has W k_2 / (k_2 - 1) / B instead of (Bv + W) / (B - 1): it
    gains where Bv is more than about W / (k_2 - 1), and with `blend` it does not lose
    elsewhere.

    Args:
        branching: alternatives per role.
        ancestors: per role, the tree axes of its contexts, ascending.
        components: [R] float >= 0, from `variance_components`.
        blend: whether other contexts are in the baseline, too.

    Returns:
        [R] float64 in squared reward units; inf where a role has no baseline.
    """
    residual = np.full(len(ancestors), math.inf)
    for level, above in enumerate(ancestors):
        # [axes, messages], the address of every message of the role.
        axes = (*above, level)
        messages = np.indices([branching[axis] for axis in axes])
        messages = messages.reshape(len(axes), -1)
        # How many of the first axes each message shares with the first one.
        shares = np.cumprod(messages == 0, 0).sum(0)

        # C: each message's own effect, and those of the ancestors' that it shares.
        own = components[level] + _below(level, components, branching, ancestors)
        covariance = own * np.eye(len(shares))
        for ancestor in above:
            read = messages[[axes.index(a) for a in (*ancestors[ancestor], ancestor)]]
            alike = (read[:, :, None] == read[:, None]).all(0)
            covariance += components[ancestor] * alike

        # l, from siblings only or from the whole tree.
        first = len(axes) - 1 if not blend else 0
        weights = _baseline(shares, covariance, range(first, len(axes)))
        if weights is not None:
            apart = np.eye(len(shares))[0] - weights
            residual[level] = apart @ covariance @ apart / len(shares)
    return residual


def cost(
    branching: tuple[int, ...],
    ancestors: tuple[tuple[int, ...], ...],
    tokens: tuple[float, ...] | None = None,
    answer: float = 1.0,
) -> float:
    """The cost of a tree: its messages by their tokens, its answers by their scoring.

    Args:
        branching, ancestors: as in `variance`.
        tokens: per role, the cost of a message, say its mean length; None for no cost.
        answer: the cost of scoring one answer, in the same unit.
    """
    messages = (_messages(branching, above, r) for r, above in enumerate(ancestors))
    tokens = tokens or (0.0,) * len(ancestors)
    generated = sum(n * price for n, price in zip(messages, tokens, strict=True))
    return generated + answer * math.prod(branching)


def best(
    components: np.ndarray,
    ancestors: tuple[tuple[int, ...], ...],
    budget: int,
    *,
    weight: tuple[float, ...] | None = None,
    tokens: tuple[float, ...] | None = None,
    answer: float = 1.0,
    blend: bool = False,
    kept: tuple[int, ...] | None = None,
    gain: float = 0.0,
) -> tuple[int, ...]:
    """The branching with the least variance for its cost.

    Over many questions a total cost C buys C / cost trees, whose mean has variance
    var * cost / C; so the best tree has the least var * cost, of all with at most
    `budget` answers and a baseline for every role.

    Args:
        components: [R] float, from `variance_components`; negative numbers count as 0.
        ancestors: per role, the tree axes of its contexts, ascending.
        budget: most answers a tree may have.
        weight: per role, the mean square of a message's score, by which its variance
            counts; None for equal ones. It grows with the message's tokens.
        tokens, answer: the cost of a message of each role, and of scoring; see `cost`.
        blend: whether baselines reach beyond siblings; see `variance`.
        kept: a branching that only a clearly better one replaces; None for none.
        gain: the fraction of its var * cost that a better one must save.

    Returns:
        Alternatives per role; of equally good ones the one with the most answers, then
        the most alternatives near the root.

    Raises:
        ValueError: no tree with so few answers gives every role a baseline.
    """
    components = np.maximum(components, 0)
    weight = np.ones(len(ancestors)) if weight is None else np.asarray(weight)

    def price(branching):
        left = float(weight @ variance(branching, ancestors, components, blend=blend))
        return left * cost(branching, ancestors, tokens, answer)

    def rank(branching):
        return price(branching), -math.prod(branching), tuple(-k for k in branching)

    least = min(branchings(ancestors, budget, blend=blend), key=rank, default=None)
    if least is None:
        raise ValueError(
            f"budget={budget}: no tree with so few answers gives each of "
            f"{len(ancestors)} roles a baseline; try {2 ** len(ancestors)}."
        )
    # A small gain is not worth new programs.
    if kept is not None and price(least) >= (1 - gain) * price(kept):
        return kept
    return least


def branchings(
    ancestors: tuple[tuple[int, ...], ...], budget: int, *, blend: bool = False
) -> list[tuple[int, ...]]:
    """All trees of at most `budget` answers in which every role has a baseline.

    Args:
        ancestors: per role, the tree axes of its contexts, ascending.
        budget: most answers a tree may have.
        blend: whether a message is compared with those of other contexts, too.
    """

    def has_baselines(branching):
        counts = (_messages(branching, above, r) for r, above in enumerate(ancestors))
        return min(counts if blend else branching) > 1

    return [tree for tree in _factors(len(ancestors), budget) if has_baselines(tree)]


def _factors(levels, budget):
    """All tuples of `levels` positive integers whose product is at most `budget`."""
    if not levels:
        yield ()
        return
    for k in range(1, budget + 1):
        for rest in _factors(levels - 1, budget // k):
            yield k, *rest


def _messages(branching, ancestors, level) -> int:
    """How many messages a role writes for one question, in all contexts."""
    return math.prod(branching[axis] for axis in (*ancestors, level))


def _below(level, components, branching, ancestors) -> float:
    """The part of a value's variance that comes from the sampling of what follows."""
    own = {*ancestors[level], level}
    return sum(
        components[d] / math.prod(branching[axis] for axis in {*above, d} - own)
        for d, above in enumerate(ancestors)
        if level in above
    )


def _baseline(shares, covariance, distances) -> np.ndarray | None:
    """The weight of each message in the first one's baseline, from far to near."""
    weights = far = None
    for distance in distances:
        alike = shares == distance
        if not alike.any():
            continue
        # Nearer messages are blended in as `c3_shrunk` does it.
        mean = alike / alike.sum()
        near = shrunk.Moments(mean @ covariance[0], mean @ covariance @ mean, 1.0)
        w = 1.0 if far is None else float(shrunk.shrink(near, far))
        weights = mean if far is None else weights + w * (mean - weights)
        far = shrunk.Moments(
            weights @ covariance[0], weights @ covariance @ weights, 1.0
        )
    return weights
