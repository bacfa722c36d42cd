"""The published models that the decoder can be, and their names for its parameters.

Qwen2 and Qwen2.5 (biases on queries, keys and values), Qwen3 (norms of queries and
keys), Llama 3 (stretched rotary wavelengths): dense models that `transformers` reads.
Any other feature in a model's config is refused by name, since ignoring it would give
other numbers silently.
"""

import functools
import json
import math
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

from c3jax.core import gguf, gguf_tokenizer
from c3jax.policy import decoder, gguf_model, rotary

# Features of each kind of model beside the sizes in its config.
FAMILIES = {
    "qwen2": dict(qkv_bias=True, qk_norm=False),
    "qwen3": dict(qkv_bias=False, qk_norm=True),
    "llama": dict(qkv_bias=False, qk_norm=False),
}
# Fields of a config that must have this value, or not be there.
_PLAIN = {
    "hidden_act": "silu",
    "use_sliding_window": False,
    "mlp_bias": False,
    "attention_bias": False,
    "attention_dropout": 0.0,
}


def shape(config, **computed) -> decoder.Shape:
    """The sizes of a model.

    Args:
        computed: fields of `Shape` about how it is computed: dtype, remat, ...

    Raises:
        ValueError: the model has a feature that the decoder lacks; names the field.
    """
    kind = config.model_type
    if kind not in FAMILIES:
        raise ValueError(
            f"model_type={kind!r} is not supported; pick one of {sorted(FAMILIES)} "
            "(Qwen2, Qwen2.5, Qwen3, Llama 3; dense)."
        )

    # What the decoder does not do.
    for field, wanted in _PLAIN.items():
        value = getattr(config, field, wanted)
        if value != wanted:
            raise ValueError(
                f"this {kind} model has {field}={value!r}; only {wanted!r} is "
                "supported."
            )

    # Sizes by the names of `transformers`.
    heads = config.num_attention_heads
    return decoder.Shape(
        vocab=config.vocab_size,
        width=config.hidden_size,
        layers=config.num_hidden_layers,
        heads=heads,
        kv_heads=config.num_key_value_heads,
        head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
        hidden=config.intermediate_size,
        norm_eps=config.rms_norm_eps,
        tied=config.tie_word_embeddings,
        **_rotary(kind, config.rope_parameters),
        **FAMILIES[kind],
        **computed,
    )


def _rotary(kind: str, fields: dict) -> dict:
    """Base and stretching of the rotary wavelengths."""
    match fields.get("rope_type", "default"):
        case "default":
            stretch = None
        case "llama3":
            stretch = rotary.Stretch(
                factor=fields["factor"],
                low=fields["low_freq_factor"],
                high=fields["high_freq_factor"],
                window=fields["original_max_position_embeddings"],
            )
        case other:
            raise ValueError(
                f"this {kind} model has rope_type={other!r}; only 'default' and "
                "'llama3' are supported."
            )
    return dict(rope_theta=fields["rope_theta"], stretch=stretch)


def config(s: decoder.Shape, tokenizer, positions: int):
    """A `transformers` config for a policy of our own, which is a small Qwen3.

    Args:
        tokenizer: source of the special ids.
        positions: tokens of its longest context and message.
    """
    import transformers

    return transformers.Qwen3Config(
        vocab_size=s.vocab,
        hidden_size=s.width,
        num_hidden_layers=s.layers,
        num_attention_heads=s.heads,
        num_key_value_heads=s.kv_heads,
        head_dim=s.head_dim,
        intermediate_size=s.hidden,
        rms_norm_eps=s.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": s.rope_theta},
        tie_word_embeddings=s.tied,
        max_position_embeddings=positions,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        architectures=["Qwen3ForCausalLM"],
        dtype="float32",
    )


class Tensor(NamedTuple):
    """A tensor of a published checkpoint: one of our parameters, or a layer of one.

    Attributes:
        name: the tensor's name in the checkpoint.
        path: keys of the parameter in our tree.
        layer: index on the parameter's first axis; None if it has no layers.
        axes: per axis of the tensor, the axes of the parameter (without the layer's)
            that it joins.
    """

    name: str
    path: tuple[str, ...]
    layer: int | None
    axes: tuple[tuple[int, ...], ...]

    def shape(self, ours: tuple[int, ...]) -> tuple[int, ...]:
        """Sizes of the tensor.

        Args:
            ours: sizes of the parameter, without the layers' axis.
        """
        return tuple(math.prod(ours[axis] for axis in joined) for joined in self.axes)


_VECTOR, _TABLE = ((0,),), ((0,), (1,))
_LAYER = {
    "attention_norm": ("input_layernorm.weight", _VECTOR),
    "q": ("self_attn.q_proj.weight", ((1, 2), (0,))),
    "k": ("self_attn.k_proj.weight", ((1, 2), (0,))),
    "v": ("self_attn.v_proj.weight", ((1, 2), (0,))),
    "q_bias": ("self_attn.q_proj.bias", ((0, 1),)),
    "k_bias": ("self_attn.k_proj.bias", ((0, 1),)),
    "v_bias": ("self_attn.v_proj.bias", ((0, 1),)),
    "q_norm": ("self_attn.q_norm.weight", _VECTOR),
    "k_norm": ("self_attn.k_norm.weight", _VECTOR),
    "o": ("self_attn.o_proj.weight", ((2,), (0, 1))),
    "mlp_norm": ("post_attention_layernorm.weight", _VECTOR),
    "gate": ("mlp.gate_proj.weight", ((1,), (0,))),
    "up": ("mlp.up_proj.weight", ((1,), (0,))),
    "down": ("mlp.down_proj.weight", ((1,), (0,))),
}
_WHOLE = {
    "embed": ("model.embed_tokens.weight", _TABLE),
    "final_norm": ("model.norm.weight", _VECTOR),
    "unembed": ("lm_head.weight", _TABLE),
}


