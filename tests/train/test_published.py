"""Runs that start from published models: small random ones, with their tokenizers."""

import json
import pathlib
import time

import jax
import numpy as np
import pytest
import tokenizers
import transformers

from c3jax import policy
from c3jax.core.types import Role
from c3jax.data import tokenizer
from c3jax.learn import warm_start
from c3jax.protocol import prompts
from c3jax.train import export, loop
from tests import ggufs, support
from tests.program import c3jax

SIZES = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=256,
)
# Three ways in which published templates begin, and end, a message.
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% endif %}{% endif %}"
)
LLAMA = (
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m.role }}"
    "<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
    "{% endif %}"
)
NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
SPECIAL = (
    *("<|im_start|>", "<|im_end|>", "<|endoftext|>"),
    *("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
)
FAMILIES = {
    "qwen2": ("Qwen2Config", CHATML, "<|im_end|>"),
    "qwen3": ("Qwen3Config", CHATML, "<|im_end|>"),
    "llama": ("LlamaConfig", LLAMA, "<|eot_id|>"),
}


def byte_level(template: str, end: str):
    """A byte-level BPE tokenizer, trained on a few sentences, with a chat template."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(SPECIAL),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(
        ["write the sum . work it out . how many now ?"], trainer
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        eos_token=end,
        pad_token="<|endoftext|>",
        chat_template=template,
    )


def made(directory: pathlib.Path, family: str, **changes) -> pathlib.Path:
    """A random model of a family with its tokenizer, as `transformers` saves them."""
    torch = support.torch()
    name, template, end = FAMILIES[family]
    config = getattr(transformers, name)
    words = byte_level(template, end)
    sizes = {
        **SIZES,
        "vocab_size": len(words),
        "tie_word_embeddings": family != "llama",
        **changes,
    }
    if family == "qwen3":
        sizes["head_dim"] = 8
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config(**sizes))
    ends = [words.eos_token_id, words.convert_tokens_to_ids("<|endoftext|>")]
    model.generation_config.eos_token_id = ends
    model.save_pretrained(directory)
    words.save_pretrained(directory)
    # AutoTokenizer builds Qwen's own tokenizer from Qwen's files; these are a test's.
    path = directory / "tokenizer_config.json"
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "tokenizer_class": "PreTrainedTokenizerFast"}))
    return directory


@pytest.mark.parametrize("template", [CHATML, LLAMA, NO_SYSTEM])
def test_a_context_in_pieces_is_the_template_as_a_whole(template):
    words = byte_level(template, "<|im_end|>")
    roles = (Role("planner", "Plan ."), Role("solver", "Solve .", ("planner",), True))
    question, plan = "how many\nnow ?", "work it out"
    compiled = [prompts.prompt(words, role, roles) for role in roles]
    heads = prompts.encode(tuple(compiled), [0], [question], 64)
    head = heads.prompts[1][0, : heads.lengths[1][0]]
    said = words.encode(plan, add_special_tokens=False)
    context_template = compiled[1].template
    ids = [*head, *said, *context_template.separators[0], context_template.first_token]
    user = f"{question}\n\nplanner :\n{plan}"
    system = [{"role": "system", "content": "Solve ."}]
    if template == NO_SYSTEM:
        system, user = [], f"Solve .\n\n{user}"
    whole = words.apply_chat_template(
        [*system, {"role": "user", "content": user}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=False,
    )
    assert words.decode(ids) == whole


@pytest.mark.slow
def test_a_run_trains_a_published_model_and_gives_it_back(tmp_path):
    """A team, with a message that is spliced into another's context."""
    model, questions = made(tmp_path / "model", "qwen3"), tmp_path / "own.jsonl"
    rows = [{"question": f"how many is {n} ?", "answer": str(n)} for n in range(40)]
    # One that is far too long for any role.
    rows.append({"question": "how many " * 200, "answer": "0"})
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    workdir = tmp_path / "run"
    output = c3jax(
        "--config=configs/math.py:qwen3_4b",
        f"--workdir={workdir}",
        *("--cache_dir=", "--nocertify"),
        f"--config.policy.path={model}",
        "--config.policy.attention=plain",
        "--config.policy.dtype=float32",
        f"--config.data.train=('{questions}',)",
        f"--config.data.test={questions}",
        "--config.data.overlap.action=keep",
        "--config.data.prompt_tokens=160",
        "--config.protocol.name=duo",
        "--config.teams.duo.reasoner.max_tokens=8",
        "--config.teams.duo.reasoner.instruction=Plan .",
        "--config.teams.duo.actor.max_tokens=8",
        "--config.teams.duo.actor.instruction=Solve .",
        *("--config.sampling.max_concurrent=0", "--config.train.steps=2"),
        *("--config.train.batch_size=4", "--config.train.epochs=1"),
        *("--config.train.minibatches=1", "--config.train.grad_accumulation=1"),
        *("--config.train.buckets=0", "--config.evaluate.every=2"),
        *("--config.evaluate.questions=4", "--config.evaluate.samples=2"),
        *("--config.evaluate.k=(1,)", "--config.evaluate.batch_size=4"),
        # No random text is right, so that only decay is sure to change anything.
        *("--config.train.lr=1e-2", "--config.train.weight_decay=1"),
    )
    assert "validation: 4 of the training questions" in output
    assert "left out: 1 of train, 1 of test" in output
    assert "step 2  test  greedy" in output
    assert "PASS" in c3jax(f"--workdir={workdir}", "--mode=replay", "--cache_dir=")
    written = c3jax(f"--workdir={workdir}", "--mode=export", "--cache_dir=").split()[-1]
    assert_trained(model, written)


def assert_trained(model: pathlib.Path, written: str | pathlib.Path) -> None:
    """What was written is another policy than the model, and loads elsewhere."""
    torch = support.torch()
    loaded = transformers.AutoModelForCausalLM.from_pretrained(written)
    tokens = np.arange(12)[None]
    with torch.no_grad():
        wanted = loaded(torch.tensor(tokens)).logits.numpy()
    found = policy.load(written).logits(tokens)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    before = policy.load(model).logits(tokens)
    assert np.abs(found - before).max() > 1e-3
    words = [transformers.AutoTokenizer.from_pretrained(x) for x in (model, written)]
    assert words[0].chat_template == words[1].chat_template


def test_the_embedded_policy_is_exported_as_the_qwen3_it_is(tmp_path):
    torch = support.torch()
    setup = support.math_setup()
    params = warm_start.initial_params(setup)
    written = export.write(setup, params, 0, tmp_path)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(written)
    tokens = np.arange(9)[None]
    with torch.no_grad():
        wanted = loaded(torch.tensor(tokens)).logits.numpy()
    found = policy.load(written).logits(tokens)
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    words = transformers.PreTrainedTokenizerFast.from_pretrained(written)
    assert loaded.generation_config.eos_token_id == words.eos_token_id
    assert words.get_vocab() == tokenizer.load("words").get_vocab()
    again = policy.load(written).params
    jax.tree.map(np.testing.assert_array_equal, again, params["shared"])


def coder(tmp_path: pathlib.Path, positions: int, model: pathlib.Path | None = None):
    """The page of the paper's coder, with a small random model and tasks of our own."""
    rows = [
        {"question": f"Add {n} to a number.", "answer": f"assert add(1) == {n + 1}"}
        for n in range(8)
    ]
    questions = tmp_path / "own.jsonl"
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    sizes = dict(max_position_embeddings=positions)
    model = model or made(tmp_path / "model", "qwen2", **sizes)
    config = support.page_config(
        "code:qwen2_5_coder_3b",
        policy__path=str(model),
        data__train=(str(questions),),
        data__test=str(questions),
        data__overlap__action="keep",
        evaluate__questions=8,
    )
    return support.experiment.resolve(config, jax.devices()[:1])


@pytest.mark.parametrize("words", [12, 600])
def test_the_page_of_a_small_model_takes_questions_of_others_as_they_are(
    tmp_path, capsys, words
):
    questions = tmp_path / "own.jsonl"
    texts = ["how many ?", "how " * words]
    rows = [{"question": text, "answer": "1"} for text in texts for _ in range(2)]
    questions.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = support.page_config(
        "math:smollm2",
        policy__path=str(made(tmp_path / "model", "llama")),
        data__task="gsm8k",
        data__train=(str(questions),),
        data__test=str(questions),
        data__validation=None,
        data__overlap__action="keep",
        evaluate__questions=2,
    )
    config.policy.adapters.rank = 2
    setup = support.experiment.resolve(config, jax.devices()[:1])
    assert (
        setup.prompt_lengths.longest
        <= setup.prompt_lengths.limit
        < setup.prompt_lengths.longest + 8
    )
    assert setup.task.dropped == dict.fromkeys(("test", "train"), 2 * (words > 512))
    assert warm_start.run(setup, tmp_path / "warm").nll is None
    assert "no warm start: the task has no demonstrations" in capsys.readouterr().out


def test_the_page_of_the_coder_names_a_run_on_programs(tmp_path):
    setup = coder(tmp_path, positions=4096)
    assert setup.task.reward == "code"
    assert setup.team.protocol.branching == (4, 2)
    shape = setup.team.policies[0].shape
    assert shape.qkv_bias and shape.dtype == "bfloat16"
    assert "```python" in setup.team.protocol.roles[1].instruction


def test_more_tokens_than_a_model_has_positions_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"data.prompt_tokens=2560 .* max_position_embeddings .* 2048"
    ):
        coder(tmp_path, positions=2048)


