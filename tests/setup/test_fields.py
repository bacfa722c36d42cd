"""Every field of a config is declared once, and a config is what is declared."""

import importlib
import json
import math

import ml_collections
import numpy as np
import pytest

from c3jax.setup import defaults, fields
from c3jax.train import run_dir
from tests import support

PAGES = [
    *("math", "math:qwen3_4b", "math:smollm2", "code", "code:qwen2_5_coder_3b"),
    *("compare", "compare:smollm2", "audit"),
]


def page(name):
    name, _, arg = name.partition(":")
    module = importlib.import_module(f"c3jax.configs.{name}")
    return module.get_config(arg) if arg else module.get_config()


def saved(config):
    return json.loads(json.dumps(config.to_dict()))


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_the_fields_that_are_declared_with_values_that_they_may_have(name):
    config = page(name)
    fields.check(config, defaults.declared(config))
    fields.check(saved(config), defaults.declared(config))


@pytest.mark.parametrize(
    "section", [defaults.EXPERIMENT, defaults.COMPARISON, defaults.AUDIT]
)
def test_a_field_has_a_line_and_may_have_its_default(section):
    config = fields.config(section)
    fields.check(config, section)
    for line in fields.lines(section, config):
        assert line.field.doc and len(line.field.doc) < 140, line.name


def test_a_page_of_ones_own_changes_no_other():
    config = page("math:smollm2")
    with config.unlocked():
        config.policy.adapters.rank = 99
        config.reward.fallback = ()
    assert page("math:smollm2").policy.adapters.rank == 16
    assert page("math").reward.fallback == ("boxed",)


RATE, COUNT = fields.number(above=0), fields.whole(above=0)


@pytest.mark.parametrize(
    ("domain", "value"),
    [
        (RATE, 1),
        (RATE, np.float32(0.5)),
        (COUNT, np.int64(3)),
        (fields.optional(RATE), None),
        (fields.number(above=0, infinite=True), math.inf),
        (fields.several(COUNT), [1, 2]),
        (fields.several(COUNT), ()),
        (fields.one_of({"a": 1, "b": 2}), "b"),
        (fields.ANY, object()),
    ],
)
def test_what_a_field_may_be_is_taken(domain, value):
    fields.check_value(value, domain, "x")


@pytest.mark.parametrize(
    ("domain", "value", "message"),
    [
        (RATE, 0.0, "x=0.0: it must be above 0."),
        (RATE, math.nan, "x=nan: it must be a finite number, above 0."),
        (RATE, math.inf, "x=inf: it must be a finite number, above 0."),
        (RATE, "1", "x='1': it must be a finite number"),
        (RATE, True, "x=True: it must be a finite number"),
        (RATE, None, "x=None: it must be a finite number"),
        (COUNT, 1.5, "x=1.5: it must be a whole number, above 0"),
        (COUNT, True, "x=True: it must be a whole number"),
        (fields.optional(RATE), -1.0, "x=-1.0: it must be above 0, or None."),
        (fields.number(above=0, infinite=True), -math.inf, "x=-inf"),
        (fields.number(above=0, infinite=True), math.nan, "x=nan"),
        (fields.number(least=0, most=1), 2.0, "x=2.0: it must be between 0 and 1."),
        (fields.several(COUNT), (1, 0), "x=0: it must be above 0."),
        (fields.several(fields.TEXT), "a", r"x='a': it must be a tuple, ('a',)."),
        (fields.SWITCH, 1, "x=1: it must be True or False."),
        (fields.TEXT, 1, "x=1: it must be text."),
        (fields.one_of(("keep", "drop")), "kep", "did you mean 'keep'?"),
    ],
)
def test_what_a_field_may_not_be_is_refused(domain, value, message):
    with pytest.raises(ValueError) as error:
        fields.check_value(value, domain, "x")
    assert message in str(error.value)


def test_numbers_that_no_run_can_have_are_refused_by_their_names():
    for name, value in {
        "train__lr": math.nan,
        "train__kl": math.inf,
        "train__b1": 1.0,
        "train__until__seconds": math.inf,
        "policy__adapters__alpha": math.nan,
        "data__overlap__share": 0.0,
        "mesh__data": 0,
    }.items():
        config = support.page_config(**{name: value})
        with pytest.raises(ValueError, match=f"{name.replace('__', '.')}="):
            fields.check(config, defaults.EXPERIMENT)


def test_a_section_is_one():
    config = ml_collections.ConfigDict(saved(page("math")) | {"train": 3})
    with pytest.raises(ValueError, match="train=3: it must be a section with fields"):
        fields.check(config, defaults.EXPERIMENT)


# What a run of an earlier version saved is without these.
NEW = (
    *("reward.cut=1.0", "warm_start.demonstrations=''"),
    *("warm_start.missing='refuse'", "warm_start.grad_accumulation=1"),
)


