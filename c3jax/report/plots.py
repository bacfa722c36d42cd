"""The templates of pages, and the look of their pictures."""

import io
import pathlib
import warnings

import jinja2
import matplotlib as mpl
from matplotlib import figure, ticker

from c3jax.core import files, metrics
from c3jax.report import explorer

# A page gives each of these colours another value where the reader prefers the dark.
_VARIABLES = {
    "#5b6474": "--soft",
    "#9aa3b2": "--axis",
    "#e7eaf0": "--grid",
    "#3457d5": "--blue",
    "#12805c": "--up",
    "#c2402a": "--down",
    "#8445c9": "--violet",
    "#a86a12": "--amber",
    "#0d7f93": "--teal",
}
SOFT, AXIS, GRID, *SERIES = _VARIABLES
BLUE, GREEN, RED, *_ = SERIES


def template(name: str) -> jinja2.Template:
    """A page of this package, by the name of its file."""
    loader = jinja2.FileSystemLoader(pathlib.Path(__file__).parent)
    page = jinja2.Environment(
        loader=loader,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page.filters["percent"] = lambda x: f"{x:.1%}"
    page.filters["count"] = lambda n: f"{n:,}"
    page.filters["packed"] = explorer.packed
    page.filters["clock"] = metrics.clock
    return page.get_template(name)


def apart(places: list[float], gap: float) -> list[float]:
    """Ascending places moved until neighbours are `gap` apart, the topmost at most
    100."""
    moved = list(places)
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    limit = 100.0
    for i in reversed(range(len(moved))):
        moved[i] = min(moved[i], limit)
        limit = moved[i] - gap
    return moved


def beside(axes, text: str, y: float, ink: str) -> None:
    """Writes to the right of a picture, at a height in units of its axis."""
    axes.annotate(
        text,
        (1.01, y),
        xycoords=("axes fraction", "data"),
        color=ink,
        va="center",
        annotation_clip=False,
    )


def whole_ticks(axis) -> None:
    """Has an axis, of steps or costs, whole numbers as ticks, each of them once."""
    places = ticker.MaxNLocator(
        "auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1
    )
    axis.set_major_locator(places)
    axis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))


def style(salt: str):
    """Type as in the page, and names inside the picture that are its own."""
    return mpl.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": salt,
            "text.parse_math": False,  # a dollar in somebody's name is a dollar
            "font.family": "sans-serif",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": AXIS,
            "axes.labelcolor": SOFT,
            "xtick.color": SOFT,
            "ytick.color": SOFT,
            "axes.grid": True,
            "axes.axisbelow": True,
            "grid.color": GRID,
            "grid.linewidth": 0.8,
            "lines.linewidth": 1.8,
        }
    )


def axes(width: float, height: float):
    """A figure and its axes; inches, cut to the drawing when it is saved."""
    page = figure.Figure(figsize=(width, height))
    return page, page.add_subplot()


def svg(page: figure.Figure, title: str, path: pathlib.Path | None = None) -> str:
    """The picture as an element of the page, without the file's preamble.

    Args:
        title: the text for readers who do not see it.
        path: a file for the picture, with a preamble; None for no file.
    """
    out = io.StringIO()
    page.savefig(
        out,
        format="svg",
        transparent=True,
        bbox_inches="tight",
        pad_inches=0.05,
        metadata={"Date": None},
    )
    text = out.getvalue()
    if path is not None:
        files.write(path, text)

    # Colours of the page, and a name for readers who do not see it.
    text = text[text.index("<svg") :]
    for colour, variable in _VARIABLES.items():
        text = text.replace(f": {colour}", f": var({variable})")
    return text.replace("<svg", f'<svg role="img" aria-label="{title}"', 1)


def saved(
    page: figure.Figure, title: str, name: str, place: pathlib.Path | None
) -> str:
    """The picture as an element of a page, and as PNG and SVG for a paper.

    Args:
        title: the text for readers who do not see it.
        name: the files' name; it also makes the picture's element ids unique.
        place: a directory for the files; None writes none.
    """
    with style(name), warnings.catch_warnings():
        # A file has a box for a letter that its font lacks; a page has others' fonts.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        if place is None:
            return svg(page, title)
        place.mkdir(parents=True, exist_ok=True)
        page.savefig(place / f"{name}.png", bbox_inches="tight", dpi=200)
        return svg(page, title, place / f"{name}.svg")


def flat(section: dict, prefix: str = "") -> list[tuple[str, object]]:
    """(key, value) of every leaf of a config."""
    leaves = []
    for key, value in section.items():
        if isinstance(value, dict):
            leaves += flat(value, f"{prefix}{key}.")
        else:
            leaves.append((prefix + key, value))
    return leaves
