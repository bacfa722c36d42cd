"""A comparison for a reader: a page, a LaTeX table, pictures, a table in a terminal."""

import itertools
import math
import pathlib
from collections.abc import Mapping, Sequence

import rich.box
import rich.table
from matplotlib import ticker

from c3jax.compare import budget_tables
from c3jax.compare.budget_tables import Row, Table
from c3jax.core import budgets, files, metrics
from c3jax.core.stats import Interval
from c3jax.report import plots

PAGE, LATEX, PICTURES = "comparison.html", "comparison.tex", "curves"
_ACCURACIES = {"pass_at_1": "sampled", "greedy": "greedy"}


def write(
    directory: pathlib.Path, config: Mapping, records: Mapping[str, Mapping]
) -> list[Table]:
    """Makes `comparison.html`, `comparison.tex` and `curves/` of a comparison.

    Args:
        config: the comparison's page, as a dictionary.
        records: its finished runs by name, one at least; from
            `compare.comparison.distilled`.

    Returns:
        The tables, for `shown`.
    """
    # The tables, and the evaluations of each method's runs.
    labels, amounts = list(config["methods"]), budgets.asked(config["budgets"])
    runs = {label: [] for label in labels}
    for record in records.values():
        runs[record["label"]].append(record["evaluations"])
    reference = config["reference"]
    tables = budget_tables.tables(amounts, labels, reference, records.values())
    names = [f"{label}-{seed}" for label in labels for seed in config["seeds"]]

    # A picture for each accuracy against each cost.
    curves, place = {}, directory / PICTURES
    for y, x in itertools.product(_ACCURACIES, budgets.NAMES):
        title = f"{_ACCURACIES[y].capitalize()} accuracy against {_words(x)}"
        curves[title] = _picture(place, title, runs, x, y, amounts.get(x))

    # Settings that all runs share are read from the first.
    some = next(iter(records.values()))
    first = some["config"]
    text = plots.template(PAGE).render(
        config=config,
        tables=tables,
        headings=[_headings(table) for table in tables],
        cells=[table_cells(table) for table in tables],
        curves=curves,
        records=records,
        missing=[name for name in names if name not in records],
        starts=budget_tables.starts(records.values()),
        versions=sorted({str(record["versions"]) for record in records.values()}),
        devices=sorted({record["device"] for record in records.values()}),
        questions=some.get("questions") or first["evaluate"]["questions"],
        split=some.get("split", "test"),
        team=first["protocol"]["name"],
        settings=plots.flat(first),
        methods={n: plots.flat(own) for n, own in config["methods"].items()},
        words=_words,
    )
    files.write(directory / PAGE, text)
    files.write(
        directory / LATEX, latex(config["name"], tables, some.get("split", "test"))
    )
    return tables


def shown(table: Table) -> rich.table.Table:
    """A table for a `rich` console."""
    page = rich.table.Table(
        title=_title(table), title_justify="left", box=rich.box.SIMPLE_HEAD
    )
    for number, heading in enumerate(_headings(table)):
        page.add_column(heading, justify="right" if number else "left", no_wrap=True)
    for cells in table_cells(table):
        page.add_row(*cells)
    return page


def latex(name: str, tables: Sequence[Table], split: str = "test") -> str:
    """The tables as LaTeX, for a document that loads booktabs.

    Args:
        name: the comparison's name, for labels.
        split: of the questions that accuracies are on.
    """
    lines = ["% \\usepackage{booktabs}"]
    for table in tables:
        headings = _headings(table)
        caption = (
            f"{_title(table)}. Accuracy on {split} questions in percent, mean over "
            "seeds with Student's 95% interval; $p$ of paired t-tests, then adjusted "
            "by Holm."
        )
        lines += [
            "\\begin{table}",
            "\\centering",
            f"\\caption{{{_escaped(caption)}}}",
            f"\\label{{tab:{name}-{table.budget}}}".replace("_", "-"),
            f"\\begin{{tabular}}{{l{'r' * (len(headings) - 1)}}}",
            "\\toprule",
            " & ".join(map(_escaped, headings)) + r" \\",
            "\\midrule",
            *(" & ".join(map(_escaped, row)) + r" \\" for row in table_cells(table)),
            "\\bottomrule",
            "\\end{tabular}",
            "\\end{table}",
        ]
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.translate(_LATEX)


