"""Attention over a context held as KV segments.

A context is a list of segments, each computed once at its own level of the tree. One
joint softmax runs over all of them: nothing is copied or concatenated. `attend` is
written for one sequence; `jax.vmap` with `in_axes=None` on a shared segment turns its
part into a matrix product over all siblings, which *is* the shared-prefix kernel.
`fused` computes the same with the kernels of accelerators.
"""

import functools

import jax
import jax.numpy as jnp

# An einsum with results in float32, whatever it multiplies.
product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def attend(
    q: jax.Array, blocks: list[tuple[jax.Array, jax.Array, jax.Array]]
) -> jax.Array:
    """Grouped-query attention of one block of queries over several KV blocks.

    o = sum_j sum_s w_js v_js / sum_j sum_s w_js,  w_js = exp(q . k_js / sqrt(D) - max),
    with the maximum over every block j and slot s.

    Args:
        q: [kv_heads, group, T, D] queries.
        blocks: (k, v, mask) each, with k and v [kv_heads, S, D] and mask [S] or [T, S],
            True where a query may look. Every query must see at least one slot.

    Returns:
        [kv_heads, group, T, D], in the dtype of v; softmax in float32.
    """
    # Masked scores of every block, and their joint maximum.
    scale = q.shape[-1] ** -0.5
    scores = []
    for k, _, mask in blocks:
        score = product("hgtd,hsd->hgts", q, k) * scale
        scores.append(jnp.where(mask, score, -jnp.inf))
    top = functools.reduce(jnp.maximum, (score.max(-1) for score in scores))
    # The maximum cancels in the ratio, so it carries no gradient.
    top = jax.lax.stop_gradient(top)[..., None]
    weights = [jnp.exp(score - top) for score in scores]
    total = sum(weight.sum(-1) for weight in weights)
    out = sum(
        product("hgts,hsd->hgtd", weight.astype(v.dtype), v)
        for weight, (_, v, _) in zip(weights, blocks, strict=True)
    )
    return (out / total[..., None]).astype(q.dtype)


def plain(
    q: jax.Array,
    context: list[tuple[jax.Array, jax.Array, jax.Array]],
    own: tuple[jax.Array, jax.Array],
) -> jax.Array:
    """`attend` of a block of tokens to its context and itself; see `fused.attend`."""
    blocks = [(k, v, jnp.arange(k.shape[1]) < length) for k, v, length in context]
    causal = jnp.tril(jnp.ones((q.shape[2],) * 2, bool))
    return attend(q, [*blocks, (*own, causal)])
