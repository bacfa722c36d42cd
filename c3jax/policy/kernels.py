"""Attention over one block of keys, by the kernel of the platform it runs on.

With scores s_ti = q_t . k_i / sqrt(D), a block of keys gives

    lse_t = log sum_i exp(s_ti),    o_t = sum_i exp(s_ti - lse_t) v_i,

and where a softmax runs over several blocks, each gives its share of the gradient from
the o and lse of them all:

    p = exp(s - lse),  dv = p' do,  ds = p * (do v' - sum_D do * o),
    dq = ds k / sqrt(D),  dk = ds' q / sqrt(D).

Source: FlashAttention-2, arXiv:2307.08691, section 3.1; over several blocks: Ring
Attention, arXiv:2310.01889.

Which kernel computes a block follows from its shapes when it is traced and from the
platform when it is lowered. On a GPU it is cuDNN's, on a TPU splash attention, wherever
they take the shapes (see `vendor`), the numbers have 16 bits and there are several
queries; everything else is einsum. float32 is for checking, and a single query reads
every key once whatever computes it.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.experimental.custom_partitioning import custom_partitioning
from jax.sharding import NamedSharding, PartitionSpec


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
    """The gradient of a softmax over several blocks, as far as this one is its cause.

    Args:
        causal, q, k, v, length: as in `forward`.
        o: as q, over all blocks.
        lse: [R, kv, group, T] float32, over all blocks.
        do: as q, the gradient of o.

    Returns:
        This block's part of dq, [R, kv, group, T, D] float32; dk and dv, as k and v.
    """
    return _run("backward", causal, q, k, v, length, o, lse, do)


def _run(direction: str, causal: bool, q, k, *rest):
    run = _spread if _kernels(causal, q, k) else _local
    return run(direction, causal)(q, k, *rest)


def _kernels(causal: bool, q: jax.Array, k: jax.Array) -> dict[str, dict]:
    """Which platforms have a kernel that takes this block."""
    if q.dtype.itemsize != 2 or q.shape[3] == 1:
        return {}
    # Not at the top: it leans on private functions of JAX, and is slow to import.
    from c3jax.policy import vendor

    return {
        platform: kernel
        for platform, kernel in vendor.KERNELS.items()
        if kernel["takes"](causal, q.shape, k.shape)
    }


def _local(direction: str, causal: bool) -> Callable:
    """`forward` or `backward` on one device."""

    def run(q, k, v, length, *merged):
        branches = {
            platform: functools.partial(kernel[direction], causal)
            for platform, kernel in _kernels(causal, q, k).items()
        }
        compute = functools.partial(_EINSUM[direction], causal)
        if branches:
            compute = functools.partial(
                jax.lax.platform_dependent, default=compute, **branches
            )
        # Kernels differ in what they make of a sequence that sees nothing. So it is
        # shown one slot, and what comes of it is thrown away.
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


@functools.cache
def _spread(direction: str, causal: bool) -> Callable:
    """`_local` on every device, for the sequences and heads that it holds.

    XLA does not see into a kernel: left alone, it gathers the arguments of cuDNN's on
    every device, and refuses to spread those of Pallas.
    """
    rows, keys, sums = "r h g t d", "r h s d", "r h g t"
    takes, gives = (rows, keys, keys, "r"), (rows, sums)
    if direction == "backward":
        takes, gives = (*takes, rows, sums, rows), (rows, keys, keys)
    local = _local(direction, causal)

    def partition(mesh, arguments, results):
        spec = arguments[0].sharding.spec
        axes = dict(r=spec[0], h=spec[1])

        def place(names):
            spec = PartitionSpec(*(axes.get(name) for name in names.split()))
            return NamedSharding(mesh, spec)

        return mesh, local, tuple(map(place, gives)), tuple(map(place, takes))

    # Under a `jit` of its own, since what is partitioned must close over no array.
    spread = custom_partitioning(jax.jit(local))
    spread.def_partition(
        partition=partition,
        sharding_rule=f"{', '.join(takes)} -> {', '.join(gives)}",
        need_replication_factors=("g", "t", "d", "s"),
    )
    # Only a vmap of a gradient gets here; a vmap of attention is part of R and T.
    return jax.custom_batching.sequential_vmap(spread)


def _product(spec, *arrays):
    return jnp.einsum(spec, *arrays, preferred_element_type=jnp.float32)


def _scores(causal, q, k, length):
    """[R, kv, group, T, S] float32, -inf where a query may not look."""
    scores = _product("rhgtd,rhsd->rhgts", q, k) * q.shape[-1] ** -0.5
    if causal:
        seen = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    else:
        seen = jnp.arange(k.shape[2]) < length[:, None, None, None, None]
    return jnp.where(seen, scores, -jnp.inf)


def _einsum_forward(causal, q, k, v, length):
    scores = _scores(causal, q, k, length)
    lse = jax.nn.logsumexp(scores, -1)
    p = jnp.exp(scores - lse[..., None]).astype(v.dtype)
    return _product("rhgts,rhsd->rhgtd", p, v), lse


def _einsum_backward(causal, q, k, v, length, o, lse, do):
    p = jnp.exp(_scores(causal, q, k, length) - lse[..., None])
    ds = _product("rhgtd,rhsd->rhgts", do, v)
    ds -= _product("rhgtd,rhgtd->rhgt", do, o)[..., None]
    ds *= p * q.shape[-1] ** -0.5
    p, ds = p.astype(q.dtype), ds.astype(q.dtype)
    dq = _product("rhgts,rhsd->rhgtd", ds, k)
    dk = _product("rhgts,rhgtd->rhsd", ds, q)
    dv = _product("rhgts,rhgtd->rhsd", p, do)
    return dq, dk.astype(k.dtype), dv.astype(v.dtype)


_EINSUM = dict(forward=_einsum_forward, backward=_einsum_backward)
