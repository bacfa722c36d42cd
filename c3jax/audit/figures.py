"""Results of an audit: three figures for every role and method, as records and JSON.

A figure that would mean nothing is refused, for its role and method alone: a sentence
with the reason stands in its place.
"""

import dataclasses
import functools
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from c3jax.audit import buckets, ceiling, diagnostics
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
        pearson: linear correlation of credit with that worth.
        ceiling: the linear correlation that perfect credit is expected to reach.
    """

    continuations: int
    pearson: Interval
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
        scaled: why variance and error do not compare with those of others; "" if credit
            is in reward units, as far as is known.
    """

    method: str
    contexts: int
    valued: int
    fidelity: Fidelity | str
    variance: Interval | str
    curve: tuple[Point, ...]
    scaled: str = ""


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
        run: of a run's audit, the plain objects of `c3jax.report.run_audit.About`, like
            cost and role ablations; None for logs.
    """

    source: str
    roles: tuple[RoleFigures, ...]
    run: Mapping | None = None

    @property
    def contexts(self) -> int:
        """The number of contexts of all roles."""
        return sum(role.contexts for role in self.roles)


def of(
    some: Sequence[Bucket], scaled: Mapping[str, str] | None = None
) -> tuple[RoleFigures, ...]:
    """The figures of every role, roles in the order in which they appear.

    Args:
        some: the contexts.
        scaled: why a method's credit is not in reward units, by name.
    """
    scaled = scaled or {}
    return tuple(_role(role, arrays, scaled) for role, arrays in buckets.by_role(some))


def write(directory: pathlib.Path, found: Audit) -> None:
    """Writes `audit.json`; NaN and infinity are null there."""
    page = {"source": found.source, "contexts": found.contexts}
    page["roles"] = [_packed(role) for role in found.roles]
    if found.run is not None:
        page["run"] = found.run
    files.write(directory / FILE, json.dumps(page, indent=1, ensure_ascii=False) + "\n")


def read(directory: pathlib.Path) -> Audit:
    """Reads the file that `write` wrote.

    Ceilings and curves of files from before ceilings had noise and ranks apart were
    other figures, and are left out.
    """
    page = json.loads((directory / FILE).read_text(encoding="utf-8"))
    roles = tuple(_unpacked_role(**role) for role in page["roles"])
    return Audit(page["source"], roles, page.get("run"))


def _role(role: str, arrays: Arrays, scaled: Mapping[str, str]) -> RoleFigures:
    @functools.cache  # Methods of the same contexts share a ceiling.
    def rank(kept: bytes) -> Interval | None:
        return ceiling.ranks(arrays.where(np.frombuffer(kept, bool)))

    return RoleFigures(
        role=role,
        contexts=len(arrays.returns),
        messages=int(np.isfinite(arrays.returns[..., 0]).sum()),
        methods=tuple(
            dataclasses.replace(
                _method(name, arrays, rank), scaled=scaled.get(name, "")
            )
            for name in arrays.credit
        ),
        influence=tuple(_level(name, arrays) for name in arrays.symbols),
    )


def _method(name: str, arrays: Arrays, rank: Callable) -> MethodFigures:
    # Contexts with credit for every candidate, and those with a value besides.
    exists, least = np.isfinite(arrays.returns[..., 0]), diagnostics.LEAST
    full = (np.isfinite(arrays.credit[name]) == exists).all(1)
    valued = full & np.isfinite(arrays.extra).any(1)

    def fidelity() -> Fidelity:
        if full.sum() >= least > valued.sum():
            raise ValueError(
                f"too few contexts ({valued.sum()}) have `extra` rewards, so nothing "
                "independent says what a context is worth; log those of further "
                "messages sampled from it."
            )
        kept = enough(valued)
        above = rank(valued.tobytes())
        return diagnostics.fidelity(kept.credit[name], kept.worth, kept.noise, above)

    def variance() -> Interval:
        return diagnostics.variance(enough(full).credit[name])

    def enough(kept: np.ndarray) -> Arrays:
        if full.sum() < least:
            raise ValueError(
                f"{name} credits all candidates in too few contexts ({full.sum()}); "
                f"intervals are over contexts, so it takes {least} or more."
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
        return diagnostics.fidelity(cut.credit[name], cut.worth, cut.noise)

    powers = (2**n for n in range(1, least.bit_length()))
    numbers = [*(number for number in powers if number < least), least]
    points = []
    for number in numbers if least > 2 else ():
        figure = measured if number == most else _or_why(lambda n=number: fewer(n))
        if not isinstance(figure, str):
            points.append(Point(number, figure.pearson, figure.ceiling))
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
        if kept.sum() < diagnostics.LEAST:
            raise ValueError(
                f"too few contexts ({kept.sum()}) have 2 or more `{name}` of each "
                f"candidate; intervals take {diagnostics.LEAST} or more, and of one "
                "each nothing says if they differ by candidate or by chance."
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
    if isinstance(fidelity, Mapping) and "rank_ceiling" not in fidelity:
        fidelity = {**fidelity, "ceiling": None, "rank_ceiling": None}
    curve = [point for point in curve if "pearson" in point]
    return MethodFigures(
        fidelity=_unpacked(Fidelity, fidelity),
        variance=variance if isinstance(variance, str) else _interval(variance),
        curve=tuple(_unpacked_point(**point) for point in curve),
        **rest,
    )


def _unpacked_point(continuations, pearson, ceiling) -> Point:
    return Point(continuations, _interval(pearson), _interval(ceiling))


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