def older(config):
    given = saved(config)
    del given["reward"]["cut"]
    for name in ("demonstrations", "missing", "grad_accumulation"):
        del given["warm_start"][name]
    return given


def test_a_run_that_an_earlier_version_saved_goes_on_and_what_is_new_is_told(
    tmp_path, capsys
):
    page = {"config": older(support.page_config()), "environments": [{}]}
    (tmp_path / run_dir.CONFIG).write_text(json.dumps(page))
    assert saved(run_dir.config(tmp_path)) == saved(support.page_config())
    [line] = capsys.readouterr().out.splitlines()
    assert line == f"{tmp_path / run_dir.CONFIG} is older than {', '.join(NEW)}"
    assert run_dir.check_or_create(tmp_path, support.page_config(), {}, {}) == []
    with pytest.raises(ValueError, match="reward.cut is 1.0 there and 0.5 here"):
        run_dir.check_or_create(tmp_path, support.page_config(reward__cut=0.5), {}, {})


def test_a_comparison_that_an_earlier_version_saved_is_read_with_its_base():
    given = saved(page("compare"))
    given["base"] = older(page("compare").base)
    found, new = fields.saved(given, defaults.COMPARISON, {})
    assert new == [f"base.{each}" for each in NEW]
    assert json.loads(json.dumps(found)) == saved(page("compare"))


def test_policies_of_their_own_are_completed_too():
    config = support.page_config()
    given = saved(config)
    given["policies"] = {"actor": saved(config)["policy"]}
    del given["policies"]["actor"]["logits_chunk"]
    found, new = fields.saved(given, defaults.EXPERIMENT, {})
    assert found["policies"]["actor"]["logits_chunk"] == 0
    assert new == ["policies.actor.logits_chunk=0"]


def test_a_field_that_has_another_name_now_is_found_by_the_old_one():
    given = saved(support.page_config(sampling__max_concurrent=7))
    given["desks"] = {"count": given["sampling"].pop("max_concurrent")}
    with pytest.raises(ValueError, match="desks={} was saved by another version"):
        fields.saved(
            given, defaults.EXPERIMENT, {"desks.count": "sampling.max_concurrent"}
        )
    given["sampling"]["seats"] = given.pop("desks")["count"]
    renamed = {"sampling.seats": "sampling.max_concurrent"}
    found, new = fields.saved(given, defaults.EXPERIMENT, renamed)
    assert found["sampling"]["max_concurrent"] == 7 and "seats" not in found["sampling"]
    assert new == ["sampling.max_concurrent=7, which was sampling.seats"]
    assert "seats" in given["sampling"]


def test_a_run_of_before_there_was_validation_has_none():
    given = saved(support.page_config())
    del given["data"]["validation"]
    args = (defaults.EXPERIMENT, defaults.RENAMED, defaults.EARLIER)
    found, told = fields.saved(given, *args)
    assert found["data"]["validation"] is None and told == ["data.validation=None"]
    assert "validation" not in given["data"]
    grid = saved(page("compare")) | {"base": given, "methods": {"c3": {"data": {}}}}
    args = (defaults.COMPARISON, defaults.RENAMED, defaults.EARLIER)
    found, told = fields.saved(grid, *args)
    assert found["base"]["data"]["validation"] is None and len(told) == 1
    assert found["methods"]["c3"] == {"data": {}}


def test_what_ed586e0_saved_is_read_with_the_names_of_today():
    given = saved(support.page_config(train__grad_accumulation=6))
    for section, old, new in (
        ("sampling", "at_once", "max_concurrent"),
        ("train", "accumulate", "grad_accumulation"),
        ("train", "flat", "zero_advantage"),
        ("warm_start", "accumulate", "grad_accumulation"),
    ):
        given[section][old] = given[section].pop(new)
    given["credit"]["name"] = "c3_comb"
    wanted = support.page_config(train__grad_accumulation=6, credit__name="c3_vine")
    found, told = fields.saved(given, defaults.EXPERIMENT, defaults.RENAMED)
    assert json.loads(json.dumps(found)) == saved(wanted) and len(told) == 5
    assert told[-1] == "credit.name='c3_vine', which was credit.name=c3_comb"
    grid = saved(page("compare")) | {"base": given}
    grid["methods"]["mine"] = {"credit": {"name": "c3_comb"}}
    found, told = fields.saved(grid, defaults.COMPARISON, defaults.RENAMED)
    assert json.loads(json.dumps(found["base"])) == saved(wanted)
    assert found["methods"]["mine"]["credit"]["name"] == "c3_vine" and len(told) == 6


def test_a_field_that_is_no_more_is_refused_by_its_name(tmp_path):
    given = saved(support.page_config())
    given["train"]["momentum"] = 0.9
    page = {"config": given, "environments": [{}]}
    (tmp_path / run_dir.CONFIG).write_text(json.dumps(page))
    with pytest.raises(ValueError, match="train.momentum=0.9 was saved by another"):
        run_dir.config(tmp_path)
