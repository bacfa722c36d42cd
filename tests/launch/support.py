"""Runs launch scripts, beside small programs that stand in for the tools they call."""

import os
import pathlib
import shlex
import subprocess

ROOT = pathlib.Path(__file__).parent.parent.parent
LAUNCH = ROOT / "launch"
AWKWARD = ["--config.a=two words", '--config.b=it\'s "$HOME" & ${NAME} \\ *', "--x="]
TRAIN = ["--", "--config=configs/math.py"]
SHARED = [*TRAIN, "--workdir=/mnt/c3jax/math"]


def start(script, *arguments, **options):
    return subprocess.Popen(
        [LAUNCH / script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def launch(script, *arguments, code=0, **options):
    """Runs a script to its end; what it printed, and what it complained of."""
    with start(script, *arguments, **options) as run:
        output, complaint = run.communicate(timeout=30)
    assert run.returncode == code, output + complaint
    return output, complaint


def dry(script, *arguments):
    """The commands a script would run, each as the words a shell would read."""
    output, _ = launch(script, arguments[0], "--dry-run", *arguments[1:])
    return [shlex.split(line) for line in output.splitlines()]


def stand_in(directory, name, script):
    """A program of that name that notes its arguments in a line of `calls`."""
    path = directory / name
    note = f'#!/bin/bash\ncd {directory}\necho "{name} $*" >>calls\n'
    path.write_text(note + script)
    path.chmod(0o755)


def beside(directory, **variables):
    """The environment in which stand-ins come before the tools."""
    path = f"{directory}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, **variables}
