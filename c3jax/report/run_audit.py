"""Audits a run: its newest checkpoint, on its own test questions."""

import dataclasses
import hashlib
import json
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax

from c3jax.audit import buckets, figures, methods, role_ablation, run_buckets
from c3jax.audit.role_ablation import RoleAblation
from c3jax.collect import scorers
from c3jax.core import checkpoint, signals
from c3jax.core.stats import Interval
from c3jax.learn import training
from c3jax.setup import experiment
from c3jax.train import admission, run_dir
from c3jax.train.record import Record

PICTURES = "audit"
BUCKETS, _ABOUT = f"{PICTURES}/buckets.jsonl", f"{PICTURES}/about.json"
# The key of role ablations in the file, also of their cost.
_ABLATIONS = "riding"


class About(NamedTuple):
    """The circumstances of a run's audit.

    Attributes:
        step: training steps of the audited checkpoint.
        plan: how much was sampled.
        spent: counts of `core.ledger.Spent`, by "buckets", "riding" (the role
            ablations) and each method.
        role_ablations: the team without each of its roles.
        refused: reasons why a role cannot be removed, by role.
    """

    step: int
    plan: Mapping
    spent: Mapping[str, Mapping[str, int]]
    role_ablations: tuple[RoleAblation, ...]
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
        stop: asked every few tokens; parts collected until then are kept.
        devices: the devices to run on; None for all.

    Returns:
        The figures; None if it was stopped.

    Raises:
        ValueError: what came, what was wanted, what to change.
    """
    if jax.process_count() > 1:
        raise ValueError("an audit is one process; start it without --coordinator.")
    setup = experiment.resolve(run_dir.config(directory), devices)
    with run_dir.lock(directory):
        # The newest checkpoint, if an audit fits beside it.
        with checkpoint.Store(directory / "checkpoints") as store:
            record = Record.from_json(store.record())
            setup = setup.branched(setup.schedule.at(record.seen, record.step))
            plan = methods.plan(fields, setup)
            admission.admit(setup, run_buckets.phases(setup, plan))
            state, _ = store.restore(training.abstract_state(setup), record.step)

        # Parts belong to this checkpoint and plan alone.
        sizes = dataclasses.asdict(plan)
        key = json.dumps([record.step, sizes]).encode()
        parts = directory / PICTURES / f"parts-{hashlib.sha256(key).hexdigest()[:8]}"
        parts.mkdir(parents=True, exist_ok=True)
        with scorers.started(setup) as scorer:
            collected = run_buckets.collect(setup, state, plan, parts, scorer, stop)
            if collected is None:
                return None
            contexts, spent = collected
            try:
                ablations, refused, spent[_ABLATIONS] = role_ablation.measure(
                    setup, state.params, scorer, stop
                )
            except signals.Stopped:
                return None

        # All files at once, then the parts go.
        buckets.write(directory / BUCKETS, contexts)
        page = {
            "step": record.step,
            "plan": sizes,
            "spent": {name: dataclasses.asdict(cost) for name, cost in spent.items()},
            _ABLATIONS: [_packed(ablation) for ablation in ablations],
            "refused": refused,
        }
        setups = {n: methods.method(setup, n, plan.candidates) for n in plan.methods}
        scaled = {name: methods.scaled(own) for name, own in setups.items()}
        roles = figures.of(contexts, scaled)
        audited = figures.Audit(f"step {record.step}", roles, page)
        figures.write(directory, audited)
        shutil.rmtree(parts)
    return audited


def about(directory: pathlib.Path) -> About | None:
    """The circumstances of a run's audit; None if it was not audited."""
    if not (directory / figures.FILE).exists():
        return None
    fields, old = figures.read(directory).run, directory / _ABOUT
    if fields is None and old.exists():  # From before `audit.json` had these.
        fields = json.loads(old.read_text(encoding="utf-8"))
    if fields is None:
        return None
    fields = dict(fields)
    ablations = tuple(_unpacked(**page) for page in fields.pop(_ABLATIONS))
    return About(role_ablations=ablations, **fields)


def _packed(ablation: RoleAblation) -> dict:
    return {
        name: value._asdict() if isinstance(value, Interval) else value
        for name, value in ablation._asdict().items()
    }


def _unpacked(role: str, how: str, **intervals) -> RoleAblation:
    return RoleAblation(role, how, **{n: Interval(**x) for n, x in intervals.items()})
