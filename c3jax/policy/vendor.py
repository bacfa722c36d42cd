"""The attention kernels of cuDNN, for GPUs, and splash attention, for TPUs.

Both have public functions, but none that gives a log-sum-exp in float32 and a gradient
from the output and log-sum-exp of a softmax over several blocks. So the private
functions of JAX that attention needs are called here, those that 0.10 and 0.12 have in
common.

Every `forward` and `backward` here takes the arguments and gives the results of
`kernels.forward` and `kernels.backward`, for 1 <= length <= S.
"""

import inspect

import jax
import jax.numpy as jnp
from jax._src.cudnn import fused_attention_stablehlo as cudnn
from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_kernel as splash,
)
from jax.experimental.pallas.ops.tpu.splash_attention import (
    splash_attention_mask as masks,
)


def _heads(x):
    """[R, kv, group, *] to [R, heads, *]."""
    return x.reshape(x.shape[0], -1, *x.shape[3:])


def _cudnn_takes(causal: bool, q: tuple, k: tuple) -> bool:
    # True on every GPU; Hopper and later would take a head of 256, too.
    return q[-1] <= 128 and q[-1] % 8 == 0


def _cudnn_arguments(causal, q, k, v, length):
    """The operands and parameters that both directions have."""
    absent = jnp.zeros(0, q.dtype)
    lengths = absent, absent
    if not causal:
        lengths = jnp.full(q.shape[0], q.shape[3], jnp.int32), length
    # Absent are a bias, offsets of packed sequences, tables of pages.
    operands = (_heads(q), k, v, absent, *lengths, *[absent] * 4)
    params = dict(
        scale=q.shape[-1] ** -0.5,
        seed=0,
        dropout_rate=0.0,
        variadic_args=(False, False),
        mask_type=cudnn.MaskType.CAUSAL if causal else cudnn.MaskType.PADDING,
        layout=cudnn.AttentionLayout.BNTH.value,
        sliding_window_length=None,
    )
    if "score_mod" in inspect.signature(cudnn._dot_product_attention_fwd).parameters:
        params["score_mod"] = None  # JAX 0.12 needs it, 0.10 does not know it.
    return operands, params


def _cudnn_forward(causal, q, k, v, length):
    operands, params = _cudnn_arguments(causal, q, k, v, length)
    o, lse = cudnn._dot_product_attention_fwd_p_wrapper.bind(
        *operands, **params, is_training=True
    )
    return o.reshape(q.shape).astype(jnp.float32), lse.reshape(q.shape[:-1])


def _cudnn_backward(causal, q, k, v, length, o, lse, do):
    operands, params = _cudnn_arguments(causal, q, k, v, length)
    dq, dk, dv = cudnn._dot_product_attention_bwd_p_wrapper.bind(
        *operands, *map(_heads, (lse, o, do)), **params
    )
    return dq.reshape(q.shape).astype(jnp.float32), dk, dv


def _splash_takes(causal: bool, q: tuple, k: tuple) -> bool:
    # Queries and slots are padded to whole tiles; less than one is mostly padding.
    tile = splash.NUM_LANES
    return min(q[3], k[2]) >= tile and (q[-1] == 64 or q[-1] % tile == 0)


def _splash_kernel(causal, q, k, **options):
    """Splash attention of one sequence: [heads, T, D] queries, [kv, S, D] keys."""
    # The largest tiles that divide the queries and the keys.
    shape = q.shape[3], k.shape[2]
    mask = masks.CausalMask(shape) if causal else masks.FullMask(shape)
    a, b = (max(size for size in (128, 256, 512) if n % size == 0) for n in shape)
    return splash.make_splash_mha(
        masks.MultiHeadMask([mask] * (q.shape[1] * q.shape[2])),
        block_sizes=splash.BlockSizes(
            block_q=a,
            block_kv=b,
            block_q_dkv=a,
            block_kv_dkv=b,
            block_q_dq=a,
            block_kv_dq=b,
        ),
        head_shards=1,
        q_seq_shards=1,
        save_residuals=True,
        **options,
    )


def _tiled(x, axis):
    """Pads an axis to whole tiles."""
    pad = [(0, 0)] * x.ndim
    pad[axis] = 0, -x.shape[axis] % splash.NUM_LANES
    return jnp.pad(x, pad)


def _splash_inputs(causal, q, k, v, length):
    """q with the scale in it, k, v, and segment ids that hide padding."""
    scaled = (q.astype(jnp.float32) * q.shape[-1] ** -0.5).astype(q.dtype)
    ids = None
    if not causal:
        used = jnp.arange(k.shape[2]) < length[:, None]
        ones = jnp.ones((q.shape[0], q.shape[3]), jnp.int32)
        ids = splash.SegmentIds(ones, used.astype(jnp.int32))
    return _heads(scaled), k, v, ids


def _splash_forward(causal, q, k, v, length, **options):
    rows = q.shape[3]
    q, k, v = _tiled(q, 3), _tiled(k, 2), _tiled(v, 2)
    kernel = _splash_kernel(causal, q, k, **options)
    o, (lse,) = jax.vmap(kernel)(*_splash_inputs(causal, q, k, v, length))
    o = o.reshape(q.shape).astype(jnp.float32)
    return o[:, :, :, :rows], lse.reshape(q.shape[:-1])[..., :rows]


def _splash_backward(causal, q, k, v, length, o, lse, do, **options):
    rows, slots = q.shape[3], k.shape[2]
    # Padded queries have do = 0, so they add nothing to the gradient.
    q, o, lse, do = (_tiled(x, 3) for x in (q, o, lse, do))
    k, v = _tiled(k, 2), _tiled(v, 2)
    kernel = _splash_kernel(causal, q, k, **options)

    def one(q, k, v, ids, o, lse, do):
        kept = (q, k, v, ids, None, o, lse, kernel.dq_mask_info, kernel.dkv_mask_info)
        return splash._splash_attention_bwd(**kernel.kwargs, res=kept, do=do)[3:6]

    # The kernel's dq is that of scaled queries.
    inputs = _splash_inputs(causal, q, k, v, length)
    dq, dk, dv = jax.vmap(one)(*inputs, *map(_heads, (o, lse, do)))
    dq = dq.reshape(q.shape).astype(jnp.float32) * q.shape[-1] ** -0.5
    return dq[:, :, :, :rows], dk[:, :, :slots], dv[:, :, :slots]


# `takes`: (causal, shape of q, shape of k) to whether the kernel computes the block.
KERNELS = {
    "cuda": dict(takes=_cudnn_takes, forward=_cudnn_forward, backward=_cudnn_backward),
    "tpu": dict(
        takes=_splash_takes, forward=_splash_forward, backward=_splash_backward
    ),
}
