"""The directory of a run: whose it is, and what is in it."""

import contextlib
import json
import pathlib
import secrets
import time
from collections.abc import Iterator, Mapping

import ml_collections

from c3jax.core import files, hosts
from c3jax.train import defaults, fields

CONFIG, SUMMARY = "config.json", "summary.json"
ABSENT = "absent"
# What the first process writes for the others to find, and how long they look for it: a
# network file system may show it late.
_TOKEN, _LOOK_S = ".token", 30.0


@contextlib.contextmanager
def held(workdir: pathlib.Path) -> Iterator[None]:
    """Makes the directory this run's own; checks that all of its processes see it.

    Raises:
        ValueError: another run has it, or a process sees another directory there.
    """
    with contextlib.ExitStack() as lock:
        hosts.by_first(_enter, lock, workdir)
        if hosts.many():
            _check_shared(workdir)
        yield


def _enter(lock: contextlib.ExitStack, workdir: pathlib.Path) -> None:
    lock.enter_context(files.locked(workdir))


def _check_shared(workdir: pathlib.Path) -> None:
    path, token = workdir / _TOKEN, secrets.token_hex()
    token = hosts.by_first(_put, path, token)
    end = time.monotonic() + _LOOK_S
    while not (seen := _holds(path, token)) and time.monotonic() < end:
        time.sleep(0.2)
    unseen = hosts.largest(not seen)
    hosts.by_first(path.unlink)
    if unseen:
        raise ValueError(
            f"--workdir={workdir} is not the same directory in all processes of the "
            "run; put it on a file system that all machines have mounted."
        )


def _put(path: pathlib.Path, text: str) -> str:
    files.write(path, text)
    return text


def _holds(path: pathlib.Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def claim(workdir: pathlib.Path, config, described: dict) -> list[str]:
    """Makes the directory this experiment's, or checks that it is.

    `config.json` holds the config and every environment the run has lived in.

    Args:
        workdir: of the run, which exists.
        config: the experiment.
        described: from `environment.describe`.

    Returns:
        What differs from the environment the run was in last: reasons why it may not
        be bit-equal to an unbroken one.

    Raises:
        ValueError: another experiment lives there.
    """
    path = workdir / CONFIG
    wanted = json.loads(json.dumps(config.to_dict()))  # tuples become lists
    if not path.exists():
        environments = [described]
    else:
        there = json.loads(path.read_text())
        if differing := differences(_read(path), wanted):
            raise ValueError(_refusal(workdir, differing))
        environments = there["environments"]
        if environments[-1] == described:
            return []
        environments.append(described)
    page = {"config": wanted, "environments": environments}
    files.write(path, json.dumps(page, indent=2) + "\n")
    if len(environments) == 1:
        return []
    changes = differences(*environments[-2:])
    return [f"{key} was {old} and is {new}" for key, old, new in changes]


def describe(workdir: pathlib.Path, config) -> None:
    """Writes down the config of a comparison, which its runs hold each their own to.

    Raises:
        ValueError: a run lives there.
    """
    path = workdir / CONFIG
    there = json.loads(path.read_text())["config"] if path.exists() else {}
    if there and "methods" not in there:
        raise ValueError(f"{workdir} holds a run; give --workdir=DIR for a comparison.")
    page = {"config": config.to_dict(), "environments": []}
    files.write(path, json.dumps(page, indent=2) + "\n")


def config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    """The locked config of a run; tuples have become lists.

    Fields that an earlier version did not have are at their defaults, which is what it
    did without them; that is told.

    Raises:
        ValueError: no run lives there, or its config has a field that is no more.
    """
    path = workdir / CONFIG
    if not path.exists():
        raise ValueError(f"there is no {path}; train in that --workdir first.")
    return ml_collections.ConfigDict(_read(path)).lock()


def _read(path: pathlib.Path) -> dict:
    """A saved config as this version has it; what is new in it is told in a line."""
    given = json.loads(path.read_text())["config"]
    try:
        found, new = fields.saved(given, defaults.declared(given), defaults.RENAMED)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if new:
        print(f"{path} is older than {', '.join(new)}", flush=True)
    return json.loads(json.dumps(found))  # Tuples become lists.


def is_run(place: pathlib.Path) -> bool:
    """Whether a directory is that of a run or a comparison, and not of a model."""
    path = place / CONFIG
    return path.is_file() and "environments" in json.loads(path.read_text())


def summary(workdir: pathlib.Path) -> dict | None:
    """What a run came to; None while it is not finished."""
    path = workdir / SUMMARY
    return json.loads(path.read_text()) if path.exists() else None


def differences(one: Mapping, other: Mapping, prefix: str = "") -> list[tuple]:
    """(key, value in one, value in the other), for every leaf that differs.

    Where one has no such key, `ABSENT` stands for the value.
    """
    found = []
    for key in sorted({*one, *other}):
        a, b = one.get(key, ABSENT), other.get(key, ABSENT)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append((prefix + key, a, b))
    return found


def _refusal(workdir: pathlib.Path, differing: list[tuple]) -> str:
    listed = "; ".join(
        f"{key} is {old!r} there and {new!r} here" for key, old, new in differing
    )
    back = []
    for key, old, _ in differing:
        value = tuple(old) if isinstance(old, list) else old
        flag = f"--config.{key}={value}".replace(" ", "")
        back.append(f"without --config.{key}" if old is None else flag)
    return (
        f"{workdir} holds another experiment: {listed}. Give --workdir=DIR for a new "
        f"run, or go on with the one that is there: {' '.join(back)}"
    )
