"""Parameters from safetensors or a GGUF, and to safetensors.

Tensors are read block by block straight into the parameters on the mesh, so memory
holds never more than a block beside these; they are written shard by shard.
"""

import functools
import json
import math
import pathlib
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from c3jax.core import files, gguf
from c3jax.policy import decoder, families, gguf_model

_ONE, _INDEX = "model.safetensors", "model.safetensors.index.json"
# Bytes of a tensor that are read at a time, and of a file that is written.
BLOCK_BYTES, SHARD_BYTES = 64 << 20, 4 << 30
_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
# The end of the names of constants that old checkpoints hold, too.
_COMPUTED = "rotary_emb.inv_freq"
_HEAD, _TABLE = "lm_head.weight", "model.embed_tokens.weight"


class Stored(NamedTuple):
    """A tensor of a checkpoint.

    Attributes:
        kind: the type of its numbers, as the format names it.
        rows: (begin, end) -> these rows.
    """

    shape: tuple[int, ...]
    kind: str
    rows: Callable[[int, int], np.ndarray]


def load(
    model: pathlib.Path,
    shape: decoder.Shape,
    place: Callable[[decoder.Param], jax.sharding.Sharding],
    dtype: str = "float32",
) -> dict:
    """The parameters of a checkpoint on the mesh.

    Args:
        model: a directory with `model.safetensors`, or its shards and their index; or a
            GGUF.

    Raises:
        ValueError: a tensor is missing, unexpected, or of another shape or type; names
            some of them.
    """
    # The tensors that are there, by the names of this format.
    spell, kinds = str, tuple(_DTYPES)
    if model.suffix == gguf.SUFFIX:
        file = gguf.read(model)
        spell, kinds = gguf_model.spelling(file), gguf.KINDS
        pairs = gguf_model.stored(file, shape.head_dim).items()
        stored = {name: Stored(*tensor) for name, tensor in pairs}
    else:
        stored = _stored(model)
    _check(model, shape, stored, spell, kinds)

    params = decoder.over_params(lambda p: _zeros(p.shape, dtype, place(p))(), shape)
    for tensor in families.tensors(shape):
        _set(params, tensor, stored[spell(tensor.name)].rows)
    return params


@functools.cache
def _zeros(shape: tuple[int, ...], dtype: str, place) -> Callable:
    """The program that makes a parameter of zeros on its devices, compiled once."""
    return jax.jit(functools.partial(jnp.zeros, shape, dtype), out_shardings=place)


