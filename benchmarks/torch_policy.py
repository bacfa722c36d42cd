"""A model of transformers with c3jax's weights, for the peers that train one."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from benchmarks import peers
from c3jax.policy import decoder


def copied(case: peers.Case) -> transformers.Qwen3ForCausalLM:
    """Its model with c3jax's weights."""
    shape, params = case.shape, case.params
    slots = case.prompts.shape[1] + case.completion
    model = transformers.Qwen3ForCausalLM(_config(shape, slots))
    found = {
        theirs: torch.tensor(_floats(params[ours])) for theirs, ours in _WHOLE.items()
    }
    found["lm_head.weight"] = found["model.embed_tokens.weight"]
    for index in range(shape.layers):
        for theirs, (ours, size) in _names(shape).items():
            # A linear layer there is [out, in].
            value = _floats(params["layers"][ours][index]).reshape(size).T
            found[theirs.format(index)] = torch.tensor(value)
    model.load_state_dict(found)
    return model.to(getattr(torch, str(params["embed"].dtype)))


def gradient(model: torch.nn.Module, case: peers.Case) -> dict:
    """Its weights' gradients, laid out as c3jax's parameters are."""
    slopes = {n: p.grad.float().cpu().numpy() for n, p in model.named_parameters()}
    layers = case.params["layers"]
    stacks = {
        ours: np.stack([slopes[theirs.format(i)].T for i in range(case.shape.layers)])
        for theirs, (ours, _) in _names(case.shape).items()
    }
    found = {ours: slopes[theirs] for theirs, ours in _WHOLE.items()}
    shaped = {ours: stack.reshape(layers[ours].shape) for ours, stack in stacks.items()}
    return found | {"layers": shaped}


_WHOLE = {"model.embed_tokens.weight": "embed", "model.norm.weight": "final_norm"}


def _names(shape: decoder.Shape) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name of a layer's weight to c3jax's and its size there, as a matrix."""
    width, heads = shape.width, shape.heads * shape.head_dim
    kv = shape.kv_heads * shape.head_dim
    names = {
        "input_layernorm": ("attention_norm", (width,)),
        "self_attn.q_proj": ("q", (width, heads)),
        "self_attn.k_proj": ("k", (width, kv)),
        "self_attn.v_proj": ("v", (width, kv)),
        "self_attn.q_norm": ("q_norm", (shape.head_dim,)),
        "self_attn.k_norm": ("k_norm", (shape.head_dim,)),
        "self_attn.o_proj": ("o", (heads, width)),
        "post_attention_layernorm": ("mlp_norm", (width,)),
        "mlp.gate_proj": ("gate", (width, shape.hidden)),
        "mlp.up_proj": ("up", (width, shape.hidden)),
        "mlp.down_proj": ("down", (shape.hidden, width)),
    }
    return {f"model.layers.{{}}.{name}.weight": each for name, each in names.items()}


def _config(shape: decoder.Shape, slots: int) -> transformers.Qwen3Config:
    return transformers.Qwen3Config(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        intermediate_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_theta": shape.rope_theta, "rope_type": "default"},
        tie_word_embeddings=shape.tied,
        max_position_embeddings=slots,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
        attn_implementation="sdpa",
    )


def _floats(value: jax.Array) -> np.ndarray:
    # By way of float32, for NumPy's bfloat16 is not known to PyTorch.
    return np.asarray(value.astype(jnp.float32))
