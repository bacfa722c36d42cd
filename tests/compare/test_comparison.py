"""The cells of a comparison, and the file that keeps those that are finished."""

import json

import jax
import ml_collections
import pytest

from c3jax.compare import comparison
from c3jax.configs import compare
from c3jax.setup import experiment
from c3jax.train import run_dir
from tests import support
from tests.compare import small_compare


def changed(**changes):
    """The small comparison with `section__field=value` changes."""
    return support.changed(small_compare.get_config("duo"), **changes)


@pytest.mark.parametrize(
    ("name", "team", "until"),
    [
        ("duo", "duo", dict(evaluator_calls=46_080, generated_tokens=560_000)),
        ("trio", "trio", dict(evaluator_calls=46_080, generated_tokens=560_000)),
        pytest.param(
            *("smollm2", "duo", dict(generated_tokens=20_000)), marks=pytest.mark.model
        ),
    ],
)
def test_the_cells_of_the_page_are_runs_that_can_begin_from_one_policy(
    name, team, until
):
    config = compare.get_config(name)
    cells = comparison.cells(config)
    assert len(cells) == len(config.methods) * len(config.seeds)
    for name, cell in cells.items():
        assert name == f"{cell.label}-{cell.seed}" == cell.name
        assert cell.config.warm_start.seed == 0
        if cell.seed == config.seeds[0]:  # Others are refused for no other reason.
            assert experiment.resolve(cell.config, jax.devices()[:1]).warm_seed == 0
        assert cell.config.protocol.name == ("solo" if cell.label == "solo" else team)
        told = {k: n for k, n in cell.config.train.until.to_dict().items() if n}
        assert told == until
        assert cell.config.train.final_lr == 1.0


def test_seeds_are_run_one_after_the_other():
    assert list(comparison.cells(changed())) == ["c3-0", "magrpo-0", "c3-1", "magrpo-1"]


def test_a_config_read_back_from_json_has_the_same_cells():
    config = changed()
    read = ml_collections.ConfigDict(json.loads(json.dumps(config.to_dict()))).lock()
    for one, other in zip(
        comparison.cells(config).values(), comparison.cells(read).values(), strict=True
    ):
        assert json.dumps(one.config.to_dict()) == json.dumps(other.config.to_dict())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "rlo"}, "reference='rlo' is not known; pick one of"),
        ({"budgets__evaluator_calls": None, "budgets__generated_tokens": None},
         "budgets gives none of"),
        ({"budgets__seconds": -1.0}, "budgets.seconds=-1.0: it must be above 0"),
        ({"seeds": (0, 0)}, "seeds=.*each once"),
        ({"seeds": ()}, "seeds=.*one whole number or more"),
        ({"processes": 0}, "processes=0: it must be 1 or more"),
        ({"base__warm_start__seed": None}, "base.warm_start.seed=None would start"),
        ({"methodes": 3}, "config.methodes is read by nobody; did you mean 'methods'"),
        ({"methods__c3__train": {"lr": "high"}}, "methods.c3.train.lr='high'"),
    ],
)  # fmt: skip
def test_a_comparison_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        comparison.cells(changed(**changes))


def test_a_cell_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="--cell='c3-7' is not known; did you mean"):
        comparison.cell(changed(), "c3-7")


def record(cell, **changes):
    config = json.loads(json.dumps(cell.config.to_dict()))
    return {"cell": cell.name, "config": {**config, **changes}}


def test_kept_runs_are_read_back_and_replace_one_another(tmp_path):
    path, cells = tmp_path / "some" / "cells.jsonl", comparison.cells(changed())
    assert comparison.kept(path) == {}
    for cell in cells.values():
        comparison.keep(path, record(cell))
    comparison.keep(path, again := {**record(cells["c3-0"]), "more": 1})
    assert len(path.read_text().splitlines()) == 4
    assert comparison.kept(path)["c3-0"] == again
    found, told = comparison.finished(comparison.kept(path), cells.values())
    assert list(found) == list(cells) and told == []
    with path.open("a") as file:
        file.write('{"cell": "c3-')
    with pytest.raises(ValueError, match="line 5 is not a finished run"):
        comparison.kept(path)


def test_a_kept_run_of_another_config_is_not_taken_for_this_one():
    cells = comparison.cells(changed())
    kept = {"c3-0": record(cells["c3-0"], seed=9)}
    found, [told] = comparison.finished(kept, cells.values())
    assert found == {}
    assert told == "c3-0 was of another config: seed was 9, is 0"


def test_a_kept_run_that_is_older_than_a_field_is_taken_and_that_is_told():
    cells = comparison.cells(changed())
    kept = {"c3-0": record(cells["c3-0"])}
    del kept["c3-0"]["config"]["train"]["final_lr"]
    found, [told] = comparison.finished(kept, cells.values())
    assert list(found) == ["c3-0"]
    assert told == "c3-0 is older than train.final_lr=1.0"


def test_a_kept_run_that_was_read_on_the_test_questions_is_another():
    cells = comparison.cells(changed())
    kept = {"c3-0": record(cells["c3-0"])}
    del kept["c3-0"]["config"]["data"]["validation"]
    found, [told] = comparison.finished(kept, cells.values())
    assert found == {}
    assert told == "c3-0 was of another config: data.validation was None, is ''"
    cells = comparison.cells(changed(base__data__validation=None))
    assert comparison.finished(kept, cells.values()) == ({"c3-0": kept["c3-0"]}, [])


def test_a_critic_that_a_method_does_not_have_makes_no_other_run_of_it():
    config = changed()
    with config.unlocked():
        config.methods.mappo = {"credit": {"name": "mappo"}}
    cells = comparison.cells(config)
    kept = {name: record(cells[name]) for name in ("c3-0", "mappo-0")}
    for line in kept.values():
        line["config"]["critic"]["epochs"] = 99
    found, [told] = comparison.finished(kept, cells.values())
    assert list(found) == ["c3-0"]
    assert told.startswith("mappo-0 was of another config: critic.epochs was 99")


@pytest.mark.parametrize("team", compare.GRIDS)
def test_a_run_has_the_config_that_the_page_gives_it_also_from_the_workdir(
    team, tmp_path
):
    page = compare.get_config(team)
    run_dir.describe(tmp_path, page)
    found = comparison.cells(run_dir.config(tmp_path))
    for name, cell in comparison.cells(page).items():
        given = json.loads(json.dumps(cell.config.to_dict()))
        assert json.loads(json.dumps(found[name].config.to_dict())) == given


def test_a_run_that_was_begun_otherwise_is_refused_with_flags_of_the_comparison(
    tmp_path,
):
    config = changed()
    place = tmp_path / comparison.CELLS / "magrpo-0"
    place.mkdir(parents=True)
    begun = comparison.cells(config)["magrpo-0"]
    run_dir.check_or_create(place, begun.config, {}, {})
    comparison.check_begun(config, [begun], tmp_path)
    other = changed(base__train__batch_size=5)
    with other.unlocked():
        other.methods.magrpo.credit.name = "rloo"
    cells = comparison.cells(other).values()
    flags = r"--config.methods.magrpo.credit.name=magrpo --config.base.train.batch_size"
    with pytest.raises(ValueError, match=flags):
        comparison.check_begun(other, cells, tmp_path)
