"""Pictures of an audit's figures, good enough for a paper."""

from collections.abc import Callable, Sequence

from matplotlib import figure, ticker

from c3jax.audit.figures import RoleFigures
from c3jax.core.stats import Interval
from c3jax.report import plots, words

# Inches: the width of a picture, the height of a row in it.
_WIDTH, _ROW = 5.6, 0.3
_NAME = 26  # the most letters of a name that are shown


def measured(found) -> bool:
    """Whether there is something to draw: a figure, and a curve with points."""
    return not isinstance(found, str) and found != ()


def fidelity(roles: Sequence[RoleFigures]) -> figure.Figure:
    """Correlations with their intervals, and their ceilings in grey."""

    def draw(axes, y, ink, found):
        if isinstance(found, str):
            return words.NOT_MEASURED
        if found.ceiling is not None:
            _reference(axes, y, found.ceiling)
        _dot(axes, y, found.pearson, ink)
        above = f" of {found.ceiling.mean:.2f}" if words.bounds(found.ceiling) else ""
        return words.minus(f"{found.pearson.mean:z.2f}") + above

    page, axes = _by_method(roles, lambda method: method.fidelity, draw)
    low = min(0.0, axes.dataLim.x0)
    axes.set(xlim=(low * 1.05, max(1.0, axes.dataLim.x1)))
    axes.axvline(0, color=plots.AXIS, lw=0.8, zorder=1)
    axes.set_xlabel("correlation with what messages are worth (grey: ceiling)")
    return page


def variance(roles: Sequence[RoleFigures]) -> figure.Figure:
    """Within-context variances with their intervals."""

    def draw(axes, y, ink, found):
        if isinstance(found, str):
            return words.NOT_MEASURED
        axes.barh(y, found.mean, 0.5, color=ink, alpha=0.25, lw=0)
        _dot(axes, y, found, ink)
        return words.number(found)

    page, axes = _by_method(roles, lambda method: method.variance, draw)
    axes.set(xlim=(0, None), xlabel="variance of credit within a context")
    return page


def influence(roles: Sequence[RoleFigures]) -> figure.Figure:
    """Influence with its interval, and the influence by chance in grey."""
    # Two rows for each kind of text.
    rows = [
        (
            _heading(role, roles),
            [
                (level.symbols + suffix, ink, found)
                for level in role.influence
                for suffix, ink, found in (
                    ("", plots.SOFT, level.plain),
                    (", bias off", plots.BLUE, level.corrected),
                )
                if measured(found)
            ],
        )
        for role in roles
    ]

    def draw(axes, y, ink, found):
        _reference(axes, y, found.null)
        _dot(axes, y, found.value, ink)
        return f"{words.number(found.value)}, chance {words.number(found.null)}"

    page, axes = _rows(rows, draw)
    axes.set(xlim=(min(0.0, axes.dataLim.x0) * 1.05, None))
    axes.axvline(0, color=plots.AXIS, lw=0.8, zorder=1)
    axes.set_xlabel("mutual information, nats (grey: by chance)")
    return page


