"""Whether c3jax works with the lowest and the newest versions that it allows.

    python -m benchmarks.newest
    python -m benchmarks.newest --command="python -m pytest -n 0 tests"

For a schedule, or by hand: what others release can break what did not change here. One
fresh virtual environment has the lower bounds of requirements.txt themselves and the
oldest Python that pyproject.toml allows, the other one the newest of everything and
this Python. Both need the package index. Exits with 1 if one of them failed.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = pathlib.Path(__file__).parent.parent
# Each module is imported, credit is computed, and a run trains, saves and is replayed.
# Output is not captured: XLA may end the process, and then pytest tells nothing of it.
COMMAND = (
    "python -m pytest -s -n 0 tests/test_architecture.py tests/credit/test_baselines.py"
    " && python -m c3jax.main --config=math --workdir=$WORKDIR --cache_dir="
    " --config.train.steps=2 --config.train.batch_size=4"
    " --config.warm_start.steps=10 --config.warm_start.batch_size=8"
    " --config.evaluate.every=2 --config.evaluate.questions=6"
    " --config.evaluate.batch_size=6 --config.evaluate.samples=1"
    " --config.evaluate.k=1 --config.evaluate.trees=1"
    " --config.policy.width=32 --config.policy.hidden=48 --config.policy.unroll=1"
)
# What the tests need beside c3jax itself; of requirements-dev.txt.
TESTS = ("pytest", "pytest-xdist")
_TAIL = 20


def requirements(file: str) -> dict[str, str]:
    """The lines of a file of requirements, by name."""
    lines = (ROOT / file).read_text().splitlines()
    return {re.split(r"[\[<>=]", line)[0]: line for line in lines if line[:1].isalpha()}


def lowest(line: str) -> str:
    """A requirement of the lower bound itself: `jax>=0.10,<1` is `jax==0.10`."""
    return re.sub(r">=([\w.]+).*", r"==\1", line)


def oldest_python() -> str:
    """The interpreter of the oldest Python that c3jax allows, such as python3.11."""
    page = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return f"python{page['project']['requires-python'].removeprefix('>=')}"


def tried(wanted: list[str], python: str, command: str) -> dict:
    """Installs requirements into a fresh virtual environment and runs a command there.

    Args:
        wanted: requirements of c3jax.
        python: the interpreter.
        command: a line of shell, run in the checkout; `python` is that of the
            environment, and $WORKDIR an empty directory.

    Returns:
        passed, python, versions by name, seconds of either part, and, of the part that
        failed, the end of what it said.
    """
    with tempfile.TemporaryDirectory(prefix="c3jax-newest-") as place:
        there = pathlib.Path(place) / "venv"
        subprocess.run([python, "-m", "venv", there], check=True)
        tests = [requirements("requirements-dev.txt")[name] for name in TESTS]
        pip = [there / "bin/python", "-m", "pip"]
        begin = time.perf_counter()
        done = _run([*pip, "install", *wanted, *tests])
        found = {"install_s": time.perf_counter() - begin, "command_s": 0.0}
        if not done.returncode:
            path = f"{there / 'bin'}{os.pathsep}{os.environ['PATH']}"
            own = {"PATH": path, "WORKDIR": str(pathlib.Path(place) / "run")}
            begin = time.perf_counter()
            done = _run(["bash", "-c", command], env=os.environ | own)
            found["command_s"] = time.perf_counter() - begin
        about = json.loads(_run([*pip, "inspect"], stderr=None).stdout)
        installed = [each["metadata"] for each in about["installed"]]
        return {
            "passed": not done.returncode,
            "python": about["environment"]["python_full_version"],
            **found,
            "versions": {_key(x["name"]): x["version"] for x in installed},
            "said": done.stdout.splitlines()[-_TAIL:] if done.returncode else [],
        }


def _run(command: list, stderr=subprocess.STDOUT, **options):
    return subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True, **options
    )


def _key(name: str) -> str:
    """The name of a package as indices compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--command", default=COMMAND, help="a line of shell to run")
    parser.add_argument("--oldest", default=oldest_python(), help="an interpreter")
    parser.add_argument("--newest", default=sys.executable, help="an interpreter")
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    args = parser.parse_args()
    for python in (args.oldest, args.newest):
        if not shutil.which(python):
            parser.error(f"there is no {python}; name one: --oldest=, --newest=")
    wanted = requirements("requirements.txt")
    sides = {
        "lowest": (args.oldest, [*map(lowest, wanted.values())]),
        "newest": (args.newest, [*wanted.values()]),
    }
    found = {}
    for side, (python, lines) in sides.items():
        print(f"{side}: {python}", flush=True)
        found[side] = tried(lines, python, args.command)
    print(f"\n| | {' | '.join(found)} |\n|{' --- |' * (1 + len(found))}")
    for field in ("passed", "python", "install_s", "command_s"):
        _row(field, [each[field] for each in found.values()])
    for name, line in wanted.items():
        versions = [each["versions"].get(_key(name), "-") for each in found.values()]
        _row(f"`{line}`", versions)
    for side, each in found.items():
        if each["said"]:
            print("\n    ".join([f"\n{side}: failed, and ends", *each["said"]]))
    text = json.dumps({"benchmark": "newest", "machine": platform.machine(), **found})
    print(f"\n{text}")
    if args.json:
        with args.json.open("a") as file:
            file.write(text + "\n")
    sys.exit(0 if all(each["passed"] for each in found.values()) else 1)


def _row(name: str, values: list) -> None:
    shown = (f"{x:.0f}" if isinstance(x, float) else str(x) for x in values)
    print(f"| {name} | {' | '.join(shown)} |")


if __name__ == "__main__":
    main()
