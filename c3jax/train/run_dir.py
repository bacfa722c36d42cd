"""The directory of a run: its lock, its config and its summary."""

import contextlib
import json
import pathlib
import secrets
import time
from collections.abc import Iterator, Mapping

import ml_collections

from c3jax.core import files, hosts
from c3jax.setup import defaults, fields

CONFIG, SUMMARY = "config.json", "summary.json"
ABSENT = "absent"
# A file that the first process writes for the others, and how long they look for it: a
# network file system may show it late.
_TOKEN, _LOOK_S = ".token", 30.0


@contextlib.contextmanager
def lock(workdir: pathlib.Path) -> Iterator[None]:
    """Locks the directory for this run; checks that all of its processes see it.

    Raises:
        ValueError: another run holds it, or a process sees another directory there.
    """
    with contextlib.ExitStack() as lock:
        hosts.by_first(_enter, lock, workdir)
        if hosts.many():
            _check_shared(workdir)
        yield


def _enter(lock: contextlib.ExitStack, workdir: pathlib.Path) -> None:
    lock.enter_context(files.locked(workdir))


def _check_shared(workdir: pathlib.Path) -> None:
    """Refuses a directory where a process does not find what the first one wrote."""
    path, token = workdir / _TOKEN, secrets.token_hex()
    token = hosts.by_first(_put, path, token)
    end = time.monotonic() + _LOOK_S
    while not (is_there := _holds(path, token)) and time.monotonic() < end:
        time.sleep(0.2)
    unseen = hosts.largest(not is_there)
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


def check_or_create(workdir: pathlib.Path, config, described: dict) -> list[str]:
    """Writes the config of a new run, or checks that the directory holds the same.

    `config.json` holds the config and every environment the run was in.

    Args:
        workdir: an existing directory.
        config: the experiment.
        described: from `environment.describe`.

    Returns:
        Differences from the environment the run was in last: reasons why it may not be
        bit-equal to an unbroken one.

    Raises:
        ValueError: the directory holds another experiment.
    """
    path = workdir / CONFIG
    wanted = json.loads(json.dumps(config.to_dict()))  # Tuples become lists.
    if not path.exists():
        environments = [described]
    else:
        differing = differences(_read(path), wanted)
        if differing:
            raise ValueError(_refusal(workdir, differing))
        environments = json.loads(path.read_text())["environments"]
        if environments[-1] == described:
            return []
        environments.append(described)

    # A new run, or an environment that it was not in before.
    page = {"config": wanted, "environments": environments}
    files.write(path, json.dumps(page, indent=2) + "\n")
    if len(environments) == 1:
        return []
    changes = differences(*environments[-2:])
    return [f"{key} was {old} and is {new}" for key, old, new in changes]


def describe(workdir: pathlib.Path, config) -> None:
    """Writes the config of a comparison, for its runs to check theirs against.

    Raises:
        ValueError: the directory holds a run.
    """
    path = workdir / CONFIG
    old = json.loads(path.read_text())["config"] if path.exists() else {}
    if old and "methods" not in old:
        raise ValueError(f"{workdir} holds a run; give --workdir=DIR for a comparison.")
    page = {"config": config.to_dict(), "environments": []}
    files.write(path, json.dumps(page, indent=2) + "\n")


def config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    """The locked config of a run; tuples have become lists.

    Fields that an earlier version did not have are at their defaults, which keep its
    behaviour; a printed line names them.

    Raises:
        ValueError: the directory holds no run, or its config has an unknown field.
    """
    path = workdir / CONFIG
    if not path.exists():
        raise ValueError(f"there is no {path}; train in that --workdir first.")
    return ml_collections.ConfigDict(_read(path)).lock()


def _read(path: pathlib.Path) -> dict:
    """A saved config with the fields of this version; new ones are printed."""
    given = json.loads(path.read_text())["config"]
    try:
        page, new = fields.saved(given, defaults.declared(given), defaults.RENAMED)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if new:
        print(f"{path} is older than {', '.join(new)}", flush=True)
    return json.loads(json.dumps(page))  # Tuples become lists.


def is_run(place: pathlib.Path) -> bool:
    """Whether a directory is that of a run or a comparison, and not of a model."""
    path = place / CONFIG
    return path.is_file() and "environments" in json.loads(path.read_text())


def summary(workdir: pathlib.Path) -> dict | None:
    """The summary of a run; None while it is not finished."""
    path = workdir / SUMMARY
    return json.loads(path.read_text()) if path.exists() else None


def differences(one: Mapping, other: Mapping, prefix: str = "") -> list[tuple]:
    """(key, value in one, value in the other), for every leaf that differs.

    `ABSENT` stands for the value of a missing key.
    """
    leaves = []
    for key in sorted({*one, *other}):
        a, b = one.get(key, ABSENT), other.get(key, ABSENT)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            leaves += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            leaves.append((prefix + key, a, b))
    return leaves


def _refusal(workdir: pathlib.Path, differing: list[tuple]) -> str:
    """The error for another experiment's directory, with the flags that resume it."""
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
        f"run, or resume the one that is there: {' '.join(back)}"
    )
