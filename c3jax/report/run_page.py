"""The page of a run: one self-contained HTML file, made from the run's files alone."""

import json
import pathlib

import numpy as np
from matplotlib import ticker

from c3jax.audit import certificate, figures
from c3jax.collect.evaluate import PREFIXES
from c3jax.core import files, metrics
from c3jax.data import kinds
from c3jax.report import audit_section, explorer, plots, run_audit
from c3jax.train import run_dir, summary

PAGE, PICTURES = "report.html", "pictures"
_INK = dict(sampled=plots.BLUE, greedy=plots.GREEN, other=plots.AXIS, bad=plots.RED)
_SCALES = {
    "step": "training steps",
    "total/evaluator_calls": "evaluator calls",
    "total/generated_tokens": "generated tokens",
    "total/seconds": "seconds",
}


def write(directory: pathlib.Path) -> pathlib.Path:
    """Makes `report.html` of a run, finished or not; returns its path.

    Its pictures are in `pictures/`, too, as PNG and SVG. If the run was audited, the
    figures are part of the page.

    Raises:
        ValueError: there is nothing to report yet.
    """
    # The log, the config and, if there are any, an audit and a replay.
    lines = metrics.read(directory)
    evaluations = summary.evaluations(lines)
    if not evaluations:
        raise ValueError(f"{directory} has no evaluation to report yet; train there.")
    about = json.loads((directory / run_dir.CONFIG).read_text())
    place, audited = directory / PICTURES, run_audit.about(directory)
    credit = None
    if audited:
        roles = figures.read(directory).roles
        credit = audit_section.section(roles, directory / run_audit.PICTURES)
    replayed = certificate.certified(directory)

    # A curve needs two evaluations; so does what changed on the test questions.
    first, last, split = evaluations[0], evaluations[-1], summary.watched(lines)
    seen = summary.evaluations(lines, split)
    text = plots.template(PAGE).render(
        about=about,
        directory=directory,
        settings=plots.flat(about["config"]),
        ends=[first, last] if len(evaluations) > 1 else evaluations,
        split=split,
        questions=seen[0].get(f"{PREFIXES[split]}questions"),
        spent=lines[-1],
        counted=lines[0].keys(),  # An older version may have begun, and counted less.
        places=_places(about["config"]),
        readings=summary.readings(last),
        emptied=summary.emptied(last),
        done=lines[-1]["step"],
        summary=run_dir.summary(directory),
        curves={
            name: _curves(lines, split, x, name, place)
            for x, name in _SCALES.items()
            if len(seen) > 1
        },
        pictures=_pictures(lines, place),
        phases=_phases(lines[-1]),
        words=_words(evaluations, seen, audited, replayed),
        audited=audited,
        credit=credit,
        certificate=replayed,
        forest=explorer.forest(directory),
    )
    files.write(directory / PAGE, text)
    return directory / PAGE


def _words(evaluations, seen, audited: run_audit.About | None, replayed) -> list[str]:
    """The page in a few sentences."""
    first, last = evaluations[0], evaluations[-1]

    def share(line, name):
        return f"{line[f'evaluate/{name}']:.1%}"

    # Accuracy, and what training changed.
    so_far = len(evaluations) == 1 and len(seen) > 1
    sentences = [
        f"{'Before training the team answered' if so_far else 'The team answers'} "
        f"{share(last, 'pass_at_1')} of new questions right when it samples, and "
        f"{share(last, 'greedy')} when it always takes the likeliest word."
    ]
    if so_far:
        start, end = (
            f"{line['validation/pass_at_1']:.1%}" for line in (seen[0], seen[-1])
        )
        since = f" at step {seen[0]['step']}" if seen[0]["step"] else ""
        sentences.append(
            "The test questions are read again at the end. On the validation questions "
            f"it went from {start}{since} to {end} so far, sampled."
        )
    if len(evaluations) > 1:
        calls = f"{last['total/evaluator_calls']:,} scored answers"
        change = last["evaluate/pass_at_1"] - first["evaluate/pass_at_1"]
        above = last["evaluate/pass_at_1_low"] > first["evaluate/pass_at_1_high"]
        below = last["evaluate/pass_at_1_high"] < first["evaluate/pass_at_1_low"]
        how = "better" if above else "worse" if below else "not surely different"
        sentences.append(
            f"Before training it was {share(first, 'pass_at_1')}, so after {calls} it "
            f"is {how} ({100 * change:+.1f} points)."
        )

    # Roles, credit and replay, where they were examined.
    if emptied := summary.emptied(last):
        shares = (f"{share(last, f'without {n}')} without the {n}'s" for n in emptied)
        sentences.append(f"With a message emptied it answers {', '.join(shares)}.")
    if audited:
        names = ", ".join(audited.plan["methods"])
        sentences.append(f"The credit of {names} is audited below.")
    if replayed:
        verdict = "could not all" if replayed.failures else "could all"
        sentences.append(f"Messages {verdict} be sampled again from disk.")
    return sentences


