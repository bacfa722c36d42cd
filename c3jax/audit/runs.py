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
from c3jax.train import admission, checkpoint, loop, scoring, workdir
from c3jax.train import setup as setups
from c3jax.train.record import Record

PICTURES = "audit"
BUCKETS, ABOUT = f"{PICTURES}/buckets.jsonl", f"{PICTURES}/about.json"


class About(NamedTuple):
    """The circumstances of a run's audit.

    Attributes:
        step: training steps of the audited checkpoint.
        plan: how much was sampled.
        spent: counts of `train.ledger.Spent`, by "buckets", "riding" and each method.
        riding: the team without each of its roles.
        refused: reasons why a role cannot be removed, by role.
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
        fields: the section `audit` of `c3jax.configs.audit`.
        directory: the run's directory.
        stop: asked now and then; parts collected until then are kept.
        devices: the devices to run on; None for all.

    Returns:
        The figures; None if it was stopped.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    if jax.process_count() > 1:
        raise ValueError("an audit is one process; start it without --coordinator.")
    setup = setups.resolve(workdir.config(directory), devices)
    with workdir.held(directory):
        with checkpoint.Store(directory / "checkpoints") as store:
            record = Record.from_json(store.record())
            setup = setup.branched(setup.choice.at(record.seen, record.step))
            plan = methods.plan(fields, setup)
            admission.admit(setup, collect.phases(setup, plan))
            state, _ = store.restore(loop.abstract_state(setup), record.step)
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
    """The circumstances of a run's audit; None if it was not audited."""
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
