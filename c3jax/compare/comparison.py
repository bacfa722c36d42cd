"""A comparison: methods x seeds, every cell an ordinary run from the same policy."""

import dataclasses
import functools
import json
import pathlib
import re
from collections.abc import Iterable, Mapping

import ml_collections

from c3jax.collect.evaluate import PREFIXES
from c3jax.core import budgets, checks, files, metrics
from c3jax.credit import api
from c3jax.setup import defaults, fields
from c3jax.train import run_dir, summary

CELLS = "cells"
# Packages whose versions decide which bits a repeated run has.
_VERSIONS = ("c3jax", "jax")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One run of a comparison.

    Attributes:
        label: its method's name, a key of `methods`.
        seed: the run's seed, in its config, too.
        config: the run's whole config, locked.
    """

    label: str
    seed: int
    config: ml_collections.ConfigDict

    @property
    def name(self) -> str:
        """Its directory's name."""
        return f"{self.label}-{self.seed}"


def cells(config: ml_collections.ConfigDict) -> dict[str, Cell]:
    """The runs of a comparison by name, seed by seed.

    Args:
        config: a comparison's page, as in `configs/compare.py`.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    # The axes of the grid.
    fields.check(config, defaults.COMPARISON)
    seeds, labels = list(config.seeds), list(config.methods)
    checks.require(
        seeds and len({*seeds}) == len(seeds) and all(type(s) is int for s in seeds),
        "seeds",
        config.seeds,
        "one whole number or more, each once",
    )
    for label in labels:
        checks.require(
            re.fullmatch(r"[\w+-]+", label), "methods", label, "letters, digits, _ + -"
        )

    # One reference, one budget or more, one starting policy.
    checks.pick(config.methods, config.reference, "reference")
    if not budgets.asked(config.budgets):
        raise ValueError(
            f"budgets gives none of {list(budgets.NAMES)}; methods are compared where "
            "each has spent the same, say --config.budgets.evaluator_calls=40000."
        )
    if config.base.warm_start.seed is None:
        raise ValueError(
            "base.warm_start.seed=None would start every seed from a policy of its "
            "own; set it, say to 0, so that all runs start from the same one."
        )

    grid = [_cell(config, label, seed) for seed in seeds for label in labels]
    return {cell.name: cell for cell in grid}


def cell(config: ml_collections.ConfigDict, name: str) -> Cell:
    """One run of a comparison.

    Raises:
        ValueError: there is none of that name.
    """
    return checks.pick(cells(config), name, "--cell")


def _cell(config, label: str, seed: int) -> Cell:
    """The base with the method's changes; it trains until the last budget is spent."""
    own = config.base.copy_and_resolve_references()
    with own.unlocked():
        _overlay(own, config.methods[label], f"methods.{label}")
        own.name, own.seed = label, seed
        own.train.until.update(config.budgets)
    return Cell(label, seed, own.lock())


def _overlay(config, changes, field: str) -> None:
    """Sets the fields in `changes`; an unknown one is refused with the whole config."""
    for key, value in changes.items():
        below = config.get(key)
        if isinstance(below, Mapping | ml_collections.ConfigDict):
            _overlay(below, value, f"{field}.{key}")
            continue
        try:
            config[key] = value
        except (TypeError, ValueError) as error:
            raise ValueError(f"{field}.{key}={value!r}: {error}") from None


def check_begun(
    config: ml_collections.ConfigDict, cells: Iterable[Cell], directory: pathlib.Path
) -> None:
    """Refuses a config that is not that of a run which was begun.

    Raises:
        ValueError: names the flags that go on with it.
    """
    for cell in cells:
        place = directory / CELLS / cell.name
        if (place / run_dir.CONFIG).exists():
            run_dir.check(place, cell.config, functools.partial(_field, config, cell))


def _field(config, cell: Cell, name: str) -> str:
    """What a field of a run is called in its comparison."""
    # A method's own value hides the base's, so that is the one to change.
    changes = config.methods[cell.label]
    for key in name.split("."):
        if key not in changes:
            return f"base.{name}"
        changes = changes[key]
    return f"methods.{cell.label}.{name}"


def path(config: ml_collections.ConfigDict, directory: pathlib.Path) -> pathlib.Path:
    """The file that keeps finished runs."""
    return pathlib.Path(config.cells) if config.cells else directory / f"{CELLS}.jsonl"


