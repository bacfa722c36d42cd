"""Devices and the placement of arrays: the one module that names mesh axes."""

import functools
import os
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from c3jax.core import hosts

AXES = ("data", "fsdp", "tensor")
# Questions are spread over both; parameters are spread over fsdp and tensor.
_BATCH = ("data", "fsdp")
# Logical axis of a parameter -> mesh axis; an axis not named here is whole everywhere.
_RULES = {
    "vocab": "tensor",
    "heads": "tensor",
    "kv": "tensor",
    "hidden": "tensor",
    "width": "fsdp",
}


def make(data: int, fsdp: int, tensor: int, devices: list | None = None) -> Mesh:
    """A mesh of named axes; one size may be -1 and takes what the others leave.

    Several TPU slices are parts of the data axis: only gradients go from one to
    another, by the network between machines; all else stays within a slice.

    Args:
        data: parts that questions are split into, each with all parameters.
        fsdp: parts that questions and parameters are both split into.
        tensor: parts that heads, hidden units and vocabulary are split into.
        devices: the devices to use; None for all.

    Raises:
        ValueError: the sizes do not multiply to the number of devices, or the parts of
            `data` are not a multiple of the slices.
    """
    # Fill in the size that is left open.
    sizes = [data, fsdp, tensor]
    devices = jax.devices() if devices is None else devices
    text = ", ".join(f"{a}={n}" for a, n in zip(AXES, sizes, strict=True))
    if sizes.count(-1) > 1 or any(n < 1 and n != -1 for n in sizes):
        raise ValueError(f"mesh {text}: sizes are positive, and one of them may be -1.")
    known = int(np.prod([n for n in sizes if n != -1]))
    sizes = [len(devices) // known if n == -1 else n for n in sizes]
    if int(np.prod(sizes)) != len(devices):
        raise ValueError(
            f"mesh {text} does not multiply to the {len(devices)} devices there are; "
            "leave one size at -1, or make the product agree."
        )
    auto = (AxisType.Auto,) * len(AXES)
    return Mesh(arranged(sizes, devices), AXES, axis_types=auto)


def arranged(sizes: Sequence[int], devices: list) -> np.ndarray:
    """[data, fsdp, tensor] devices, each part of `data` within one slice.

    Raises:
        ValueError: the parts of `data` are not a multiple of the slices.
    """
    # Processes are numbered slice by slice, where no TPU says which is its own.
    slices, announced = {}, hosts.slices(os.environ)
    for device in devices:
        number = device.process_index * announced // jax.process_count()
        if device.platform == "tpu":
            number = getattr(device, "slice_index", 0)
        slices.setdefault(number, []).append(device)
    if sizes[0] % len(slices):
        raise ValueError(
            f"mesh data={sizes[0]}: it must be a multiple of the {len(slices)} slices, "
            "as every slice has all parameters; make fsdp or tensor smaller."
        )
    within = (sizes[0] // len(slices), *sizes[1:])
    parts = [slices[number] for number in sorted(slices)]
    return np.concatenate([mesh_utils.create_device_mesh(within, x) for x in parts])


def batch_size(mesh: Mesh) -> int:
    """The number of parts that the questions of a batch are split into."""
    return mesh.shape["data"] * mesh.shape["fsdp"]


def batch(mesh: Mesh, axis: int = 0) -> NamedSharding:
    """Arrays whose first axis, or axis number `axis`, is questions."""
    return NamedSharding(mesh, PartitionSpec(*[None] * axis, _BATCH))


@functools.cache
def rows(mesh: Mesh, size: int) -> tuple[np.ndarray, ...]:
    """Per process, which of a batch of `size` questions its devices hold, ascending."""
    held = [set() for _ in range(jax.process_count())]
    for device, (part,) in batch(mesh).devices_indices_map((size,)).items():
        held[device.process_index] |= {*range(size)[part]}
    return tuple(np.array(sorted(indices), int) for indices in held)


def share(mesh: Mesh, size: int) -> np.ndarray:
    """Which of a batch of `size` questions are this process's, ascending.

    It reads them, has them on its devices, and has their answers scored.
    """
    return rows(mesh, size)[jax.process_index()]


def place(mesh: Mesh, tree):
    """A tree of arrays whose first axis is questions, on the devices.

    Args:
        tree: this process's share, in NumPy arrays.
    """
    return jax.make_array_from_process_local_data(batch(mesh), tree)


def kv(mesh: Mesh, depth: int) -> NamedSharding:
    """Keys or values, [layer, questions, .., kv, slot, head_dim], of `depth` axes."""
    spec = (None, _BATCH, *[None] * (depth - 5), _RULES["kv"], None, None)
    return NamedSharding(mesh, PartitionSpec(*spec))


def kv_at(mesh: Mesh, x: jax.Array, at: jax.Array) -> jax.Array:
    """Keys or values of question number `at`; no others leave the device they are on.

    Args:
        x: [layer, questions, .., kv, slot, head_dim], placed as in `kv`.
        at: scalar int, the question's row in the batch.

    Returns:
        [layer, .., kv, slot, head_dim].
    """
    spec = kv(mesh, x.ndim).spec

    # One device has the question, and all others add zeros.
    def pick(x, at):
        row = at - jax.lax.axis_index(_BATCH) * x.shape[1]
        picked = jax.lax.dynamic_index_in_dim(x, row, 1, keepdims=False)
        is_here = (row >= 0) & (row < x.shape[1])
        return jax.lax.psum(jnp.where(is_here, picked, 0), _BATCH)

    return jax.shard_map(
        pick,
        mesh=mesh,
        in_specs=(spec, PartitionSpec()),
        out_specs=PartitionSpec(spec[0], *spec[2:]),
    )(x, at)


def per_question(fn: Callable, mesh: Mesh, spread: tuple[bool, ...]) -> Callable:
    """`fn`, run by every device on its own questions without communication.

    Args:
        fn: a function whose results have questions as their first axis.
        spread: per argument, whether its first axis is questions; the others are whole.
    """
    specs = tuple(PartitionSpec(_BATCH) if s else PartitionSpec() for s in spread)
    return jax.shard_map(fn, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(_BATCH))


def logits(mesh: Mesh, depth: int) -> NamedSharding:
    """Arrays whose first axis is questions and whose last, after `depth`, is tokens."""
    spec = (_BATCH, *[None] * (depth - 1), _RULES["vocab"])
    return NamedSharding(mesh, PartitionSpec(*spec))


def replicated(mesh: Mesh) -> NamedSharding:
    """Arrays that every device holds."""
    return NamedSharding(mesh, PartitionSpec())


def parameter(mesh: Mesh, shape: tuple[int, ...], axes: tuple) -> NamedSharding:
    """A parameter, by the logical names of its axes.

    Raises:
        ValueError: a mesh axis does not divide the parameter's axis.
    """
    names = [_RULES.get(axis) for axis in axes]
    for size, axis, name in zip(shape, axes, names, strict=True):
        if name and size % mesh.shape[name]:
            raise ValueError(
                f"mesh.{name}={mesh.shape[name]} does not divide the policy's {axis} "
                f"axis of {size}; choose a divisor."
            )
    return NamedSharding(mesh, PartitionSpec(*names))


def at_hand(mesh: Mesh, axes: tuple) -> NamedSharding:
    """A parameter in use: whole on every device that has questions.

    Left to itself, the compiler leaves the parameter spread and gathers intermediate
    results from the questions of several devices.
    """
    names = (_RULES.get(axis) for axis in axes)
    spec = (None if name in _BATCH else name for name in names)
    return NamedSharding(mesh, PartitionSpec(*spec))
