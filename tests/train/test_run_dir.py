"""What a resume may change of a run, and what is refused."""

import json

import pytest

from c3jax.train import run_dir
from tests import support


def resumed(workdir, contents=None, **changes):
    config = support.page_config(**changes)
    return run_dir.check_or_create(workdir, config, {"jax": "1"}, contents or {})


@pytest.mark.parametrize(
    ("change", "follows"),
    [
        (dict(train__checkpoint_every=3), "bit-equal"),
        (dict(reward__workers=1), "bit-equal"),
        (dict(train__grad_accumulation=2), "up to rounding"),
        (dict(policy__remat="layer"), "up to rounding"),
        (dict(train__steps=500), "is not what an unbroken run"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_may_change_is_told_with_what_follows(tmp_path, change, follows):
    assert resumed(tmp_path) == []
    [told] = resumed(tmp_path, **change)
    name = next(iter(change)).replace("__", ".")
    assert told.startswith(f"{name} was ") and follows in told
    assert resumed(tmp_path, **change) == []
    page = json.loads((tmp_path / run_dir.CONFIG).read_text())
    assert [key for key, *_ in page["changed"][0]] == [name]


def test_another_experiment_is_refused_and_changes_nothing(tmp_path):
    resumed(tmp_path)
    before = (tmp_path / run_dir.CONFIG).read_text()
    for change in dict(train__batch_size=6), dict(seed=1), dict(credit__name="rloo"):
        with pytest.raises(ValueError, match="holds another experiment"):
            resumed(tmp_path, **change, train__checkpoint_every=3)
    assert (tmp_path / run_dir.CONFIG).read_text() == before


def test_a_run_cannot_end_before_where_it_is(tmp_path):
    resumed(tmp_path)
    (tmp_path / "checkpoints" / "20").mkdir(parents=True)
    with pytest.raises(ValueError, match="train.steps=10: .* already reached step 20"):
        resumed(tmp_path, train__steps=10)


def test_more_steps_open_a_finished_run(tmp_path):
    resumed(tmp_path)
    (tmp_path / run_dir.SUMMARY).write_text("{}")
    resumed(tmp_path, reward__workers=1)
    assert run_dir.summary(tmp_path) == {}
    resumed(tmp_path, reward__workers=1, train__steps=500)
    assert run_dir.summary(tmp_path) is None


def test_a_file_with_another_content_is_another_experiment(tmp_path):
    began = {"mine.jsonl": ["ab"], "model.safetensors": ["1", "2"]}
    resumed(tmp_path, began)
    resumed(tmp_path, began)
    for name, other in ("mine.jsonl", ["cd"]), ("model.safetensors", ["3", "2"]):
        with pytest.raises(ValueError, match=f"{name} has another content than when"):
            resumed(tmp_path, began | {name: other})
    with pytest.raises(ValueError, match="more.json has .* or was not there"):
        resumed(tmp_path, began | {"more.json": ["4"]})


def test_a_run_from_before_files_were_known_has_those_of_now(tmp_path):
    resumed(tmp_path)
    path = tmp_path / run_dir.CONFIG
    page = json.loads(path.read_text())
    del page["files"]
    path.write_text(json.dumps(page))
    assert resumed(tmp_path, {"mine.jsonl": ["ab"]}) == []
    with pytest.raises(ValueError, match="mine.jsonl has another content"):
        resumed(tmp_path, {"mine.jsonl": ["cd"]})
    # Records of published questions were not looked at by earlier versions.
    records = {"gsm8k-test.array_record-00000-of-00001": ["ef"]}
    assert resumed(tmp_path, {"mine.jsonl": ["ab"], **records}) == []
    with pytest.raises(ValueError, match="gsm8k-test.* has another content"):
        resumed(tmp_path, {"mine.jsonl": ["ab"], **{name: ["gh"] for name in records}})
