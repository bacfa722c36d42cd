"""Parameters from and to published checkpoints: safetensors, or from a GGUF.

Tensors are read block by block straight into the parameters on the mesh, so that beside
these there is never more than a block in memory; they are written shard by shard.
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
# Of a tensor that is read at a time, and of a file that is written.
BLOCK_BYTES, SHARD_BYTES = 64 << 20, 4 << 30
_DTYPES = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}
# Constants that old checkpoints hold, too.
_COMPUTED = "rotary_emb.inv_freq"
_HEAD, _TABLE = "lm_head.weight", "model.embed_tokens.weight"


class Stored(NamedTuple):
    """A tensor of a checkpoint.

    Attributes:
        shape: its sizes.
        kind: how its numbers are kept.
        rows: (begin, end) to some of its rows.
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
        shape: sizes of the decoder.
        place: where a parameter lives.
        dtype: of the parameters.

    Raises:
        ValueError: a tensor is missing, not expected, of another shape or type; it
            names them.
    """
    spell, kinds = str, tuple(_DTYPES)
    if model.suffix == gguf.SUFFIX:
        file = gguf.read(model)
        spell, kinds = gguf_model.spelling(file), gguf.KINDS
        pairs = gguf_model.stored(file, shape.head_dim).items()
        found = {name: Stored(*tensor) for name, tensor in pairs}
    else:
        found = _stored(model)
    _check(model, shape, found, spell, kinds)

    params = decoder.over_params(lambda p: _zeros(p.shape, dtype, place(p))(), shape)
    for tensor in families.tensors(shape):
        _set(params, tensor, found[spell(tensor.name)].rows)
    return params


@functools.cache
def _zeros(shape: tuple[int, ...], dtype: str, place) -> Callable:
    """The program that makes an empty parameter where it belongs, compiled once."""
    return jax.jit(functools.partial(jnp.zeros, shape, dtype), out_shardings=place)


def _set(params: dict, tensor: families.Tensor, rows: Callable) -> None:
    """Fills a parameter, or a layer of it, from a tensor's rows."""
    parent = functools.reduce(dict.__getitem__, tensor.path[:-1], params)
    whole = parent[tensor.path[-1]]
    ours = whole.shape[tensor.layer is not None :]
    theirs = tensor.shape(ours)
    # A block is some of the first axis that theirs begins with.
    axis = tensor.axes[0][0]
    each = theirs[0] // ours[axis]
    row_bytes = 4 * each * math.prod(theirs[1:])
    step = max(1, BLOCK_BYTES // row_bytes)
    for begin in range(0, ours[axis], step):
        end = min(begin + step, ours[axis])
        block = rows(begin * each, end * each)
        start = [0] * len(ours)
        start[axis] = begin
        if tensor.layer is not None:
            start = [tensor.layer, *start]
        whole = _written(whole, block, tensor.axes, end - begin, np.int32(start))
    parent[tensor.path[-1]] = whole


@functools.partial(jax.jit, static_argnums=(2, 3), donate_argnums=0)
def _written(whole, block, axes, count, start):
    """A parameter with a block of a tensor in its place."""
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
    found = {}
    for path in (directory / name for name in names):
        with _opened(path) as file:
            for name in sorted(file.keys()):
                tensor = file.get_slice(name)
                shape, kind = tuple(tensor.get_shape()), tensor.get_dtype()
                found[name] = Stored(shape, kind, functools.partial(_rows, path, name))
    return found


def _rows(path: pathlib.Path, name: str, begin: int, end: int) -> np.ndarray:
    """Some rows of a tensor; what of the file was mapped for them is let go."""
    with _opened(path) as file:
        return file.get_slice(name)[begin:end]


def _opened(path: pathlib.Path):
    import safetensors

    return safetensors.safe_open(path, "np")


def _check(
    model: pathlib.Path,
    shape: decoder.Shape,
    found: dict[str, Stored],
    spell: Callable[[str], str],
    kinds: tuple[str, ...],
) -> None:
    """Accounts for every tensor."""
    declared = decoder.declare(shape)
    wanted = {}
    for tensor in families.tensors(shape):
        param = functools.reduce(dict.__getitem__, tensor.path, declared)
        sizes = tensor.shape(param.shape[tensor.layer is not None :])
        wanted[spell(tensor.name)] = sizes
    extra = [
        name for name in found if name not in wanted and not name.endswith(_COMPUTED)
    ]
    if shape.tied and _HEAD in extra:
        extra.remove(_HEAD)  # the embedding table once more
        _check_tied(found[_HEAD], found[_TABLE])
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(f"{model} lacks {_some(missing)} of its config's model.")
    if extra:
        raise ValueError(f"{model} has {_some(extra)}, which its config lacks.")
    wrong = [
        f"{name} is {found[name].kind} {found[name].shape} instead of {sizes}"
        for name, sizes in wanted.items()
        if found[name].shape != sizes or found[name].kind not in kinds
    ]
    if wrong:
        raise ValueError(f"{model}: {_some(wrong)}; types may be {sorted(kinds)}.")


def _check_tied(one: Stored, other: Stored) -> None:
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
    """Writes parameters as a published checkpoint has them.

    Args:
        directory: which exists.
        params: of the decoder, on any mesh of this process.
        shape: sizes of the decoder.
        dtype: to write, of `torch`'s names without the module: "bfloat16".

    Raises:
        OSError: it cannot be written.
    """
    listed, total, shards = {}, 0, [[]]
    size = 0
    for tensor, count in _counted(shape):
        count *= jnp.dtype(dtype).itemsize
        if shards[-1] and size + count > SHARD_BYTES:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size, total = size + count, total + count
    for number, some in enumerate(shards, 1):
        name = _ONE
        if len(shards) > 1:
            name = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        _write(directory / name, params, some, dtype)
        listed |= {tensor.name: name for tensor in some}
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": listed}
        files.write(directory / _INDEX, json.dumps(index, indent=2) + "\n")


def _counted(shape: decoder.Shape) -> Iterable[tuple[families.Tensor, int]]:
    declared = decoder.declare(shape)
    for tensor in families.tensors(shape):
        param = functools.reduce(dict.__getitem__, tensor.path, declared)
        yield tensor, math.prod(param.shape[tensor.layer is not None :])


_layer = jax.jit(lambda stacked, index: stacked[index])


def _write(path: pathlib.Path, params, tensors, dtype: str) -> None:
    from safetensors import numpy

    found = {}
    for tensor in tensors:
        value = functools.reduce(dict.__getitem__, tensor.path, params)
        if tensor.layer is not None:
            value = _layer(value, np.int32(tensor.layer))
        order = [axis for joined in tensor.axes for axis in joined]
        sizes = tensor.shape(value.shape)
        value = np.asarray(jax.device_get(value)).transpose(order).reshape(sizes)
        found[tensor.name] = np.ascontiguousarray(value.astype(jnp.dtype(dtype)))
    numpy.save_file(found, path, metadata={"format": "pt"})
