"""One run of two processes, one of which is killed, against a run of one process."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from c3jax.core import metrics
from c3jax.rollout import replay
from c3jax.train import saved_trees
from tests import support
from tests.conftest import QUICK
from tests.program import MATH, c3jax

# Four starts of the program.
pytestmark = pytest.mark.slow

# The smallest team that is right now and then, so that rewards differ.
RUN = [
    *(MATH, "--cache_dir=", "--nocertify"),
    *(
        f"--config.{change}"
        for change in (
            *("train.steps=4", "train.batch_size=8", "train.checkpoint_every=1"),
            *("warm_start.steps=80", "warm_start.lr=1e-2"),
            "reward.fallback=('boxed','last_number')",
            *("evaluate.every=4", "evaluate.questions=6", "evaluate.batch_size=4"),
            *("evaluate.samples=2", "evaluate.k=(1,2)", "evaluate.trees=5"),
            *("policy.width=32", "policy.hidden=48", "policy.layers=1"),
            *("policy.unroll=1", "protocol.name=solo"),
        )
    ),
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of one process with two devices."""
    path = tmp_path_factory.mktemp("runs") / "alone"
    c3jax(*RUN, f"--workdir={path}", devices=2)
    return path


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """The run of two processes with a device each; the second is killed half-way."""
    path = tmp_path_factory.mktemp("runs") / "together"
    flags = [
        *("--processes=2", "--restarts=1", "--grace=1", f"--logs={path}/logs"),
        f"--program={sys.executable} -m c3jax.main",
    ]
    with subprocess.Popen(
        ["launch/local_multiprocess.sh", *flags, "--", *RUN, f"--workdir={path}/run"],
        cwd=support.ROOT,
        env=os.environ | {"XLA_FLAGS": QUICK},
        stderr=subprocess.PIPE,
        text=True,
    ) as launcher:
        while launcher.poll() is None and not (path / "run/checkpoints/2").exists():
            time.sleep(0.01)
        os.kill(_process(launcher.pid, "--process=1"), signal.SIGKILL)
        said = launcher.stderr.read()
    assert launcher.returncode == 0, said
    assert "process 1 exited with 137" in said
    assert "restart 1 of 1" in said
    return path


def _process(launcher: int, flag: str) -> int:
    """The child of the launcher that was given a flag."""
    children = pathlib.Path(f"/proc/{launcher}/task/{launcher}/children").read_text()
    [found] = [
        int(pid)
        for pid in children.split()
        if flag in pathlib.Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    ]
    return found


def test_two_processes_log_what_one_logs(alone, together):
    one, two = metrics.read(alone), metrics.read(together / "run")
    assert [line["step"] for line in two] == [line["step"] for line in one]
    assert any(0 < line.get("reward", 0) < 1 for line in one)
    for expected, line in zip(one, two, strict=True):
        assert line.keys() == expected.keys()
        for name in line:
            if not metrics.is_wall_clock(name):
                assert line[name] == pytest.approx(expected[name], rel=1e-5, abs=1e-7)


def test_two_processes_grow_the_trees_that_one_grows(alone, together):
    expected, found = saved_trees.saved(alone), saved_trees.saved(together / "run")
    assert [path.name for path in found] == [path.name for path in expected]
    for one, two in zip(expected, found, strict=True):
        lines = [*zip(saved_trees.load(one), saved_trees.load(two), strict=True)]
        assert len(lines) == 5
        for a, b in lines:
            assert a["reward"] == b["reward"]
            [said], [again] = (x["roles"][0]["messages"] for x in (a, b))
            for message, other in zip(said, again, strict=True):
                assert replay.compare(message, other).agrees


def test_only_the_first_process_tells_of_the_run(together):
    first, second = ((together / f"logs/process-{i}.log").read_text() for i in range(2))
    assert "goes on from step " in first
    assert "step 4  test  greedy" in first
    assert "step" not in second
    left = {path.name.split(".")[0] for path in (together / "run").iterdir()}
    names = ("checkpoints", "config", "metrics", "report", "summary", "trees", "")
    assert left == {*names, "events", "pictures"}
    config = json.loads((together / "run/config.json").read_text())
    [environment] = config["environments"]
    assert environment["devices"]["processes"] == 2
