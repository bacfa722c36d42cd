"""First steps of every estimator on its arrays, NumPy or JAX alike."""

import jax
import jax.numpy as jnp
import numpy as np

from c3jax.core.types import Evidence


def as_float(x: jax.Array):
    """The array's own namespace, and the array in floating point."""
    if not isinstance(x, jax.Array):
        x = np.asarray(x)
        return np, x if np.issubdtype(x.dtype, np.floating) else x.astype(np.float64)
    return jnp, x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)


def given(evidence: Evidence, *names: str) -> tuple:
    """The fields of the evidence that an estimator requires.

    Raises:
        ValueError: one of them was not gathered.
    """
    if missing := [name for name in names if getattr(evidence, name) is None]:
        raise ValueError(
            f"evidence lacks {missing}, which this estimator is computed from; gather "
            "them as core.types.Evidence says."
        )
    return tuple(getattr(evidence, name) for name in names)


def on_tree(
    x: jax.Array, ancestors: tuple[int, ...], level: int | None, shape: tuple[int, ...]
) -> jax.Array:
    """One role's array with an axis for every role, to broadcast against the leaves.

    Args:
        x: [B, N] of the role's contexts, or [B, N, K] of its messages.
        ancestors: tree axes of the role's contexts, ascending.
        level: the role's own tree axis; None for an array of contexts.
        shape: (B, k_1, .., k_R), of the leaves.

    Returns:
        [B, k_1, .., k_R] with size 1 on the axes x does not vary over.
    """
    kept = {*ancestors} if level is None else {*ancestors, level}
    sizes = (k if axis in kept else 1 for axis, k in enumerate(shape[1:]))
    return x.reshape(shape[0], *sizes)
