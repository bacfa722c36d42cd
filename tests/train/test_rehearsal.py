"""One run of four machines, one killed and one cut off, against one machine.

A machine is a network namespace with an address and a host name of its own.
"""

import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from c3jax.core import metrics
from tests import support
from tests.conftest import QUICK
from tests.program import c3jax
from tests.train.test_hosts import RUN, _process

pytestmark = pytest.mark.root

FLAGS = [*RUN, "--config.train.steps=8", "--config.evaluate.every=8"]
# Runs the program where process I belongs; the last flags name I.
PROGRAM = """#!/bin/bash
for flag in "$@"; do
    [[ $flag != --process=* ]] || machine={name}-${{flag#--process=}}
done
exec ip netns exec "$machine" unshare --uts bash -c \
    'hostname "$1" && shift && exec {python} -m c3jax.main "$@"' c3jax "$machine" "$@"
"""


def ip(command: str) -> None:
    subprocess.run(["ip", *shlex.split(command)], check=True)


@pytest.fixture
def machines():
    """Four machines on one switch; their names without the number."""
    name = f"c3{os.getpid()}"
    names = [f"{name}-{index}" for index in range(4)]
    known = "".join(f"10.77.0.{n} {one}\n" for n, one in enumerate(names, 1))
    ip(f"link add {name} type bridge")
    try:
        ip(f"link set {name} up")
        for index, one in enumerate(names):
            hosts = pathlib.Path(f"/etc/netns/{one}/hosts")
            hosts.parent.mkdir(parents=True)
            hosts.write_text(f"127.0.0.1 localhost\n{known}")
            ip(f"netns add {one}")
            ip(f"link add {name}v{index} type veth peer name eth0 netns {one}")
            ip(f"link set {name}v{index} master {name} up")
            ip(f"-n {one} addr add 10.77.0.{index + 1}/24 dev eth0")
            ip(f"-n {one} link set eth0 up")
            ip(f"-n {one} link set lo up")
        yield name
    finally:
        for one in names:
            subprocess.run(["ip", "netns", "del", one], check=False)
            shutil.rmtree(f"/etc/netns/{one}", ignore_errors=True)
        ip(f"link del {name}")


def until(stream, text: str) -> str:
    """The line that a text is in, the first from here on."""
    for line in stream:
        if text in line:
            return line
    raise AssertionError(f"never said {text!r}")


def test_four_machines_log_what_one_logs_whatever_befalls_them(tmp_path, machines):
    program, run, logs = (tmp_path / name for name in ("program", "run", "logs"))
    program.write_text(PROGRAM.format(name=machines, python=sys.executable))
    program.chmod(0o755)
    flags = [
        *("--processes=4", "--restarts=2", "--grace=1", f"--logs={logs}"),
        *(f"--host={machines}-0", f"--program={program}"),
    ]

    def reached(launcher, step):
        while launcher.poll() is None:
            there = (path.name for path in run.glob("checkpoints/*"))
            if any(int(name) >= step for name in there if name.isdigit()):
                return
            time.sleep(0.01)
        raise AssertionError(launcher.stderr.read())

    with subprocess.Popen(
        [
            *("launch/local_multiprocess.sh", *flags, "--", *FLAGS),
            *(f"--cache_dir={tmp_path}/cache", f"--workdir={run}"),
        ],
        cwd=support.ROOT,
        env=os.environ | {"XLA_FLAGS": QUICK},
        stderr=subprocess.PIPE,
        text=True,
    ) as launcher:
        try:
            # One machine dies.
            reached(launcher, 1)
            os.kill(_process(launcher.pid, "--process=1"), signal.SIGKILL)
            said = until(launcher.stderr, " exited with ")
            assert "process 1 exited with 137" in said

            # One is cut off, until the others have noticed.
            reached(launcher, 2)
            ip(f"link set {machines}v2 down")
            until(launcher.stderr, " exited with ")
            ip(f"link set {machines}v2 up")
            said = launcher.stderr.read()
        except BaseException:
            launcher.terminate()
            raise
    assert launcher.returncode == 0, said
    assert "restart 2 of 2" in said

    # The log is that of one machine with as many devices.
    alone = tmp_path / "alone"
    c3jax(*FLAGS, f"--workdir={alone}", devices=4)
    one, four = metrics.read(alone), metrics.read(run)
    assert [line["step"] for line in four] == [line["step"] for line in one]
    for expected, line in zip(one, four, strict=True):
        assert line.keys() == expected.keys()
        for name in line:
            if not metrics.is_wall_clock(name):
                # The gap between two computations of a log-probability is rounding.
                near = 1e-5 if name == "logp_gap" else 1e-7
                assert line[name] == pytest.approx(expected[name], rel=1e-5, abs=near)
