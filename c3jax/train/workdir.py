"""The directory of a run: whose it is, and what is in it."""

import json
import pathlib
from collections.abc import Mapping

import ml_collections

from c3jax.core import files

CONFIG, SUMMARY = "config.json", "summary.json"


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
        if differing := _differences(there["config"], wanted):
            raise ValueError(_refusal(workdir, differing))
        environments = there["environments"]
        if environments[-1] == described:
            return []
        environments.append(described)
    page = {"config": wanted, "environments": environments}
    files.write(path, json.dumps(page, indent=2) + "\n")
    if len(environments) == 1:
        return []
    changes = _differences(*environments[-2:])
    return [f"{key} was {old} and is {new}" for key, old, new in changes]


def config(workdir: pathlib.Path) -> ml_collections.ConfigDict:
    """The locked config of a run; tuples have become lists.

    Raises:
        ValueError: no run lives there.
    """
    path = workdir / CONFIG
    if not path.exists():
        raise ValueError(f"there is no {path}; train in that --workdir first.")
    return ml_collections.ConfigDict(json.loads(path.read_text())["config"]).lock()


def summary(workdir: pathlib.Path) -> dict | None:
    """What a run came to; None while it is not finished."""
    path = workdir / SUMMARY
    return json.loads(path.read_text()) if path.exists() else None


def _differences(one: Mapping, other: Mapping, prefix: str = "") -> list[tuple]:
    """(key, value in one, value in the other), for every leaf that differs."""
    found = []
    for key in sorted({*one, *other}):
        a, b = one.get(key, "absent"), other.get(key, "absent")
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            found += _differences(a, b, f"{prefix}{key}.")
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
