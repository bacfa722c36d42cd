"""Attention over one block of keys, by the kernel of the platform it runs on.

With scores s_ti = q_t . k_i / sqrt(D), a block of keys gives

    lse_t = log sum_i exp(s_ti),    o_t = sum_i exp(s_ti - lse_t) v_i,

and where a softmax runs over several blocks, each gives its share of the gradient from
the merged o and lse:

    p = exp(s - lse),  dv = p' do,  ds = p * (do v' - sum_D do * o),
    dq = ds k / sqrt(D),  dk = ds' q / sqrt(D).

Source: FlashAttention-2, arXiv:2307.08691, section 3.1; over several blocks: Ring
Attention, arXiv:2310.01889.

The kernel of a block follows from its shapes when it is traced and from the platform
when it is lowered. On a GPU it is cuDNN's, on a TPU splash attention, wherever they
take the shapes (see `vendor`), the numbers have 16 bits and there are several queries;
everything else is einsum. float32 is for checking, and a single query reads every key
once whatever computes it.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax._src import dispatch
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir
from jax.sharding import PartitionSpec

from c3jax.core import sharding


def forward(
    causal: bool, q: jax.Array, k: jax.Array, v: jax.Array, length: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Attention of R sequences to one block of keys each.

    Args:
        causal: static; query t sees slots 0..t, otherwise every slot in use.
        q: [R, kv, group, T, D] queries, `group` heads a KV head.
        k, v: [R, kv, S, D].
        length: [R] int32, slots in use; S where the block is causal. A sequence with
            none gets o = 0 and lse = -inf.

    Returns:
        o, [R, kv, group, T, D], and lse, [R, kv, group, T], both float32.
    """
    return _run("forward", causal, q, k, v, length)


