"""Fields on a command line: None, the nearest names, the home directory."""

import pathlib

import pytest

from c3jax.setup import overrides
from tests import support


def test_a_field_that_may_be_none_is_set_so_and_text_stays_text():
    argv = [
        "c3jax",
        "--config.train.kl_target=None",
        "--config.name=None",
        "--nocertify",
    ]
    kept, names = overrides.without_none(argv)
    assert kept == ["c3jax", "--config.name=None", "--nocertify"]
    assert names == ["train.kl_target"]
    config = support.page_config(train__kl_target=0.1, train__kl=0.1)
    overrides.set_none(config, names)
    assert config.train.kl_target is None
    with pytest.raises(ValueError, match="no field 'train.nothing'"):
        overrides.set_none(config, ["train.nothing"])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("train.learning_rate", "train.lr"),
        ("train.max_steps", "train.steps"),
        ("train.batchsize", "train.batch_size"),
        ("sampling.topk", "sampling.top_k"),
        ("evaluate.num_samples", "evaluate.samples"),
        ("train.gradient_accumulation", "train.grad_accumulation"),
    ],
)
def test_the_nearest_field_is_named_first(name, meant):
    assert f"did you mean {meant}" in overrides.unknown(name, support.page_config())


def test_the_fields_are_those_of_the_page_and_not_of_all_pages():
    published = support.page_config("math:smollm2")
    for name in "policy.width", "audit.questions":
        assert f"{name}," not in overrides.unknown(name, published)
    assert "policy has adapters," in overrides.unknown("policy.width", published)
    compared = support.page_config("compare")
    assert "did you mean base.train.lr" in overrides.unknown("base.train.lrr", compared)


def test_a_value_that_cannot_be_read_is_refused_with_what_the_field_may_be():
    said = "train.lr=abc: it must be a finite number, above 0."
    assert overrides.refusal("train.lr", "abc") == said
    assert "is a section" in overrides.refusal("train", "3")
    assert overrides.refusal("base.train.lr", "x").startswith(
        "base.train.lr=x: it must"
    )


def test_the_home_directory_is_put_for_its_sign():
    config = support.page_config(
        data__source="~/here", data__train=("~/a.jsonl", "b~/c")
    )
    overrides.expand_home(config)
    home = str(pathlib.Path.home())
    assert config.data.source == f"{home}/here"
    assert config.data.train == (f"{home}/a.jsonl", "b~/c")