def tensors(s: decoder.Shape) -> Iterator[Tensor]:
    """Yields every tensor of a checkpoint, in the order models are read."""
    declared = decoder.declare(s)
    for key, (name, axes) in _WHOLE.items():
        if key in declared:
            yield Tensor(name, (key,), None, axes)
    for layer in range(s.layers):
        for key, (name, axes) in _LAYER.items():
            if key in declared["layers"]:
                full = f"model.layers.{layer}.{name}"
                yield Tensor(full, ("layers", key), layer, axes)


# Files of a published model that a run needs.
_PATTERNS = ["*.json", "*.safetensors", "*.jinja", "merges.txt", "tokenizer.model"]


def local(name: str) -> pathlib.Path | None:
    """A model on this machine: a directory, a GGUF, or an installed package's GGUF.

    None if there is none of that name.
    """
    path = pathlib.Path(name).expanduser()
    if path.is_dir() or (path.suffix == gguf.SUFFIX and path.is_file()):
        return path
    is_package = path.name == name and path.suffix != gguf.SUFFIX
    return gguf.packaged(name) if is_package else None


def find(name: str) -> pathlib.Path:
    """The directory or GGUF of a model: on this machine, or downloaded from the hub.

    A known package that is not installed is replaced by the hub's copy of its model.

    Raises:
        ValueError: there is no such model; says how to get it.
    """
    import huggingface_hub
    from huggingface_hub import errors

    model = local(name)
    if model:
        return model
    path = pathlib.Path(name).expanduser()
    if path.suffix == gguf.SUFFIX:
        raise ValueError(f"policy.path={name!r} is no file here; correct it.")

    # A copy that the hub's library has kept needs no network.
    is_package = path.name == name
    install, name = gguf_model.package(name) or ("", name)
    fetch = functools.partial(
        huggingface_hub.snapshot_download, name, allow_patterns=_PATTERNS
    )
    try:
        return pathlib.Path(fetch(local_files_only=True))
    except (errors.LocalEntryNotFoundError, errors.HFValidationError):
        pass
    try:
        # Without a network this fails at once, while a download tries for minutes.
        huggingface_hub.HfApi().model_info(name, timeout=5)
        return pathlib.Path(fetch())
    except (errors.HfHubHTTPError, errors.HFValidationError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
    except Exception as error:  # from any library that the hub's connects with
        reason = f"{type(error).__name__}: {error}"

    # No copy, no network: say how to get it.
    if install:
        raise ValueError(
            f"policy.path={path.name!r} is a package to install: {install}. Without "
            f"it {name!r} comes from the Hugging Face hub, which does not give it here "
            f"({reason[:200]})."
        )
    what = "directory or installed package" if is_package else "directory"
    raise ValueError(
        f"policy.path={name!r} is no {what} here, and the Hugging Face hub does not "
        f"give it ({reason[:200]}). Where there is a network, run `hf download {name} "
        "--local-dir DIR`, copy DIR here and say --config.policy.path=DIR."
    )


def files(model: pathlib.Path) -> list[pathlib.Path]:
    """The files of a model that a run reads, in order: its GGUF, or a folder's."""
    if model.is_file():
        return [model]
    return sorted(path for pattern in _PATTERNS for path in model.glob(pattern))


def ends(model: pathlib.Path) -> tuple[int, ...]:
    """Token ids that end a message, by the generation config and the config.

    Those of either: published models often name one end in the one and more in the
    other.
    """
    if model.suffix == gguf.SUFFIX:
        return gguf_tokenizer.ends(gguf.read(model))
    found = ()
    for name in ("generation_config.json", "config.json"):
        if (path := model / name).exists():
            ids = json.loads(path.read_text()).get("eos_token_id")
            found += tuple(ids) if isinstance(ids, list) else (ids,)
    return tuple(dict.fromkeys(i for i in found if i is not None))


def read_config(model: pathlib.Path):
    """The `transformers` config of a model.

    Raises:
        ValueError: there is none.
    """
    import transformers  # slow to import, and only real models need it

    if model.suffix == gguf.SUFFIX:
        return gguf_model.config(gguf.read(model), FAMILIES)
    if not (model / "config.json").exists():
        packed = sorted(model.glob(f"*{gguf.SUFFIX}"))
        file = packed[0] if packed else f"a {gguf.SUFFIX} file"
        raise ValueError(
            f"{model} has no config.json; give a directory with a model as "
            f"`transformers` saves it, {file}, the name of an installed Python package "
            "that carries one, or a name on the Hugging Face hub."
        )
    return transformers.AutoConfig.from_pretrained(model)
