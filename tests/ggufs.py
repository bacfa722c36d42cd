"""Small GGUFs for tests: models of `transformers` as the package `gguf` writes them."""

import pathlib

import numpy as np

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool>", "[PAD0]")
KINDS = (3, 3, 3, 4, 5)
MERGES = ("h e", "l l", "he ll", "Ġ Ġ", "Ġ w", "1 2", "e Ì")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.o_proj": "attn_output",
    **{f"self_attn.{x}_proj": f"attn_{x}" for x in "qkv"},
    **{f"self_attn.{x}_norm": f"attn_{x}_norm" for x in "qk"},
    **{f"mlp.{x}_proj": f"ffn_{x}" for x in ("gate", "up", "down")},
}


def name(theirs: str) -> str:
    """What a tensor of `transformers` is called in a GGUF."""
    part, _, kind = theirs.rpartition(".")
    if not part.startswith("model.layers."):
        return f"{_NAMES[part]}.{kind}"
    _, _, layer, part = part.split(".", 3)
    return f"blk.{layer}.{_NAMES[part]}.{kind}"


def tokens() -> list[str]:
    """Bytes, what `MERGES` make of them, one that they do not make, special ones."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return [*letters, *(m.replace(" ", "") for m in MERGES), "Ġnow", *SPECIAL]


def fields(rule: str = "smollm", **changes) -> dict:
    """What a file says of its tokenizer; a change of None leaves something out."""
    known = tokens()
    found = {
        "model": "gpt2",
        "pre": rule,
        "tokens": known,
        "token_type": [1] * (len(known) - len(SPECIAL)) + list(KINDS),
        "merges": list(MERGES),
        "bos_token_id": known.index("<|im_start|>"),
        "eos_token_id": known.index("<|im_end|>"),
        "padding_token_id": known.index("<|endoftext|>"),
        **changes,
    }
    return {f"tokenizer.ggml.{key}": value for key, value in found.items()} | {
        "tokenizer.chat_template": TEMPLATE
    }


def described(config) -> dict:
    """What a file says of a model, by its `transformers` config."""
    heads = config.num_attention_heads
    found = {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "rope.freq_base": config.rope_parameters["rope_theta"],
    }
    if size := getattr(config, "head_dim", None):
        found |= {"attention.key_length": size, "attention.value_length": size}
    return {f"{config.model_type}.{key}": value for key, value in found.items()}


def tensors(model) -> dict[str, np.ndarray]:
    """A model's tensors as a file has them; a Llama's pairs that turn, side by side."""
    config, found = model.config, {}
    for theirs, tensor in model.state_dict().items():
        array = tensor.numpy()
        if config.model_type == "llama" and theirs.endswith(
            ("q_proj.weight", "k_proj.weight")
        ):
            halves = array.reshape(-1, 2, config.head_dim // 2, array.shape[1])
            array = halves.swapaxes(1, 2).reshape(array.shape)
        found[name(theirs)] = array
    if config.tie_word_embeddings:
        found.pop("output.weight")
    return found


def write(path: pathlib.Path, kind: str, fields: dict, tensors: dict, **options):
    """A file. Tensors are arrays, or (bytes, how they are packed)."""
    import gguf

    writer = gguf.GGUFWriter(path, kind, **options)
    for key, value in fields.items():
        if isinstance(value, bool):
            writer.add_bool(key, value)
        elif isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, float):
            writer.add_float32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        elif value is not None:
            writer.add_array(key, value)
    for key, value in tensors.items():
        array, packed = value if isinstance(value, tuple) else (value, None)
        writer.add_tensor(key, np.ascontiguousarray(array), raw_dtype=packed)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