_LATEX = str.maketrans(
    {"_": r"\_", "%": r"\%", "±": r"$\pm$", "−": "$-$", "–": "--", "<": "$<$"}
)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _title(table: Table) -> str:
    return f"At {table.amount:,.0f} {_words(table.budget)}"


def _is_tested(table: Table) -> bool:
    """Whether a table has test accuracies beside those of the validation split."""
    return any(row.test is not None for row in table.rows)


def _headings(table: Table) -> list[str]:
    accuracies = ["sampled", f"less {table.reference}", "p", "Holm", "greedy"]
    accuracies += ["test"] if _is_tested(table) else []
    return ["method", "seeds", *accuracies, "steps", "calls", "tokens", "seconds"]


def table_cells(table: Table) -> list[list[str]]:
    """The rows of a table as text, the reference method marked."""
    tested = _is_tested(table)
    return [_row(row, row.label == table.reference, tested) for row in table.rows]


def _row(row: Row, is_reference: bool, is_tested: bool) -> list[str]:
    difference = "reference" if is_reference else "–"
    if row.difference is not None:
        difference = _points(row.difference, sign="+")
    test = [_points(row.test) if row.test else "–"] if is_tested else []
    costs = [row.steps, *(row.spent[name] for name in budgets.NAMES)]
    return [
        row.label,
        str(len(row.seeds)),
        _points(row.sampled),
        difference,
        _probability(row.p),
        _probability(row.holm),
        _points(row.greedy),
        *test,
        *(f"{cost:,.0f}" for cost in costs),
    ]


def _points(interval: Interval, sign: str = "") -> str:
    """Hundredths with half the width of the interval, if there is one."""
    mean = f"{100 * interval.mean:{sign}.1f}".replace("-", "−")
    half = 100 * (interval.high - interval.mean)
    return mean if math.isnan(half) else f"{mean} ± {half:.1f}"


def _probability(p: float) -> str:
    if math.isnan(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _picture(place, title, runs, x, y, budget) -> str:
    """Mean curves with their intervals, of methods by label; as files too."""
    place.mkdir(parents=True, exist_ok=True)
    inks = itertools.cycle(plots.SERIES)
    with plots.style(title):
        page, axes = plots.axes(12, 4.6)
        ends = []
        for (label, evaluations), ink in zip(runs.items(), inks, strict=False):
            if not evaluations:
                continue
            curve = budget_tables.curve(evaluations, x, y)
            axes.plot(curve.x, 100 * curve.mean, color=ink, marker="o", ms=2.5)
            low, high = 100 * curve.low, 100 * curve.high
            axes.fill_between(curve.x, low, high, color=ink, alpha=0.12, lw=0)
            ends.append((100 * curve.mean[-1], label, ink))
        if budget is not None:
            axes.axvline(budget, color=plots.SOFT, lw=1, ls=(0, (4, 3)))
        axes.set(xlabel=_words(x), ylim=(0, 102), xlim=(0, None))
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(decimals=0))
        plots.whole_ticks(axes.xaxis)

        # Names at the ends of the curves, moved apart.
        ends.sort()
        places = plots.apart([end[0] for end in ends], 5.5)
        for (value, label, ink), at in zip(ends, places, strict=True):
            plots.beside(axes, f"{label} {value:.1f}%", at, ink)

        # Files without a date, so that equal figures are equal files.
        for kind in ("svg", "png"):
            file = place / f"{_ACCURACIES[y]}-{x}.{kind}"
            facts = {"Date": None} if kind == "svg" else None
            page.savefig(file, bbox_inches="tight", dpi=160, metadata=facts)
        return plots.svg(page, title)


def lacking(table: Table) -> str:
    """The finished runs that a table lacks, in words; "" for none."""
    if not table.lacking:
        return ""
    names = ", ".join(table.lacking)
    return f"{_title(table)}: {names} ended before, at the limit of train.steps"


def told(tables: Sequence[Table], records: Mapping[str, Mapping]) -> str:
    """Notes for a reader of the tables, a line each."""
    lines = [line for line in map(lacking, tables) if line]
    seconds = sum(sum(r["seconds_by_phase"].values()) for r in records.values())
    lines.append(f"{len(records)} runs, {metrics.clock(seconds)} of computing")
    return "\n".join(lines)
