"""The story of a run: sample trees, score the leaves, assign credit, learn."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import optax

from c3jax.core import environment, files, hosts, metrics, signals
from c3jax.core import mesh as meshes
from c3jax.data import buckets, pipeline
from c3jax.protocol import prompts
from c3jax.train import (
    budgets,
    checkpoint,
    critics,
    evaluate,
    growth,
    parts,
    pieces,
    scoring,
    summary,
    trees,
    update,
    warm_start,
)
from c3jax.train import workdir as workdirs
from c3jax.train.ledger import Ledger, Spent
from c3jax.train.record import Record
from c3jax.train.setup import Setup


def run(
    setup: Setup,
    workdir: pathlib.Path,
    *,
    cache: pathlib.Path | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> None:
    """Trains one experiment, from where its directory stands to `summary.json`.

    Args:
        setup: of the run.
        workdir: claimed by this experiment.
        cache: where a warm start is kept for other runs; None for nowhere.
        stop: asked every few tokens that are written, between pieces of an update and
            between batches of an evaluation; if it says so, the run is saved and left.

    Raises:
        OSError: something could not be written.
        ValueError: a checkpoint is damaged.
    """
    c = setup.config
    with (
        checkpoint.Store(workdir / "checkpoints", _keeps(workdir)) as store,
        scoring.started(setup) as scorer,
    ):
        begun = _begin(setup, store, workdir, cache, stop)
        if begun is None:
            return
        state, record, reference = begun
        learn = functools.cache(lambda tree: compiled_step(setup.branched(tree)))
        source = pipeline.order(setup.task.split("train"), c.seed)
        batches = pipeline.Batches(source, c.train.batch_size, growth.share(setup))
        log, watch = metrics.log(workdir, record.log), metrics.Stopwatch()
        print(setup.heads, flush=True)
        progress = metrics.Progress("train", c.train.steps)
        progress.open(record.step)
        tools = Tools(setup, workdir, scorer, log, watch, progress, stop)
        done = False
        try:
            while True:
                # The trees of a step, their answers handed over to be scored.
                step, items = record.step, batches[record.next_index]
                branching = setup.choice.at(record.seen, step)
                here = setup.branched(branching)
                rollout = growth.sample(here, state, step, items, scorer, watch, stop)

                # What is due before it is learned from them.
                if _is_due(setup, record) and record.evaluated < step:
                    record = _evaluate(tools, here, state, record, rollout, source)
                if _is_saved(setup, record):
                    with watch("checkpoint"):
                        record = _saved(store, state, record, log)
                if done := _is_last(setup, record):
                    break
                if stop():
                    raise signals.Stopped

                # Rewards become credit, and credit an update.
                with watch("score"):
                    advantages, memory = growth.credit(here, rollout, state.memory)
                with watch("update"):
                    batch = growth.batches(
                        here, rollout, advantages, state.params, reference, watch
                    )
                    args = (step, state, memory, rollout, batch, stop)
                    state, stats = learn(branching)(*args)

                record = _told(tools, here, record, rollout, stats)
                if setup.choice.at(record.seen, record.step) != branching:
                    # What is known of the trees of one shape is wrong for another's.
                    state = state.replace(memory=_memory(setup))
        except signals.Stopped:
            # Else the first of several optimiser steps have changed it.
            if update.is_whole(state):
                record = _saved(store, state, record, log)
        log.close()
        store.wait()
        at = store.steps()[-1]
    if done:
        hosts.by_first(_summarise, workdir, c, record)
    else:
        print(f"saved at step {at} of {c.train.steps}", flush=True)


class Tools(NamedTuple):
    """What a run works with, beside its arrays.

    Attributes:
        setup: of the run.
        workdir: its directory.
        scorer: of answers.
        log: of metrics.
        watch: counts seconds.
        progress: tells them.
        stop: whether to.
    """

    setup: Setup
    workdir: pathlib.Path
    scorer: scoring.Scorer
    log: object
    watch: metrics.Stopwatch
    progress: metrics.Progress
    stop: Callable[[], bool]


def _evaluate(tools: Tools, here: Setup, state, record, rollout, source) -> Record:
    """Saves trees of a step and measures its policy; the record afterwards.

    Raises:
        signals.Stopped: it was stopped, and goes on from where it was.
    """
    setup, workdir, step = tools.setup, tools.workdir, record.step
    c = setup.config
    shown = min(c.evaluate.trees, c.train.batch_size)
    first = [source[record.next_index + row] for row in range(shown)]
    advantages, _ = growth.credit(here, rollout, state.memory)
    trees.save(workdir, here, step, first, rollout, advantages)
    kept = _kept(setup, workdir, step)
    with tools.watch("evaluate"):
        found = evaluate.measure(state.params, setup, tools.scorer, tools.stop, kept)
    if found is None:
        raise signals.Stopped
    kept.remove()
    spent = found.spent
    if _is_last(setup, record):  # These trees were only looked at.
        spent += growth.spent(growth.score(rollout))
    record = record.replace(evaluated=step)
    record = record.spend("evaluate", spent, tools.watch.take())
    tools.log.write(step=step, **found.fields(), **record.ledger.figures())
    print(f"step {step}  {found}", flush=True)
    return record


def _told(tools: Tools, here: Setup, record, rollout, stats: dict) -> Record:
    """Logs and shows what a training step did; the record after it."""
    setup, choice, step = tools.setup, tools.setup.choice, record.step
    graded, branching = growth.score(rollout), here.team.protocol.branching
    tokens = growth.tokens(rollout, setup.team)
    seen = choice.after(record.seen, step, graded[0].reward, tokens)
    spent = growth.spent(graded) + _trained(here, step, rollout)
    size, seconds = setup.config.train.batch_size, tools.watch.take()
    if told := choice.told(record.seen, seen):
        print(f"step {step + 1}  {told}", flush=True)
    record = record.replace(step=step + 1, next_index=record.next_index + size)
    record = record.spend("train", spent, seconds)
    record = record.replace(seen=seen, crossed=_crossed(setup, record))
    reward = growth.mean_reward(graded)
    tools.log.write(
        step=step + 1,
        reward=reward,
        utilisation=growth.load(rollout).utilisation,
        **stats,
        **spent.figures(),
        **choice.figures(seen, branching),
        **{f"seconds/{phase}": s for phase, s in seconds.items()},
        **record.ledger.figures(),
    )
    pace = spent.generated_tokens / sum(seconds.values())
    tools.progress.show(
        step + 1,
        reward=f"{reward:.3f}",
        loss=f"{stats['loss']:+.4f}",
        **{"tok/s": f"{pace:,.0f}"},
    )
    return record


def _saved(store: checkpoint.Store, state, record: Record, log) -> Record:
    """The record of a step as its checkpoint has it, which is there afterwards."""
    record = record.replace(log=log.sizes())
    if record.step not in store.steps():
        store.save(record.step, state, dataclasses.asdict(record))
    return record


def _kept(setup: Setup, workdir: pathlib.Path, step: int) -> parts.Parts:
    """What is there of the evaluation of a step that was stopped."""
    described = environment.describe(setup.mesh)
    work = [step, setup.config.to_dict(), described]
    return parts.Parts(workdir / "evaluation", work)


def _trained(setup: Setup, step: int, rollout: growth.Rollout) -> Spent:
    """What a step's updates read, of policies and of the critic."""
    each = growth.spent(growth.score(rollout)).critic_tokens
    return Spent(
        trained_tokens=growth.trained(setup.objective_at(step), setup.team, rollout),
        critic_tokens=setup.config.critic.epochs * each,
    )


