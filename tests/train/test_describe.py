"""What a config or a model is, in words."""

from benchmarks import memory
from c3jax.configs import audit, compare
from c3jax.setup import defaults, fields
from c3jax.train import describe
from tests import support

QWEN3 = dict(
    model_type="qwen3",
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    intermediate_size=48,
    vocab_size=300,
    max_position_embeddings=640,
    tie_word_embeddings=True,
)


def test_the_table_of_the_documentation_is_the_one_that_is_declared():
    assert (support.ROOT / "docs/fields.md").read_text() == describe.tables() + "\n"


def test_a_config_is_told_field_by_field_and_what_differs_is_marked():
    text = describe.config(support.page_config(train__lr=2e-3))
    lines = text.splitlines()
    for line in fields.lines(defaults.EXPERIMENT, defaults.experiment()):
        assert sum(f" {line.name} " in f"{told} " for told in lines) == 1, line.name
    marked = {line.split()[1] for line in lines if line.startswith("* ")}
    assert {"train.lr", "name", "teams.duo.actor.max_tokens"} <= marked
    assert not {"train.b1", "reward.fallback", "train.clip"} & marked
    assert "teams.trio" not in text
    assert "this process needs about" in lines[-1] and "update" in lines[-1]


def test_a_config_that_cannot_run_says_why():
    text = describe.config(support.page_config(train__batch_size=25, train__groups=2))
    assert text.splitlines()[-1].startswith("A run cannot begin: train.batch_size=25")


def test_nothing_is_downloaded_to_describe_a_page():
    text = describe.config(support.page_config("math:qwen3_4b"))
    assert "Qwen/Qwen3-4B-Instruct-2507 is not here" in text.splitlines()[-1]
    told = describe.config(compare.get_config())
    assert "* base.train.steps" in told and "* methods.mappo.credit.name" in told
    assert "  audit.fit" in describe.config(audit.get_config())


def test_a_model_is_told_by_its_sizes_tokens_and_template(tmp_path):
    memory.write(tmp_path, QWEN3)
    told = dict(
        line.strip().split("  ", 1)
        for line in describe.model(str(tmp_path)).split("\n")[1:]
    )
    told = {key: text.strip() for key, text in told.items()}
    layer = 32 * 8 * (4 + 4 + 2 + 2) + 3 * 32 * 48 + 2 * 32 + 2 * 8
    assert told["parameters"] == f"{300 * 32 + 3 * layer + 32:,}"
    assert told["family"] == "qwen3" and told["positions"].startswith("640,")
    assert told["heads"] == "4 of 8 numbers, 2 of keys and values"
    assert told["ends"] == "'</s>' (1)" and told["thinking"] == "has no switch"
    assert told["instruction"] == "the system message"
    assert told["answers after"] == r"'</s>\n<s>assistant\n'"
    assert f"{4 * 2 * 3 * 2 * 8} bytes in float32" in told["memory"]
