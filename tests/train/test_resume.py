"""Runs that are stopped, killed, damaged or out of space, and go on bit-equal."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from benchmarks import resume
from c3jax.core import files
from tests.program import MATH, SMALL, c3jax, start

# One role of one layer is all it takes, and starts sooner.
RUN = (
    *(MATH, "--cache_dir=", "--nocertify", *SMALL),
    *("--config.protocol.name=solo", "--config.policy.layers=1"),
)


def run(workdir, *flags, **options):
    return c3jax(*RUN, f"--workdir={workdir}", *flags, **options)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, cache):
    """A run that nothing interrupts, and the first to use the cache."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    assert "warm start from" not in run(path, f"--cache_dir={cache}")
    return path


@pytest.fixture
def copied(workdir, tmp_path):
    return pathlib.Path(shutil.copytree(workdir, tmp_path / "copied"))


def begun(workdir, path):
    """The run as it stood before its first step; it is not warmed up again."""
    path.mkdir()
    for name in ("config.json", "metrics.jsonl"):
        shutil.copy(workdir / name, path)
    shutil.copytree(workdir / "checkpoints" / "0", path / "checkpoints" / "0")


def until(process, text):
    """Reads what a run says until a line holds `text`."""
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"never said {text!r}:\n{said}")


def test_a_run_that_is_told_to_stop_saves_and_goes_on_bit_equal(workdir, tmp_path):
    flags = (*RUN, f"--workdir={tmp_path / 'run'}")
    for moment, number, told, code in [
        ("warm start 10/", signal.SIGTERM, "saved at warm start step", 0),
        ("step 2  validation  greedy", signal.SIGINT, "saved at step", 130),
    ]:
        with start(*flags) as process:
            until(process, moment)
            process.send_signal(number)
            rest = process.stdout.read()
        assert told in rest, rest
        assert rest.endswith("the same command goes on from there\n"), rest
        assert process.returncode == code
    run(tmp_path / "run")
    assert resume.differences(workdir, tmp_path / "run") == []


@pytest.mark.parametrize(
    "moments",
    [
        [("checkpoint", 3)],
        pytest.param(
            [("warm start", 0), ("training", 1), ("evaluation", 2), ("report", 4)],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_run_killed_again_and_again_goes_on_bit_equal(workdir, tmp_path, moments):
    path = tmp_path / "run"
    if moments[0][0] != "warm start":
        begun(workdir, path)
    for moment, step in moments:
        with start(*RUN, f"--workdir={path}") as process:
            while process.poll() is None and not resume.is_now(moment, path, step, 2):
                time.sleep(0.001)
            process.kill()
    run(path)
    assert resume.differences(workdir, path) == []


@pytest.mark.slow
def test_runs_that_start_alike_share_a_warm_start(workdir, cache, tmp_path):
    flag = f"--cache_dir={cache}"
    assert "warm start from" in run(tmp_path / "second", flag)
    assert resume.differences(workdir, tmp_path / "second") == []


@pytest.mark.slow
def test_a_damaged_warm_start_is_made_again(workdir, cache, tmp_path):
    [kept] = (cache / "warm_start").iterdir()
    record = kept / "40" / "record.json"
    record.write_text(record.read_text() + " ")
    output = run(tmp_path / "third", f"--cache_dir={cache}")
    assert "is damaged; it is made again" in output
    assert resume.differences(workdir, tmp_path / "third") == []


def test_a_damaged_checkpoint_is_named_with_the_way_on(workdir, copied):
    (copied / "summary.json").unlink()
    state = copied / "checkpoints" / "4" / "state"
    path = max(state.rglob("*"), key=lambda p: p.is_file() and p.stat().st_size)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    output = run(copied, code=1)
    assert output.startswith(f"c3jax: {copied}/checkpoints/4 is damaged: state/"), (
        output
    )
    assert "The last good step is 3" in output
    shutil.rmtree(copied / "checkpoints" / "4")
    assert "goes on from step 3 of 4" in run(copied)
    assert resume.differences(workdir, copied) == []


def test_two_processes_never_share_a_workdir(copied):
    with files.locked(copied):
        assert "another process is at work" in run(copied, code=1)


@pytest.mark.root
@pytest.mark.parametrize("during", ["checkpoint", "line"])
def test_a_full_disk_stops_a_run_that_goes_on_bit_equal(workdir, tmp_path, during):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], check=True
    )
    try:
        ballast = disk / "ballast"
        begun(workdir, disk / "run")
        with start(*RUN, f"--workdir={disk / 'run'}") as process:
            until(process, "step 0  test  greedy")
            process.send_signal(signal.SIGSTOP)
            left = os.statvfs(disk)
            free = left.f_bavail * left.f_bsize
            # Room for some lines but no checkpoint, or for not even a line.
            room = 65536 if during == "checkpoint" else 0
            ballast.write_bytes(bytes(free - room))
            process.send_signal(signal.SIGCONT)
            output = process.stdout.read()
        assert process.returncode == 1, output
        assert re.search(r"c3jax: No space left on device: \S+", output), output
        assert "the same command goes on from the last checkpoint" in output
        ballast.unlink()
        run(disk / "run")
        assert resume.differences(workdir, disk / "run") == []
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
