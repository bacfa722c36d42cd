"""Rotary positions (arXiv:2104.09864), halves of a head paired as in Llama."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Stretch(NamedTuple):
    """Rotary wavelengths beyond the window a model was first trained on (Llama 3.1).

    Attributes:
        factor: stretches the waves that fit into the window less than `low` times.
        low, high: waves that fit in more than `high` times stay; between is a blend.
        window: tokens of the first window.
    """

    factor: float
    low: float
    high: float
    window: int


def waves(
    position: jax.Array, dim: int, theta: float, stretch: Stretch | None = None
) -> jax.Array:
    """Cosines and sines of rotary positions (RoFormer, arXiv:2104.09864).

    Args:
        position: [T] int.
        dim: D, numbers of one head.
        theta: base of the wavelengths.
        stretch: stretching of the long waves; None for none.

    Returns:
        [2, T, D / 2] float32.
    """
    turn = frequencies(dim, theta, stretch)
    angle = position[:, None].astype(jnp.float32) * turn
    return jnp.stack([jnp.cos(angle), jnp.sin(angle)])


def frequencies(dim: int, theta: float, stretch: Stretch | None = None) -> jax.Array:
    """[D / 2] float32 radians that a position turns each pair of a head's numbers by.

    Source of the stretching: Llama 3, arXiv:2407.21783. Arguments as of `waves`.
    """
    half = dim // 2
    turn = theta ** (-jnp.arange(half, dtype=jnp.float32) / half)
    if stretch is None:
        return turn
    # A wave is stretched the more, the less often it fits into the window.
    fits = stretch.window * turn / (2 * jnp.pi)
    kept = jnp.clip((fits - stretch.low) / (stretch.high - stretch.low), 0, 1)
    return turn * (kept + (1 - kept) / stretch.factor)


def rotate(x: jax.Array, waves: jax.Array) -> jax.Array:
    """Rotates [heads, T, D] by the `waves` of T positions, a head's halves paired."""
    cos, sin = waves
    a, b = jnp.split(x.astype(jnp.float32), 2, -1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1).astype(x.dtype)
