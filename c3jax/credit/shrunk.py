"""C3 with a baseline from more than the siblings, each part by how much it tells.

Any quantity that does not depend on a message is an unbiased baseline for it: the mean
of its siblings, of messages in other contexts of the question, of other questions. The
nearer ones are closer to what the message's context is worth, the farther ones are
means over more samples. `c3_shrunk` goes from far to near and at each step moves to the
nearer mean as far as minimises the variance.
"""

import jax
import jax.numpy as jnp
from flax import struct

from c3jax.core.types import Evidence
from c3jax.credit import arrays, baselines


@struct.dataclass
class Moments:
    """What weighs the baselines of one role: averages over questions, by distance.

    Baselines are in the order of `relatives`, the mean of other questions before them.

    Attributes:
        cross: [.., 1 + D] float32, mean of a message's value times its baseline.
        square: [.., 1 + D] float32, mean square of the baseline.
        weight: [.., 1 + D] float32, questions that these are means over.
    """

    cross: jax.Array
    square: jax.Array
    weight: jax.Array


def no_moments(spans: tuple[tuple[int, ...], ...]) -> tuple[Moments, ...]:
    """Per role, the moments before the first batch."""
    return tuple(
        Moments(*(jnp.zeros(len(span) + 2) for _ in range(3))) for span in spans
    )


def relatives(value: jax.Array) -> tuple[jax.Array | None, ...]:
    """Means of the messages that share fewer and fewer ancestors, farthest first.

    Entry d is the mean over the messages that share the first d context axes with this
    one and differ on the next; the last entry is the mean of the siblings. The sets
    are disjoint, and none holds the message itself.

    Args:
        value: [B, s_1, .., s_m, K] float, axes of the role's contexts, then its own.

    Returns:
        m + 1 arrays that broadcast to [B, s_1, .., s_m, K]; None where an axis has
        size 1, so that nobody differs on it.
    """
    found = []
    for axis in range(1, value.ndim):
        if value.shape[axis] < 2:
            found.append(None)
            continue
        cell = value.mean(tuple(range(axis + 1, value.ndim)), keepdims=True)
        others = cell.sum(axis, keepdims=True) - cell
        found.append(others / (value.shape[axis] - 1))
    return tuple(found)


def shrink(near: Moments, far: tuple[jax.Array, jax.Array]) -> jax.Array:
    """How far to move from a farther baseline to a nearer one.

    Of (1 - w) far + w near, the mean square distance to a message's value v is least at

        w = gap / (gap + noise),
        gap = E[v near] - 2 E[v far] + E[far^2],    noise = E[near^2] - E[v near].

    With V what the context is worth, gap is E[(V - far)^2], how far the contexts lie
    from the farther baseline, and noise is the variance of `near` about V: the sampling
    variance of one value over their number. A nearer baseline is never left for less
    than nothing or taken for more than all: w is kept in [0, 1].

    Derivation: v, and the messages in `near`, are independent given their common
    ancestors, and stand in the same relation to `far`; so E[near far] = E[v far], and
    the square is a parabola in w.

    Args:
        near: moments of the nearer baseline alone, arrays of any shape.
        far: E[v far] and E[far^2].

    Returns:
        The weight w, of the same shape; 1 where nothing is known.
    """
    xp, _ = arrays.as_float(near.cross)
    cross, square = far
    gap = xp.maximum(near.cross - 2 * cross + square, 0)
    noise = xp.maximum(near.square - near.cross, 0)
    known = (near.weight > 0) & (gap + noise > 0)
    return xp.where(known, gap / xp.where(known, gap + noise, 1), 1)


