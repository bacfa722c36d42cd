"""Attention over a context held as KV segments.

A context is a list of segments, each computed once at its own level of the tree. One
joint softmax runs over all of them: nothing is copied or concatenated. The function
below is written for one sequence; `jax.vmap` with `in_axes=None` on a shared segment
turns its part into a matrix product over all siblings, which *is* the shared-prefix
kernel.
"""

import jax
import jax.numpy as jnp


def attend(
    q: jax.Array, blocks: list[tuple[jax.Array, jax.Array, jax.Array]]
) -> jax.Array:
    """Grouped-query attention of one block of queries over several KV blocks.

    o = sum_j sum_s w_js v_js / sum_j sum_s w_js,  w_js = exp(q . k_js / sqrt(D) - max),
    with the maximum over every block j and slot s.

    Args:
        q: [T, kv_heads, group, D] queries.
        blocks: (k, v, mask) each, with k and v [S, kv_heads, D] and mask [S] or [T, S],
            True where a query may look. Every query must see at least one slot.

    Returns:
        [T, kv_heads, group, D], in the dtype of v; softmax in float32.
    """
    scale = q.shape[-1] ** -0.5
    scores = []
    for k, _, mask in blocks:
        score = jnp.einsum("thgd,shd->hgts", q, k, preferred_element_type=jnp.float32)
        scores.append(jnp.where(mask, score * scale, -jnp.inf))
    top = scores[0].max(-1)
    for score in scores[1:]:
        top = jnp.maximum(top, score.max(-1))
    # The maximum cancels in the ratio, so it carries no gradient.
    top = jax.lax.stop_gradient(top)[..., None]
    weights = [jnp.exp(score - top) for score in scores]
    total = sum(weight.sum(-1) for weight in weights)
    out = sum(
        jnp.einsum(
            "hgts,shd->thgd",
            weight.astype(v.dtype),
            v,
            preferred_element_type=jnp.float32,
        )
        for weight, (_, v, _) in zip(weights, blocks, strict=True)
    )
    return (out / jnp.moveaxis(total, -1, 0)[..., None]).astype(q.dtype)
