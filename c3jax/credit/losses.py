"""Policy-gradient losses and their means, as array functions.

A *message* is one text of one role: its tokens are the last axis, and `mask` is True
where there is one. A ratio is one of probabilities, the current policy's over those
that the message was sampled with.
"""

import dataclasses
from collections.abc import Callable

import chex
import jax
import jax.numpy as jnp


def message_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean over the tokens of each message; 0 where it has none.

    Args:
        values: [.., T], or [.., 1] for the same at every token.
        mask: [.., T] bool.

    Returns:
        [.., 1] in the unit of the values.
    """
    total = jnp.where(mask, values, 0).sum(-1, keepdims=True)
    return total / jnp.maximum(mask.sum(-1, keepdims=True), 1)


def token_ratio(logp: jax.Array, old_logp: jax.Array, mask: jax.Array) -> jax.Array:
    """The ratio of each token, r_t = exp(logp_t - old_logp_t).

    Source: PPO, arXiv:1707.06347.

    Args:
        logp, old_logp: [.., T] nats under the current and the sampling policy.
        mask: [.., T] bool, not read.

    Returns:
        [.., T].
    """
    chex.assert_equal_shape([logp, old_logp])
    return jnp.exp(logp - old_logp)


def sequence_ratio(logp: jax.Array, old_logp: jax.Array, mask: jax.Array) -> jax.Array:
    """One ratio a message, the geometric mean of its tokens' ratios.

        s = exp(mean_t (logp_t - old_logp_t)).

    Source: GSPO, arXiv:2507.18071, equation 7. Arguments as of `token_ratio`, of which
    the mask is read; returns [.., 1].
    """
    chex.assert_equal_shape([logp, old_logp, mask])
    return jnp.exp(message_mean(logp - old_logp, mask))


def turn_ratio(logp: jax.Array, old_logp: jax.Array, mask: jax.Array) -> jax.Array:
    """One ratio a message, the arithmetic mean of its tokens' ratios.

        r = mean_t exp(logp_t - old_logp_t),

    clipped as a whole, so that either all tokens of a message learn or none. It is
    never below `sequence_ratio`.

    Source: ReMA, arXiv:2503.09501, the turn-level ratio of its multi-turn objective,
    where a turn is one message of one agent. Arguments and result as of
    `sequence_ratio`.
    """
    chex.assert_equal_shape([logp, old_logp, mask])
    return message_mean(jnp.exp(logp - old_logp), mask)


@dataclasses.dataclass(frozen=True)
class Ratio:
    """One way to compare the policy with the one that sampled.

    Attributes:
        fn: (logp, old_logp, mask) -> ratio, [.., T] or [.., 1].
        clip: how far below 1 a ratio is trusted, by custom.
        clip_high: how far above 1 it is trusted, by custom.
    """

    fn: Callable
    clip: float
    clip_high: float


RATIOS = {
    "token": Ratio(token_ratio, 0.2, 0.2),
    "sequence": Ratio(sequence_ratio, 3e-4, 4e-4),
    "turn": Ratio(turn_ratio, 0.2, 0.2),
}


def clipped(
    ratio: jax.Array,
    advantage: jax.Array,
    clip: float,
    clip_high: float,
    dual: float | None = None,
) -> jax.Array:
    """The clipped surrogate, to be minimised.

        L = -min(r A, clamp(r, 1 - clip, 1 + clip_high) A),

    and with a dual clip c, where A < 0, min(L, -c A): a message that was bad and has
    become much likelier since does not dominate.

    Source: PPO, arXiv:1707.06347, equation 7; dual clip, arXiv:1912.09729, equation 5.

    Args:
        ratio: [.., T] or [.., 1], of `RATIOS`.
        advantage: [.., T] or [.., 1], reward units.
        clip: 0.2 by custom for the ratio of a token.
        clip_high: the same above 1.
        dual: c, above 1, 3 by custom; None for none.

    Returns:
        [.., T] or [.., 1], as ratio and advantage broadcast, in reward units.
    """
    inside = jnp.clip(ratio, 1 - clip, 1 + clip_high)
    loss = -jnp.minimum(ratio * advantage, inside * advantage)
    if dual is None:
        return loss
    return jnp.where(advantage < 0, jnp.minimum(loss, -dual * advantage), loss)


def reinforce(logp: jax.Array, advantage: jax.Array) -> jax.Array:
    """The plain policy gradient, -A log pi, for messages of the policy as it is.

    Source: REINFORCE, R. J. Williams, 1992.

    Args:
        logp: [.., T] nats.
        advantage: [.., T] or [.., 1], reward units.

    Returns:
        [.., T].
    """
    return -logp * advantage


def value(
    predicted: jax.Array, old: jax.Array, target: jax.Array, clip: float
) -> jax.Array:
    """The clipped squared error of a critic, to be minimised.

        L = max((v - R)^2, (v_old + clamp(v - v_old, -clip, clip) - R)^2) / 2,

    so a value that has moved further than `clip` learns no more in that direction.

    Source: MAPPO, arXiv:2103.01955, with its PPO's clip of values.

    Args:
        predicted: [..] the critic's values, in reward units.
        old: [..] its values before the step.
        target: [..] the returns that it should predict.
        clip: how far a step may move a value, in reward units.

    Returns:
        [..] reward units, squared.
    """
    chex.assert_equal_shape([predicted, old, target])
    clipped_value = old + jnp.clip(predicted - old, -clip, clip)
    return jnp.maximum((predicted - target) ** 2, (clipped_value - target) ** 2) / 2


def kl_k1(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """A per-token estimate of KL(policy || reference): logp - ref_logp.

    Its mean over messages of the policy is the divergence, and as a part of the reward
    it has the gradient of the divergence. As a part of the loss its gradient is zero in
    the mean. Source: J. Schulman, "Approximating KL divergence", 2020, estimator k1.

    Args:
        logp, ref_logp: [.., T] nats of the sampled tokens.
    """
    chex.assert_equal_shape([logp, ref_logp])
    return logp - ref_logp


def kl_k3(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """A per-token estimate of KL(policy || reference), never negative.

    With d = ref_logp - logp: exp(d) - d - 1. Source: J. Schulman, "Approximating KL
    divergence", 2020, estimator k3.

    Args:
        logp, ref_logp: [.., T] nats of the sampled tokens.
    """
    chex.assert_equal_shape([logp, ref_logp])
    gap = ref_logp - logp
    return jnp.expm1(gap) - gap


KL = {"k1": kl_k1, "k3": kl_k3}


def adapted(
    weight: jax.Array,
    found: jax.Array,
    target: float,
    gain: float = 0.1,
    limit: float = 0.2,
) -> jax.Array:
    """The next weight of the KL, by a proportional controller on its logarithm.

        weight * (1 + gain * clamp(found / target - 1, -limit, limit)).

    Source: D. Ziegler et al., arXiv:1909.08593, section 2.2, with its constants.

    Args:
        weight: scalar, above 0.
        found: scalar, the measured divergence in nats a token.
        target: the wanted divergence in nats a token.
        gain: the weight's relative change for an error of one.
        limit: the largest relative error that counts.
    """
    error = jnp.clip(found / target - 1, -limit, limit)
    return weight * (1 + gain * error)


# The units that weigh equally in the mean of a loss.
MEANS = {
    "token": "every token",
    "sequence": "every message",
    "turn": "every role, and each message of a role",
}


def units(masks: tuple[jax.Array, ...], over: str = "token") -> tuple[jax.Array, ...]:
    """How many tokens, or messages with any, `mean` is taken over; one count a role.

    Args:
        masks: per role, [B, N, K, T] bool.
        over: a key of `MEANS`.
    """
    if over == "token":
        return tuple(mask.sum() for mask in masks)
    return tuple(mask.any(-1).sum() for mask in masks)


def mean(
    values: tuple[jax.Array, ...],
    masks: tuple[jax.Array, ...],
    over: str = "token",
    counts: tuple[jax.Array, ...] | None = None,
) -> jax.Array:
    """Mean of a loss over all roles, with

        token:     sum over tokens / how many there are,
        sequence:  sum over messages of their means / how many there are,
        turn:      mean over roles of sequence's mean of each.

    Sum, then divide: so the means of microbatches that are given the counts of the
    batch add up to that of the batch. The messages of a role are each part of equally
    many episodes, so `turn` is the mean over episodes of the mean over their turns.

    Source: token, DAPO, arXiv:2503.14476; sequence, GRPO, arXiv:2402.03300; turn, ReMA,
    arXiv:2503.09501.

    Args:
        values: per role, [B, N, K, T], or [B, N, K, 1] for the same at every token.
        masks: per role, [B, N, K, T] bool.
        over: a key of `MEANS`.
        counts: per role, as `units`; None for those of the masks. A microbatch is given
            those of the whole batch.

    Returns:
        Scalar; 0 if there is nothing to take a mean over.
    """
    counts = units(masks, over) if counts is None else counts
    # Per message first, unless all tokens weigh the same.
    if over != "token":
        values = tuple(map(message_mean, values, masks))
        masks = tuple(mask.any(-1, keepdims=True) for mask in masks)
    pairs = zip(values, masks, strict=True)
    sums = [jnp.where(mask, value, 0).sum() for value, mask in pairs]
    # All roles at once, or the mean over the roles.
    if over != "turn":
        return sum(sums) / jnp.maximum(sum(counts), 1)
    parts = zip(sums, counts, strict=True)
    return sum(s / jnp.maximum(n, 1) for s, n in parts) / len(sums)
