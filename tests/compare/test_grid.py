"""A comparison as a user makes it: stopped, gone on with, and what it leaves."""

import re
import signal
import sys

import pytest

from c3jax.compare import comparison, grid
from c3jax.core import metrics
from c3jax.train import run_dir
from tests.compare import small_compare
from tests.program import c3jax, start

SMALL = (f"--config={small_compare.__file__}", "--config.seeds=(0,)")
CELLS = ["c3-0", "magrpo-0"]


# A comparison is several runs of the program.
whole = pytest.mark.slow


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Told to stop in its second run, then gone on with; finished."""
    path = tmp_path_factory.mktemp("runs") / "small"
    flags = (*SMALL, f"--workdir={path}", "--cache_dir=")
    with start(*flags) as process:
        for line in process.stdout:
            if line.startswith("magrpo-0: 1 of 2 finished"):
                process.send_signal(signal.SIGTERM)
                break
        rest = process.stdout.read()
    assert process.returncode == 0, rest
    assert rest.endswith("SIGTERM: the same command goes on from there\n"), rest
    assert "At 60 evaluator calls" in rest
    assert list(comparison.kept(path / "cells.jsonl")) == ["c3-0"]
    output = c3jax(*flags)
    assert re.findall(r"^(\S+): \d of 2 finished$", output, re.M) == CELLS[1:]
    # Nobody asked to keep them.
    assert not [*path.glob("cells/*/checkpoints")]
    return path


def places(directory):
    return {name: directory / comparison.CELLS / name for name in CELLS}


@whole
def test_every_run_starts_from_the_policy_that_the_first_one_made(directory):
    logs = [(place / grid.LOG).read_text() for place in places(directory).values()]
    found = [log.startswith("warm start from") for log in logs]
    assert found == [False, True]
    likelihoods = {
        metrics.read(p)[0]["warm_start/nll"] for p in places(directory).values()
    }
    assert len(likelihoods) == 1


@whole
def test_a_run_ends_at_its_last_budget_and_is_evaluated_at_each(directory):
    for name, place in places(directory).items():
        found = run_dir.summary(place)
        lines = [x for x in metrics.read(place) if "reward" in x]
        steps = []
        for budget, amount in (("evaluator_calls", 60), ("generated_tokens", 1300)):
            held = [x["step"] for x in lines if x[f"total/{budget}"] >= amount]
            at = found["budgets"][budget]
            assert (at["amount"], at["step"]) == (amount, held[0]), name
            assert at[budget] == lines[held[0] - 1][f"total/{budget}"]
            steps.append(held[0])
        assert lines[-1]["step"] == max(steps) == found["steps"] < 20
        logged = metrics.read(place)
        tested = [x["step"] for x in logged if "evaluate/greedy" in x]
        evaluated = [x["step"] for x in logged if "validation/greedy" in x]
        assert tested == [0, max(steps)]
        assert evaluated == sorted({0, *steps, *range(0, max(steps), 10)})


@whole
def test_kept_runs_say_what_the_tables_need(directory):
    for name, record in comparison.kept(directory / "cells.jsonl").items():
        place = places(directory)[name]
        assert record["budgets"] == run_dir.summary(place)["budgets"]
        first, *_, last = record["evaluations"]
        assert first["step"] == first["evaluator_calls"] == first["seconds"] == 0
        line = metrics.read(place)[-1]
        assert last["pass_at_1_low"] == line["validation/pass_at_1_low"]
        assert record["test"]["pass_at_1"] == line["evaluate/pass_at_1"]
        assert (record["split"], record["questions"]) == ("validation", 6)
        assert last["evaluator_calls"] == line["total/evaluator_calls"]
        # The tree that is grown before an evaluation is none of the step's.
        for at in record["budgets"].values():
            [read] = [x for x in record["evaluations"] if x["step"] == at["step"]]
            assert read["seconds"] == pytest.approx(at["seconds"])


@whole
def test_the_report_is_made_from_kept_runs_alone(directory, tmp_path):
    kept, place = tmp_path / "kept.jsonl", tmp_path / "elsewhere"
    kept.write_bytes((directory / "cells.jsonl").read_bytes())
    flags = (*SMALL, f"--workdir={place}", "--cache_dir=", f"--config.cells={kept}")
    output = c3jax(*flags)
    assert "2 runs, " in output and str(place / "comparison.html") in output
    assert not (place / comparison.CELLS).exists()
    (place / "comparison.html").unlink()
    again = c3jax("--mode=report", f"--workdir={place}")
    assert output.endswith(again)
    assert (place / "comparison.html").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config.methods.c3.credit.name=c4"], "methods.c3: credit.name='c4' is not"),
        (["--mode=replay"], "holds a comparison; give --workdir of one of its runs"),
    ],
)
def test_a_comparison_that_cannot_run_is_refused_before_any_run(
    flags, message, tmp_path
):
    place = tmp_path / "none"
    if "--mode=replay" in flags:
        place.mkdir()
        run_dir.describe(place, small_compare.get_config())
    before = [*tmp_path.rglob("*")]
    output = c3jax(*SMALL, f"--workdir={place}", *flags, code=1)
    assert output.startswith("c3jax: ") and message in output, output
    assert [*tmp_path.rglob("*")] == before


def scripted(tmp_path, template, stop=lambda: False, processes=2):
    """A grid whose runs are a few lines of Python."""
    cells = comparison.cells(small_compare.get_config())
    return grid.run(
        cells,
        {},
        tmp_path,
        tmp_path / "cells.jsonl",
        [sys.executable, "-c", template],
        processes=processes,
        keep=False,
        stop=stop,
    )


def test_a_run_that_fails_is_shown_and_the_others_go_on(tmp_path, capsys):
    template = (
        "import sys; print('boom', sys.argv[1]); sys.exit('magrpo' in sys.argv[1])"
    )
    done, failed = scripted(tmp_path, template)
    assert done == {}
    assert sorted(failed) == ["c3-0", "c3-1", "magrpo-0", "magrpo-1"]
    output = capsys.readouterr().out
    assert "magrpo-1: failed, exit code 1; " in output
    assert "    boom --cell=magrpo-1" in output
    # It ended well, and yet there is nothing.
    assert "c3-0: failed, exit code 0; " in output


def test_runs_are_told_to_stop_once_and_are_waited_for(tmp_path):
    template = "import time; time.sleep(60)"
    asked = iter([False, False, True])
    done, failed = scripted(tmp_path, template, stop=lambda: next(asked, True))
    assert (done, failed) == ({}, [])