def backward(
    causal: bool,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    length: jax.Array,
    o: jax.Array,
    lse: jax.Array,
    do: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One block's part of the gradient of a softmax over several blocks.

    Args:
        causal, q, k, v, length: as in `forward`.
        o: the output over all blocks, shaped as q.
        lse: [R, kv, group, T] float32, over all blocks.
        do: the gradient of o, shaped as q.

    Returns:
        This block's part of dq, [R, kv, group, T, D] float32; dk and dv, as k and v.
    """
    return _run("backward", causal, q, k, v, length, o, lse, do)


def _run(direction: str, causal: bool, q, k, *rest):
    if _kernels(causal, q, k):
        return _block_p.bind(q, k, *rest, direction=direction, causal=causal)
    return _local(direction, causal)(q, k, *rest)


def _kernels(causal: bool, q: jax.Array, k: jax.Array) -> dict[str, dict]:
    """The kernels that take this block, by platform."""
    if q.dtype.itemsize != 2 or q.shape[3] == 1:
        return {}
    # Not at the top: the module uses private functions of JAX, and is slow to import.
    from c3jax.policy import vendor

    return {
        platform: kernel
        for platform, kernel in vendor.KERNELS.items()
        if kernel["takes"](causal, q.shape, k.shape)
    }


def _local(direction: str, causal: bool) -> Callable:
    """`forward` or `backward` on one device."""

    def run(q, k, v, length, *merged):
        # The einsum, or a choice by platform when the block is lowered.
        branches = {
            platform: functools.partial(kernel[direction], causal)
            for platform, kernel in _kernels(causal, q, k).items()
        }
        compute = functools.partial(EINSUM[direction], causal)
        if branches:
            compute = functools.partial(
                jax.lax.platform_dependent, default=compute, **branches
            )

        # Kernels differ in their results for a sequence that sees nothing. So it sees
        # one slot, and its results are replaced.
        out = compute(q, k, v, jnp.maximum(length, 1), *merged)
        sees = (length > 0)[:, None, None, None]
        used = (jnp.arange(k.shape[2]) < length[:, None])[:, None, :, None]
        if direction == "forward":
            o, lse = out
            return jnp.where(sees[..., None], o, 0), jnp.where(sees, lse, -jnp.inf)
        dq, dk, dv = out
        dq = jnp.where(sees[..., None], dq, 0)
        return dq, jnp.where(used, dk, 0), jnp.where(used, dv, 0)

    return run


# XLA does not see into a kernel: left alone, it would gather the arguments of cuDNN's
# on every device, and it refuses to spread those of Pallas. A primitive can ask for the
# devices when it is lowered, and each of them then computes its own sequences and
# heads. (`custom_partitioning` does as much, but not on TPUs: jax#38196.)


def _types(q, k, v, *_, direction, causal):
    wide = q.update(dtype=jnp.dtype("float32"))
    if direction == "forward":
        return wide, wide.update(shape=q.shape[:-1])
    return wide, k, v


def _lower(ctx, *args, direction, causal):
    """Lowers a block; on a mesh, each device computes its own sequences and heads."""
    run, mesh = _local(direction, causal), _mesh(ctx.module_context.axis_context)
    if mesh is not None:
        size, heads = ctx.avals_in[0].shape[:2]
        divides = size % sharding.batch_size(mesh) == 0
        axes = (
            sharding.batch(mesh).spec[0] if divides else None,
            sharding.parameter(mesh, (heads,), ("kv",)).spec[0],
        )
        specs = tuple(PartitionSpec(*axes[: x.ndim]) for x in ctx.avals_in)
        run = jax.shard_map(
            run,
            mesh=mesh,
            in_specs=specs,
            out_specs=PartitionSpec(*axes),
            check_vma=False,
        )
    return mlir.lower_fun(run, multiple_results=True)(ctx, *args)


def _mesh(context):
    """The devices of the program being lowered; None for a program of one device."""
    if getattr(context, "num_devices", 1) == 1:
        return None
    if context.abstract_mesh is None:
        raise ValueError(
            "policy.attention='fused' does not know the mesh of a program over "
            f"{context.num_devices} devices; place its arguments by NamedSharding."
        )
    return context.abstract_mesh


def told_of_devices(primitive: Primitive) -> Primitive:
    """A primitive whose lowering gets the mesh.

    There is no public way to ask for it. If this private one is gone, one device still
    works and `_mesh` refuses several.
    """
    primitives = getattr(dispatch, "prim_requires_devices_during_lowering", set())
    primitives.add(primitive)
    return primitive


def _batch(args, dims, *, direction, causal):
    """The batching rule, for the vmap of a gradient: a new axis becomes part of R.

    A vmap of attention itself never gets here (see `fused`).
    """
    size = next(x.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)

    def flat(x, dim):
        x = x[None] if dim is None else jnp.moveaxis(x, dim, 0)
        return jnp.broadcast_to(x, (size, *x.shape[1:])).reshape(-1, *x.shape[2:])

    outs = _block_p.bind(*map(flat, args, dims), direction=direction, causal=causal)
    return [x.reshape(size, -1, *x.shape[1:]) for x in outs], [0] * len(outs)


_block_p = told_of_devices(Primitive("attend_to_block"))
_block_p.multiple_results = True
_block_p.def_impl(jax.jit(_block_p.bind, static_argnames=("direction", "causal")))
_block_p.def_abstract_eval(_types)
batching.primitive_batchers[_block_p] = _batch
mlir.register_lowering(_block_p, _lower)


def _product(spec, *arrays):
    return jnp.einsum(spec, *arrays, preferred_element_type=jnp.float32)


# Queries of a causal block that are taken at a time. Each piece meets the slots up to
# its last query only, so the rest of what the mask hides is never computed.
_CAUSAL_PIECE = 256


def _pieces(causal: bool, q: jax.Array, k: jax.Array) -> list[tuple[slice, int]]:
    """(queries, how many slots they meet) of one block, in order."""
    if not causal:
        return [(slice(0, q.shape[3]), k.shape[2])]
    ends = [*range(_CAUSAL_PIECE, q.shape[3], _CAUSAL_PIECE), q.shape[3]]
    starts = [0, *ends[:-1]]
    return [(slice(a, b), b) for a, b in zip(starts, ends, strict=True)]


def _rows(x: jax.Array, at: slice) -> jax.Array:
    """Some queries of a group as rows of one matrix: [R, kv, group t, *]."""
    x = x[:, :, :, at]
    return x.reshape(*x.shape[:2], -1, *x.shape[4:])


def _scores(q: jax.Array, k: jax.Array) -> jax.Array:
    """[R, kv, group t, S] float32 of rows of queries."""
    return _product("rhtd,rhsd->rhts", q, k) * q.shape[-1] ** -0.5


def _looks(causal, group, slots, length, at):
    """Where rows of some queries look, as a mask of their scores."""
    slot = jnp.arange(slots)
    if causal:
        return slot <= jnp.tile(jnp.arange(at.start, at.stop), group)[:, None]
    return slot < length[:, None, None, None]


def _einsum_forward(causal, q, k, v, length):
    outs, sums = [], []
    for at, slots in _pieces(causal, q, k):
        seen, values = k[:, :, :slots], v[:, :, :slots]
        looks = _looks(causal, q.shape[2], slots, length, at)
        scores = jnp.where(looks, _scores(_rows(q, at), seen), -jnp.inf)
        top = scores.max(-1, keepdims=True)
        weights = jnp.exp(scores - top)
        total = weights.sum(-1, keepdims=True)
        out = _product("rhts,rhsd->rhtd", weights.astype(v.dtype), values) / total
        shape = *q.shape[:3], at.stop - at.start
        outs.append(out.reshape(*shape, -1))
        sums.append((top + jnp.log(total)).reshape(shape))
    return jnp.concatenate(outs, 3), jnp.concatenate(sums, 3)


def _einsum_backward(causal, q, k, v, length, o, lse, do):
    offset = _product("rhgtd,rhgtd->rhgt", do, o)
    dq, dk, dv = [], 0, 0
    for at, slots in _pieces(causal, q, k):
        seen, values = k[:, :, :slots], v[:, :, :slots]
        looks = _looks(causal, q.shape[2], slots, length, at)
        row, do_, lse_, offset_ = (_rows(x, at) for x in (q, do, lse, offset))
        p = jnp.where(looks, jnp.exp(_scores(row, seen) - lse_[..., None]), 0)
        ds = _product("rhtd,rhsd->rhts", do_, values) - offset_[..., None]
        ds = (ds * p * q.shape[-1] ** -0.5).astype(q.dtype)
        p = p.astype(q.dtype)

        # Slots after these queries get nothing from them.
        def whole(x, slots=slots):
            return jnp.pad(x, [(0, 0), (0, 0), (0, k.shape[2] - slots), (0, 0)])

        part = _product("rhts,rhsd->rhtd", ds, seen)
        dq.append(part.reshape(*q.shape[:3], -1, q.shape[4]))
        dk += whole(_product("rhts,rhtd->rhsd", ds, row))
        dv += whole(_product("rhts,rhtd->rhsd", p, do_))
    return jnp.concatenate(dq, 3), dk.astype(k.dtype), dv.astype(v.dtype)


EINSUM = dict(forward=_einsum_forward, backward=_einsum_backward)