def c3_shrunk(
    evidence: Evidence, memory: tuple[Moments, ...], *, decay: float = 0.9
) -> tuple[tuple[jax.Array, ...], tuple[Moments, ...]]:
    """The value of a message minus a blend of all baselines that cannot depend on it.

    Starting from the mean over the other questions, then for each set of `relatives`
    from the farthest to the siblings, b <- b + w (mean of the set - b) with the weight
    of `shrink`; A = v - b. It equals `c3` where w = 1 for the siblings, and is `rloo`
    with a shrunken mean at branching (B, 1, .., 1): it works with any branching.

    The weights of a question come from the other questions of the batch and from
    earlier batches, so they do not depend on its messages and A stays unbiased.
    With one question and no memory nothing is known and the nearest set is all.

    Source: this project; best linear prediction with estimated variance components, as
    in Robinson, "That BLUP is a good thing", Statistical Science 6(1), 1991.

    Args:
        evidence: rewards only.
        memory: per role, the moments of earlier batches.
        decay: of the weight of a batch, from one to the next.

    Returns:
        [B, N, K] a role in reward units, and the moments with this batch. The
        advantages of a sibling group do not sum to zero.

    Raises:
        ValueError: a role has a single message in a question.
    """
    advantages, moments = [], []
    for level, (span, past) in enumerate(zip(evidence.spans, memory, strict=True)):
        flat = baselines.tree_value(evidence.reward, span, level)
        sizes = [evidence.reward.shape[1 + axis] for axis in (*span, level)]
        value = flat.reshape(flat.shape[0], *sizes)
        if value[0].size < 2:
            raise ValueError(
                f"role {level} has one message a question, so nothing to compare it "
                "with; give it, or a role that it reads, 2 or more alternatives."
            )
        xp, _ = arrays.as_float(value)
        past = jax.tree.map(xp.asarray, past)
        others, everything = _moments(value)
        baseline = _blend(value, _pooled(past, others, 1.0))
        advantages.append((value - baseline).reshape(flat.shape))
        kept = _pooled(past, everything, decay)
        moments.append(jax.tree.map(lambda x: x.astype("float32"), kept))
    return tuple(advantages), tuple(moments)


def _blend(value, moments):
    """The baseline of every message, [B, s_1, .., s_m, K]."""
    xp, _ = arrays.as_float(value)
    count = value.shape[0]
    mean = value.reshape(count, -1).mean(-1)
    candidates = [None, *relatives(value)]
    if count > 1:
        candidates[0] = ((mean.sum() - mean) / (count - 1)).reshape(
            -1, *(1,) * (value.ndim - 1)
        )
    baseline = cross = square = trusted = None
    for d, candidate in enumerate(candidates):
        if candidate is None:
            continue
        near = jax.tree.map(lambda x, d=d: x[:, d], moments)
        if baseline is None:
            baseline, cross, square = candidate, near.cross, near.square
            trusted = near.weight > 0
            continue
        w = xp.where(trusted, shrink(near, (cross, square)), 1)
        lifted = w.reshape(-1, *(1,) * (value.ndim - 1))
        baseline = baseline + lifted * (candidate - baseline)
        square = (
            w**2 * near.square + 2 * w * (1 - w) * cross + (1 - w) ** 2 * square
        )
        cross = w * near.cross + (1 - w) * cross
        trusted = near.weight > 0
    return baseline


def _moments(value):
    """Moments of the other questions, [B, 1 + D], and of all of them, [1, 1 + D]."""
    xp, _ = arrays.as_float(value)
    count, rows = value.shape[0], value.reshape(value.shape[0], -1)
    mean = rows.mean(-1)
    crosses, squares = [], []
    for each in relatives(value):
        if each is None:
            crosses.append(xp.zeros_like(mean))
            squares.append(xp.zeros_like(mean))
            continue
        each = xp.broadcast_to(each, value.shape).reshape(count, -1)
        crosses.append((rows * each).mean(-1))
        squares.append((each**2).mean(-1))

    def summed(own, left):
        """Means over the questions left of a batch, `own` of them taken out."""
        ones = xp.ones_like(mean[:1])
        # Pairs of different questions, and the square of the mean of count - 1 others.
        total, power = mean.sum() - own * mean, (mean**2).sum() - own * mean**2
        pairs = (total**2 - power) / max(left * (left - 1), 1)
        spread = power / max(left, 1) - pairs
        parts = [
            [pairs, *((x.sum() - own * x) / max(left, 1) for x in crosses)],
            [
                pairs + spread / max(count - 1, 1),
                *((x.sum() - own * x) / max(left, 1) for x in squares),
            ],
            [(left if left > 1 else 0) * ones, *[left * ones] * len(crosses)],
        ]
        shape = xp.broadcast_shapes(mean.shape if own else ones.shape)
        return Moments(
            *(xp.stack([xp.broadcast_to(x, shape) for x in part], -1) for part in parts)
        )

    return summed(1, count - 1), summed(0, count)


def _pooled(past, new, decay):
    """Weighted mean of the moments of earlier batches and of this one."""
    raise NotImplementedError
