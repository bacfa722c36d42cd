"""The directory of a run: its lock, its config and its summary."""

import contextlib
import functools
import json
import pathlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping

import ml_collections

from c3jax.core import files, hosts
from c3jax.setup import defaults, fields

CONFIG, SUMMARY = "config.json", "summary.json"
ABSENT = "absent"

# What a resume may change of a run, and whether what follows is then bit-equal to an
# unbroken one. A field of a policy is named by its last part.
_EQUAL = "what follows is bit-equal"
_ROUNDED = "what follows is equal up to rounding only"
_OTHER = "what follows is not what an unbroken run would have done"
CHANGEABLE = {
    "evaluate.batch_size": _EQUAL,
    "evaluate.every": _EQUAL,
    "evaluate.trees": _EQUAL,
    "reward.workers": _EQUAL,
    "train.checkpoint_every": _EQUAL,
    "train.checkpoint_minutes": _EQUAL,
    "train.max_skipped": _EQUAL,
    "train.nonfinite": _EQUAL,
    "train.until.evaluator_calls": _EQUAL,
    "train.until.generated_tokens": _EQUAL,
    "train.until.seconds": _EQUAL,
    "warm_start.checkpoint_every": _EQUAL,
    "mesh.data": _ROUNDED,
    "mesh.fsdp": _ROUNDED,
    "mesh.tensor": _ROUNDED,
    "sampling.max_concurrent": _ROUNDED,
    "train.buckets": _ROUNDED,
    "train.grad_accumulation": _ROUNDED,
    "warm_start.grad_accumulation": _ROUNDED,
    "attention": _ROUNDED,
    "logits_chunk": _ROUNDED,
    "remat": _ROUNDED,
    "unroll": _ROUNDED,
    "reward.memory_mb": _OTHER,
    "reward.timeout_s": _OTHER,
    "train.lr": _OTHER,
    "train.max_grad_norm": _OTHER,
    "train.steps": _OTHER,
}
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


def check_or_create(
    workdir: pathlib.Path, config, described: dict, contents: Mapping[str, list[str]]
) -> list[str]:
    """Writes the config of a new run, or checks that the directory holds the same.

    `config.json` holds the config, every environment the run was in, and what was
    changed of the config since it began. A finished run with more to do is opened
    again: its summary is removed.

    Args:
        workdir: an existing directory.
        config: the experiment.
        described: from `environment.describe`.
        contents: from `identity.contents`.

    Returns:
        Differences from the run as it was: what `CHANGEABLE` has, and those of the
        environment; each with what follows from it.

    Raises:
        ValueError: the directory holds another experiment, or a file has another
            content than when it began.
    """
    path = workdir / CONFIG
    wanted = json.loads(json.dumps(config.to_dict()))  # Tuples become lists.
    if not path.exists():
        page = {"config": wanted, "environments": [described], "files": {**contents}}
        files.write(path, json.dumps(page, indent=2) + "\n")
        return []

    # What differs from the run that is there, if it may.
    changed, page = check(workdir, config), json.loads(path.read_text())
    _check_reached(workdir, config)
    # A run that an older version made has its files, or its datasets, as they are now.
    for name, old, _ in differences(page.get("files", contents), contents):
        if old == ABSENT and ".array_record" in name:
            continue
        raise ValueError(
            f"{name} has another content than when {workdir} began, or was not there; "
            "put that back, or give --workdir=DIR for a new run."
        )

    # The run, and all that it has been.
    moved = differences(page["environments"][-1], described)
    if moved:
        page["environments"].append(described)
    if changed:
        page["changed"] = [*page.get("changed", []), changed]
        if any(key.startswith(("train.steps", "train.until")) for key, *_ in changed):
            (workdir / SUMMARY).unlink(missing_ok=True)
    page |= {"config": wanted, "files": {**contents}}
    if page != json.loads(path.read_text()):
        files.write(path, json.dumps(page, indent=2) + "\n")
    told = [(*change, _follows(change[0])) for change in changed]
    told += [(*change, "not bit-equal to an unbroken run") for change in moved]
    return [f"{key} was {old} and is {new}: {text}" for key, old, new, text in told]


def check(
    workdir: pathlib.Path, config, field: Callable[[str], str] = str
) -> list[tuple]:
    """What a run that is there has other than this config, where that may be changed.

    Args:
        field: from a field's name in the run's config to the name to give it by.

    Returns:
        As of `differences`.

    Raises:
        ValueError: the directory holds another experiment.
    """
    wanted = json.loads(json.dumps(config.to_dict()))  # Tuples become lists.
    changed = differences(_read(workdir / CONFIG), wanted)
    if refused := [change for change in changed if not _follows(change[0])]:
        named = [(field(key), old, new) for key, old, new in refused]
        raise ValueError(_refusal(workdir, named))
    return changed


def as_begun(
    workdir: pathlib.Path, config: ml_collections.ConfigDict
) -> ml_collections.ConfigDict:
    """A config for the run, or comparison, that an earlier version began.

    Fields that it did not have keep its behaviour where they are at their defaults.
    """
    path = workdir / CONFIG
    if not path.exists():
        return config
    given = json.loads(path.read_text())["config"]
    # Only what the saved config lacks was not asked for then.
    _, new = fields.with_new_names(given, {}, defaults.EARLIER)
    config, usual = (
        config.copy_and_resolve_references(),
        fields.config(defaults.EXPERIMENT),
    )
    own = config.base if "methods" in config else config
    for name in (told.partition("=")[0] for told in new):
        # Whoever gives another value means it, and is refused or heard.
        if _at(own, name) == _at(usual, name):
            own.update_from_flattened_dict({name: defaults.EARLIER[name]})
    return config.lock()


def _at(config: Mapping, name: str):
    return functools.reduce(lambda section, key: section[key], name.split("."), config)


def _follows(key: str) -> str:
    """What follows if a field is changed; "" if it must not be."""
    section, _, name = key.rpartition(".")
    if section.partition(".")[0] in ("policy", "policies", "critic"):
        key = name
    return CHANGEABLE.get(key, "")


def _check_reached(workdir: pathlib.Path, config) -> None:
    """Refuses a last step before the newest checkpoint's."""
    names = [path.name for path in workdir.glob("checkpoints/*")]
    reached = max((int(name) for name in names if name.isdigit()), default=0)
    if "train" in config and config.train.steps < reached:
        raise ValueError(
            f"train.steps={config.train.steps}: {workdir} has already reached step "
            f"{reached}; give that or more."
        )


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

    Fields that an earlier version did not have are at values that keep its behaviour;
    a printed line names them.

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
        args = (defaults.declared(given), defaults.RENAMED, defaults.EARLIER)
        page, new = fields.saved(given, *args)
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
        back.append(flag)
    return (
        f"{workdir} holds another experiment: {listed}. Give --workdir=DIR for a new "
        f"run, or resume the one that is there: {' '.join(back)}"
    )
