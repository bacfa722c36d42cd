"""The page of a run: one self-contained HTML file, made from the run's files alone."""

import json
import pathlib

import numpy as np
from matplotlib import ticker

from c3jax.audit import explorer, pictures
from c3jax.core import files, metrics
from c3jax.train import summary, workdir

PAGE = "report.html"
_INK = {
    "sampled": pictures.BLUE,
    "greedy": pictures.GREEN,
    "other": pictures.AXIS,
    "bad": pictures.RED,
}
_SCALES = {
    "step": "training steps",
    "total/evaluator_calls": "evaluator calls",
    "total/generated_tokens": "generated tokens",
    "total/seconds": "seconds",
}


def write(directory: pathlib.Path) -> pathlib.Path:
    """Makes `report.html` of a run, finished or not; returns its path.

    Raises:
        ValueError: there is nothing to report yet.
    """
    lines = metrics.read(directory)
    found = summary.evaluations(lines)
    if not found:
        raise ValueError(f"{directory} has no evaluation to report yet; train there.")
    about = json.loads((directory / workdir.CONFIG).read_text())
    text = pictures.template("report.html").render(
        about=about,
        settings=pictures.flat(about["config"]),
        first=found[0],
        last=found[-1],
        emptied=summary.emptied(found[-1]),
        done=lines[-1]["step"],
        summary=workdir.summary(directory),
        curves={name: _curves(found, x, name) for x, name in _SCALES.items()},
        pictures=_pictures(lines),
        phases=_phases(found[-1]),
        forest=explorer.forest(directory),
    )
    files.write(directory / PAGE, text)
    return directory / PAGE


def _curves(found: list[dict], x: str, label: str) -> str:
    """Accuracy over what it cost, with 95% bands."""
    names = sorted(
        (int(n.removeprefix("evaluate/pass_at_")), n)
        for n in found[-1]
        if n.removeprefix("evaluate/pass_at_").isdigit()
    )
    shown = [(n, f"pass@{k}", "other", "-") for k, n in names if k > 1]
    shown += [("evaluate/pass_at_1", "sampled", "sampled", "-")]
    shown += [("evaluate/greedy", "greedy", "greedy", "-")]
    with pictures.style(label):
        page, axes = pictures.axes(12, 4.2)
        at = [line[x] for line in found]
        ends = []
        for name, text, ink, dash in shown:
            y = [100 * line[name] for line in found]
            axes.plot(at, y, dash, color=_INK[ink], marker="o", ms=3, zorder=3)
            if ink != "other":
                low = [100 * line[f"{name}_low"] for line in found]
                high = [100 * line[f"{name}_high"] for line in found]
                axes.fill_between(at, low, high, color=_INK[ink], alpha=0.14, lw=0)
            ends.append((y[-1], text, _INK[ink]))
        for (y, text, ink), place in zip(
            sorted(ends), pictures.apart(sorted(e[0] for e in ends), 5.5), strict=True
        ):
            pictures.beside(axes, f"{text} {y:.1f}%", place, ink)
        axes.set(xlabel=label, ylim=(0, 102), xlim=(0, None))
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(decimals=0))
        axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
        return pictures.svg(page, f"Accuracy on the test questions against {label}.")


def _pictures(lines: list[dict]) -> list[tuple[str, str]]:
    """(title, picture) of what training itself shows."""
    steps = [line for line in lines if "reward" in line]
    if not steps:
        return []
    at = [line["step"] for line in steps]
    found = []
    for title, names in {
        "Reward while training, mean over all leaves": {"reward": "sampled"},
        "Messages cut at their limit, answers without a box": {
            "truncated_frac": "other",
            "malformed_frac": "bad",
        },
        "Gradient norm, before it is clipped": {"grad_norm": "greedy"},
    }.items():
        with pictures.style(title):
            page, axes = pictures.axes(3.9, 2.3)
            for name, ink in names.items():
                y = np.array([line[name] for line in steps])
                axes.plot(at, y, color=_INK[ink], lw=0.7, alpha=0.35)
                label = name.replace("_frac", "")
                axes.plot(at, _smooth(y), color=_INK[ink], label=label)
            if len(names) > 1:
                axes.legend(frameon=False, fontsize=9)
            axes.set(xlabel="training steps", ylim=(0, None), xlim=(0, None))
            found.append((title, pictures.svg(page, title)))
    return found


def _phases(line: dict) -> list[tuple[str, float]]:
    """(phase, seconds), longest first."""
    start = "total/seconds/"
    spent = [(n.removeprefix(start), s) for n, s in line.items() if n.startswith(start)]
    return sorted(spent, key=lambda pair: -pair[1])


def _smooth(y: np.ndarray, window: int = 15) -> np.ndarray:
    """Running mean over the last `window` values."""
    total = np.cumsum(np.insert(y, 0, 0.0))
    end = np.arange(1, len(y) + 1)
    begin = np.maximum(end - window, 0)
    return (total[end] - total[begin]) / (end - begin)
