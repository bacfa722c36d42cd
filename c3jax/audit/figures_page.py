"""The figures of an audit for a reader: pictures, tables, the section of a page."""

import math
import pathlib
import warnings
from collections.abc import Callable, Iterable, Sequence

import rich.box
import rich.table
from matplotlib import figure, ticker

from c3jax.audit import figures, pictures
from c3jax.audit.figures import RoleFigures
from c3jax.core.stats import Interval

# Inches: of a picture, of a row in it.
_WIDTH, _ROW = 5.6, 0.3
_NAME = 26  # letters of a name that are shown in a picture
_NOT = "not measured"
_METHODS = (
    *("role", "method", "contexts", "rank correlation", "ceiling", "of it"),
    *("linear correlation", "square error", "variance"),
)
_LEVELS = (
    *("role", "seen in", "contexts", "influence, nats", "by chance"),
    *("bias taken off", "by chance"),
)


def section(
    roles: Sequence[RoleFigures], place: pathlib.Path | None = None
) -> dict[str, object]:
    """What the macro `section` of figures.html shows.

    Args:
        roles: one or more.
        place: where pictures are saved as PNG and SVG, too; nowhere if None.
    """
    return {
        "readings": [figures.reading(role) for role in roles],
        "tables": tables(roles),
        "pictures": [
            (title, caption, _saved(draw(roles), title, name, place))
            for name, (title, caption, pick, draw) in _PICTURES.items()
            if any(_measured(each) for role in roles for each in pick(role))
        ],
    }


def tables(roles: Sequence[RoleFigures]) -> list[dict]:
    """Two tables, of methods and of influence: headings, rows of cells and notes.

    A note says why a figure is not measured; cells have its number.
    """
    return [_methods(roles), _influence(roles)]


def shown(table: dict) -> Iterable:
    """A table and its notes for a `rich` console."""
    page = rich.table.Table(
        title=table["title"], title_justify="left", box=rich.box.SIMPLE_HEAD
    )
    for number, heading in enumerate(table["headings"]):
        page.add_column(heading, justify="right" if number > 1 else "left")
    for row in table["rows"]:
        page.add_row(*map(rich.markup.escape, row))
    yield page
    for note in table["notes"]:
        yield rich.markup.escape(note)


def _methods(roles: Sequence[RoleFigures]) -> dict:
    notes, rows = _Notes(), []
    for role in roles:
        for each in role.methods:
            counted = f"{each.contexts:,}"
            if each.valued != each.contexts:
                counted += f" ({each.valued:,} with extra)"
            if isinstance(each.fidelity, str):
                cells = [notes.cell(each.fidelity), *("–",) * 4]
            else:
                rank, linear, error, ceiling = each.fidelity
                above = "–" if ceiling is None else _told(ceiling)
                share = "–"
                if _bounds(ceiling):
                    share = _minus(f"{rank.mean / ceiling.mean:.0%}")
                cells = [_told(rank), above, share, _told(linear), _told(error)]
            spread = notes.cell(each.variance) or _told(each.variance)
            rows.append(
                [_name(role), figures.printable(each.method), counted, *cells, spread]
            )
    return _table("Credit, method by method", _METHODS, rows, notes)


def _influence(roles: Sequence[RoleFigures]) -> dict:
    notes, rows = _Notes(), []
    for role in roles:
        for level in role.influence:
            cells = []
            for found in (level.plain, level.corrected):
                reason = notes.cell(found)
                cells += [reason, "–"] if reason else [_told(each) for each in found]
            rows.append([_name(role), level.symbols, f"{level.contexts:,}", *cells])
    return _table("Whether messages show in what follows", _LEVELS, rows, notes)


def _table(title: str, headings: Sequence[str], rows: list, notes: "_Notes") -> dict:
    return {"title": title, "headings": headings, "rows": rows, "notes": notes.lines}


class _Notes:
    """Reasons under a table, each once, by number."""

    def __init__(self):
        self._reasons: list[str] = []

    def cell(self, found) -> str:
        """What stands for a figure that was refused; "" for one that was not."""
        if not isinstance(found, str):
            return ""
        if found not in self._reasons:
            self._reasons.append(found)
        return f"{_NOT} [{self._reasons.index(found) + 1}]"

    @property
    def lines(self) -> list[str]:
        return [f"[{n}] {_NOT}: {text}" for n, text in enumerate(self._reasons, 1)]


def _told(interval: Interval) -> str:
    low, high = _number(interval, interval.low), _number(interval, interval.high)
    bounds = "" if math.isnan(interval.low) else f" [{low}, {high}]"
    return _number(interval) + bounds


def _number(interval: Interval, value: float | None = None) -> str:
    """The mean, or another value, to the first digit of the interval's width."""
    scale = interval.high - interval.low
    scale = scale if scale > 0 else abs(interval.mean) / 10
    places = max(2, min(6, -math.floor(math.log10(scale)))) if scale > 0 else 2
    return _minus(f"{interval.mean if value is None else value:z.{places}f}")


