"""Figures of an audit as sentences and as numbers in a table."""

import math
import sys

from rich import console

from c3jax.audit.diagnostics import NOT_IDENTIFIABLE, Fidelity, Influence
from c3jax.audit.figures import Level, RoleFigures
from c3jax.core.stats import Interval

NOT_MEASURED = "not measured"


def reading(role: RoleFigures) -> str:
    """The figures of a role in a sentence."""
    # Methods with a share of the ceiling are one clause, the first.
    shares, clauses = [], []
    for method in role.methods:
        if _has_share(method.fidelity):
            reached, ceiling, *_ = method.fidelity
            part = share(reached, ceiling)
            if not shares:
                part = f"reaches {part} of the correlation with worth that noise allows"
            numbers = f"({reached.mean:.2f} of {ceiling.mean:.2f})"
            shares.append(f"{method.method} {part} {numbers}")
        else:
            clauses.append(f"{method.method} {ranking(method.fidelity)}")
    if shares:
        clauses.insert(0, ", ".join(shares))
    for level in role.influence:
        if isinstance(level.corrected, Influence):
            clauses.append(_shows(level))
        elif level.corrected.startswith(NOT_IDENTIFIABLE):
            clauses.append(f"if it shows in the {level.symbols} is {NOT_IDENTIFIABLE}")
    start = f"{role.role}: " if role.role else ""
    return printable(f"{start}{'; '.join(clauses) or 'nothing could be measured'}.")


def _has_share(found: Fidelity | str) -> bool:
    """Whether the share of the ceiling that a method reaches is defined."""
    return (
        isinstance(found, Fidelity) and found.pearson.low > 0 and bounds(found.ceiling)
    )


def share(figure: Interval, ceiling: Interval | None) -> str:
    """How much of its ceiling a figure reaches; "–" if that is not defined.

    Above it within their noise is 100%.
    """
    if not bounds(ceiling):
        return "–"
    if figure.low > ceiling.high:
        return "> 100%"
    return minus(f"{min(figure.mean / ceiling.mean, 1):.0%}")


def ranking(found: Fidelity | str) -> str:
    """How a method ranks messages, without a share of the ceiling."""
    if isinstance(found, str):
        return "is not measured against the worth of messages"
    rank, how = found.spearman, "no better than chance"
    if rank.low > 0:
        how = "better than chance"
    elif rank.high < 0:
        how = "the wrong way round"
    return minus(f"ranks messages {how} (rank correlation {rank.mean:z.2f})")


def _shows(level: Level) -> str:
    """Whether messages show in the texts after them, against chance."""
    value, null, _ = level.corrected
    text = minus(f"({value.mean:z.2f} nats, {null.mean:z.2f} by chance)")
    if value.low > null.high:
        return f"which message was sent shows in the {level.symbols} {text}"
    return f"the {level.symbols} do not show which message was sent {text}"


def told(interval: Interval) -> str:
    """A mean and its interval in brackets, if it has one; a range without a mean."""
    if math.isnan(interval.mean) and not math.isnan(interval.low):
        return f"{interval.low:.2f} to {interval.high:.2f}"
    low, high = number(interval, interval.low), number(interval, interval.high)
    return number(interval) + ("" if math.isnan(interval.low) else f" [{low}, {high}]")


def number(interval: Interval, value: float | None = None) -> str:
    """The mean, or another value, to the first digit of the interval's width."""
    scale = interval.high - interval.low
    scale = scale if scale > 0 else abs(interval.mean) / 10
    places = max(2, min(6, -math.floor(math.log10(scale)))) if scale > 0 else 2
    return minus(f"{interval.mean if value is None else value:z.{places}f}")


def minus(text: str) -> str:
    """Numbers with a minus as long as a plus."""
    return text.replace("-", "−")


def bounds(ceiling: Interval | None) -> bool:
    """Whether there is one ceiling, and surely more than 0."""
    return ceiling is not None and ceiling.low > 0 and not math.isnan(ceiling.mean)


def printable(text: str) -> str:
    """Foreign text without characters that steer a terminal or break a line."""
    return "".join(c if c.isprintable() else " " for c in text)


def screen(width: int) -> console.Console:
    """Where tables are printed: a file has `width` columns, as many as they need."""
    return console.Console(width=None if sys.stdout.isatty() else width)