def distilled(cell: Cell, directory: pathlib.Path) -> dict:
    """The record of a finished run that a comparison reads, as one line of JSON.

    Args:
        directory: the run's directory; log, config and summary are read.

    Returns:
        Beside its name and its config: `budgets` as in `summary.json`, for each of
        `evaluations` the step, the cost of training by then, and accuracies on the
        questions of a `split`, and the accuracies of `test` at its end.
    """
    lines, totals = metrics.read(directory), run_dir.summary(directory)
    split = summary.watched(lines)
    seen, tested = summary.evaluations(lines, split), summary.evaluations(lines)
    about = json.loads((directory / run_dir.CONFIG).read_text())
    environment = about["environments"][-1]
    # Before an evaluation, whose own work is not the method's.
    after = {line["step"]: line for line in lines if "reward" in line}
    return {
        "cell": cell.name,
        "label": cell.label,
        "seed": cell.seed,
        "versions": {n: environment["versions"][n] for n in _VERSIONS},
        "device": environment["devices"]["kind"],
        # Runs that start from one policy report one likelihood of it.
        "warm_start_nll": next(
            (x["warm_start/nll"] for x in lines if "warm_start/nll" in x), None
        ),
        "budgets": totals["budgets"],
        "seconds_by_phase": totals["seconds_by_phase"],
        "split": split,
        # An older version may have finished the run, and not said it.
        "questions": seen[-1].get(f"{PREFIXES[split]}questions"),
        "evaluations": [
            {
                "step": line["step"],
                **budgets.spent_by(after.get(line["step"], {})),
                **_figures(line, PREFIXES[split]),
            }
            for line in seen
        ],
        "test": {
            "step": tested[-1]["step"],
            **_figures(tested[-1], PREFIXES["test"]),
        },
        "config": about["config"],
    }


def _figures(line: Mapping, start: str) -> dict[str, float]:
    """Accuracies of an evaluation with their intervals, without its cost."""
    names = [n.removeprefix(start) for n in line if n.startswith(start)]
    measured = [n for n in names if f"{n}_low" in names]
    ends = ("", "_low", "_high")
    return {n + end: line[start + n + end] for n in measured for end in ends}


def kept(path: pathlib.Path) -> dict[str, dict]:
    """The finished runs of a file by name; none if there is no file.

    Raises:
        ValueError: a line is no finished run; names it.
    """
    records = {}
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            record = json.loads(line)
            records[record["cell"]] = record
        except (ValueError, KeyError, TypeError):
            raise ValueError(
                f"{path}, line {number} is not a finished run of a comparison; put "
                "the file back, or remove that line to have the run made again."
            ) from None
    return records


def keep(path: pathlib.Path, record: dict) -> None:
    """Puts a finished run into a file, in place of one of the same name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    records = {**kept(path), record["cell"]: record}
    text = "".join(json.dumps(records[name]) + "\n" for name in sorted(records))
    files.write(path, text)


def _read_by_run(config: Mapping) -> dict:
    """A config without the critic, where the method has none."""
    needs = api.find(config["credit"]["name"]).needs
    unread = () if {"value", "q"} & {*needs} else ("critic",)
    return {name: value for name, value in config.items() if name not in unread}


def finished(
    kept: Mapping[str, dict], cells: Iterable[Cell]
) -> tuple[dict[str, dict], list[str]]:
    """The kept runs that belong to the comparison, by name.

    A field that a kept run's config lacks, because the program had none then, does not
    keep it out, but is reported: a new field does the same as before, unless
    `defaults.EARLIER` has it.
    Settings of a critic do not keep out a run that has no critic.

    Args:
        kept: finished runs by name, from `kept`.

    Returns:
        The runs, and the differences in words.
    """
    runs, notes = {}, []
    for cell in cells:
        if cell.name not in kept:
            continue
        # Both configs as a run reads them.
        wanted = json.loads(json.dumps(cell.config.to_dict()))
        args = (kept[cell.name]["config"], defaults.RENAMED, defaults.EARLIER)
        saved, _ = fields.with_new_names(*args)
        changes = run_dir.differences(_read_by_run(saved), _read_by_run(wanted))
        added = [change for change in changes if change[1] == run_dir.ABSENT]
        if len(added) == len(changes):
            runs[cell.name] = kept[cell.name]
            notes += [
                f"{cell.name} is older than {key}={new!r}" for key, _, new in added
            ]
        else:
            differing = [
                f"{key} was {old!r}, is {new!r}" for key, old, new in changes[:4]
            ]
            notes.append(f"{cell.name} was of another config: {'; '.join(differing)}")
    return runs, notes