def _crossed(setup: Setup, record: Record) -> Mapping[str, Mapping]:
    """The budgets crossed after a step, by the clock of the first process."""
    until = setup.config.train.until
    at = (record.crossed, record.step, record.ledger)
    return hosts.by_first(budgets.crossed, until, *at)


def _summarise(workdir: pathlib.Path, config, record: Record) -> None:
    lines = metrics.read(workdir)
    page = summary.summarise(config, lines, record.ledger, record.crossed)
    files.write(workdir / workdirs.SUMMARY, json.dumps(page, indent=2) + "\n")


def _is_last(setup: Setup, record: Record) -> bool:
    """Whether a run ends here: no steps are left, or no budget."""
    c = setup.config.train
    return record.step == c.steps or budgets.is_over(c.until, record.crossed)


def _is_due(setup: Setup, record: Record) -> bool:
    """Whether a step is evaluated and its trees are saved."""
    crossed_here = any(at["step"] == record.step for at in record.crossed.values())
    regular = record.step % setup.config.evaluate.every == 0
    return regular or crossed_here or _is_last(setup, record)


def _is_saved(setup: Setup, record: Record) -> bool:
    """Whether a step is a checkpoint."""
    regular = record.step % setup.config.train.checkpoint_every == 0
    return regular or _is_due(setup, record)


def _keeps(workdir: pathlib.Path) -> Callable[[int], bool]:
    """Which checkpoints stay: the reference policy, and those of saved trees."""
    return lambda step: step == 0 or trees.path(workdir, step).exists()


