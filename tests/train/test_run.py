"""The program as a user runs it: one small run, and what it leaves on disk."""

import json
import pathlib
import re
import shutil

import pytest

from c3jax.core import metrics
from tests.program import MATH, c3jax, finished, small


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    made, output = finished()
    path = tmp_path_factory.mktemp("runs") / "whole"
    shutil.copytree(made, path)
    read = [(0, "validation"), (0, "test"), (2, "validation"), (4, "validation")]
    found = re.findall(r"^step (\d)  (\w+)  greedy", output, re.M)
    assert [(int(step), split) for step, split in found] == [*read, (4, "test")]
    return path


@pytest.fixture
def copied(workdir, tmp_path):
    return pathlib.Path(shutil.copytree(workdir, tmp_path / "copied"))


def test_a_run_logs_every_step_and_every_evaluation(workdir):
    lines = metrics.read(workdir)
    kinds = [
        ("warm" if "warm_start/nll" in x else "evaluation" if trained is None else "")
        for x in lines
        for trained in [x.get("reward")]
    ]
    # The test questions are read at the start and at the end.
    tested = [x["step"] for x in lines if "evaluate/greedy" in x]
    watched = [x["step"] for x in lines if "validation/greedy" in x]
    assert (tested, watched) == ([0, 4], [0, 2, 4])
    assert not any("validation/without reasoner" in x for x in lines)
    assert [x["step"] for x in lines] == [0, 0, 1, 2, 2, 3, 4, 4]
    assert kinds == ["warm", "evaluation", "", "", "evaluation", "", "", "evaluation"]
    assert lines[2]["generated_tokens"] > 0
    assert lines[2]["logp_gap"] < 1e-5
    for name in ("greedy", "pass_at_1", "pass_at_2", "without reasoner"):
        low, mean, high = (
            lines[1][f"evaluate/{name}{x}"] for x in ("_low", "", "_high")
        )
        assert 0 <= low <= mean <= high <= 1


def test_the_ledger_counts_what_was_done(workdir):
    lines = metrics.read(workdir)
    steps = [x for x in lines if "reward" in x]
    # Four questions, eight answers each; evaluation: six questions, one greedy answer,
    # two sampled ones and, of test questions, two more without the reasoner.
    assert [x["evaluator_calls"] for x in steps] == [32] * 4
    assert [x["total/evaluator_calls"] for x in steps] == [32, 64, 96, 128]
    assert lines[1]["evaluate/evaluator_calls"] == 6 * 5
    assert lines[1]["validation/evaluator_calls"] == 6 * 3
    assert lines[1]["evaluate/questions"] == lines[1]["validation/questions"] == 6
    for name in ("generated_tokens", "prefilled_tokens", "trained_tokens"):
        assert sum(x[name] for x in steps) == steps[-1][f"total/{name}"]
    assert all(x["trained_tokens"] == x["generated_tokens"] for x in steps)
    phases = {"rollout", "score", "update", "checkpoint", "other"}
    assert phases <= {n.removeprefix("seconds/") for n in steps[1]}
    spent = [v for n, v in steps[-1].items() if n.startswith("total/seconds/")]
    assert sum(spent) == pytest.approx(steps[-1]["total/seconds"])


def test_a_summary_says_what_a_run_came_to(workdir):
    page = json.loads((workdir / "summary.json").read_text())
    lines = [x for x in metrics.read(workdir) if "evaluate/greedy" in x]
    assert page["method"] == "c3"
    assert (page["seed"], page["steps"]) == (0, 4)
    assert page["accuracy_before"] == lines[0]["evaluate/pass_at_1"]
    assert page["accuracy_after"] == lines[-1]["evaluate/pass_at_1"]
    assert page["greedy_before"] == lines[0]["evaluate/greedy"]
    assert page["greedy_after"] == lines[-1]["evaluate/greedy"]
    assert page["pass_at_k"] == {k: lines[-1][f"evaluate/pass_at_{k}"] for k in "12"}
    assert page["evaluator_calls"] == 128
    assert page["generated_tokens"] > 0
    assert page["seconds"] > 0
    # The trees of the last step were grown to be looked at, and count as evaluation.
    assert page["evaluation"]["evaluator_calls"] == 2 * 30 + 3 * 18 + 32
    watched = [x for x in metrics.read(workdir) if "validation/greedy" in x]
    assert page["validation"] == {
        "accuracy_before": watched[0]["validation/pass_at_1"],
        "accuracy_after": watched[-1]["validation/pass_at_1"],
        "greedy_before": watched[0]["validation/greedy"],
        "greedy_after": watched[-1]["validation/greedy"],
    }


def test_a_config_is_saved_with_versions_and_devices(workdir):
    page = json.loads((workdir / "config.json").read_text())
    assert page["config"]["train"]["steps"] == 4
    [environment] = page["environments"]
    assert {"python", "jax", "orbax-checkpoint"} <= set(environment["versions"])
    assert environment["devices"]["platform"] == "cpu"


