"""The figures of a comparison's finished runs: tables at each budget, mean curves."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from c3jax.core import budgets, stats
from c3jax.core.stats import Interval


@dataclasses.dataclass(frozen=True)
class Row:
    """A method at a budget; intervals are Student's over its seeds.

    Attributes:
        label: the method's name in the config.
        seeds: the seeds whose runs crossed the budget.
        steps: training steps until then, mean over seeds.
        spent: training's cost by then, mean over seeds, by name as in `budgets.spent`.
        sampled: accuracy of one sampled answer a question.
        greedy: accuracy of the greedy answer.
        test: `sampled` on the test questions, where runs end at this budget and were
            read on others until then; None elsewhere.
        difference: `sampled` less the reference's with the same seed; None for the
            reference itself and where no seed has both.
        p: p-value of the paired t-test of that difference; NaN where there is none.
        holm: p adjusted for the methods of the table.
    """

    label: str
    seeds: tuple[int, ...]
    steps: float
    spent: Mapping[str, float]
    sampled: Interval
    greedy: Interval
    test: Interval | None = None
    difference: Interval | None = None
    p: float = math.nan
    holm: float = math.nan


@dataclasses.dataclass(frozen=True)
class Table:
    """All methods at the point where each has spent the same.

    Attributes:
        amount: its size, in calls, tokens or seconds.
        reference: label of the method that the others are compared with.
        rows: one a method that has a run to read, in the order of labels.
        lacking: names of finished runs that ended before they crossed the budget.
    """

    budget: str
    amount: float
    reference: str
    rows: tuple[Row, ...]
    lacking: tuple[str, ...]


def read(record: Mapping, budget: str) -> dict | None:
    """The evaluation a run made where its ledger first held a budget.

    Args:
        record: a finished run, from `compare.comparison.distilled`.
        budget: the name of a budget that the run was given.

    Returns:
        A member of its `evaluations`; None if the budget was not crossed.
    """
    step = record["budgets"][budget]["step"]
    if step is None:
        return None
    return next(line for line in record["evaluations"] if line["step"] == step)


def tables(
    asked: Mapping[str, float],
    labels: Sequence[str],
    reference: str,
    records: Iterable[Mapping],
) -> list[Table]:
    """The table of each budget.

    Args:
        asked: budgets that every run was given, by name.
        records: finished runs, each given these budgets.
    """
    records = list(records)
    return [
        _table(budget, amount, labels, reference, records)
        for budget, amount in asked.items()
    ]


def _table(budget, amount, labels, reference, records) -> Table:
    # The evaluation of every run that crossed the budget, by method and seed.
    readings: dict[str, dict[int, dict]] = {label: {} for label in labels}
    tested, lacking = {label: [] for label in labels}, []
    for record in records:
        reading = read(record, budget)
        if reading is None:
            lacking.append(record["cell"])
        else:
            readings[record["label"]][record["seed"]] = reading
            if _ends(record, reading):
                tested[record["label"]].append(record["test"]["pass_at_1"])

    # A row a method; p-values are adjusted for all of them.
    rows = [
        _row(label, readings[label], {} if label == reference else readings[reference])
        for label in labels
        if readings[label]
    ]
    adjusted = stats.holm([row.p for row in rows])
    rows = [
        dataclasses.replace(row, holm=float(p), test=_all(tested[row.label], row))
        for row, p in zip(rows, adjusted, strict=True)
    ]
    return Table(budget, amount, reference, tuple(rows), tuple(lacking))


def _ends(record: Mapping, reading: Mapping) -> bool:
    """Whether a run ends at a reading, and was read on other questions until then."""
    apart = record.get("split", "test") != "test"
    return apart and record["test"]["step"] == reading["step"]


def _all(values: Sequence[float], row: Row) -> Interval | None:
    """The mean over the seeds of a row, if all of them have a value."""
    return stats.student(values) if len(values) == len(row.seeds) else None


def _row(label: str, mine: Mapping[int, dict], theirs: Mapping[int, dict]) -> Row:
    def mean(name):
        return float(np.mean([reading[name] for reading in mine.values()]))

    row = Row(
        label=label,
        seeds=tuple(sorted(mine)),
        steps=mean("step"),
        spent={name: mean(name) for name in budgets.NAMES},
        sampled=stats.student([reading["pass_at_1"] for reading in mine.values()]),
        greedy=stats.student([reading["greedy"] for reading in mine.values()]),
    )
    # Against the reference, over the seeds of both.
    paired = sorted({*mine} & {*theirs})
    if not paired:
        return row
    own = np.array([mine[seed]["pass_at_1"] for seed in paired])
    other = np.array([theirs[seed]["pass_at_1"] for seed in paired])
    return dataclasses.replace(
        row, difference=stats.student(own - other), p=stats.paired_p(own, other)
    )


@dataclasses.dataclass(frozen=True)
class Curve:
    """Accuracy of a method against its cost.

    Attributes:
        x: [n] float ascending, the cost of training so far.
        mean: [n] float, over seeds.
        low, high: [n] float, Student's 95% interval; NaN for a single seed.
    """

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


def curve(runs: Sequence[Sequence[Mapping]], x: str, y: str) -> Curve:
    """The mean of several runs, each evaluated at steps of its own.

    A run's accuracy between two of its evaluations is taken to lie on the line between
    them. The curve has a point wherever a run has one, and ends where the first run
    does: beyond that the mean would be over fewer runs.

    Args:
        runs: the evaluations of each, ascending in x.
        x: the name of a cost, as in `budgets.spent`.
        y: the name of an accuracy.
    """
    # Every run on the points of all.
    at = [np.array([line[x] for line in run], float) for run in runs]
    end = min(points[-1] for points in at)
    shared = np.unique(np.concatenate(at))
    shared = shared[shared <= end]
    values = [
        np.interp(shared, points, [line[y] for line in run])
        for points, run in zip(at, runs, strict=True)
    ]
    intervals = [stats.student(column) for column in np.transpose(values)]
    return Curve(shared, *map(np.array, zip(*intervals, strict=True)))


def starts(records: Iterable[Mapping]) -> int:
    """The number of policies that the runs of a team started from.

    Warm starts are told apart by the likelihood of their last batch.
    """
    likelihoods: dict[str, set] = {}
    for record in records:
        team = record["config"]["protocol"]["name"]
        likelihoods.setdefault(team, set()).add(record["warm_start_nll"])
    return max(map(len, likelihoods.values()))
