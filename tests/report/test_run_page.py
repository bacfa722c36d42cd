"""The page of a run, made from files alone; in a browser where there is one."""

import dataclasses
import json
import re

import pytest

from c3jax.audit import certificate
from c3jax.report import plots, run_page
from c3jax.train import run_dir
from tests import support
from tests.audit import made_up
from tests.report.pages import Page


def write_run(directory, finished=True, validation=False):
    """The files of a run of 2 steps, as `loop.run` leaves them.

    With a validation split, the test questions are read before it and after the end.
    """
    config = support.page_config(train__steps=2).to_dict()
    environment = {
        "versions": {"jax": "0.10.2"},
        "program": "abc",
        "devices": {"platform": "cpu", "kind": "cpu", "count": 1, "mesh": {}},
    }
    page = {"config": config, "environments": [environment]}
    (directory / run_dir.CONFIG).write_text(json.dumps(page))
    figures = {"greedy": 0.5, "pass_at_1": 0.25, "pass_at_4": 0.6, "pass_at_10": 0.8}
    totals = {}
    for start in ("total/", "total/evaluate/"):
        for name in ("evaluator_calls", "generated_tokens", "prefilled_tokens"):
            totals[start + name] = 1234
        totals[f"{start}prefilled_slots"] = 2345
        totals[f"{start}trained_tokens"] = 99
        totals[f"{start}truncated_frac"] = totals[f"{start}malformed_frac"] = 0.125
    totals |= {"total/seconds": 65.0, "total/seconds/rollout": 65.0}
    lines = []
    for step in (0, 1, 2):
        if step:
            training = {"reward": 0.4, "grad_norm": 1.0}
            training |= {"truncated_frac": 0.0, "malformed_frac": 0.1}
            training |= {"generated_tokens": 90, "trained_tokens": 30}
            training |= {"seconds/rollout": 2.0, "seconds/update": 1.0}
            lines.append({"step": step, **training, **totals})
        if step != 1:
            found, starts = {}, ["evaluate/"]
            if validation:
                starts = ["validation/", "evaluate/"] if finished or not step else []
                starts = starts or ["validation/"]
                found["validation/questions"] = 77
            for start in starts:
                for name, value in (figures | {"without reasoner": 0.1}).items():
                    value += step / 20 + 0.001 * (start == "validation/")
                    found |= {f"{start}{name}": value}
                    found |= {f"{start}{name}_low": value - 0.1}
                    found |= {f"{start}{name}_high": value + 0.1}
            lines.append({"step": step, **found, **totals})
    text = "".join(json.dumps(x) + "\n" for x in lines)
    (directory / "metrics.jsonl").write_text(text)
    (directory / "trees").mkdir()
    for step in (0, 2):
        path = directory / "trees" / f"{step:08d}.jsonl"
        path.write_text(json.dumps(made_up.saved_tree(step)) + "\n")
    if finished:
        summary = json.dumps({"steps": 2, "seconds": 65.0})
        (directory / run_dir.SUMMARY).write_text(summary)


def test_a_page_tells_what_a_run_came_to_and_needs_nothing_else(tmp_path):
    write_run(tmp_path)
    text = run_page.write(tmp_path).read_text()
    page = Page(text)
    words = " ".join(page.words)
    assert "2 steps in 1:05" in words
    assert re.search(r"25.0% → 35.0%.* 50.0% → 60.0%", words)
    assert "plan a" in words and "b says 2" in words
    assert all(at.startswith(("#", "data:")) for at in page.addresses), page.addresses
    assert not re.search(r"@import|url\((?!#)|fetch\(|import\(", text)


def test_a_page_says_in_words_what_came_of_it(tmp_path):
    write_run(tmp_path)
    words = " ".join(Page(run_page.write(tmp_path).read_text()).words)
    assert "The team answers 35.0% of new questions right when it samples" in words
    assert "1,234 scored answers it is not surely different (+10.0 points)" in words
    assert "With a message emptied it answers 20.0% without the reasoner's." in words
    assert "Not tried yet" in words  # a replay
    kept = certificate.Certificate(2, nodes=3, failures=["question 1, actor [0, 0]"])
    text = json.dumps(dataclasses.asdict(kept))
    (tmp_path / certificate.CERTIFICATE).write_text(text)
    words = " ".join(Page(run_page.write(tmp_path).read_text()).words)
    assert "Messages could not all be sampled again" in words
    assert "FAIL 2 of 3 messages" in words and "question 1, actor [0, 0]" in words


