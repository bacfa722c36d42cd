"""Attention over a context held as KV segments, one kernel call for each of them.

This is the einsums of `segments` for accelerators: each block of keys is attended to by
a kernel that never writes its scores to memory, and the results are merged by their
log-sum-exps. `attend` is written for one sequence, as everything is, but it is a
primitive with its own batching rule: along a vmapped axis that a block does not vary
along, it keeps one copy of its keys and meets more queries. A prefix under K siblings
of T tokens is one kernel call with K T queries.

The gradient is that of the whole operation, taken once all axes are known. Two ways
that look simpler are wrong. `jax.nn.dot_product_attention(.., return_residual=True)`
drops the gradient of its log-sum-exp, and so a part of a merge's gradient. And where
JAX vmaps a `custom_vjp`, a kernel that sums dk over siblings has to pass the sum off as
the dk of each: right in the gradient of a vmap, wrong in the vmap of a gradient.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from c3jax.policy import kernels

# What the gradient of `attend` needs beside its arguments, by a name that
# `jax.checkpoint` knows.
ATTENDED = "attended"


def attend(
    q: jax.Array,
    context: list[tuple[jax.Array, jax.Array, jax.Array]],
    own: tuple[jax.Array, jax.Array],
) -> jax.Array:
    """Grouped-query attention of a block of tokens to its context and itself.

    With o_j and lse_j of one softmax over each block,

        lse = log sum_j exp(lse_j),    o = sum_j exp(lse_j - lse) o_j.

    Args:
        q: [kv, group, T, D] queries, `group` heads a KV head.
        context: k and v, [kv, S, D], and length, scalar int32, of every segment.
        own: k and v of the block, [kv, T, D]; query t sees slots 0..t.

    Returns:
        As q; softmax and merge in float32.
    """
    segments = [x for k, v, length in context for x in (k, v, jnp.int32(length))]
    return _attend_p.bind(q, *own, *segments)


# From here on the first axes of arrays are those that `attend` was vmapped over,
# outermost first. The queries and their own block have them all; a segment has size 1
# along those that it does not vary along, so its gradient includes a sum over them.


@jax.custom_vjp
def _attend(q, k, v, *context):
    return _merged(q, k, v, *context)[0]


def _merged(q, k, v, *context):
    """o, as q, and lse, [.., kv, group, T] float32, of all blocks."""
    outs, sums = [], []
    for causal, k_, v_, length in _blocks(q, k, v, context):
        o, lse = kernels.forward(causal, _fold(q, k_), *_flat(k_, v_, length))
        outs.append(_unfold(o, k_, q))
        sums.append(_unfold(lse, k_, q))
    lse = jax.nn.logsumexp(jnp.stack(sums), 0)
    shares = [jnp.exp(part - lse)[..., None] for part in sums]
    o = sum(share * out for share, out in zip(shares, outs, strict=True))
    return o.astype(q.dtype), lse


def _keep(q, k, v, *context):
    o, lse = checkpoint_name(_merged(q, k, v, *context), ATTENDED)
    return o, (q, k, v, context, o, lse)


def _gradient(kept, do):
    q, k, v, context, o, lse = kept
    dq, grads = 0, []
    for causal, k_, v_, length in _blocks(q, k, v, context):
        row, *merged = (_fold(x, k_) for x in (q, o, lse, do))
        part, dk, dv = kernels.backward(causal, row, *_flat(k_, v_, length), *merged)
        dq += _unfold(part, k_, q)
        grads += [dk.reshape(k_.shape), dv.reshape(v_.shape), None]
    dk, dv, _, *rest = grads
    return dq.astype(q.dtype), dk, dv, *rest


_attend.defvjp(_keep, _gradient)


def _blocks(q, k, v, context):
    """(causal, k, v, length) of the queries' own block, then of each segment."""
    yield True, k, v, jnp.full(k.shape[:-3], k.shape[-2], jnp.int32)
    for at in range(0, len(context), 3):
        yield False, *context[at : at + 3]


def _flat(k, v, length):
    """The vmapped axes as one."""
    return k.reshape(-1, *k.shape[-3:]), v.reshape(-1, *v.shape[-3:]), length.ravel()


def _order(x, k):
    """The order of axes: those the block varies along, kv, group; the others, T, *."""
    front = k.ndim - 3
    own = [axis for axis in range(front) if k.shape[axis] == x.shape[axis]]
    shared = [axis for axis in range(front) if axis not in own]
    return *own, front, front + 1, *shared, *range(front + 2, x.ndim)


def _fold(x, k):
    """[.., kv, group, T, *] to [R, kv, group, n T, *]: n sequences read a block."""
    *front, kv, _, _ = k.shape
    group, rest = x.shape[k.ndim - 2], x.shape[k.ndim :]
    x = x.transpose(_order(x, k))
    return x.reshape(math.prod(front), kv, group, -1, *rest)


def _unfold(x, k, q):
    """The inverse of `_fold`, back to the axes of q."""
    rest = x.shape[4:]
    order = _order(q, k)[: k.ndim] + tuple(k.ndim + axis for axis in range(len(rest)))
    x = x.reshape(*(q.shape[axis] for axis in order[: k.ndim]), *rest)
    return x.transpose(np.argsort(order))


def _batch(args, dims):
    """The batching rule: a new first axis, of size 1 in segments without it."""
    size = next(x.shape[d] for x, d in zip(args, dims, strict=True) if d is not None)
    varies = [True] * 3
    for at in range(3, len(args), 3):
        varies += [any(d is not None for d in dims[at : at + 3])] * 3

    def front(x, dim, varies):
        x = x[None] if dim is None else jnp.moveaxis(x, dim, 0)
        return jnp.broadcast_to(x, (size, *x.shape[1:])) if varies else x

    return _attend_p.bind(*map(front, args, dims, varies)), 0


def _jvp(primals, tangents):
    def dense(x, tangent):
        if jnp.issubdtype(x.dtype, jnp.integer):
            return np.zeros(x.shape, jax.dtypes.float0)
        return ad.instantiate_zeros(tangent)

    return jax.jvp(_attend, tuple(primals), tuple(map(dense, primals, tangents)))


_attend_p = kernels.told_of_devices(Primitive("attend"))
_attend_p.def_impl(jax.jit(_attend_p.bind))
_attend_p.def_abstract_eval(lambda q, *_: q)
mlir.register_lowering(_attend_p, mlir.lower_fun(_attend, multiple_results=False))
batching.primitive_batchers[_attend_p] = _batch
ad.primitive_jvps[_attend_p] = _jvp
