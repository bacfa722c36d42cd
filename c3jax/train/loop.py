"""The story of a run: sample trees, score the leaves, assign credit, learn."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from c3jax.collect import evaluate, rollouts, scorers
from c3jax.core import (
    budgets,
    checkpoint,
    environment,
    files,
    finite,
    hosts,
    metrics,
    parts,
    sharding,
    signals,
)
from c3jax.core.ledger import Ledger, Spent
from c3jax.data import pipeline
from c3jax.learn import training, warm_start
from c3jax.setup import train_state
from c3jax.setup.experiment import Setup
from c3jax.train import due, profile, run_dir, saved_trees, summary
from c3jax.train.record import Record


def run(
    setup: Setup,
    workdir: pathlib.Path,
    *,
    cache: pathlib.Path | None = None,
    profiled: range = range(0),
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Trains one experiment, from where its directory stands to `summary.json`.

    Args:
        setup: the experiment, checked and resolved.
        workdir: its directory, locked by this process.
        cache: where a warm start is kept for other runs; None for nowhere.
        profiled: steps, from 1, that are traced; see `profile`.
        stop: asked every few tokens of a rollout, between microbatches of an update and
            between batches of an evaluation; if true, the run is saved and left.

    Raises:
        FloatingPointError: a number is infinite or NaN; see `train.nonfinite`.
        OSError: something could not be written.
        ValueError: a checkpoint is damaged.
    """
    c, estimator, objective = setup.config, setup.estimator, setup.objective
    with (
        checkpoint.Store(workdir / "checkpoints", _keeps(workdir)) as store,
        scorers.started(setup) as scorer,
        profile.Profile(workdir, profiled) as trace,
    ):
        # The newest checkpoint, or what a warm start makes of fresh parameters.
        if (begun := begin(setup, store, workdir, cache, stop)) is None:
            return
        state, record, reference = begun

        # The programs, one for each branching, and the questions in their order.
        learn = _programs(setup)
        source = pipeline.order(setup.task.split("train"), c.seed)
        batches = pipeline.Batches(source, c.train.batch_size, rollouts.share(setup))
        tools = _opened(setup, workdir, store, scorer, trace, record, stop)
        watch, done = tools.watch, False
        try:
            while not done:
                try:
                    # Sample trees, and hand their answers over to be scored.
                    step = record.step
                    trace.at(step + 1)
                    branching = setup.schedule.at(record.seen, step)
                    branched = setup.branched(branching)
                    items = batches[record.next_index]
                    args = (state, step, items, scorer, watch, stop)
                    rollout = rollouts.sample(branched, *args)

                    # Evaluate and save the policy that sampled, where that is due.
                    args = (branched, state, record, rollout, source)
                    record = _evaluate_and_save(tools, *args)
                    if done := due.is_last(setup, record):
                        break
                    if stop():
                        raise signals.Stopped

                    # Rewards become advantages, and advantages an update.
                    with watch("score"):
                        args = (estimator, branched.ancestors, rollout, state.memory)
                        advantages, memory = rollouts.credit(*args)
                    with watch("update"):
                        args = (rollout, advantages, state.params, reference, watch)
                        batch = rollouts.batches(objective, setup.mesh, *args)
                        args = (step, state, memory, rollout, batch, stop)
                        state, stats = learn(branching)(*args)
                    record = _log_step(tools, branched, record, rollout, stats)
                    state = _remembered(setup, state, record, branching)
                except finite.NonFiniteError as error:
                    state, record = _left_out(tools, state, record, error)
        except signals.Stopped:
            # Otherwise the first of several optimiser steps have changed the state.
            if train_state.is_whole(state):
                record = _save(tools, state, record)
        _end(tools, record, done)


class Tools(NamedTuple):
    """What a run works with, beside its arrays.

    Attributes:
        setup: the experiment.
        workdir: its directory.
        store: its checkpoints.
        scorer: scores answers in other processes.
        log: a line of metrics a step.
        trace: of steps that are profiled.
        watch: seconds by phase since the last line.
        progress: a line for a person, now and then.
        stop: whether a stop was asked for.
    """

    setup: Setup
    workdir: pathlib.Path
    store: checkpoint.Store
    scorer: scorers.Scorer
    log: object
    trace: profile.Profile
    watch: metrics.Stopwatch
    progress: metrics.Progress
    stop: Callable[[], bool]


def _opened(setup, workdir, store, scorer, trace, record, stop) -> Tools:
    """The tools of a run that goes on from a record; shows the lengths of questions."""
    print(f"{setup.prompt_lengths}\n{due.promise(setup)}", flush=True)
    log, watch = metrics.log(workdir, record.log), metrics.Stopwatch()
    progress = metrics.Progress("train", setup.config.train.steps)
    progress.open(record.step)
    return Tools(setup, workdir, store, scorer, log, trace, watch, progress, stop)