def test_a_page_says_which_questions_a_figure_is_of(tmp_path):
    write_run(tmp_path, validation=True)
    page = run_page.write(tmp_path).read_text()
    words = " ".join(Page(page).words)
    assert re.search(r"25.0% → 35.0%.* 50.0% → 60.0%", words)
    assert "Accuracy on 77 validation questions; the test questions" in words
    assert "Accuracy on the validation questions against seconds." in page


def test_a_page_of_an_unfinished_run_has_the_validation_questions_so_far(tmp_path):
    write_run(tmp_path, finished=False, validation=True)
    words = " ".join(Page(run_page.write(tmp_path).read_text()).words)
    assert "Before training the team answered 25.0% of new questions right" in words
    assert "it went from 25.1% to 35.1% so far, sampled." in words
    assert "→" not in words


def test_pictures_are_files_too(tmp_path):
    write_run(tmp_path)
    run_page.write(tmp_path)
    names = {path.name for path in (tmp_path / run_page.PICTURES).iterdir()}
    assert {"accuracy-evaluator-calls.svg", "generated-pace.png"} <= names


def test_a_page_of_a_run_that_is_not_finished_says_so(tmp_path):
    write_run(tmp_path, finished=False)
    page = Page(run_page.write(tmp_path).read_text())
    assert "not finished: 2 of 2 steps so far" in " ".join(page.words)


def test_a_page_says_where_answers_are_read(tmp_path):
    write_run(tmp_path)
    words = " ".join(Page(run_page.write(tmp_path).read_text()).words)
    assert re.search(r"first of these .*: boxed\.", words)


def test_a_page_of_an_older_run_leaves_out_what_was_not_counted_then(tmp_path):
    write_run(tmp_path)
    path = tmp_path / "metrics.jsonl"
    old, *lines = path.read_text().splitlines()
    old = {k: v for k, v in json.loads(old).items() if "prefilled_slots" not in k}
    path.write_text("\n".join([json.dumps(old), *lines, ""]))
    words = " ".join(Page(run_page.write(tmp_path).read_text()).words)
    assert re.search(r"training\s+1,234\s+1,234\s+1,234\s+–\s+99\s", words)


@pytest.mark.parametrize("end", [0.4, 1, 2, 3, 7, 240, 46080])
def test_ticks_of_steps_are_whole_and_differ(end):
    _, axes = plots.axes(12, 4.2)
    axes.set_xlim(0, end)
    plots.whole_ticks(axes.xaxis)
    ticks = axes.xaxis.get_majorticklabels()
    texts = [tick.get_text() for tick in ticks]
    assert len({*texts}) == len(texts) > (end > 1)
    assert all(tick.get_position()[0] % 1 == 0 for tick in ticks)


def test_a_page_after_one_step_tells_its_cost_and_draws_points(tmp_path):
    write_run(tmp_path, finished=False)
    path = tmp_path / "metrics.jsonl"
    first, second = path.read_text().splitlines()[:2]
    second = {**json.loads(second), "total/evaluator_calls": 32}
    path.write_text(f"{first}\n{json.dumps(second)}\n")
    words = " ".join(Page(run_page.write(tmp_path).read_text()).words)
    assert "25.0%" in words and "→" not in words
    assert re.search(r"training\s+32\s", words)
    assert "Learning curves" not in words
    picture = (tmp_path / run_page.PICTURES / "grad-norm.svg").read_text()
    assert re.search(r'<g clip-path="[^"]*">\s*<use ', picture)  # a marker


def test_a_run_without_an_evaluation_has_no_page(tmp_path):
    write_run(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
    with pytest.raises(ValueError, match="has no evaluation to report yet"):
        run_page.write(tmp_path)


def test_equal_files_make_an_equal_page(tmp_path):
    write_run(tmp_path)
    assert run_page.write(tmp_path).read_text() == run_page.write(tmp_path).read_text()