def continuations(roles: Sequence[RoleFigures]) -> figure.Figure:
    """Correlations against continuations, with their ceilings in grey."""
    inks = _inks(roles)
    drawn = [role for role in roles if any(method.curve for method in role.methods)]
    with plots.style("continuations"):
        size = (_WIDTH, 0.4 + 2.1 * len(drawn))
        page = figure.Figure(figsize=size, layout="constrained")
        panels = page.subplots(len(drawn), squeeze=False, sharex=True)[:, 0]
        for role, axes in zip(drawn, panels, strict=True):
            # A curve a method; methods of the same messages share a ceiling.
            ends, ceilings = [], []
            for method in role.methods:
                if not method.curve:
                    continue
                at = [point.continuations for point in method.curve]
                ink = inks[method.method]
                _band(axes, at, [point.pearson for point in method.curve], ink, "-")
                end = method.curve[-1].pearson.mean
                ends.append((end, _short(method.method), ink))
                ceiling = [point.ceiling for point in method.curve]
                if None not in ceiling and ceiling not in ceilings:
                    ceilings.append(ceiling)
                    _band(axes, at, ceiling, plots.SOFT, (0, (4, 3)))
                    ends.append((ceiling[-1].mean, "ceiling", plots.SOFT))

            axes.set_ylabel(_short(role.role) or "correlation")
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:.0f}"))
            axes.xaxis.set_minor_locator(ticker.NullLocator())
            axes.set_ylim(min(0, axes.dataLim.y0), min(1, axes.dataLim.y1 * 1.15))

            # Names at the ends of the curves, moved apart.
            ends.sort()
            low, high = axes.get_ylim()
            unit, gap = (high - low) / 100, min(11, 100 / len(ends))
            places = plots.apart([(end[0] - low) / unit for end in ends], gap)
            for (_, label, ink), place in zip(ends, places, strict=True):
                plots.beside(axes, label, low + unit * place, ink)
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
        draw: (axes, height, ink, figure) -> the text beside the row.
    """
    # A role without a name, or without methods, has no heading of its own.
    count = sum(len(own) + bool(name and own) for name, own in rows)
    with plots.style("rows"):
        size = (_WIDTH, 0.65 + _ROW * count)
        page = figure.Figure(figsize=size, layout="constrained")
        axes = page.add_subplot()
        labels = []
        for name, own in rows:
            if name and own:
                labels.append((name, {"weight": "bold", "color": "black"}))
            for label, ink, found in own:
                beside = draw(axes, len(labels), ink, found)
                plots.beside(axes, beside, len(labels), plots.SOFT)
                labels.append((_short(label), {}))

        # Names to the left, roles in bold.
        axes.set_yticks(range(len(labels)), [text for text, _ in labels])
        for tick, (_, look) in zip(axes.get_yticklabels(), labels, strict=True):
            tick.set(**look)
        axes.tick_params(axis="y", length=0)
        axes.grid(visible=False, axis="y")
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.spines["left"].set_visible(False)
    return page, axes


def _reference(axes, y: float, interval: Interval) -> None:
    """The reference that a figure is compared with."""
    low, high = interval.low, interval.high
    axes.barh(y, high - low, 0.72, low, color=plots.AXIS, alpha=0.3, lw=0)
    axes.plot([interval.mean] * 2, [y - 0.36, y + 0.36], color=plots.SOFT, lw=1.6)


def _dot(axes, y: float, interval: Interval, ink: str) -> None:
    """A mean as a dot on the line of its interval."""
    axes.plot([interval.low, interval.high], [y, y], color=ink, lw=2.2, zorder=3)
    axes.plot([interval.mean], [y], "o", color=ink, ms=5.5, zorder=4)


def _band(axes, at: list[int], intervals: list[Interval], ink: str, dash) -> None:
    """A curve of means with the band of its intervals."""
    mean, low, high = zip(*intervals, strict=True)
    axes.plot(at, mean, color=ink, marker="o", ms=3.5, ls=dash, zorder=3)
    axes.fill_between(at, low, high, color=ink, alpha=0.13, lw=0)


def _heading(role: RoleFigures, roles: Sequence[RoleFigures]) -> str:
    """A role's name above its rows; "" for the only one, if it has no name."""
    return _short(role.role) or ("–" if len(roles) > 1 else "")


def _inks(roles: Sequence[RoleFigures]) -> dict[str, str]:
    """A colour for each method, the same in all pictures."""
    names = dict.fromkeys(method.method for role in roles for method in role.methods)
    return {n: plots.SERIES[i % len(plots.SERIES)] for i, n in enumerate(names)}


def _short(name: str) -> str:
    """A name as a picture has room for."""
    name = words.printable(name)
    return name if len(name) <= _NAME else name[: _NAME - 1] + "…"


# Per file: title, caption, the figures of a role in it, and the function that draws it.
PICTURES = {
    "fidelity": (
        "Fidelity",
        "Dot and line: the correlation of credit with the measured worth of messages. "
        "Grey: what the noise of that worth leaves of perfect credit's.",
        lambda role: [method.fidelity for method in role.methods],
        fidelity,
    ),
    "variance": (
        "Variance",
        "How far credit differs between messages of one context, in squared reward "
        "units. At equal cost, less means less noise, if fidelity is no worse; credit "
        "in other units, like z-scores, does not compare.",
        lambda role: [method.variance for method in role.methods],
        variance,
    ),
    "influence": (
        "Influence",
        "How much the following texts tell of which message was sent. Grey: the same "
        "with replies shuffled, so chance alone.",
        lambda role: [level.corrected for level in role.influence],
        influence,
    ),
    "continuations": (
        "Fidelity and the number of continuations",
        "With fewer continuations the worth of a message is noisier, so the same "
        "credit agrees less with it. Dashed: the ceiling.",
        lambda role: [method.curve for method in role.methods],
        continuations,
    ),
}