def _begin(setup, store, workdir, cache, stop):
    """The newest checkpoint; the first one is what the warm start makes."""
    abstract, seed = abstract_state(setup), setup.config.seed
    directory = workdir / "warm_start"
    if not store.steps():
        warmed = warm_start.run(setup, directory, cache, stop)
        if warmed is None:
            return None
        ledger = Ledger().add("warm_start", warmed.spent, warmed.seconds_by_phase())
        log = metrics.log(workdir, {})
        dropped = {f"data/overlong_{k}": n for k, n in setup.task.dropped.items()}
        log.write(step=0, **dropped, **warmed.fields(), **ledger.figures())
        record = Record(seed=seed, ledger=ledger, log=log.sizes())
        log.close()
        state = initial_state(setup, warmed.params)
        store.save(0, state, dataclasses.asdict(record))
        store.wait()
        del state, warmed  # There is room for one.
    hosts.by_first(files.remove, directory)
    reference = None
    if setup.objective.kl:  # First, as a whole state is read for it.
        start = store.restore(abstract, 0)[0].params
        reference = update.learned(start, setup.objective.learners)
        del start
    state, fields = store.restore(abstract)
    record = Record.from_json(fields)
    if record.step:
        print(f"goes on from step {record.step} of {setup.config.train.steps}")
    return state, record, reference


def compiled_step(setup: Setup) -> Callable:
    """(step, state, memory, rollout, batches, stop) -> (state, statistics).

    All that learns: policies, by `compiled_update`, then the critic, if there is one;
    and `memory`, what the estimator remembers from here on.
    """
    update_step, critic_step = compiled_update(setup), critics.compiled(setup)

    def learn(step, state, memory, rollout, batches, stop=lambda: False):
        objective = setup.objective_at(step)
        state, stats = update_step(objective, state, rollout, batches, stop)
        evidence = growth.seen(setup, growth.score(rollout)[0])
        critic, learnt = critic_step(state.critic, rollout, evidence)
        memory = jax.device_put(memory, meshes.whole(setup.mesh))
        stats = {name: float(value) for name, value in (stats | learnt).items()}
        return state.replace(memory=memory, critic=critic), stats

    return learn


def _memory(setup: Setup) -> object:
    """What the estimator remembers before the first step, on the mesh."""
    fresh = setup.estimator.memory(setup.spans)
    return jax.device_put(fresh, meshes.whole(setup.mesh))


def compiled_update(setup: Setup) -> Callable:
    """(objective, state, groups, batches, stop) -> (state, statistics).

    One program an objective where everything is at hand at once, `update.update`;
    otherwise `pieces`, which begins with groups that are scored while others are not,
    and hears a stop between pieces.
    """
    state = abstract_state(setup)
    c = setup.config.train
    in_pieces = c.buckets or c.groups > 1 or c.accumulate > 1
    sizes = piece_sizes(setup) if in_pieces else None

    @functools.cache
    def program(objective):
        static = dict(objective=objective, optimise=optimiser(setup))
        if in_pieces:
            mesh = setup.team.mesh
            return pieces.compiled(mesh, **static, sizes=sizes, state=state)
        step = update.compiled(functools.partial(update.update, **static), state)
        return lambda state, groups, batches, stop=None: step(state, *batches)

    return lambda objective, *args: program(objective)(*args)


def piece_sizes(setup: Setup) -> pieces.Sizes:
    """Padded sizes by the lengths of the first questions and the limits of messages."""
    count, known = setup.config.train.buckets, setup.heads.sizes
    roles = setup.team.protocol.roles
    if not count:
        return pieces.Sizes(known, tuple((role.max_tokens,) for role in roles))
    source = setup.task.split("train")
    some = [source[i] for i in range(min(len(source), 2048))]
    heads = prompts.longest(setup.prompts, [item.text for item in some])
    return pieces.Sizes(
        heads=buckets.choose([*heads, known[-1]], count),
        messages=tuple(buckets.ladder(role.max_tokens, count) for role in roles),
    )


def initial_state(setup: Setup, params: dict) -> update.TrainState:
    """The state before the first step, on the mesh."""
    memory = setup.estimator.memory(setup.spans)
    places, kl = abstract_state(setup).replace(critic=()), setup.objective.kl_state
    state = update.placed_state(optimiser(setup), memory, params, places, kl)
    return state.replace(critic=critics.initial_state(setup, params))


def abstract_state(setup: Setup) -> update.TrainState:
    """Shapes and shardings of a run's state, for a restore."""
    state = update.abstract_state(
        optimiser(setup),
        setup.estimator.memory(setup.spans),
        setup.abstract_params(),
        meshes.whole(setup.mesh),
        setup.objective.learners,
        setup.objective.kl_state,
    )
    return state.replace(critic=critics.abstract_state(setup))


def optimiser(setup: Setup) -> optax.GradientTransformation:
    """AdamW over all of a policy's steps in the run; see `update.optimiser`."""
    c = setup.config.train
    turns = len(setup.objective.learners) if c.alternate else 1
    return update.optimiser(
        lr=c.lr,
        steps=c.steps * c.epochs * c.minibatches // turns,
        warmup=c.warmup,
        b1=c.b1,
        b2=c.b2,
        weight_decay=c.weight_decay,
        max_grad_norm=c.max_grad_norm,
        final_lr=c.final_lr,
    )
