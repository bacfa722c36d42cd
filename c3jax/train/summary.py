"""What a finished run came to: `summary.json`, and the same for a person."""

from collections.abc import Mapping

import ml_collections

from c3jax.core import metrics
from c3jax.reward import math as maths
from c3jax.train import budgets
from c3jax.train.evaluate import shown
from c3jax.train.ledger import Ledger


def evaluations(lines: list[dict]) -> list[dict]:
    """The lines of a log that are evaluations."""
    return [line for line in lines if "evaluate/greedy" in line]


def summarise(
    config: ml_collections.ConfigDict,
    lines: list[dict],
    ledger: Ledger,
    crossed: Mapping[str, Mapping],
) -> dict:
    """The figures of a run in one record.

    Accuracies are fractions of the test questions, sampled ones the mean over
    `evaluate.samples` episodes, with 95% intervals over questions. Counts are of
    training; those of evaluation and of the warm start stand apart. `seconds` is the
    wall-clock of the work kept, the warm start's included even when it was cached.
    `budgets` says of each one given at which step it was crossed, None for nowhere, and
    what training had spent by then.

    Args:
        config: of the run.
        lines: its log.
        ledger: at the end.
        crossed: from `budgets.crossed`, at the end.
    """
    found = evaluations(lines)
    named = {
        "accuracy_before": (found[0], "pass_at_1"),
        "accuracy_after": (found[-1], "pass_at_1"),
        "greedy_before": (found[0], "greedy"),
        "greedy_after": (found[-1], "greedy"),
    }
    for reading in readings(found[-1]):
        named[f"{reading}_before"] = (found[0], reading)
        named[f"{reading}_after"] = (found[-1], reading)
    return {
        "name": config.name,
        "method": config.credit.name,
        "seed": config.seed,
        "steps": found[-1]["step"],
        "budgets": budgets.told(config.train.until, crossed),
        **{n: line[f"evaluate/{field}"] for n, (line, field) in named.items()},
        "intervals": {n: _interval(line, field) for n, (line, field) in named.items()},
        "pass_at_k": _by_k(found[-1]),
        "pass_at_k_before": _by_k(found[0]),
        "without_role": {
            role: found[-1][f"evaluate/without {role}"] for role in emptied(found[-1])
        },
        **ledger.train.figures(),
        "evaluation": ledger.evaluate.figures(),
        "warm_start_trained_tokens": ledger.warm_start.trained_tokens,
        "seconds": sum(ledger.seconds.values()),
        "seconds_by_phase": dict(sorted(ledger.seconds.items())),
    }


def emptied(line: Mapping) -> list[str]:
    """Roles whose message an evaluation emptied."""
    start = "evaluate/without "
    names = [name for name in line if name.startswith(start) and f"{name}_low" in line]
    return [name.removeprefix(start) for name in names]


def readings(line: Mapping) -> list[str]:
    """Second readings of the same answers in an evaluation."""
    return [name for name in maths.READINGS if f"evaluate/{name}" in line]


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
    """A summary for a person, in a few lines."""
    rows = [("greedy", "greedy"), ("accuracy", "sampled")]
    rows += [
        (n, n.replace("_", " ")) for n in maths.READINGS if f"{n}_after" in summary
    ]
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