def test_trees_and_their_checkpoints_stay(workdir):
    trees = sorted(int(p.stem) for p in (workdir / "trees").iterdir())
    checkpoints = sorted(int(p.name) for p in (workdir / "checkpoints").iterdir())
    assert trees == [0, 2, 4]
    assert checkpoints == [0, 2, 3, 4]


def test_every_node_of_the_saved_trees_is_replayed_in_a_fresh_process():
    _, output = finished()
    # Two questions, four messages of the reasoner and eight of the actor each.
    assert "\nPASS: 24 messages replayed from disk" in output
    gap, rounding = re.search(r"within (\S+) nats \((\S+) is rounding", output).groups()
    assert float(gap) <= float(rounding) < 1e-4


def test_one_altered_context_token_makes_the_replay_fail(copied):
    trees = max((copied / "trees").glob("*.jsonl"))
    lines = [json.loads(x) for x in trees.read_text().splitlines()]
    head = lines[1]["roles"][1]["head"]
    head[3] += 1
    trees.write_text("".join(json.dumps(line) + "\n" for line in lines))
    output = c3jax("--mode=replay", f"--workdir={copied}", code=1)
    assert output.startswith("FAIL: 24 messages"), output
    named = re.findall(r"question (\d+), (\w+) ", output)
    assert set(named) == {(str(lines[1]["uid"]), "actor")}


def test_evaluation_of_a_checkpoint_finds_what_the_run_found(workdir):
    output = c3jax("--mode=evaluate", f"--workdir={workdir}")
    assert "\nstep 4  test  greedy " in output, output
    found = json.loads((workdir / "evaluation-4.json").read_text())
    last = metrics.read(workdir)[-1]
    assert all(found[name] == last[name] for name in found)


def test_a_finished_run_prints_its_summary_and_changes_nothing(workdir):
    before = {p: p.read_bytes() for p in workdir.iterdir() if p.is_file()}
    output = small(workdir)
    assert output.startswith("math: c3, seed 0, 4 steps\n  greedy "), output
    assert before == {p: p.read_bytes() for p in workdir.iterdir() if p.is_file()}


def test_another_config_is_refused_with_what_differs(workdir):
    flags = ("--config.credit.name=magrpo", "--config.protocol.branching=(8,1)")
    output = small(workdir, *flags, code=1)
    assert "credit.name is 'c3' there and 'magrpo' here" in output
    assert "protocol.branching is None there and [8, 1] here" in output
    assert "Give --workdir=DIR for a new run, or resume the one that is there" in output
    assert output.endswith("--config.credit.name=c3 --config.protocol.branching=None\n")
    assert small(workdir, "--config.credit.name=c3").startswith("math: c3")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            [MATH, "--config.train.stepz=3"],
            "no field 'train.stepz'; did you mean train.steps",
        ),
        (
            [MATH, "--config.trian.steps=3"],
            "no field 'trian.steps'; did you mean train.steps",
        ),
        (["--config=configs/none.py"], "configs/none.py: there is no such file"),
        ([f"{MATH}:none"], "math.py:none is not known; pick one of"),
        ([MATH, "--config.credit.name=c4"], "did you mean 'c3'"),
        ([MATH, "--config.protocol.branching=(8,1)"], r"Try \(4, 2\)"),
        ([MATH, "--config.train.steps=many"], "steps=many"),
        ([MATH, "--workdir=README.md"], "README.md"),
        (["--mode=replay", "--workdir=nowhere"], "train in that --workdir first"),
        (["--mode=report", "--workdir=nowhere"], "train in that --workdir first"),
        (["--mode=evaluate", "--workdir=nowhere"], "train in that --workdir first"),
        ([], "say which experiment"),
    ],
)
def test_what_cannot_run_is_refused_in_one_line(flags, message):
    output = c3jax(*flags, code=1)
    assert re.search(message, output), output
    assert output.startswith("c3jax: ")
    assert output.count("\n") == 1, output
    assert not pathlib.Path("nowhere").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("    return 1 / 0", "page.py, line 2: ZeroDivisionError: division by zero"),
        ("    return {}['x']", "page.py, line 2: KeyError: 'x'"),
        ("    raise ValueError('no data')", "page.py, line 2: ValueError: no data"),
        ("    return (", "page.py, line 2: SyntaxError: "),
    ],
)
def test_an_error_of_a_page_is_shown_with_its_line(tmp_path, body, message):
    page = tmp_path / "page.py"
    page.write_text(f"def get_config():\n{body}\n")
    output = c3jax(f"--config={page}", "--config.seed=1", code=1)
    assert output.startswith(f"c3jax: {tmp_path}/{message}"), output
    assert output.count("\n") == 1, output
