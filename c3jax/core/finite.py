"""Numbers that are infinite or NaN: where they are found, and what a run is told."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np


class NonFiniteError(ArithmeticError):
    """A number of a step is infinite or NaN; says which, of which role or tensor."""


def first(tree) -> jax.Array:
    """Scalar int32: 1 + the place of the first leaf whose norm is not finite, or 0.

    Finite numbers above 1.8e19 count: their squares are infinite in float32.
    """
    # A sum of squares finds all three, and is that of the gradient's norm.
    leaves = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(tree)]
    bad = ~jnp.isfinite(jnp.stack([jnp.sum(jnp.square(leaf)) for leaf in leaves]))
    return jnp.where(bad.any(), 1 + jnp.argmax(bad), 0).astype(jnp.int32)


def learned(gradient: dict, after: dict) -> dict:
    """What has to be finite in an optimiser step: gradient, and parameters after."""
    return {"gradient": gradient, "parameters": after}


def check_params(params: dict) -> None:
    """Refuses policies of which a tensor has no finite norm.

    Raises:
        NonFiniteError: names the tensor.
    """
    if place := int(jax.jit(first)(params)):
        raise NonFiniteError(f"{_name(params, place)} has no finite norm")


def check_update(stats: Mapping[str, float], params: dict) -> None:
    """Refuses an update whose statistics are not finite.

    Args:
        stats: `nonfinite` is the largest `first` of what it `learned`.
        params: the parameters that learn, or shapes, for their names.

    Raises:
        NonFiniteError: names the tensor, or the statistics.
    """
    found = [f"{k} {value}" for k, value in stats.items() if not np.isfinite(value)]
    if place := int(stats["nonfinite"]):
        where = _name(learned(params, params), place)
        found = [f"{where} has no finite norm", *found]
    if found:
        raise NonFiniteError(", ".join(found))


def _name(tree: dict, place: int) -> str:
    """The path of a leaf, by its place from 1, such as shared.layers.down."""
    path, _ = jax.tree_util.tree_flatten_with_path(tree)[0][place - 1]
    return jax.tree_util.keystr(path, simple=True, separator=".")


def check(values, what: str) -> None:
    """Refuses an array with a number that is not finite.

    Raises:
        NonFiniteError: `what` it is of.
    """
    values = np.asarray(values)
    if not np.isfinite(values).all():
        bad = values[~np.isfinite(values)]
        places = f" in {bad.size} of {values.size} places" if values.ndim else ""
        raise NonFiniteError(f"{what} is {bad[0]}{places}")