def _end(tools: Tools, record: Record, done: bool) -> None:
    """Closes the files of a run; its summary, or where it goes on from."""
    store = tools.store
    tools.log.close()
    store.wait()
    if done:
        hosts.by_first(_summarise, tools.workdir, tools.setup.config, record)
    else:
        steps = tools.setup.config.train.steps
        print(f"saved at step {store.steps()[-1]} of {steps}", flush=True)


def _evaluate_and_save(tools: Tools, branched: Setup, state, record, *step) -> Record:
    """Measures and saves the policy of a step, where that is due; the record after."""
    if due.is_due(tools.setup, record) and record.evaluated < record.step:
        record = _evaluate(tools, branched, state, record, *step)
    if due.is_saved(tools.setup, record, hosts.by_first(tools.store.age)):
        with tools.watch("checkpoint"):
            record = _save(tools, state, record)
    return record


def _evaluate(tools: Tools, branched: Setup, state, record, rollout, source) -> Record:
    """Saves trees of a step and measures its policy; the record afterwards.

    Raises:
        FloatingPointError: of a sampled message.
        signals.Stopped: a stop was asked for; the batches so far are kept.
    """
    # The trees that are saved are those of the first questions.
    setup, workdir, step = tools.setup, tools.workdir, record.step
    c = setup.config
    count = min(c.evaluate.trees, c.train.batch_size)
    items = [source[record.next_index + row] for row in range(count)]
    args = (branched.estimator, branched.ancestors, rollout, state.memory)
    advantages, _ = rollouts.credit(*args)
    saved_trees.save(workdir, branched, step, items, rollout, advantages)

    # The questions, of which a stopped evaluation keeps what is done.
    kept, results = _kept(setup, workdir, step), []
    for split in due.splits(setup, record):
        try:
            with tools.watch("evaluate"):
                args = (state.params, setup, tools.scorer, split, tools.stop, kept)
                results.append(evaluate.measure(*args))
        except finite.NonFiniteError as error:
            raise FloatingPointError(f"evaluation of step {step}: {error}.") from error
        if results[-1] is None:
            raise signals.Stopped
    kept.remove()

    # The cost, and the figures.
    spent = sum((result.spent for result in results), Spent())
    if due.is_last(setup, record):  # Nothing is learned from these trees.
        spent += rollouts.spent(rollouts.score(rollout))
    record = record.replace(evaluated=step)
    record = record.spend("evaluate", spent, tools.watch.take())
    measured = {name: x for result in results for name, x in result.fields().items()}
    tools.log.write(step=step, **measured, **record.ledger.figures())
    for result in results:
        print(f"step {step}  {result}", flush=True)
    return record


def _log_step(tools: Tools, branched: Setup, record, rollout, stats: dict) -> Record:
    """Logs and shows a training step; the record after it.

    Raises:
        NonFiniteError: a number of the update is not finite.
    """
    setup, step = tools.setup, record.step
    learners = setup.objective_at(step).learners
    learned = train_state.trainable(setup.abstract_params(), learners)
    finite.check_update(stats, learned)
    del stats["nonfinite"]

    # What its trees say of the next branching.
    schedule = setup.schedule
    scores, branching = rollouts.score(rollout), branched.team.protocol.branching
    tokens = rollouts.tokens(rollout, setup.team)
    seen = schedule.after(record.seen, step, scores[0].reward, tokens)
    if change := schedule.told(record.seen, seen):
        print(f"step {step + 1}  {change}", flush=True)

    # What it cost, and which budgets that crosses.
    spent = rollouts.spent(scores) + _trained(branched, step, rollout)
    size, seconds = setup.config.train.batch_size, tools.watch.take()
    record = record.replace(step=step + 1, next_index=record.next_index + size)
    record = record.replace(skipped=0).spend("train", spent, seconds)
    record = record.replace(seen=seen, crossed=_crossed(setup, record))

    # The line of the log, and that for a person.
    reward = rollouts.mean_reward(scores)
    tools.log.write(
        step=step + 1,
        reward=reward,
        utilisation=rollouts.load(rollout).utilisation,
        **stats,
        **spent.figures(),
        **schedule.figures(seen, branching),
        **{f"seconds/{phase}": s for phase, s in seconds.items()},
        **record.ledger.figures(),
    )
    if spent.truncated == spent.messages and step % 10 == 0:
        print(
            f"step {step + 1}  none of {spent.messages} messages ended before its "
            "limit: raise max_tokens of the team, or see policy.end_tokens",
            flush=True,
        )
    pace = spent.generated_tokens / sum(seconds.values())
    tools.progress.show(
        step + 1,
        reward=f"{reward:.3f}",
        loss=f"{stats['loss']:+.4f}",
        **{"tok/s": f"{pace:,.0f}"},
    )
    return record


