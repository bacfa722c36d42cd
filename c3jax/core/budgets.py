"""The budgets of a run: what it has spent is read from its ledger, never its config."""

from collections.abc import Mapping

from c3jax.core.ledger import Ledger, Spent

# Phases that are not training: the warm start, evaluation and checkpoints.
_ASIDE = ("warm_start", "evaluate", "checkpoint")
NAMES = ("evaluator_calls", "generated_tokens", "seconds")


def spent(ledger: Ledger) -> dict[str, float]:
    """Training's spending so far, by the names of budgets.

    Seconds are wall-clock of sampling, scoring and updating: the warm start, evaluation
    and checkpoints are left out.
    """
    seconds = (s for phase, s in ledger.seconds.items() if phase not in _ASIDE)
    return {
        "evaluator_calls": ledger.train.evaluator_calls,
        "generated_tokens": ledger.train.generated_tokens,
        "seconds": sum(seconds),
    }


def spent_by(line: Mapping) -> dict[str, float]:
    """The same, from a line of the log; {} stands for the time before the first."""
    start = "total/seconds/"
    phases = {n.removeprefix(start): s for n, s in line.items() if n.startswith(start)}
    names = ("evaluator_calls", "generated_tokens")
    counts = {name: line.get(f"total/{name}", 0) for name in names}
    return spent(Ledger(train=Spent(**counts), seconds=phases))


def asked(until: Mapping) -> dict[str, float]:
    """The budgets that a config gives, by name.

    Args:
        until: a number or None for each of `NAMES`.
    """
    return {name: until[name] for name in NAMES if until[name] is not None}


def crossed(until: Mapping, before: Mapping, step: int, ledger: Ledger) -> dict:
    """The budgets crossed so far, each with the step of the crossing.

    A budget is crossed at the first step after which the ledger holds it or more.

    Args:
        until: a number or None for each of `NAMES`.
        before: this function's result for the step before; {} at the beginning.
        step: the number of steps done.
        ledger: the ledger after these steps.

    Returns:
        For each crossed budget, the step and all that was `spent` by then.
    """
    now = spent(ledger)
    new = {
        name: {"step": step, **now}
        for name, amount in asked(until).items()
        if name not in before and now[name] >= amount
    }
    return {**before, **new}


def is_over(until: Mapping, crossed: Mapping) -> bool:
    """Whether all budgets that were given are crossed; False if there is none."""
    return bool(crossed) and set(crossed) == set(asked(until))


def told(until: Mapping, crossed: Mapping) -> dict[str, dict]:
    """Per budget its amount and the step of its crossing, which is None without one."""
    nowhere = {"step": None}
    return {
        name: {"amount": amount, **crossed.get(name, nowhere)}
        for name, amount in asked(until).items()
    }
