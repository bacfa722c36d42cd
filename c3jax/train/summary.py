"""The results of a finished run: `summary.json`, and the same as text."""

from collections.abc import Mapping

import ml_collections

from c3jax.collect.evaluate import PREFIXES, shown
from c3jax.core import budgets, metrics
from c3jax.core.ledger import Ledger
from c3jax.reward import math


def evaluations(lines: list[dict], split: str = "test") -> list[dict]:
    """The lines of a log that are evaluations on a split."""
    return [line for line in lines if f"{PREFIXES[split]}greedy" in line]


def watched(lines: list[dict]) -> str:
    """The split that a run was evaluated on at all of its evaluations."""
    return "validation" if evaluations(lines, "validation") else "test"


def summarise(
    config: ml_collections.ConfigDict,
    lines: list[dict],
    ledger: Ledger,
    crossed: Mapping[str, Mapping],
) -> dict:
    """The figures of a run in one record.

    Accuracies are fractions of the test questions, sampled ones the mean over
    `evaluate.samples` episodes, with 95% intervals over questions; `validation` has
    those of the validation split, None where it was not read at both. Counts are of
    training; those of evaluation and of the warm start stand apart. `seconds` is the
    wall-clock of the work kept, the warm start's included even when it was cached.
    `budgets` holds for each given budget the step at which it was crossed, or None, and
    what training had spent by then.

    Args:
        config: its name, method, seed and budgets are copied.
        lines: the log.
        ledger: at the end.
        crossed: from `budgets.crossed`, at the end.
    """
    # Accuracies, by the first and by the last evaluation.
    evaluated = evaluations(lines)
    first, last = evaluated[0], evaluated[-1]
    named = {
        "accuracy_before": (first, "pass_at_1"),
        "accuracy_after": (last, "pass_at_1"),
        "greedy_before": (first, "greedy"),
        "greedy_after": (last, "greedy"),
    }
    for reading in readings(last):
        named[f"{reading}_before"] = (first, reading)
        named[f"{reading}_after"] = (last, reading)

    # With the costs of the run.
    return {
        "name": config.name,
        "method": config.credit.name,
        "seed": config.seed,
        "steps": last["step"],
        "budgets": budgets.told(config.train.until, crossed),
        **{n: line[f"evaluate/{field}"] for n, (line, field) in named.items()},
        "intervals": {n: _interval(line, field) for n, (line, field) in named.items()},
        "pass_at_k": _by_k(last),
        "pass_at_k_before": _by_k(first),
        "validation": _validation(lines, first["step"], last["step"]),
        "without_role": {
            role: last[f"evaluate/without {role}"] for role in emptied(last)
        },
        **ledger.train.figures(),
        "evaluation": ledger.evaluate.figures(),
        "warm_start_trained_tokens": ledger.warm_start.trained_tokens,
        "seconds": sum(ledger.seconds.values()),
        "seconds_by_phase": dict(sorted(ledger.seconds.items())),
    }


def _validation(lines: list[dict], first: int, last: int) -> dict | None:
    """Sampled and greedy accuracies of the validation split, before and after.

    None where either step has none: the run was to be evaluated at its ends only when
    it came by.
    """
    at = {line["step"]: line for line in evaluations(lines, "validation")}
    if not {first, last} <= {*at}:
        return None
    ends, start = {"before": at[first], "after": at[last]}, PREFIXES["validation"]
    return {
        f"{shown}_{when}": line[start + name]
        for shown, name in {"accuracy": "pass_at_1", "greedy": "greedy"}.items()
        for when, line in ends.items()
    }


def emptied(line: Mapping) -> list[str]:
    """Roles whose message was emptied in an evaluation."""
    start = "evaluate/without "
    names = [name for name in line if name.startswith(start) and f"{name}_low" in line]
    return [name.removeprefix(start) for name in names]


def readings(line: Mapping) -> list[str]:
    """Second readings of the same answers that an evaluation has figures for."""
    return [name for name in math.READINGS if f"evaluate/{name}" in line]


def _interval(line: Mapping, field: str) -> list[float]:
    return [line[f"evaluate/{field}_low"], line[f"evaluate/{field}_high"]]


def _by_k(line: Mapping) -> dict[str, float]:
    start = "evaluate/pass_at_"
    return {
        name.removeprefix(start): value
        for name, value in line.items()
        if name.startswith(start) and name.removeprefix(start).isdigit()
    }


def told(summary: Mapping) -> str:
    """A summary as a few lines of text."""
    # Accuracies, before and after.
    rows = [("greedy", "greedy"), ("accuracy", "sampled")]
    rows += [(n, n.replace("_", " ")) for n in math.READINGS if f"{n}_after" in summary]
    text = f"{summary['name']}: {summary['method']}, seed {summary['seed']}, "
    text += f"{summary['steps']} steps"
    for field, name in rows:
        text += f"\n  {name:<11}"
        for when, arrow in (("before", ""), ("after", " -> ")):
            low, high = summary["intervals"][f"{field}_{when}"]
            value = summary[f"{field}_{when}"]
            text += f"{arrow}{value:.1%} [{100 * low:.1f}, {100 * high:.1f}]"
    for k, value in summary["pass_at_k"].items():
        if k != "1":
            before = summary["pass_at_k_before"][k]
            text += f"\n  {shown('pass_at_' + k):<11}{before:.1%} -> {value:.1%}"

    # Ablations, budgets and costs.
    for role, value in summary["without_role"].items():
        text += f"\n  after, with the {role}'s message emptied: {value:.1%}"
    for name, budget in summary["budgets"].items():
        where = "not crossed" if budget["step"] is None else f"step {budget['step']}"
        text += f"\n  budget of {budget['amount']:,} {name.replace('_', ' ')}: {where}"
    return text + (
        f"\n  {summary['evaluator_calls']:,} evaluator calls, "
        f"{summary['generated_tokens']:,} tokens generated, "
        f"{metrics.clock(summary['seconds'])}"
    )