def _minus(number: str) -> str:
    return number.replace("-", "−")


def _name(role: RoleFigures) -> str:
    return figures.printable(role.role) or "–"


def _bounds(ceiling: Interval | None) -> bool:
    """Whether there is a ceiling that is surely more than 0."""
    return ceiling is not None and ceiling.low > 0


def _measured(found) -> bool:
    """Whether there is something to draw: no reason why not, no curve of no points."""
    return not isinstance(found, str) and found != ()


def _saved(
    page: figure.Figure, title: str, name: str, place: pathlib.Path | None
) -> str:
    """The picture as an element of a page; as files too."""
    with pictures.style(name), warnings.catch_warnings():
        # A file has a box for a letter that its font lacks; a page has others' fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if place is not None:
            place.mkdir(parents=True, exist_ok=True)
            for kind in ("svg", "png"):
                facts = {"Date": None} if kind == "svg" else None
                page.savefig(
                    place / f"{name}.{kind}",
                    bbox_inches="tight",
                    dpi=200,
                    metadata=facts,
                )
        return pictures.svg(page, title)


def fidelity(roles: Sequence[RoleFigures]) -> figure.Figure:
    """Rank correlations with their intervals, and what noise allows, in grey."""

    def draw(axes, y, ink, found):
        if isinstance(found, str):
            return _NOT
        if found.ceiling is not None:
            _reference(axes, y, found.ceiling)
        _dot(axes, y, found.spearman, ink)
        above = f" of {found.ceiling.mean:.2f}" if _bounds(found.ceiling) else ""
        return _minus(f"{found.spearman.mean:z.2f}") + above

    page, axes = _by_method(roles, lambda each: each.fidelity, draw)
    low = min(0.0, axes.dataLim.x0)
    axes.set(xlim=(low * 1.05, max(1.0, axes.dataLim.x1)))
    axes.axvline(0, color=pictures.AXIS, lw=0.8, zorder=1)
    axes.set_xlabel("rank correlation with what messages are worth (grey: ceiling)")
    return page


def variance(roles: Sequence[RoleFigures]) -> figure.Figure:
    """Within-context variances with their intervals."""

    def draw(axes, y, ink, found):
        if isinstance(found, str):
            return _NOT
        axes.barh(y, found.mean, 0.5, color=ink, alpha=0.25, lw=0)
        _dot(axes, y, found, ink)
        return _number(found)

    page, axes = _by_method(roles, lambda each: each.variance, draw)
    axes.set(xlim=(0, None), xlabel="variance of credit within a context")
    return page


def influence(roles: Sequence[RoleFigures]) -> figure.Figure:
    """Influence with its interval, and what chance alone shows, in grey."""
    rows = [
        (
            _heading(role, roles),
            [
                (level.symbols + suffix, ink, found)
                for level in role.influence
                for suffix, ink, found in (
                    ("", pictures.SOFT, level.plain),
                    (", bias off", pictures.BLUE, level.corrected),
                )
                if _measured(found)
            ],
        )
        for role in roles
    ]

    def draw(axes, y, ink, found):
        _reference(axes, y, found.null)
        _dot(axes, y, found.value, ink)
        return f"{_number(found.value)}, chance {_number(found.null)}"

    page, axes = _rows(rows, draw)
    axes.set(xlim=(min(0.0, axes.dataLim.x0) * 1.05, None))
    axes.axvline(0, color=pictures.AXIS, lw=0.8, zorder=1)
    axes.set_xlabel("mutual information, nats (grey: by chance)")
    return page


def continuations(roles: Sequence[RoleFigures]) -> figure.Figure:
    """Rank correlations against continuations, with what noise allows, in grey."""
    inks = _inks(roles)
    drawn = [role for role in roles if any(each.curve for each in role.methods)]
    with pictures.style("continuations"):
        size = (_WIDTH, 0.4 + 2.1 * len(drawn))
        page = figure.Figure(figsize=size, layout="constrained")
        panels = page.subplots(len(drawn), squeeze=False, sharex=True)[:, 0]
        for role, axes in zip(drawn, panels, strict=True):
            ends, seen = [], []
            for each in role.methods:
                if not each.curve:
                    continue
                at = [point.continuations for point in each.curve]
                ink = inks[each.method]
                _band(axes, at, [point.spearman for point in each.curve], ink, "-")
                ends.append((each.curve[-1].spearman.mean, _short(each.method), ink))
                above = [point.ceiling for point in each.curve]
                if None not in above and above not in seen:
                    seen.append(above)
                    _band(axes, at, above, pictures.SOFT, (0, (4, 3)))
                    ends.append((above[-1].mean, "ceiling", pictures.SOFT))
            axes.set(title="", ylabel=_short(role.role) or "rank correlation")
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:.0f}"))
            axes.xaxis.set_minor_locator(ticker.NullLocator())
            axes.set_ylim(min(0, axes.dataLim.y0), min(1, axes.dataLim.y1 * 1.15))
            ends.sort()
            low, high = axes.get_ylim()
            unit = (high - low) / 100
            places = pictures.apart([(end[0] - low) / unit for end in ends], 11)
            for (_, label, ink), place in zip(ends, places, strict=True):
                pictures.beside(axes, label, low + unit * place, ink)
        panels[-1].set_xlabel("continuations of each message")
    return page


