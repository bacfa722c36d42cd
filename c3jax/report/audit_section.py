"""The figures of an audit for a reader: tables, files of pictures, part of a page."""

import pathlib
from collections.abc import Iterable, Sequence

import rich.box
import rich.table

from c3jax.audit.diagnostics import NOT_IDENTIFIABLE
from c3jax.audit.figures import RoleFigures
from c3jax.core.stats import Interval
from c3jax.report import audit_plots, plots, words
from c3jax.report.words import told

_METHODS = ("role", "method", "contexts", "linear correlation", "ceiling", "of it")
_METHODS += ("rank correlation", "ceiling", "of it", "square error", "variance")
_LEVELS = ("role", "seen in", "contexts", "influence, nats", "by chance", "beyond it")
_LEVELS += ("bias taken off", "by chance")


def section(
    roles: Sequence[RoleFigures], place: pathlib.Path | None = None
) -> dict[str, object]:
    """The arguments of the macro `section` of figures.html.

    Args:
        place: a directory for the pictures as PNG and SVG; None saves none.
    """
    return {
        "readings": [words.reading(role) for role in roles],
        "tables": tables(roles),
        "pictures": [
            (title, caption, plots.saved(draw(roles), title, name, place))
            for name, (title, caption, pick, draw) in audit_plots.PICTURES.items()
            if any(audit_plots.measured(part) for role in roles for part in pick(role))
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
        for method in role.methods:
            contexts = f"{method.contexts:,}"
            if method.valued != method.contexts:
                contexts += f" ({method.valued:,} with extra)"

            # Seven cells of fidelity, or a note.
            scaled = notes.mark(method.scaled)
            if isinstance(method.fidelity, str):
                cells = [notes.cell(method.fidelity), *("–",) * 6]
            else:
                linear, ceiling, rank, rank_ceiling, error = method.fidelity
                cells = [
                    *_of(linear, ceiling),
                    *_of(rank, rank_ceiling),
                    told(error) + scaled,
                ]

            variance = notes.cell(method.variance) or told(method.variance) + scaled
            name = words.printable(method.method)
            rows.append([_name(role), name, contexts, *cells, variance])
    return _table("Credit, method by method", _METHODS, rows, notes)


def _influence(roles: Sequence[RoleFigures]) -> dict:
    notes, rows = _Notes(), []
    for role in roles:
        for level in role.influence:
            cells = []
            for figure, width in ((level.plain, 3), (level.corrected, 2)):
                reason = notes.cell(figure)
                shown = [reason] if reason else [told(x) for x in figure if x]
                cells += [*shown, *("–",) * (width - len(shown))]
            rows.append([_name(role), level.symbols, f"{level.contexts:,}", *cells])
    return _table("Whether messages show in what follows", _LEVELS, rows, notes)


def _of(figure: Interval, ceiling: Interval | None) -> list[str]:
    """A correlation, its ceiling, and its share of that."""
    highest = "–" if ceiling is None else told(ceiling)
    return [told(figure), highest, words.share(figure, ceiling)]


def _table(title: str, headings: Sequence[str], rows: list, notes: "_Notes") -> dict:
    return {"title": title, "headings": headings, "rows": rows, "notes": notes.lines}


class _Notes:
    """Remarks under a table, each once, by number."""

    def __init__(self):
        self._remarks: list[str] = []

    def cell(self, found) -> str:
        """The number of the note on a refused figure; "" for a measured one."""
        if not isinstance(found, str):
            return ""
        if found.startswith(NOT_IDENTIFIABLE):
            return NOT_IDENTIFIABLE + self.mark(found)
        return words.NOT_MEASURED + self.mark(f"{words.NOT_MEASURED}: {found}")

    def mark(self, remark: str) -> str:
        """The number of a note, "" for none."""
        remark = words.printable(remark)
        if remark and remark not in self._remarks:
            self._remarks.append(remark)
        return f" [{self._remarks.index(remark) + 1}]" if remark else ""

    @property
    def lines(self) -> list[str]:
        return [f"[{n}] {text}" for n, text in enumerate(self._remarks, 1)]


def _name(role: RoleFigures) -> str:
    return words.printable(role.role) or "–"
