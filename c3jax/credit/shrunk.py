"""C3 with a baseline from more than the siblings, each weighted by its information.

Any quantity that does not depend on a message is an unbiased baseline for it: the mean
of its siblings, of messages in other contexts of the question, of other questions.
Nearer means are closer to the value of the message's context, farther ones average more
samples. `c3_shrunk` goes from far to near and at each step moves to the nearer mean as
far as minimises the variance.

Prior art: Zeng et al., "Shrinking the Variance", arXiv:2511.03710, shrink the mean of a
prompt's answers toward other prompts' (James and Stein). The step from other questions
to the question does that, with weights from moments; the levels of the tree between
question and siblings are this project's.
"""

import jax
import jax.numpy as jnp
from flax import struct

from c3jax.core.types import Evidence
from c3jax.credit import arrays, baselines


@struct.dataclass
class Moments:
    """Statistics that weight baselines: means over questions, D baselines of a role.

    Attributes:
        cross: [.., D] float32, mean of a message's value times its baseline.
        square: [.., D] float32, mean square of the baseline.
        weight: [.., D] float32, the number of questions in these means.
    """

    cross: jax.Array
    square: jax.Array
    weight: jax.Array


def no_moments(ancestors: tuple[tuple[int, ...], ...]) -> tuple[Moments, ...]:
    """Per role, the moments before the first batch."""
    return tuple(
        Moments(*(jnp.zeros(len(above) + 2) for _ in range(3))) for above in ancestors
    )


def relatives(value: jax.Array) -> tuple[jax.Array | None, ...]:
    """Means of the messages that share more and more with each one, farthest first.

    Entry d is the mean over the messages that share the first d axes with this one and
    differ on the next: all of the other questions, then those under another message of
    the first ancestor, and so on; the last entry is the mean of the siblings. The sets
    are disjoint, and none holds the message itself.

    Args:
        value: [B, s_1, .., s_m, K] float, axes of the role's contexts, then its own.

    Returns:
        m + 2 arrays that broadcast to value; None for an axis of size 1, along which
        messages do not differ.
    """
    means = []
    for axis, size in enumerate(value.shape):
        if size < 2:
            means.append(None)
            continue
        # All cells of this axis but the message's own.
        below = tuple(range(axis + 1, value.ndim))
        cell = value.mean(below, keepdims=True)
        means.append((cell.sum(axis, keepdims=True) - cell) / (size - 1))
    return tuple(means)


def shrink(near: Moments, far: Moments) -> jax.Array:
    """How far to move from a farther baseline to a nearer one.

    The mean square distance of (1 - w) far + w near to a message's value v is least at

        w = gap / (gap + noise),
        gap = E[v near] - 2 E[v far] + E[far^2],    noise = E[near^2] - E[v near].

    With V the value of the context, gap is E[(V - far)^2], the variance between
    contexts plus the far baseline's own, and noise is the variance of `near` about V:
    the variance within a context over the number of siblings.

    Derivation: given the ancestors they share, v and the messages in `near` are
    independent and alike, and related to `far` in the same way, so E[near far] is
    E[v far]; then the mean square is a parabola in w. By the same equalities the blend
    has

        E[v blend] = w E[v near] + (1 - w) E[v far],
        E[blend^2] = w^2 E[near^2] + 2 w (1 - w) E[v far] + (1 - w)^2 E[far^2].

    Args:
        near: moments of the nearer baseline, arrays of any shape.
        far: moments of the farther baseline, the same shape.

    Returns:
        w in [0, 1], the same shape; 1, the nearer baseline, without any moments.
    """
    xp, _ = arrays.as_float(near.cross)
    gap = xp.maximum(near.cross - 2 * far.cross + far.square, 0)
    noise = xp.maximum(near.square - near.cross, 0)
    known = (near.weight > 0) & (far.weight > 0) & (gap + noise > 0)
    return xp.where(known, gap / xp.where(known, gap + noise, 1), 1)