def _set(params: dict, tensor: families.Tensor, rows: Callable) -> None:
    """Fills a parameter, or a layer of it, from a tensor's rows."""
    parent = functools.reduce(dict.__getitem__, tensor.path[:-1], params)
    whole = parent[tensor.path[-1]]
    ours = whole.shape[tensor.layer is not None :]
    theirs = tensor.shape(ours)
    # A block is a range of the parameter's axis that the tensor's rows begin with.
    axis = tensor.axes[0][0]
    rows_per_index = theirs[0] // ours[axis]
    index_bytes = 4 * rows_per_index * math.prod(theirs[1:])
    step = max(1, BLOCK_BYTES // index_bytes)
    for begin in range(0, ours[axis], step):
        end = min(begin + step, ours[axis])
        block = rows(begin * rows_per_index, end * rows_per_index)
        start = [0] * len(ours)
        start[axis] = begin
        if tensor.layer is not None:
            start = [tensor.layer, *start]
        whole = _written(whole, block, tensor.axes, end - begin, np.int32(start))
    parent[tensor.path[-1]] = whole


@functools.partial(jax.jit, static_argnums=(2, 3), donate_argnums=0)
def _written(whole, block, axes, count, start):
    """A parameter with a block of a tensor written into it."""
    # The block with the parameter's axes.
    ours = list(whole.shape[whole.ndim - sum(map(len, axes)) :])
    ours[axes[0][0]] = count
    order = [axis for joined in axes for axis in joined]
    block = block.reshape([ours[axis] for axis in order])
    block = block.transpose(np.argsort(order)).astype(whole.dtype)
    block = block.reshape((1,) * (whole.ndim - block.ndim) + block.shape)
    # As bits: a CPU would make float32 of the whole parameter to write into bfloat16.
    bits = jnp.dtype(f"uint{8 * whole.dtype.itemsize}")
    raw = [jax.lax.bitcast_convert_type(x, bits) for x in (whole, block)]
    filled = jax.lax.dynamic_update_slice(*raw, list(start))
    return jax.lax.bitcast_convert_type(filled, whole.dtype)


def _stored(directory: pathlib.Path) -> dict[str, Stored]:
    """The tensors of a directory's files."""
    if (directory / _INDEX).exists():
        listed = json.loads((directory / _INDEX).read_text())["weight_map"]
        names = sorted({*listed.values()})
    else:
        names = [_ONE]
    if missing := [name for name in names if not (directory / name).exists()]:
        raise ValueError(
            f"{directory} lacks {missing}; a model is {_ONE}, or the files that "
            f"{_INDEX} lists."
        )
    stored = {}
    for path in (directory / name for name in names):
        with opened(path) as file:
            for name in sorted(file.keys()):
                tensor = file.get_slice(name)
                shape, kind = tuple(tensor.get_shape()), tensor.get_dtype()
                stored[name] = Stored(shape, kind, functools.partial(_rows, path, name))
    return stored


def _rows(path: pathlib.Path, name: str, begin: int, end: int) -> np.ndarray:
    """Some rows of a tensor; the file is unmapped again."""
    with opened(path) as file:
        return file.get_slice(name)[begin:end]


def opened(path: pathlib.Path):
    """A file of safetensors, read lazily as NumPy arrays."""
    import safetensors

    return safetensors.safe_open(path, "np")


def _check(model, shape, stored: dict[str, Stored], spell: Callable, kinds) -> None:
    """Accounts for every tensor."""
    # Sizes of the tensors that the decoder needs, by the file's names.
    wanted = {spell(tensor.name): sizes for tensor, sizes in _sized(shape)}

    # Names: neither too many nor too few.
    extra = [
        name for name in stored if name not in wanted and not name.endswith(_COMPUTED)
    ]
    if shape.tied and _HEAD in extra:
        extra.remove(_HEAD)  # the embedding table once more
        _check_tied(stored[_HEAD], stored[_TABLE])
    if missing := [name for name in wanted if name not in stored]:
        raise ValueError(f"{model} lacks {_some(missing)} of its config's model.")
    if extra:
        raise ValueError(f"{model} has {_some(extra)}, which its config lacks.")

    wrong = [
        f"{name} is {stored[name].kind} {stored[name].shape} instead of {sizes}"
        for name, sizes in wanted.items()
        if stored[name].shape != sizes or stored[name].kind not in kinds
    ]
    if wrong:
        raise ValueError(f"{model}: {_some(wrong)}; types may be {sorted(kinds)}.")


def _check_tied(one: Stored, other: Stored) -> None:
    """Compares two tables block by block; tied tables must be equal."""
    is_same = one.shape == other.shape
    step = max(1, BLOCK_BYTES // (4 * math.prod(one.shape[1:])))
    for begin in range(0, one.shape[0] if is_same else 0, step):
        end = min(begin + step, one.shape[0])
        blocks = (tensor.rows(begin, end) for tensor in (one, other))
        is_same = is_same and np.array_equal(*blocks)
    if not is_same:
        raise ValueError(
            f"the config says tie_word_embeddings, but {_HEAD} is another table than "
            f"{_TABLE}; correct one of them."
        )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"


def save(
    directory: pathlib.Path, params: dict, shape: decoder.Shape, dtype: str
) -> None:
    """Writes parameters in the layout of a published checkpoint.

    Args:
        directory: an existing directory.
        params: the decoder's, on any mesh of this process.
        dtype: of the tensors, a name of `torch` without the module: "bfloat16".

    Raises:
        OSError: a file cannot be written.
    """
    # Tensors in order, a new shard where the next one would be too large.
    listed, total, shards, size = {}, 0, [[]], 0
    for tensor, sizes in _sized(shape):
        count = math.prod(sizes) * jnp.dtype(dtype).itemsize
        if shards[-1] and size + count > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size, total = size + count, total + count

    # A file a shard, and an index of several.
    for number, shard in enumerate(shards, 1):
        name = _ONE
        if len(shards) > 1:
            name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write(directory / name, params, shard, dtype)
        listed |= {tensor.name: name for tensor in shard}
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": listed}
        files.write(directory / _INDEX, json.dumps(index, indent=2) + "\n")


def _sized(shape: decoder.Shape) -> Iterable[tuple[families.Tensor, tuple[int, ...]]]:
    """Every tensor, and its sizes."""
    declared = decoder.declare(shape)
    for tensor in families.tensors(shape):
        param = functools.reduce(dict.__getitem__, tensor.path, declared)
        yield tensor, tensor.shape(param.shape[tensor.layer is not None :])


_layer = jax.jit(lambda stacked, index: stacked[index])


def _write(path: pathlib.Path, params, tensors, dtype: str) -> None:
    from safetensors import numpy

    arrays = {}
    for tensor in tensors:
        value = functools.reduce(dict.__getitem__, tensor.path, params)
        if tensor.layer is not None:
            value = _layer(value, np.int32(tensor.layer))
        order = [axis for joined in tensor.axes for axis in joined]
        sizes = tensor.shape(value.shape)
        value = np.asarray(jax.device_get(value)).transpose(order).reshape(sizes)
        arrays[tensor.name] = np.ascontiguousarray(value.astype(jnp.dtype(dtype)))
    numpy.save_file(arrays, path, metadata={"format": "pt"})
