"""The decoder of Qwen and Llama as pure functions of its parameters.

RMSNorm, rotary positions, grouped-query attention, SwiGLU; biases on queries, keys and
values as in Qwen2, their norms as in Qwen3, or neither as in Llama. Everything is
written for one sequence and holds no state: the context comes in as KV segments, the
new tokens' keys and values come out as one more. Prefill, sampling, replay and
training all run `layer`; batching over the tree is `jax.vmap` at the call site.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from c3jax.core import sharding
from c3jax.core.types import Segment
from c3jax.policy import fused, low_rank, rotary, segments

# Results that are kept for a layer's backward pass: all but gathered parameters; the
# layer's input alone; or that and the results of its matrix products.
REMAT = {
    "none": lambda operation, *_, **__: operation.name != "sharding_constraint",
    "layer": jax.checkpoint_policies.nothing_saveable,
    "products": jax.checkpoint_policies.save_from_both_policies(
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names(fused.ATTENDED),
    ),
}
# Attention to a context: by einsums, or by the kernels of accelerators where they fit.
ATTENTION = {"plain": segments.plain, "fused": fused.attend}


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a decoder, and how it is computed.

    Attributes:
        vocab, width, layers, hidden: V, model width, L, width inside the MLP.
        heads, kv_heads, head_dim: `heads` query heads share `kv_heads` KV heads.
        rope_theta: base of the rotary wavelengths.
        norm_eps: added to mean squares.
        tied: whether the embedding table is also the output table.
        qkv_bias: whether queries, keys and values have a bias, as in Qwen2.
        qk_norm: whether each head's queries and keys are normalised, as in Qwen3.
        stretch: stretching of the rotary wavelengths, as in Llama 3.1; None for none.
        dtype: of activations and KV; parameters, softmax and logits are float32.
        remat: a name of `REMAT`: what is kept for the backward pass.
        attention: a name of `ATTENTION`: what computes it.
        embed_std: initial deviation of the embedding table; if the table is tied, it
            bounds how sure the untrained policy can be.
        logits_chunk: tokens whose logits exist at once while training; 0 for all.
        unroll: layers per iteration of the layer scan; `layers` for a small policy.
        adapters: low-rank changes to the weights; None for none.
        mesh: the devices that parameters are spread over; None for one device.
    """

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    rope_theta: float = 1e6
    norm_eps: float = 1e-6
    tied: bool = True
    dtype: str = "float32"
    remat: str = "none"
    logits_chunk: int = 0
    unroll: int = 1
    embed_std: float = 0.02
    attention: str = "plain"
    qkv_bias: bool = False
    qk_norm: bool = True
    stretch: rotary.Stretch | None = None
    adapters: low_rank.Adapters | None = None
    mesh: jax.sharding.Mesh | None = None

    def replace(self, **changes) -> "Shape":
        return dataclasses.replace(self, **changes)


# The matrix products of a layer: heads h, positions in a head k.
PRODUCTS = {
    "q": "td,dhk->thk",
    "k": "td,dhk->thk",
    "v": "td,dhk->thk",
    "o": "thk,hkd->td",
    "gate": "td,df->tf",
    "up": "td,df->tf",
    "down": "tf,fd->td",
}


class Param(NamedTuple):
    """One parameter: shape, the name of each axis for the mesh, initial deviation."""

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    std: float | None  # None: all ones (a norm's gain); 0: a bias.


def declare(s: Shape) -> dict:
    """Every parameter of the decoder, declared once with its logical axes.

    The leaves under "layers" are stacked on a leading layer axis for `jax.lax.scan`.
    """
    n, d, f, h, kv, hd = s.layers, s.width, s.hidden, s.heads, s.kv_heads, s.head_dim
    norm = Param((n, d), ("layer", "width"), None)
    head_norm = Param((n, hd), ("layer", "head_dim"), None)
    into_kv = Param((n, d, kv, hd), ("layer", "width", "kv", "head_dim"), d**-0.5)
    into_mlp = Param((n, d, f), ("layer", "width", "hidden"), d**-0.5)
    # Qwen3's norms, Qwen2's biases.
    optional = {}
    if s.qk_norm:
        optional |= {"q_norm": head_norm, "k_norm": head_norm}
    if s.qkv_bias:
        kv_bias = Param((n, kv, hd), ("layer", "kv", "head_dim"), 0.0)
        q_bias = Param((n, h, hd), ("layer", "heads", "head_dim"), 0.0)
        optional |= {"q_bias": q_bias, "k_bias": kv_bias, "v_bias": kv_bias}
    # Residual branches start small, so depth does not grow the stream.
    out = (2 * n) ** -0.5
    params = {
        "embed": Param((s.vocab, d), ("vocab", "width"), s.embed_std),
        "layers": {
            "attention_norm": norm,
            "q": Param((n, d, h, hd), ("layer", "width", "heads", "head_dim"), d**-0.5),
            "k": into_kv,
            "v": into_kv,
            **optional,
            "o": Param(
                (n, h, hd, d),
                ("layer", "heads", "head_dim", "width"),
                out * (h * hd) ** -0.5,
            ),
            "mlp_norm": norm,
            "gate": into_mlp,
            "up": into_mlp,
            "down": Param((n, f, d), ("layer", "hidden", "width"), out * f**-0.5),
        },
        "final_norm": Param((d,), ("width",), None),
    }
    if not s.tied:
        params["unembed"] = Param((s.vocab, d), ("vocab", "width"), d**-0.5)
    if s.adapters is not None:
        params["adapters"] = {
            name: _adapter(params["layers"][name], name, s.adapters.rank)
            for name in s.adapters.targets
        }
    return params


