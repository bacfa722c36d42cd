"""The page of a run, made from files alone; in a browser where there is one."""

import json
import re
import shutil
import subprocess

import pytest

from c3jax.audit import report
from c3jax.train import workdir
from tests import support
from tests.audit.pages import Page


def message(text, value, advantage):
    return {"text": text, "value": value, "advantage": advantage, "ended": True}


def said(role, over, messages):
    return {"role": role, "over": over, "messages": messages}


def line(step, roles):
    return {
        "step": step,
        "question": "how many <b> ?",
        "answer": "7",
        "reward": [[1.0, 0.0], [0.0, 0.0]],
        "roles": roles,
    }


DUO = [
    said("reasoner", [], [[message("plan a", 0.5, 0.5), message("plan b", 0.0, -0.5)]]),
    said(
        "actor",
        ["reasoner"],
        [
            [message("a says 7", 1.0, 1.0), message("a says 8", 0.0, -1.0)],
            [message("b says 1", 0.0, 0.0), message("b says 2", 0.0, 0.0)],
        ],
    ),
]


def write_run(directory, finished=True):
    """The files of a run of 2 steps, as `loop.run` leaves them."""
    config = support.page_config(train__steps=2).to_dict()
    environment = {
        "versions": {"jax": "0.10.2"},
        "program": "abc",
        "devices": {"platform": "cpu", "kind": "cpu", "count": 1, "mesh": {}},
    }
    page = {"config": config, "environments": [environment]}
    (directory / workdir.CONFIG).write_text(json.dumps(page))
    figures = {"greedy": 0.5, "pass_at_1": 0.25, "pass_at_4": 0.6, "pass_at_10": 0.8}
    totals = {}
    for start in ("total/", "total/evaluate/"):
        for name in ("evaluator_calls", "generated_tokens", "prefilled_tokens"):
            totals[start + name] = 1234
        totals[f"{start}trained_tokens"] = 99
        totals[f"{start}truncated_frac"] = totals[f"{start}malformed_frac"] = 0.125
    totals |= {"total/seconds": 65.0, "total/seconds/rollout": 65.0}
    lines = []
    for step in (0, 1, 2):
        if step:
            training = {"reward": 0.4, "grad_norm": 1.0}
            training |= {"truncated_frac": 0.0, "malformed_frac": 0.1}
            lines.append({"step": step, **training, **totals})
        if step != 1:
            found = {}
            for name, value in (figures | {"without reasoner": 0.1}).items():
                value += step / 20
                found |= {f"evaluate/{name}": value}
                found |= {f"evaluate/{name}_low": value - 0.1}
                found |= {f"evaluate/{name}_high": value + 0.1}
            lines.append({"step": step, **found, **totals})
    text = "".join(json.dumps(x) + "\n" for x in lines)
    (directory / "metrics.jsonl").write_text(text)
    (directory / "trees").mkdir()
    for step in (0, 2):
        path = directory / "trees" / f"{step:08d}.jsonl"
        path.write_text(json.dumps(line(step, DUO)) + "\n")
    if finished:
        summary = json.dumps({"steps": 2, "seconds": 65.0})
        (directory / workdir.SUMMARY).write_text(summary)


def test_a_page_tells_what_a_run_came_to_and_needs_nothing_else(tmp_path):
    write_run(tmp_path)
    text = report.write(tmp_path).read_text()
    page = Page(text)
    words = " ".join(page.words)
    assert "2 steps in 1:05" in words
    assert re.search(r"25.0% → 35.0%.* 50.0% → 60.0%", words)
    assert "plan a" in words and "b says 2" in words and "-1.00" in words
    assert "how many <b> ?" in words  # escaped, so it is text
    assert all(at.startswith(("#", "data:")) for at in page.addresses), page.addresses
    assert not re.search(r"<script|@import|url\((?!#)", text)


def test_a_page_of_a_run_that_is_not_finished_says_so(tmp_path):
    write_run(tmp_path, finished=False)
    page = Page(report.write(tmp_path).read_text())
    assert "not finished: 2 of 2 steps so far" in " ".join(page.words)


def test_a_run_without_an_evaluation_has_no_page(tmp_path):
    write_run(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
    with pytest.raises(ValueError, match="has no evaluation to report yet"):
        report.write(tmp_path)


def test_equal_files_make_an_equal_page(tmp_path):
    write_run(tmp_path)
    assert report.write(tmp_path).read_text() == report.write(tmp_path).read_text()


def test_siblings_hang_below_the_message_they_follow():
    [root] = report._nested(line(0, DUO))["groups"]
    assert [m["text"] for m in root["messages"]] == ["plan a", "plan b"]
    below = [m["below"][0]["messages"][1]["text"] for m in root["messages"]]
    assert below == ["a says 8", "b says 2"]


def test_a_message_that_follows_two_roles_hangs_below_one_and_names_the_other():
    pair = lambda name: [message(f"{name}{k}", 0.0, 0.0) for k in range(2)]  # noqa: E731
    roles = [
        said("a", [], [pair("a")]),
        said("b", [], [pair("b")]),
        said("c", ["a", "b"], [pair(f"c{n}") for n in range(4)]),
    ]
    groups = report._nested(line(0, roles))["groups"]
    assert [g["role"] for g in groups] == ["a", "b"]
    under = groups[1]["messages"][1]["below"]
    assert [(g["with"], g["messages"][0]["text"]) for g in under] == [
        (["a 1"], "c10"),
        (["a 2"], "c30"),
    ]


@pytest.mark.browser
def test_a_browser_shows_the_page_without_errors_and_without_network(tmp_path):
    write_run(tmp_path)
    path = report.write(tmp_path)
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    flags = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update"),
        *("--disable-sync", "--disable-quic", "--host-resolver-rules=MAP * ~NOTFOUND"),
        f"--user-data-dir={tmp_path / 'profile'}",
        *("--enable-logging=stderr", "--dump-dom"),
    ]
    done = subprocess.run(
        [browser, *flags, path.as_uri()], capture_output=True, text=True, timeout=120
    )
    # What could not be loaded would be an error on the console, too.
    assert "CONSOLE" not in done.stderr, done.stderr
    assert "Learning curves" in done.stdout
