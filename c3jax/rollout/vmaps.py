"""A function of one sequence, vmapped over the axes of a tree.

An argument that does not vary along an axis gets `in_axes=None` there, so it is
computed, stored and read once for everything below.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class InAxes(NamedTuple):
    """The axes along which an argument of a vmapped function varies.

    Attributes:
        at: `in_axes` along each of them.
    """

    axes: tuple[int, ...]
    at: object = 0


def nested_vmap(
    fn: Callable, axes: tuple[int, ...], arguments: tuple, out=0
) -> Callable:
    """`fn` of one sequence, vmapped over `axes`, the first outermost.

    Args:
        fn: positional arguments only.
        axes: the axes of the result.
        arguments: an `InAxes` per argument, or a tuple of them where that is a tuple.
        out: `out_axes` along each axis.
    """
    for axis in reversed(axes):
        in_axes = jax.tree.map(
            lambda argument, axis=axis: argument.at if axis in argument.axes else None,
            arguments,
            is_leaf=lambda x: isinstance(x, InAxes),
        )
        is_deep = len(axes) > _CPU_AXES and axis == axes[0]
        if is_deep and jax.default_backend() == "cpu":
            fn = _in_turn(fn, in_axes, out)
        else:
            fn = jax.vmap(fn, in_axes=in_axes, out_axes=out)
    return fn


# With one axis more, keys and values have eight, and XLA's matrix products on a CPU
# end the process (jaxlib 0.10: ynn_emitter.cc, b_rank < YNN_MAX_TENSOR_RANK).
_CPU_AXES = 4


def _in_turn(fn: Callable, in_axes: tuple, out) -> Callable:
    """The function that `jax.vmap` gives, computing one slice after the other."""

    def spread(prefix, tree):
        # -1, since a None of the prefix would be taken for one of the arguments.
        known = jax.tree.map(
            lambda axis: -1 if axis is None else axis,
            prefix,
            is_leaf=lambda x: x is None,
        )
        return jax.tree.leaves(jax.tree.broadcast(known, tree))

    def run(*args):
        # The arguments that vary, with their axis in front.
        leaves, treedef = jax.tree.flatten(args)
        axes = spread(in_axes, args)
        moved = {
            index: jnp.moveaxis(leaf, axis, 0)
            for index, (leaf, axis) in enumerate(zip(leaves, axes, strict=True))
            if axis >= 0
        }

        def one(slices):
            whole = [slices.get(index, leaf) for index, leaf in enumerate(leaves)]
            return fn(*treedef.unflatten(whole))

        # The results, with that axis where `out` wants it.
        stacked = jax.lax.map(one, moved)
        results, shape = jax.tree.flatten(stacked)
        places = spread(out, stacked)
        return shape.unflatten(
            jnp.moveaxis(x, 0, axis) for x, axis in zip(results, places, strict=True)
        )

    return run
