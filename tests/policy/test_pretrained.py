"""Published models: the same numbers as `transformers`, every tensor accounted for."""

import copy
import functools
import hashlib
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
import transformers
from safetensors import numpy as safetensors

from c3jax import policy
from c3jax.core import sharding
from c3jax.policy import decoder, families, weights
from tests import support

SIZES = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=128,
    rms_norm_eps=1e-5,
)
LLAMA3 = dict(
    rope_type="llama3",
    rope_theta=1e4,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=32,
)
# Qwen2 with a table of its own for the output, and Llama 3.1 without, are held by
# `test_gguf_model`; Llama with plain waves by `test_players`, once it was trained.
MODELS = {
    "qwen2": lambda: transformers.Qwen2Config(**SIZES, tie_word_embeddings=True),
    "qwen3": lambda: transformers.Qwen3Config(
        **SIZES, head_dim=16, tie_word_embeddings=True
    ),
    "llama 3.1": lambda: transformers.LlamaConfig(
        **SIZES, rope_parameters=LLAMA3, tie_word_embeddings=False
    ),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    """A small random model, and the directory it was saved to."""
    return _made(request.param, tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def biased(tmp_path_factory):
    """One of them, where it is about files, devices or bits, whatever the family."""
    return _made("qwen2", tmp_path_factory.mktemp("model"))


def _made(family, directory):
    torch = support.torch()
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(MODELS[family]())
    with torch.no_grad():
        for parameter in made.parameters():  # norms of one and biases of zero hide much
            parameter.add_(0.1 * torch.randn_like(parameter))
    made.save_pretrained(directory)
    return made.eval(), directory


@pytest.fixture
def copied(biased, tmp_path):
    _, directory = biased
    return pathlib.Path(shutil.copytree(directory, tmp_path / "copied"))


def digests(directory: pathlib.Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.glob("*.safetensors"))
    }


def change(directory: pathlib.Path, **tensors) -> None:
    """Rewrites the tensors of a model; None removes one."""
    path = directory / "model.safetensors"
    found = {**safetensors.load_file(path), **tensors}
    kept = {name: value for name, value in found.items() if value is not None}
    safetensors.save_file(kept, path, metadata={"format": "pt"})


def test_logits_are_those_of_transformers(model):
    torch = support.torch()
    theirs, directory = model
    # Longer than the window that Llama's wavelengths are stretched from.
    tokens = np.random.default_rng(0).integers(0, 97, (2, 60))
    with torch.no_grad():
        exact = copy.deepcopy(theirs).double()
        wanted = exact(torch.tensor(tokens)).logits.numpy()
    found = policy.load(directory).logits(tokens)
    assert found.dtype == np.float32
    # Rounding is in proportion to what is rounded.
    assert np.abs(found - wanted).max() < 5e-6 * np.abs(wanted).max()


def test_padding_on_the_right_changes_nothing_before_it(model):
    _, directory = model
    loaded = policy.load(directory)
    tokens = np.random.default_rng(1).integers(0, 97, (2, 9))
    padded = np.pad(tokens, ((0, 0), (0, 7)))
    support.assert_rounded(loaded.logits(padded)[:, :9], loaded.logits(tokens))


def test_sixteen_bits_are_within_a_rounding_of_their_logits(model):
    torch = support.torch()
    theirs, directory = model
    tokens = np.random.default_rng(2).integers(0, 97, (2, 24))
    with torch.no_grad():
        wanted = theirs(torch.tensor(tokens)).logits.numpy()
    found = policy.load(directory, activations="bfloat16").logits(tokens)
    # Eight bits of mantissa, through three layers.
    assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()


def test_what_is_saved_loads_elsewhere_and_here_bit_for_bit(model, tmp_path):
    torch = support.torch()
    theirs, directory = model
    loaded = policy.load(directory)
    loaded.save(tmp_path / "first")
    policy.load(tmp_path / "first").save(tmp_path / "second")
    assert digests(tmp_path / "first") == digests(tmp_path / "second")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "first")
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name


def test_shards_with_an_index_are_one_model(biased, tmp_path, monkeypatch):
    torch = support.torch()
    theirs, directory = biased
    monkeypatch.setattr(weights, "SHARD_BYTES", 20_000)
    policy.load(directory).save(tmp_path / "sharded")
    assert len(digests(tmp_path / "sharded")) > 2
    # Blocks of a few rows, too.
    monkeypatch.setattr(weights, "BLOCK_BYTES", 1_000)
    again = policy.load(tmp_path / "sharded")
    jax.tree.map(
        np.testing.assert_array_equal, again.params, policy.load(directory).params
    )
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "sharded")
    assert torch.equal(loaded.lm_head.weight, theirs.lm_head.weight)


