"""A published model in a notebook: loaded, asked for logits, saved again."""

import dataclasses
import functools
import pathlib
import shutil

import jax
import jax.numpy as jnp

from c3jax.core import gguf, gguf_tokenizer, sharding
from c3jax.policy import decoder, families, weights

# Files of a tokenizer, as `transformers` saves it.
_CONFIGS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_VOCABULARY = ("vocab.json", "merges.txt", "added_tokens.json", "tokenizer.model")
_TOKENIZER = (*_CONFIGS, *_VOCABULARY, "chat_template.jinja", "chat_template.json")
_GENERATION = "generation_config.json"


@dataclasses.dataclass(frozen=True)
class Policy:
    """A model and its source.

    Attributes:
        params: the decoder's parameters, float32 unless loaded otherwise.
        shape: sizes of the decoder, and how it is computed.
        config: the `transformers` config.
        source: directory or GGUF it was read from, with the tokenizer that `save`
            copies; None for a model that was made here.
    """

    params: dict
    shape: decoder.Shape
    config: object
    source: pathlib.Path | None

    def logits(self, tokens: jax.Array) -> jax.Array:
        """Scores of the next token at every position.

        Args:
            tokens: [B, T] int; padding, if any, on the right, of ids that there are.

        Returns:
            [B, T, V] float32, before any temperature; NaN in a row with an id that the
            model does not have.
        """
        return _logits(self.params, self.shape, jnp.asarray(tokens))

    def save(self, directory: str | pathlib.Path, dtype: str | None = None) -> None:
        """Writes a model that `transformers` loads: config, tokenizer, safetensors.

        Args:
            directory: made if it is not there.
            dtype: of the tensors, such as "bfloat16"; None for the config's.

        Raises:
            OSError: a file cannot be written.
        """
        import transformers  # Slow to import.

        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        dtype = dtype or str(self.config.dtype or "float32").removeprefix("torch.")
        config = self.config.__class__.from_dict(
            {**self.config.to_dict(), "dtype": dtype}
        )
        config.save_pretrained(directory)

        # The source's tokenizer and generation config, or one made from the config.
        if self.source and self.source.suffix == gguf.SUFFIX:
            gguf_tokenizer.load(self.source).save_pretrained(directory)
        elif self.source and directory != self.source:
            for name in (*_TOKENIZER, _GENERATION):
                if (self.source / name).exists():
                    shutil.copyfile(self.source / name, directory / name)
        if not (directory / _GENERATION).exists():
            generation = transformers.GenerationConfig.from_model_config(config)
            generation.save_pretrained(directory)
        weights.save(directory, self.params, self.shape, dtype)


def load(
    name: str | pathlib.Path,
    mesh: jax.sharding.Mesh | None = None,
    dtype: str = "float32",
    activations: str = "float32",
    **computed,
) -> Policy:
    """Reads a model of a family that the decoder supports; see `families`.

    Args:
        name: a directory as `transformers` saves it (config.json, safetensors), a GGUF,
            an installed Python package that carries one, or a name on the hub.
        mesh: devices to spread it over; None for the first one.
        dtype: the dtype of parameters.
        activations: the dtype between parameters and logits.
        computed: other fields of `decoder.Shape` about how it is computed: remat,
            attention, ...

    Raises:
        ValueError: there is no such model, or the decoder does not support it.
    """
    source = families.find(str(name))
    config = families.read_config(source)
    shape = families.shape(config, dtype=activations, mesh=mesh, **computed)
    mesh = mesh or sharding.make(1, 1, 1, devices=jax.devices()[:1])

    def place(p: decoder.Param):
        return sharding.parameter(mesh, p.shape, p.axes)

    params = weights.load(source, shape, place, dtype)
    return Policy(params, shape, config, source)


@functools.partial(jax.jit, static_argnums=1)
def _logits(params, shape, tokens):
    def one(row):
        hidden, _ = decoder.forward(params, shape, row)
        return decoder.logits(params, shape, hidden)

    return jax.vmap(one)(tokens)
