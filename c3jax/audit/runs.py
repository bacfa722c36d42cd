"""Audits a run: its newest checkpoint, on its own test questions."""

import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax

from c3jax.audit import buckets, collect, figures, methods, riding
from c3jax.audit.riding import Riding
from c3jax.core import files, signals
from c3jax.core.stats import Interval
from c3jax.train import checkpoint, loop, scoring, workdir
from c3jax.train import setup as setups

PICTURES = "audit"
BUCKETS, ABOUT = f"{PICTURES}/buckets.jsonl", f"{PICTURES}/about.json"


class About(NamedTuple):
    """What the figures of a run's audit are of.

    Attributes:
        step: of the checkpoint.
        plan: how much was sampled.
        spent: by "buckets", "riding" and each method, counts of `train.ledger.Spent`.
        riding: the team without each of its roles.
        refused: by role, why there is no team that has never heard of it.
    """

    step: int
    plan: Mapping
    spent: Mapping[str, Mapping[str, int]]
    riding: tuple[Riding, ...]
    refused: Mapping[str, str]


def audit(
    fields,
    directory: pathlib.Path,
    stop: Callable[[], bool] = lambda: False,
    devices: list | None = None,
) -> figures.Audit | None:
    """Makes `audit.json` and the files in `audit/` of a run, finished or not.

    Args:
        fields: `audit` of `c3jax.configs.audit`.
        directory: of the run.
        stop: asked now and then; what was collected until then is kept.
        devices: to run on; None for all there are.

    Returns:
        What was found; None if it was stopped.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    if jax.process_count() > 1:
        raise ValueError("an audit is one process; start it without --coordinator.")
    setup = setups.resolve(workdir.config(directory), devices)
    with workdir.held(directory):
        with checkpoint.Store(directory / "checkpoints") as store:
            state, record = store.restore(loop.abstract_state(setup))
        record = loop.Record.from_json(record)
        setup = setup.branched(setup.choice.at(record.seen, record.step))
        plan = methods.plan(fields, setup)
        asked = dataclasses.asdict(plan)
        told = json.dumps([record.step, asked]).encode()
        parts = directory / PICTURES / f"parts-{hashlib.sha256(told).hexdigest()[:8]}"
        parts.mkdir(parents=True, exist_ok=True)
        with scoring.started(setup) as scorer:
            found = collect.collect(setup, state, plan, parts, scorer, stop)
            if found is None:
                return None
            some, spent = found
            try:
                riders, refused, spent["riding"] = riding.measure(
                    setup, state.params, scorer, stop
                )
            except signals.Stopped:
                return None
        buckets.write(directory / BUCKETS, some)
        about = About(
            step=record.step,
            plan=asked,
            spent={name: dataclasses.asdict(cost) for name, cost in spent.items()},
            riding=[_told(each) for each in riders],
            refused=refused,
        )
        files.write(directory / ABOUT, json.dumps(about._asdict(), indent=1) + "\n")
        audited = figures.Audit(f"step {record.step}", figures.of(some))
        figures.write(directory, audited)
        shutil.rmtree(parts)
    return audited


def about(directory: pathlib.Path) -> About | None:
    """What the figures of a run's audit are of; None if it was not audited."""
    path = directory / ABOUT
    if not path.exists():
        return None
    fields = json.loads(path.read_text(encoding="utf-8"))
    riders = tuple(_read(**each) for each in fields.pop("riding"))
    return About(riding=riders, **fields)


def _told(each: Riding) -> dict:
    return {
        name: value._asdict() if isinstance(value, Interval) else value
        for name, value in each._asdict().items()
    }


def _read(role: str, how: str, **intervals) -> Riding:
    return Riding(role, how, **{n: Interval(**x) for n, x in intervals.items()})