def _left_out(tools: Tools, state, record, error) -> tuple:
    """State and record after a step that is left out, if it may be.

    Raises:
        FloatingPointError: the run ends here; says why, and what to change.
    """
    step, c = record.step + 1, tools.setup.config.train
    may = c.nonfinite == "skip" and record.step < c.steps
    # A state whose update was begun is not whole.
    if not may or record.skipped == c.max_skipped or not train_state.is_whole(state):
        skip = ", or leave such steps out with --config.train.nonfinite=skip"
        saved = tools.store.steps()[-1]
        raise FloatingPointError(
            f"step {step}: {error}. The checkpoint of step {saved} is from before, and "
            "is kept; from there the same numbers come again. Lower train.lr or "
            f"train.max_grad_norm{'' if may else skip}."
        ) from error

    # Time has passed, and nothing else.
    print(f"step {step} is left out: {error}", flush=True)
    seconds, size = tools.watch.take(), c.batch_size
    record = record.replace(step=step, next_index=record.next_index + size)
    record = record.replace(skipped=record.skipped + 1)
    record = record.spend("train", Spent(), seconds)
    tools.log.write(step=step, left_out=1, **record.ledger.figures())
    counted = jax.device_put(np.int32(step), state.step.sharding)
    return state.replace(step=counted), record


def _save(tools: Tools, state, record: Record) -> Record:
    """Saves a step, unless it is saved; the record as its checkpoint has it."""
    record = record.replace(log=tools.log.sizes())
    if record.step not in tools.store.steps():
        tools.store.save(record.step, state, dataclasses.asdict(record))
    return record


def _kept(setup: Setup, workdir: pathlib.Path, step: int) -> parts.Parts:
    """The finished batches of an evaluation that was stopped at a step."""
    described = environment.describe(setup.mesh)
    work = [step, setup.config.to_dict(), described]
    return parts.Parts(workdir / "evaluation", work)


def _trained(setup: Setup, step: int, rollout: rollouts.Rollout) -> Spent:
    """The tokens that a step's updates read, by policies and by the critic."""
    one_pass = rollouts.spent(rollouts.score(rollout)).critic_tokens
    return Spent(
        trained_tokens=rollouts.trained(setup.objective_at(step), setup.team, rollout),
        critic_tokens=setup.config.critic.epochs * one_pass,
    )


def _crossed(setup: Setup, record: Record) -> Mapping[str, Mapping]:
    """The budgets crossed after a step, by the clock of the first process."""
    until = setup.config.train.until
    at = (record.crossed, record.step, record.ledger)
    return hosts.by_first(budgets.crossed, until, *at)


def _summarise(workdir: pathlib.Path, config, record: Record) -> None:
    lines = metrics.read(workdir)
    page = summary.summarise(config, lines, record.ledger, record.crossed)
    files.write(workdir / run_dir.SUMMARY, json.dumps(page, indent=2) + "\n")


def _keeps(workdir: pathlib.Path) -> Callable[[int], bool]:
    """Which checkpoints stay: the reference policy, and those of saved trees."""
    return lambda step: step == 0 or saved_trees.path(workdir, step).exists()


def begin(setup, store, workdir, cache, stop):
    """(state, record, starting policy or None) of the newest checkpoint.

    The first checkpoint is what the warm start makes; None if that was stopped.
    """
    abstract, seed = training.abstract_state(setup), setup.config.seed
    directory = workdir / "warm_start"
    if not store.steps():
        # No step yet: the warm start, kept as step 0.
        warmed = warm_start.run(setup, directory, cache, stop)
        if warmed is None:
            return None
        ledger = Ledger().add("warm_start", warmed.spent, warmed.seconds_by_phase())
        log = metrics.log(workdir, {})
        dropped = {f"data/overlong_{k}": n for k, n in setup.task.dropped.items()}
        log.write(step=0, **dropped, **warmed.fields(), **ledger.figures())
        record = Record(seed=seed, ledger=ledger, log=log.sizes())
        log.close()
        state = training.initial_state(setup, warmed.params)
        store.save(0, state, dataclasses.asdict(record))
        store.wait()
        del state, warmed  # There is room for one.
    hosts.by_first(files.remove, directory)

    # The KL is to the starting policy. It is read first, by way of a whole state.
    reference = None
    if setup.objective.kl:
        start = store.restore(abstract, 0)[0].params
        reference = train_state.trainable(start, setup.objective.learners)
        del start
    state, fields = store.restore(abstract)
    record = Record.from_json(fields)
    try:
        finite.check_params(state.params)
    except finite.NonFiniteError as error:
        raise FloatingPointError(
            f"the checkpoint of step {record.step}: {error}. Take another policy, or "
            "remove that checkpoint to go on from the one before."
        ) from error
    if record.step:
        print(f"goes on from step {record.step} of {setup.config.train.steps}")
    return state, record, reference


def _programs(setup: Setup) -> Callable:
    """branching -> the program that learns from its trees, compiled once."""
    return functools.cache(lambda tree: training.compiled_step(setup.branched(tree)))


def _remembered(setup: Setup, state, record: Record, branching: tuple[int, ...]):
    """The state; the estimator forgets where the next trees have another shape.

    Statistics of trees of one shape are wrong for another's.
    """
    if setup.schedule.at(record.seen, record.step) == branching:
        return state
    fresh = setup.estimator.memory(setup.ancestors)
    memory = jax.device_put(fresh, sharding.replicated(setup.mesh))
    return state.replace(memory=memory)