def test_no_more_than_a_block_is_read_at_a_time(biased, monkeypatch):
    _, directory = biased
    read, opened = [], weights.opened

    class Watched:
        """A file, or a tensor of it, that tells how much of it is read."""

        def __init__(self, found):
            self._found = found

        def __enter__(self):
            return Watched(self._found.__enter__())

        def __exit__(self, *error):
            return self._found.__exit__(*error)

        def __getattr__(self, name):
            assert name != "get_tensor"
            return getattr(self._found, name)

        def get_slice(self, name):
            return Watched(self._found.get_slice(name))

        def __getitem__(self, rows):
            block = self._found[rows]
            read.append(block.nbytes)
            return block

    monkeypatch.setattr(weights, "opened", lambda path: Watched(opened(path)))
    monkeypatch.setattr(weights, "BLOCK_BYTES", 4096)
    loaded = policy.load(directory).params
    assert max(read) <= 4096
    assert sum(read) == sum(leaf.nbytes for leaf in jax.tree.leaves(loaded))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bit_checkpoints_survive_the_round_trip(biased, tmp_path, dtype):
    torch = support.torch()
    theirs, _ = biased
    small = transformers.AutoModelForCausalLM.from_config(theirs.config)
    small.load_state_dict(theirs.state_dict())
    small.to(getattr(torch, dtype)).save_pretrained(tmp_path / "small")
    policy.load(tmp_path / "small").save(tmp_path / "again")
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again")
    for name, tensor in small.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_model_is_spread_over_a_mesh_as_it_is_read(biased):
    _, directory = biased
    mesh = sharding.make(1, 4, 2, devices=jax.devices())
    tokens = np.arange(12)[None]
    with pytest.raises(ValueError, match="vocab"):  # It has 97 of them.
        policy.load(directory, mesh)
    whole = policy.load(directory)
    spread = policy.load(directory, sharding.make(2, 4, 1, devices=jax.devices()))
    assert len(spread.params["layers"]["q"].sharding.device_set) == 8
    support.assert_rounded(spread.logits(tokens), whole.logits(tokens))


def test_a_tensor_that_is_missing_extra_or_misshapen_is_named(copied):
    name = "model.layers.1.mlp.up_proj.weight"
    change(copied, **{name: None})
    with pytest.raises(ValueError, match=f"lacks {name}"):
        policy.load(copied)
    change(copied, **{name: np.zeros((48, 31), np.float32)})
    with pytest.raises(
        ValueError, match=rf"{name} is F32 \(48, 31\) instead of \(48, 32\)"
    ):
        policy.load(copied)
    change(copied, **{name: np.zeros((48, 32), np.int32)})
    with pytest.raises(ValueError, match=f"{name} is I32"):
        policy.load(copied)
    change(copied, **{name: np.zeros((48, 32), np.float32), "stray": np.zeros(3)})
    with pytest.raises(ValueError, match="has stray, which its config lacks"):
        policy.load(copied)


def test_a_second_table_in_a_tied_model_must_be_the_same(tmp_path):
    made = transformers.AutoModelForCausalLM.from_config(MODELS["qwen2"]())
    made.save_pretrained(tmp_path)
    table = made.lm_head.weight.detach().numpy()
    change(tmp_path, **{"lm_head.weight": table})
    policy.load(tmp_path)
    change(tmp_path, **{"lm_head.weight": table + 1})
    with pytest.raises(ValueError, match="another table"):
        policy.load(tmp_path)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: transformers.MistralConfig(**SIZES), "model_type='mistral'"),
        (lambda: transformers.Qwen3MoeConfig(**SIZES), "model_type='qwen3_moe'"),
        (lambda: transformers.Qwen3Config(**SIZES, hidden_act="gelu"), "hidden_act"),
        (lambda: transformers.LlamaConfig(**SIZES, mlp_bias=True), "mlp_bias"),
        (
            lambda: transformers.Qwen2Config(**SIZES, use_sliding_window=True),
            "use_sliding_window",
        ),
        (
            lambda: transformers.LlamaConfig(
                **SIZES,
                rope_parameters=dict(rope_type="linear", rope_theta=1e4, factor=2.0),
            ),
            "rope_type='linear'",
        ),
    ],
)
def test_a_model_that_the_decoder_is_not_is_refused(tmp_path, made, message):
    made().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=message):
        policy.load(tmp_path)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(ValueError, match="has no config.json; .* a .gguf file"):
        policy.load(tmp_path)
    (tmp_path / "small.gguf").touch()
    with pytest.raises(ValueError, match="has no config.json; .*/small.gguf, the name"):
        policy.load(tmp_path)
    MODELS["qwen3"]().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"lacks \['model.safetensors'\]"):
        policy.load(tmp_path)


@pytest.mark.parametrize("name", ["qwen2_5_3b", "qwen3_4b", "qwen2_5_coder_3b"])
def test_the_papers_models_have_the_tensors_of_transformers(name):
    """By their published configs, without a number in memory."""
    torch = support.torch()
    path = pathlib.Path(__file__).parent / "configs" / f"{name}.json"
    config = transformers.AutoConfig.for_model(**json.loads(path.read_text()))
    with torch.device("meta"):
        theirs = transformers.AutoModelForCausalLM.from_config(config).state_dict()
    shape = families.shape(config)
    params = jax.eval_shape(functools.partial(decoder.init, s=shape), jax.random.key(0))
    found = {}
    for tensor in families.tensors(shape):
        value = functools.reduce(dict.__getitem__, tensor.path, params)
        found[tensor.name] = tensor.shape(value.shape[tensor.layer is not None :])
        assert value.dtype == np.float32
    if config.tie_word_embeddings:
        theirs.pop("lm_head.weight")
    assert found == {name: tuple(tensor.shape) for name, tensor in theirs.items()}