def c3_shrunk(
    evidence: Evidence,
    memory: tuple[Moments, ...],
    *,
    decay: float = 0.9,
    prior: float = 4.0,
) -> tuple[tuple[jax.Array, ...], tuple[Moments, ...]]:
    """The value of a message minus a blend of all means that cannot depend on it.

    Starting from the mean of the other questions, b <- b + w (near - b) for each of the
    `relatives` up to the siblings, with the weight of `shrink`; A = v - b. Any
    branching will do: where w = 1 for the siblings it is `c3`, and at (B, 1, .., 1) it
    is `rloo` with a shrunken mean.

    The weights of a question come from the other questions of the batch and from
    earlier batches. So they do not depend on its messages, and A stays unbiased. A
    weight from few questions is itself noise, so the step back from the nearer mean is
    n / (n + prior) of what n questions ask for. With one question and no memory nothing
    is known, and the nearest mean is the baseline.

    Source: this project; best linear prediction with estimated variance components, as
    in Robinson, "That BLUP is a good thing", Statistical Science 6(1), 1991. Shrinkage
    toward other prompts: arXiv:2511.03710.

    Args:
        evidence: only its rewards are read.
        memory: per role, the moments of earlier batches.
        decay: the weight of a batch one batch later, relative to now.
        prior: questions after which half of a weight is used; 0 uses all at once.

    Returns:
        [B, N, K] a role in reward units, not summing to zero over siblings; and the
        moments with this batch.

    Raises:
        ValueError: a role has a single message in a question.
    """
    advantages, moments = [], []
    roles = zip(evidence.ancestors, memory, strict=True)
    for level, (ancestors, past) in enumerate(roles):
        flat = baselines.tree_value(evidence.reward, ancestors, level)
        if flat[0].size < 2:
            raise ValueError(
                f"role {level} has one message a question, so nothing to compare it "
                "with; give it, or a role that it reads, 2 or more alternatives."
            )

        # One axis an ancestor, to tell near contexts from far ones.
        sizes = (evidence.reward.shape[1 + axis] for axis in (*ancestors, level))
        value = flat.reshape(flat.shape[0], *sizes)
        xp, _ = arrays.as_float(value)
        past = jax.tree.map(xp.asarray, past)
        past = past.replace(weight=decay * past.weight)

        # Weights for a question come from all others, now and before.
        means = relatives(value)
        others = others_of(value, means)
        baseline = _blend(means, pooled(past, others), prior)
        advantages.append((value - baseline).reshape(flat.shape))

        # Averaged over the question left out, these are the moments of the whole batch.
        batch = jax.tree.map(lambda x: x.mean(0), others)
        moment = pooled(past, batch)
        moments.append(jax.tree.map(lambda x: x.astype("float32"), moment))
    return tuple(advantages), tuple(moments)


def others_of(value: jax.Array, means: tuple) -> Moments:
    """Moments over the other questions of the batch, [B, D]."""
    xp, _ = arrays.as_float(value)
    count, rows = value.shape[0], value.reshape(value.shape[0], -1)

    def left(x):
        return (x.sum() - x) / max(count - 1, 1)

    def over_messages(x):
        return left(xp.broadcast_to(x, value.shape).reshape(rows.shape).mean(-1))

    # The mean of other questions is judged by their own means alone: by products of two
    # different ones, and by the square of a mean over count - 1.
    mean = rows.mean(-1)
    total, power = mean.sum() - mean, (mean**2).sum() - mean**2
    product = (total**2 - power) / max((count - 1) * (count - 2), 1)
    cross = [product]
    square = [product + (left(mean**2) - product) / max(count - 1, 1)]

    # Nearer means are averaged over the messages of each other question.
    for near in means[1:]:
        near = xp.zeros_like(value[:1]) if near is None else near
        cross.append(over_messages(value * near))
        square.append(over_messages(near**2))
    # Products of two different questions besides the one left out take three.
    weight = [xp.full_like(mean, count - 1)] * len(cross)
    if count < 3:
        weight[0] = xp.zeros_like(mean)
    return Moments(*(xp.stack(moment, -1) for moment in (cross, square, weight)))


def pooled(past: Moments, new: Moments) -> Moments:
    """Moments over the questions of both."""
    xp, _ = arrays.as_float(new.cross)
    weight = past.weight + new.weight
    share = new.weight / xp.where(weight > 0, weight, 1)
    return Moments(
        cross=past.cross + share * (new.cross - past.cross),
        square=past.square + share * (new.square - past.square),
        weight=weight,
    )


def _blend(means: tuple, moments: Moments, prior: float) -> jax.Array:
    """The baseline, to broadcast against values, from [B, D] moments."""
    baseline = far = None
    for d, mean in enumerate(means):
        if mean is None:
            continue
        near = jax.tree.map(lambda x, d=d: x[:, d], moments)
        if far is None:
            baseline, far = mean, near
            continue
        # A weight from few questions is trusted less.
        w = 1 - (1 - shrink(near, far)) * near.weight / (near.weight + prior)
        lifted = w.reshape(-1, *(1,) * (mean.ndim - 1))
        baseline = baseline + lifted * (mean - baseline)
        # The moments of the blend, as `shrink` derives them.
        far = Moments(
            cross=w * near.cross + (1 - w) * far.cross,
            square=w**2 * near.square
            + 2 * w * (1 - w) * far.cross
            + (1 - w) ** 2 * far.square,
            weight=near.weight,
        )
    return baseline