def _adapter(weight: Param, name: str, rank: int) -> dict[str, Param]:
    """A and B beside a weight, stacked over layers as it is."""
    sizes, axes = weight.shape, weight.axes
    # A has a layer axis, and r for the rank.
    into = len(low_rank.axes(PRODUCTS[name])[1])
    std = math.prod(sizes[1:into]) ** -0.5
    return {
        "a": Param((*sizes[:into], rank), (*axes[:into], None), std),
        "b": Param((sizes[0], rank, *sizes[into:]), (axes[0], None, *axes[into:]), 0.0),
    }


def _is_param(x) -> bool:
    return isinstance(x, Param)


def over_params(fn: Callable[[Param], object], s: Shape) -> dict:
    """The tree of `fn(param)`: logical axes, abstract shapes, shardings."""
    return jax.tree.map(fn, declare(s), is_leaf=_is_param)


def init(key: jax.Array, s: Shape) -> dict:
    """Random float32 parameters; each leaf's key is folded from its position."""
    leaves, treedef = jax.tree.flatten(declare(s), is_leaf=_is_param)

    def draw(index, p):
        if p.std is None:
            return jnp.ones(p.shape, jnp.float32)
        noise = jax.random.normal(jax.random.fold_in(key, index), p.shape, jnp.float32)
        return p.std * noise

    return treedef.unflatten([draw(i, p) for i, p in enumerate(leaves)])


def merged(params: dict, s: Shape) -> dict:
    """The policy without adapters that computes the same: W + alpha / rank * A B."""
    if s.adapters is None:
        return params
    layers = dict(params["layers"])
    for name, adapter in params["adapters"].items():
        _, into, out, _ = low_rank.axes(PRODUCTS[name])
        spec = f"l{into},l{out}->l{into[:-1]}{out[1:]}"
        change = jnp.einsum(spec, adapter["a"], adapter["b"])
        weight = layers[name].astype(jnp.float32)
        layers[name] = weight + s.adapters.alpha / s.adapters.rank * change
    rest = {name: part for name, part in params.items() if name != "adapters"}
    return {**rest, "layers": layers}


def forward(
    params: dict, s: Shape, tokens: jax.Array, context: tuple[Segment, ...] = ()
) -> tuple[jax.Array, Segment]:
    """Reads one block of tokens after a context.

    Args:
        params: as `init` makes them.
        s: sizes; static under jit.
        tokens: [T] int, the block. Padding may follow the valid tokens: causality keeps
            it from them, and the caller sets the length of the segment returned.
        context: segments before the block, in order; k and v are [L, kv_heads, S, D].

    Returns:
        [T, width] hidden states after the final norm, and the block's own segment with
        `length` = T.
    """
    size = tokens.shape[0]
    lengths = [segment.length for segment in context]
    waves = positions(s, sum(lengths), size)

    def one(weights, x, past):
        blocks = [(*kv, length) for kv, length in zip(past, lengths, strict=True)]
        return layer(s, weights, x, lambda *qkv: attention(s, *qkv, waves, blocks))

    past = tuple((segment.k, segment.v) for segment in context)
    x, (k, v) = scan(params, s, one, embedded(params, s, tokens), past)
    return normed(params, s, x), Segment(k=k, v=v, length=jnp.int32(size))


def embedded(params: dict, s: Shape, tokens: jax.Array) -> jax.Array:
    """[T] ids to the [T, width] input of the first layer."""
    return _rows(_table(params, s, "embed"), tokens).astype(s.dtype)


def positions(s: Shape, start: jax.Array | int, size: int) -> jax.Array:
    """`rotary.waves` of a block of `size` tokens with `start` before it."""
    position = start + jnp.arange(size)
    return rotary.waves(position, s.head_dim, s.rope_theta, s.stretch)


def scan(params: dict, s: Shape, fn: Callable, x, past=()) -> tuple:
    """Applies `fn` to every layer in turn.

    Args:
        params, s: as in `forward`.
        fn: (weights of a layer, x, its part of `past`) -> (x for the next, kept).
        x: input of the first layer.
        past: arrays with a first axis of layers.

    Returns:
        The last layer's x, and what every layer kept, with a first axis of layers.
    """
    declared = declare(s)

    # One layer's weights, gathered and in the dtype of activations.
    def at_hand(name, stacked):
        def cast(p, w):
            return _at_hand(w.astype(s.dtype), s, p.axes[1:])

        return jax.tree.map(cast, declared.get(name, {}), stacked, is_leaf=_is_param)

    def one(x, scanned):
        p, adapters, past = scanned
        return fn((at_hand("layers", p), at_hand("adapters", adapters)), x, past)

    if s.remat != "none" or s.mesh is not None:
        one = jax.checkpoint(one, policy=REMAT[s.remat])
    adapters = params["adapters"] if s.adapters else {}
    return jax.lax.scan(one, x, (params["layers"], adapters, past), unroll=s.unroll)