def test_a_run_that_began_with_a_gguf_is_exported_for_transformers(tmp_path):
    torch = support.torch()
    known = dict(vocab_size=len(ggufs.tokens()), max_position_embeddings=4096)
    model = transformers.Qwen2ForCausalLM(
        transformers.Qwen2Config(**{**SIZES, **known, "tie_word_embeddings": False})
    )
    ends = dict(eot_token_id=ggufs.tokens().index("<|endoftext|>"))
    fields = ggufs.described(model.config) | ggufs.fields("qwen2", **ends)
    tensors = ggufs.tensors(model)
    path = ggufs.write(tmp_path / "model.gguf", "qwen2", fields, tensors)
    setup = coder(tmp_path, 4096, path)
    params = warm_start.initial_params(setup)
    written = export.write(setup, params, 0, tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(written)
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    spec = setup.policies["shared"]
    assert tuple(again.generation_config.eos_token_id) == spec.ends
    words = tokenizer.load(str(written))
    text = "def add(x):\n    return x +  12\n"
    assert words.encode(text) == spec.tokenizer.encode(text)
    assert words.chat_template == spec.tokenizer.chat_template
    assert policy.load(written).shape == policy.load(path).shape


@pytest.mark.parametrize(
    ("page", "name"),
    [
        ("math.py:qwen3_4b", "Qwen/Qwen3-4B-Instruct-2507"),
        ("code.py:qwen2_5_coder_3b", "Qwen/Qwen2.5-Coder-3B-Instruct"),
    ],
)
def test_a_model_that_is_nowhere_is_asked_for_in_seconds(page, name):
    setup = support.page_config("math")
    with setup.unlocked():
        setup.policy = dict(path="nobody/nothing")
    with pytest.raises(ValueError, match="policy lacks"):
        loop and support.experiment.resolve(setup, jax.devices()[:1])
    begin = time.monotonic()
    output = c3jax(f"--config=configs/{page}", "--workdir=/nowhere/c3jax", code=1)
    assert f"policy.path='{name}' is no directory" in output
    assert f"hf download {name}" in output
    assert time.monotonic() - begin < 60
