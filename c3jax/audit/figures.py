"""Results of an audit: three figures for every role and method, as records and JSON.

A figure that would mean nothing is refused, for its role and method alone: a sentence
with the reason stands in its place.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from c3jax.audit import buckets, diagnostics
from c3jax.audit.buckets import Arrays, Bucket
from c3jax.audit.diagnostics import Fidelity, Influence
from c3jax.core import files
from c3jax.core.stats import Interval

FILE = "audit.json"


@dataclasses.dataclass(frozen=True)
class Point:
    """Fidelity with fewer continuations of each message.

    Attributes:
        continuations: number of continuations that a message's worth is estimated from.
        spearman: rank correlation of credit with that worth.
        ceiling: the rank correlation that perfect credit could be expected to reach.
    """

    continuations: int
    spearman: Interval
    ceiling: Interval | None


@dataclasses.dataclass(frozen=True)
class MethodFigures:
    """How good a method's credit of one role is.

    Attributes:
        method: its name.
        contexts: number of contexts in which it credits every candidate; the others are
            left out.
        valued: number of these with extra samples, over which fidelity is taken.
        fidelity: the figure, or why it is not measured.
        variance: the figure, or why it is not measured.
        curve: fidelity against continuations, () if there are too few for one.
    """

    method: str
    contexts: int
    valued: int
    fidelity: Fidelity | str
    variance: Interval | str
    curve: tuple[Point, ...]


# The fewest contexts of a figure. A draw of n contexts from n is n times the same one
# with probability n^(1-n), which must be less than the 2.5% at an end of an interval.
LEAST = 4


@dataclasses.dataclass(frozen=True)
class Level:
    """How much of a message shows in the texts after it.

    Attributes:
        symbols: the kind of these texts, one of `buckets.TEXTS`.
        contexts: number of contexts in which every candidate has two or more of these.
        plain: influence with smoothing, or why it is not measured.
        corrected: influence with the bias taken off, or why it is not measured.
    """

    symbols: str
    contexts: int
    plain: Influence | str
    corrected: Influence | str


@dataclasses.dataclass(frozen=True)
class RoleFigures:
    """All figures of one role.

    Attributes:
        role: its name, "" if contexts have none.
        contexts: number of contexts.
        messages: number of messages in all of them.
        methods: figures of each, in the order in which they appear.
        influence: one for each of `buckets.TEXTS`.
    """

    role: str
    contexts: int
    messages: int
    methods: tuple[MethodFigures, ...]
    influence: tuple[Level, ...]


@dataclasses.dataclass(frozen=True)
class Audit:
    """The content of `audit.json`.

    Attributes:
        source: the origin of the contexts, in words.
        roles: the figures of each role.
    """

    source: str
    roles: tuple[RoleFigures, ...]

    @property
    def contexts(self) -> int:
        """The number of contexts of all roles."""
        return sum(role.contexts for role in self.roles)


def of(some: Sequence[Bucket]) -> tuple[RoleFigures, ...]:
    """The figures of every role, roles in the order in which they appear."""
    return tuple(_role(role, arrays) for role, arrays in buckets.by_role(some))


def write(directory: pathlib.Path, found: Audit) -> None:
    """Writes `audit.json`; NaN and infinity are null there."""
    page = {"source": found.source, "contexts": found.contexts}
    page["roles"] = [_packed(role) for role in found.roles]
    files.write(directory / FILE, json.dumps(page, indent=1, ensure_ascii=False) + "\n")


def read(directory: pathlib.Path) -> Audit:
    """Reads the file that `write` wrote."""
    page = json.loads((directory / FILE).read_text(encoding="utf-8"))
    roles = tuple(_unpacked_role(**role) for role in page["roles"])
    return Audit(page["source"], roles)


def _role(role: str, arrays: Arrays) -> RoleFigures:
    return RoleFigures(
        role=role,
        contexts=len(arrays.returns),
        messages=int(np.isfinite(arrays.returns[..., 0]).sum()),
        methods=tuple(_method(name, arrays) for name in arrays.credit),
        influence=tuple(_level(name, arrays) for name in arrays.symbols),
    )


def _method(name: str, arrays: Arrays) -> MethodFigures:
    # Contexts with credit for every candidate, and those with a value besides.
    exists = np.isfinite(arrays.returns[..., 0])
    full = (np.isfinite(arrays.credit[name]) == exists).all(1)
    valued = full & np.isfinite(arrays.extra).any(1)

    def fidelity() -> Fidelity:
        if full.sum() >= LEAST > valued.sum():
            raise ValueError(
                f"too few contexts ({valued.sum()}) have `extra` rewards, so nothing "
                "independent says what a context is worth; log those of further "
                "messages sampled from it."
            )
        kept = enough(valued)
        return diagnostics.fidelity(kept.credit[name], kept.worth)

    def variance() -> Interval:
        return diagnostics.variance(enough(full).credit[name])

    def enough(kept: np.ndarray) -> Arrays:
        if full.sum() < LEAST:
            raise ValueError(
                f"{name} credits all candidates in too few contexts ({full.sum()}); "
                f"intervals are over contexts, so it takes {LEAST} or more."
            )
        return arrays.where(kept)

    # Each figure, or the reason why it is refused.
    measured, curve = _or_why(fidelity), ()
    if not isinstance(measured, str):
        curve = _curve(name, arrays.where(valued), measured)
    return MethodFigures(
        method=name,
        contexts=int(full.sum()),
        valued=int(valued.sum()),
        fidelity=measured,
        variance=_or_why(variance),
        curve=curve,
    )


def _curve(name: str, arrays: Arrays, measured: Fidelity) -> tuple[Point, ...]:
    """Fidelity with 2, 4, 8, .. continuations of each message, up to all it has."""
    count = np.isfinite(arrays.returns).sum(-1)
    least, most = int(count[count > 0].min()), int(count.max())
    # In random order, lest a log has its continuations sorted.
    draws = np.random.default_rng(0).random(arrays.returns.shape)
    order = np.argsort(np.where(np.isfinite(arrays.returns), draws, 2.0), axis=-1)
    mixed = np.take_along_axis(arrays.returns, order, -1)

    def fewer(number: int) -> Fidelity:
        cut = dataclasses.replace(arrays, returns=mixed[..., :number])
        return diagnostics.fidelity(cut.credit[name], cut.worth)

    powers = (2**n for n in range(1, least.bit_length()))
    numbers = [*(number for number in powers if number < least), least]
    points = []
    for number in numbers if least > 2 else ():
        figure = measured if number == most else _or_why(lambda n=number: fewer(n))
        if not isinstance(figure, str):
            points.append(Point(number, figure.spearman, figure.ceiling))
    return tuple(points)


def _level(name: str, arrays: Arrays) -> Level:
    # Contexts in which every candidate has two texts to compare.
    exists = np.isfinite(arrays.returns[..., 0])
    count = (arrays.symbols[name] >= 0).sum(-1)
    kept = ((count > 1) == exists).all(1)

    def influence(correct: bool) -> Influence:
        if not count.any():
            raise ValueError(
                f"no `{name}` are known: nothing follows these messages, or it is not "
                "logged; add them, one a return."
            )
        if kept.sum() < LEAST:
            raise ValueError(
                f"too few contexts ({kept.sum()}) have 2 or more `{name}` of each "
                "candidate, and of one each nothing says if they differ by candidate "
                "or by chance; play on more often."
            )
        return diagnostics.influence(arrays.symbols[name][kept], correct=correct)

    return Level(
        symbols=name,
        contexts=int(kept.sum()),
        plain=_or_why(lambda: influence(False)),
        corrected=_or_why(lambda: influence(True)),
    )


def _or_why(figure: Callable):
    """The figure, or the sentence with which it is refused."""
    try:
        return figure()
    except ValueError as error:
        return str(error)


def _packed(value):
    """Records as objects, tuples of them as lists."""
    if dataclasses.is_dataclass(value):
        names = (field.name for field in dataclasses.fields(value))
        return {name: _packed(getattr(value, name)) for name in names}
    if hasattr(value, "_asdict"):
        return {name: _packed(part) for name, part in value._asdict().items()}
    if isinstance(value, tuple):
        return [_packed(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _unpacked_role(methods, influence, **rest) -> RoleFigures:
    return RoleFigures(
        methods=tuple(_unpacked_method(**method) for method in methods),
        influence=tuple(_unpacked_level(**level) for level in influence),
        **rest,
    )


def _unpacked_method(fidelity, variance, curve, **rest) -> MethodFigures:
    return MethodFigures(
        fidelity=_unpacked(Fidelity, fidelity),
        variance=variance if isinstance(variance, str) else _interval(variance),
        curve=tuple(_unpacked_point(**point) for point in curve),
        **rest,
    )


def _unpacked_point(continuations, spearman, ceiling) -> Point:
    return Point(continuations, _interval(spearman), _interval(ceiling))


def _unpacked_level(plain, corrected, **rest) -> Level:
    plain, corrected = _unpacked(Influence, plain), _unpacked(Influence, corrected)
    return Level(plain=plain, corrected=corrected, **rest)


def _unpacked(kind: type, page: Mapping | str):
    """A figure made of intervals, or why there is none."""
    if isinstance(page, str):
        return page
    return kind(**{name: _interval(part) for name, part in page.items()})


def _interval(page: Mapping | None) -> Interval | None:
    if page is None:
        return None
    return Interval(**{n: math.nan if x is None else x for n, x in page.items()})