def layer(
    s: Shape, weights: tuple[dict, dict], x: jax.Array, attend: Callable
) -> tuple[jax.Array, object]:
    """One layer, over tokens that may belong to many sequences.

    Args:
        weights: the layer's, and its adapters, in the dtype of activations.
        x: [T, width].
        attend: (q, [T, heads, D]; k and v, [T, kv_heads, D]) -> (the result of
            attention, [T, heads, D]; keys and values to keep), such as `attention`.

    Returns:
        [T, width], and what `attend` kept.
    """
    p, adapters = weights

    # A matrix product, with its low-rank change.
    def product(x, name):
        y = jnp.einsum(PRODUCTS[name], x, p[name])
        if name not in adapters:
            return y
        axes, into, out, result = low_rank.axes(PRODUCTS[name])
        low = jnp.einsum(f"{axes},{into}->tr", x, adapters[name]["a"])
        change = jnp.einsum(f"tr,{out}->{result}", low, adapters[name]["b"])
        return y + s.adapters.alpha / s.adapters.rank * change

    # Attention, then the MLP.
    y = rms_norm(x, p["attention_norm"], s.norm_eps)
    q, k, v = product(y, "q"), product(y, "k"), product(y, "v")
    if s.qkv_bias:
        q, k, v = (x + p[f"{name}_bias"] for name, x in (("q", q), ("k", k), ("v", v)))
    if s.qk_norm:
        q = rms_norm(q, p["q_norm"], s.norm_eps)
        k = rms_norm(k, p["k_norm"], s.norm_eps)
    y, kept = attend(q, k, v)
    x = x + product(y, "o")
    y = rms_norm(x, p["mlp_norm"], s.norm_eps)
    y = jax.nn.silu(product(y, "gate")) * product(y, "up")
    return x + product(y, "down"), kept


def attention(
    s: Shape, q: jax.Array, k: jax.Array, v: jax.Array, waves: jax.Array, context: list
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Attention of one block of tokens to a context and to itself.

    Args:
        q: [T, heads, D]; and k, v: [T, kv_heads, D].
        waves: rotary waves of the block's positions, from `positions`.
        context: k and v, [kv_heads, S, D], and length, scalar int32, of every segment.

    Returns:
        [T, heads, D], and the block's own k, rotated, and v, [kv_heads, T, D].
    """
    q, k, v = (x.swapaxes(0, 1) for x in (q, k, v))
    q, k = rotary.rotate(q, waves), rotary.rotate(k, waves)
    size = q.shape[1], s.head_dim
    q = q.reshape(s.kv_heads, s.heads // s.kv_heads, *size)
    y = ATTENTION[s.attention](q, context, (k, v))
    return y.reshape(s.heads, *size).swapaxes(0, 1), (k, v)


def normed(params: dict, s: Shape, x: jax.Array) -> jax.Array:
    """The last layer's output after the final norm."""
    return rms_norm(x, params["final_norm"].astype(s.dtype), s.norm_eps)


def logits(params: dict, s: Shape, hidden: jax.Array) -> jax.Array:
    """[.., width] hidden states to [.., V] float32 logits."""
    table = _table(params, s, "embed" if s.tied else "unembed", hidden.dtype)
    return segments.product("...d,vd->...v", hidden, table)


def logits_at(params: dict, s: Shape, hidden: jax.Array, ids: jax.Array) -> jax.Array:
    """Logits of a few ids: [.., width] and [.., M] int to [.., M] float32."""
    table = _table(params, s, "embed" if s.tied else "unembed")
    rows = _rows(table, ids).astype(hidden.dtype)
    return segments.product("...d,...md->...m", hidden, rows)


def _rows(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Rows of a table; NaN for an id that it does not have, which would be clamped."""
    fill = dict(mode="fill", fill_value=jnp.nan, wrap_negative_indices=False)
    return table.at[ids].get(**fill)


def _table(params: dict, s: Shape, name: str, dtype=None) -> jax.Array:
    """A table of tokens. Rows are looked up in its own dtype, so that the sum of their
    gradients over tokens is not rounded each time."""
    table = params[name] if dtype is None else params[name].astype(dtype)
    return _at_hand(table, s, declare(s)[name].axes)


def _at_hand(param: jax.Array, s: Shape, axes: tuple) -> jax.Array:
    """A parameter, gathered from the devices that questions are spread over."""
    if s.mesh is None:
        return param
    return jax.lax.with_sharding_constraint(param, sharding.at_hand(s.mesh, axes))


def rms_norm(x: jax.Array, gain: jax.Array, eps: float) -> jax.Array:
    """x / rms(x) * gain over the last axis, in float32 inside."""
    wide = x.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, -1, keepdims=True) + eps)
    return wide.astype(x.dtype) * gain
