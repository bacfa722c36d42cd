"""Policy-gradient losses per token, as array functions."""

import chex
import jax
import jax.numpy as jnp


def clipped(
    logp: jax.Array, old_logp: jax.Array, advantage: jax.Array, clip: float
) -> jax.Array:
    """The clipped surrogate, per token, to be minimised.

    With r = exp(logp - old_logp),

        -min(r A, clamp(r, 1 - clip, 1 + clip) A).

    Source: PPO, arXiv:1707.06347, equation 7.

    Args:
        logp, old_logp: [.., T] nats under the current and the sampling policy.
        advantage: [.., T] or [.., 1], reward units.
        clip: 0.2 by custom.
    """
    chex.assert_equal_shape([logp, old_logp])
    ratio = jnp.exp(logp - old_logp)
    inside = jnp.clip(ratio, 1 - clip, 1 + clip)
    return -jnp.minimum(ratio * advantage, inside * advantage)


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


def masked_mean(
    values: tuple[jax.Array, ...],
    masks: tuple[jax.Array, ...],
    tokens: jax.Array | None = None,
) -> jax.Array:
    """Mean over all tokens of all roles, each token counting once.

    Sum, then divide: a mean of per-message means would overweight short messages.

    Args:
        values: per role, [B, N, K, T].
        masks: per role, [B, N, K, T] bool.
        tokens: scalar, how many there are in all; of these values unless given, of the
            whole batch where this is one piece of it.
    """
    total = sum(jnp.where(m, v, 0).sum() for v, m in zip(values, masks, strict=True))
    return total / (sum(m.sum() for m in masks) if tokens is None else tokens)
