"""The program as a user runs it: one small run, and what it leaves on disk."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from tests import support

SMALL = [
    f"--config.{change}"
    for change in (
        *("train.steps=2", "train.batch_size=4"),
        *("warm_start.steps=12", "warm_start.batch_size=8"),
        *("evaluate.questions=6", "evaluate.batch_size=4"),
        *("evaluate.samples=2", "evaluate.trees=2"),
        *("policy.width=32", "policy.hidden=48"),
    )
]


def c3jax(*flags, ok=True):
    """Runs the program in a fresh process; its output."""
    done = subprocess.run(
        [sys.executable, "-m", "c3jax.main", *flags],
        cwd=support.ROOT,
        env={k: v for k, v in os.environ.items() if k != "XLA_FLAGS"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    output = c3jax("--config=configs/math.py", f"--workdir={path}", *SMALL)
    assert re.search(r"before +greedy .*after +greedy", output, re.S), output
    return path


def test_a_run_logs_every_step_and_both_evaluations(workdir):
    lines = [
        json.loads(x) for x in (workdir / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["step"] for line in lines] == [0, 1, 2, 2]
    assert {"evaluate/greedy", "evaluate/sampled", "evaluate/without reasoner"} <= set(
        lines[0]
    )
    assert lines[1]["rollout/generated_tokens"] > 0
    assert lines[1]["logp_gap"] < 1e-5
    config = json.loads((workdir / "config.json").read_text())
    assert config["train"]["steps"] == 2


def test_every_node_of_the_saved_trees_is_replayed_in_a_fresh_process(workdir):
    output = c3jax("--mode=replay", f"--workdir={workdir}")
    # Two questions, four messages of the reasoner and eight of the actor each.
    assert output.startswith("PASS: 24 messages replayed from disk"), output
    gap = float(re.search(r"within ([\d.e+-]+) nats", output)[1])
    assert gap <= 1e-5


def test_one_altered_context_token_makes_the_replay_fail(workdir, tmp_path):
    copied = tmp_path / "run"
    subprocess.run(["cp", "-r", workdir, copied], check=True)
    [trees] = (copied / "trees").glob("*.jsonl")
    lines = [json.loads(x) for x in trees.read_text().splitlines()]
    head = lines[1]["roles"][1]["head"]
    head[3] += 1
    trees.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = c3jax("--mode=replay", f"--workdir={copied}", ok=False)
    assert output.startswith("FAIL: 24 messages"), output
    named = re.findall(r"question (\d+), (\w+) ", output)
    assert set(named) == {(str(lines[1]["uid"]), "actor")}


def test_a_run_is_never_written_over(workdir):
    before = (workdir / "metrics.jsonl").read_text()
    output = c3jax("--config=configs/math.py", f"--workdir={workdir}", *SMALL, ok=False)
    assert "holds a run already" in output
    assert (workdir / "metrics.jsonl").read_text() == before


MATH = "--config=configs/math.py"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([MATH, "--config.train.stepz=3"], "no field 'stepz'. Did you mean"),
        ([MATH, "--config.trian.steps=3"], "no field 'trian'. Did you mean"),
        (["--config=configs/none.py"], "configs/none.py: there is no such file"),
        ([f"{MATH}:none"], "math.py:none is not known; pick one of"),
        ([MATH, "--config.credit.name=c4"], "did you mean 'c3'"),
        ([MATH, "--config.protocol.branching=(8,1)"], r"Try \(4, 2\)"),
        ([MATH, "--config.train.steps=many"], "steps=many"),
        (["--mode=replay", "--workdir=nowhere"], "train in that --workdir first"),
        ([], "say which experiment"),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(flags, message):
    output = c3jax(*flags, ok=False)
    assert re.search(message, output), output
    assert output.startswith("c3jax: ")
    assert output.count("\n") == 1, output
    assert not pathlib.Path("nowhere").exists()
