"""What the command does, called from Python."""

import dataclasses
import json
import os
import signal
import sys
import threading
import time

import pytest

import c3jax
from c3jax import modes
from c3jax.compare import mode
from c3jax.configs import compare
from c3jax.core import environment, sharding
from c3jax.train import run_dir
from tests import support

SMALL = dict(
    protocol__name="solo",
    warm_start__steps=5,
    warm_start__batch_size=8,
    evaluate__questions=8,
    evaluate__batch_size=8,
    evaluate__samples=1,
    evaluate__k=(1,),
    train__batch_size=8,
    policy__width=32,
    policy__hidden=48,
    policy__layers=1,
    policy__unroll=1,
)
FIGURES = ("accuracy_before", "accuracy_after", "greedy_before", "greedy_after")
SUMMARY = {
    **dict(name="math", method="c3", seed=0, steps=4),
    **dict.fromkeys(FIGURES, 0.5),
    "intervals": {name: [0.25, 0.75] for name in FIGURES},
    **dict(pass_at_k={}, without_role={}, budgets={}),
    **dict(evaluator_calls=8, generated_tokens=64, seconds=1.0),
}


def test_a_finished_run_is_a_record_of_its_summary_and_paths(tmp_path, capsys):
    config = support.page_config()
    described = environment.describe(sharding.make(**config.mesh))
    run_dir.check_or_create(tmp_path, config, described, {})
    (tmp_path / run_dir.SUMMARY).write_text(json.dumps(SUMMARY))
    (tmp_path / "report.html").touch()
    before = config.to_json_best_effort()
    found = c3jax.run(config, str(tmp_path), cache_dir=None)
    assert (found.summary, found.stopped) == (SUMMARY, None)
    assert found.report == tmp_path / "report.html"
    assert capsys.readouterr().out.endswith(f"  {found.report}\n")
    assert config.to_json_best_effort() == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.stopped = signal.SIGTERM


def test_a_stop_is_heard_while_a_run_is_certified(monkeypatch, tmp_path):
    wait = (sys.executable, "-c", "import time; time.sleep(60)")
    monkeypatch.setattr(environment, "COMMAND", wait)
    begin = time.monotonic()
    modes.certify_run(tmp_path, "", False, lambda: True)
    assert time.monotonic() - begin < 30


def test_a_run_that_is_told_to_stop_says_so_and_is_not_finished(tmp_path, capsys):
    def tell():
        while signal.getsignal(signal.SIGTERM) is before:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=tell, daemon=True).start()
    found = c3jax.run(support.page_config(**SMALL), tmp_path, cache_dir=None)
    assert found.stopped is signal.SIGTERM and not found.summary
    assert "SIGTERM: the same command goes on from there" in capsys.readouterr().out
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_comparison_is_a_record_of_its_runs(tmp_path):
    config = compare.get_config("trio")
    with pytest.raises(ValueError, match="holds no finished run of this comparison"):
        mode.compared(config, tmp_path)
    found = mode.outcome(tmp_path, {"c3-0": {}}, tmp_path / "cells.jsonl", ["x"])
    assert found.report == tmp_path / "comparison.html"
    assert (found.failed, found.stopped) == (("x",), None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(credit__name="c4"), "credit.name='c4' is not known; did you mean 'c3'"),
        (dict(protocol__branching=(8, 1)), r"Try \(4, 2\)"),
        (dict(methods={}), "pick one of \\['base', 'budgets', 'cells'"),
    ],
)
def test_what_cannot_run_is_refused_with_an_error_and_nothing_is_made(
    changes, message, tmp_path
):
    with pytest.raises(ValueError, match=message):
        c3jax.run(support.page_config(**changes), tmp_path / "none", cache_dir=None)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("config", ["math", {}, None])
def test_what_is_no_config_is_refused(config):
    with pytest.raises(ValueError, match="wanted what a page makes, such as"):
        c3jax.run(config)