def _by_method(
    roles: Sequence[RoleFigures], pick: Callable, draw: Callable
) -> tuple[figure.Figure, object]:
    inks = _inks(roles)
    rows = [
        (
            _heading(role, roles),
            [(m.method, inks[m.method], pick(m)) for m in role.methods],
        )
        for role in roles
    ]
    return _rows(rows, draw)


def _rows(rows: Sequence[tuple[str, list]], draw: Callable):
    """A picture with a row a figure, under the names of roles.

    Args:
        rows: per role its name, and (label, ink, figure) of its rows.
        draw: of axes, height, ink and figure; returns what is written beside it.
    """
    # A role without a name, or without methods, has no heading of its own.
    count = sum(len(some) + bool(name and some) for name, some in rows)
    with pictures.style("rows"):
        size = (_WIDTH, 0.65 + _ROW * count)
        page = figure.Figure(figsize=size, layout="constrained")
        axes = page.add_subplot()
        labels = []
        for name, some in rows:
            if name and some:
                labels.append((name, {"weight": "bold", "color": "black"}))
            for label, ink, found in some:
                beside = draw(axes, len(labels), ink, found)
                pictures.beside(axes, beside, len(labels), pictures.SOFT)
                labels.append((_short(label), {}))
        axes.set_yticks(range(len(labels)), [text for text, _ in labels])
        for tick, (_, look) in zip(axes.get_yticklabels(), labels, strict=True):
            tick.set(**look)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
    return page, axes


def _reference(axes, y: float, interval: Interval) -> None:
    """What a figure is to be held against."""
    low, high = interval.low, interval.high
    axes.barh(y, high - low, 0.72, low, color=pictures.AXIS, alpha=0.3, lw=0)
    axes.plot([interval.mean] * 2, [y - 0.36, y + 0.36], color=pictures.SOFT, lw=1.6)


def _dot(axes, y: float, interval: Interval, ink: str) -> None:
    axes.plot([interval.low, interval.high], [y, y], color=ink, lw=2.2, zorder=3)
    axes.plot([interval.mean], [y], "o", color=ink, ms=5.5, zorder=4)


def _band(axes, at: list[int], some: list[Interval], ink: str, dash) -> None:
    mean, low, high = zip(*some, strict=True)
    axes.plot(at, mean, color=ink, marker="o", ms=3.5, ls=dash, zorder=3)
    axes.fill_between(at, low, high, color=ink, alpha=0.13, lw=0)


def _heading(role: RoleFigures, roles: Sequence[RoleFigures]) -> str:
    """A role's name above its rows; "" for the only one, if it has no name."""
    return _short(role.role) or ("–" if len(roles) > 1 else "")


def _inks(roles: Sequence[RoleFigures]) -> dict[str, str]:
    """A colour for each method, the same in all pictures."""
    names = dict.fromkeys(each.method for role in roles for each in role.methods)
    return {n: pictures.SERIES[i % len(pictures.SERIES)] for i, n in enumerate(names)}


def _short(name: str) -> str:
    """A name as a picture has room for."""
    name = figures.printable(name)
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"


# Per file: title, caption, what of a role is in it, and how it is drawn.
_PICTURES = {
    "fidelity": (
        "Fidelity",
        "Dot and line: how far the ranking by credit agrees with the ranking by what "
        "messages turned out to be worth. Grey: the most that the noise of that worth "
        "allows anybody.",
        lambda role: [each.fidelity for each in role.methods],
        fidelity,
    ),
    "variance": (
        "Variance",
        "How far credit differs between messages of one context, in squared reward "
        "units. At equal cost, less means less noise, if fidelity is no worse.",
        lambda role: [each.variance for each in role.methods],
        variance,
    ),
    "influence": (
        "Influence",
        "How much what follows tells of which message was sent. Grey: what is left of "
        "it where replies are shuffled, so chance alone.",
        lambda role: [level.corrected for level in role.influence],
        influence,
    ),
    "continuations": (
        "Fidelity and the number of continuations",
        "With fewer continuations the worth of a message is noisier, so the same "
        "credit agrees less with it. Dashed: the ceiling.",
        lambda role: [each.curve for each in role.methods],
        continuations,
    ),
}