def _places(config: dict) -> list[str]:
    """Where mathematical answers are looked for, in order; [] for other answers."""
    task = kinds.TASKS.get(config["data"]["task"])
    return config["reward"]["fallback"] if task and task.reward == "math" else []


def _curves(lines, split: str, x: str, label: str, folder: pathlib.Path) -> str:
    """Accuracy on a split against a cost, with 95% bands."""
    # pass@k in grey, below the two that have intervals.
    start, evaluations = PREFIXES[split], summary.evaluations(lines, split)
    names = sorted(
        (int(n.removeprefix(f"{start}pass_at_")), n)
        for n in evaluations[-1]
        if n.removeprefix(f"{start}pass_at_").isdigit()
    )
    curves = [(n, f"pass@{k}", "other", "-") for k, n in names if k > 1]
    curves += [(f"{start}pass_at_1", "sampled", "sampled", "-")]
    curves += [(f"{start}greedy", "greedy", "greedy", "-")]
    with plots.style(label):
        page, axes = plots.axes(12, 4.2)
        at = [line[x] for line in evaluations]
        ends = []
        for name, text, ink, dash in curves:
            y = [100 * line[name] for line in evaluations]
            axes.plot(at, y, dash, color=_INK[ink], marker="o", ms=3, zorder=3)
            if ink != "other":
                low = [100 * line[f"{name}_low"] for line in evaluations]
                high = [100 * line[f"{name}_high"] for line in evaluations]
                axes.fill_between(at, low, high, color=_INK[ink], alpha=0.14, lw=0)
            ends.append((y[-1], text, _INK[ink]))

        # Names at the ends of the curves, moved apart.
        ends.sort()
        places = plots.apart([end[0] for end in ends], 5.5)
        for (y, text, ink), place in zip(ends, places, strict=True):
            plots.beside(axes, f"{text} {y:.1f}%", place, ink)
        axes.set(xlabel=label, ylim=(0, 102), xlim=(0, None))
        axes.yaxis.set_major_formatter(ticker.PercentFormatter(decimals=0))
        plots.whole_ticks(axes.xaxis)
        title = f"Accuracy on the {split} questions against {label}."
        return plots.saved(page, title, f"accuracy {label}".replace(" ", "-"), folder)


def _pictures(lines: list[dict], place: pathlib.Path) -> list[tuple[str, str]]:
    """(title, picture) of the metrics of training steps."""
    steps = [line | _pace(line) for line in lines if "reward" in line]
    if not steps:
        return []
    at = [line["step"] for line in steps]
    dot = "o" if len(steps) == 1 else ""  # One step makes no line.
    pictures = []
    for title, names in {
        "Reward while training, mean over all leaves": {"reward": "sampled"},
        "Messages cut at their limit, answers that could not be read": {
            "truncated_frac": "other",
            "malformed_frac": "bad",
        },
        "Gradient norm, before it is clipped": {"grad_norm": "greedy"},
        "Tokens a second of a step": {
            "generated_pace": "sampled",
            "trained_pace": "greedy",
        },
    }.items():
        with plots.style(title):
            page, axes = plots.axes(3.9, 2.3)
            for name, ink in names.items():
                # The values faintly, and their running mean.
                y = np.array([line[name] for line in steps])
                axes.plot(at, y, color=_INK[ink], lw=0.7, alpha=0.35)
                label = name.removesuffix("_frac").removesuffix("_pace")
                axes.plot(at, _smooth(y), marker=dot, color=_INK[ink], label=label)
            if len(names) > 1:
                axes.legend(frameon=False, fontsize=9)
            axes.set(xlabel="training steps", ylim=(0, None), xlim=(0, None))
            plots.whole_ticks(axes.xaxis)
            axes.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,g}"))
            name = next(iter(names)).replace("_", "-")
            pictures.append((title, plots.saved(page, title, name, place)))
    return pictures


def _pace(line: dict) -> dict[str, float]:
    """Tokens a second over all of a step."""
    seconds = sum(s for name, s in line.items() if name.startswith("seconds/"))
    kinds = ("generated", "trained")
    return {f"{kind}_pace": line[f"{kind}_tokens"] / seconds for kind in kinds}


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
