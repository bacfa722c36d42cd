"""The story of a run: grow trees, score the leaves, assign credit, update."""

import functools
import pathlib
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from c3jax.core import config as configs
from c3jax.core import keys, metrics
from c3jax.core import mesh as meshes
from c3jax.core.types import Evidence, Questions, Turn
from c3jax.data import tasks
from c3jax.rollout import tree
from c3jax.train import checkpoint, evaluate, update, warm_start
from c3jax.train.setup import Setup


def run(setup: Setup, workdir: pathlib.Path) -> dict[str, dict[str, float]]:
    """Warm start, training and evaluation of one experiment.

    Writes `config.json`, `metrics.jsonl`, the final checkpoint, and a few trees grown
    from it, to `workdir`.

    Returns:
        Accuracies "before" and "after" training, named as by `evaluate.accuracy`.
    """
    begin, c = time.monotonic(), setup.config
    workdir.mkdir(parents=True, exist_ok=True)
    (workdir / "config.json").write_text(configs.to_json(c) + "\n")
    log = metrics.Log(workdir / "metrics.jsonl")
    eval_key = keys.stream(c.seed, "evaluate")
    source = tasks.order(setup.task.split("train"), c.seed)

    params = warm_start.run(setup)
    before = evaluate.accuracy(params, setup, eval_key)
    log.write(step=0, **evaluate.named(before))
    print(f"before  {evaluate.shown(before)}", flush=True)

    reference = jax.tree.map(jnp.copy, params) if c.train.kl else None
    state, update_step = start(setup, params)
    progress = metrics.Progress("train", c.train.steps)
    for step in range(c.train.steps):
        since = time.monotonic()
        grown = grow(setup, state, step, tasks.batch(source, step, c.train.batch_size))
        state = state.replace(memory=grown.memory)
        state, stats = update_step(state, credited(setup, grown, reference))
        figures = {**grown.figures(), **{k: float(v) for k, v in stats.items()}}
        seconds = time.monotonic() - since
        log.write(step=step + 1, **figures, seconds=seconds)
        progress.show(
            step + 1,
            reward=f"{figures['reward']:.3f}",
            loss=f"{figures['loss']:+.4f}",
            **{"tok/s": f"{figures['rollout/generated_tokens'] / seconds:,.0f}"},
        )

    after = evaluate.accuracy(state.params, setup, eval_key)
    log.write(step=c.train.steps, **evaluate.named(after))
    log.close()
    print(f"after   {evaluate.shown(after)}", flush=True)
    checkpoint.save(workdir, c.train.steps, state)
    items = tasks.batch(source, c.train.steps, c.train.batch_size)
    grown = grow(setup, state, c.train.steps, items)
    checkpoint.save_trees(workdir, setup, c.train.steps, items, grown)
    print(
        f"{metrics.clock(time.monotonic() - begin)} in all; everything is in {workdir}"
    )
    return {"before": before, "after": after}


class Grown(NamedTuple):
    """One step's trees, scored and credited.

    Attributes:
        questions: heads of B questions.
        turns: one a role.
        graded: rewards of the leaves.
        advantage: per role, [B, N, K].
        memory: what the estimator remembers from here on.
    """

    questions: Questions
    turns: tuple[Turn, ...]
    graded: evaluate.Graded
    advantage: tuple
    memory: object

    def figures(self) -> dict[str, float]:
        """What the rollout is worth a line in the log."""
        return {
            "reward": float(self.graded.reward.mean()),
            "rollout/malformed_frac": self.graded.malformed,
            "rollout/truncated_frac": self.graded.truncated,
            "rollout/generated_tokens": sum(int(t.length.sum()) for t in self.turns),
        }


def grow(setup: Setup, state: update.TrainState, step: int, items: list) -> Grown:
    """Samples, scores and credits the trees of one step; changes nothing."""
    key = jax.random.fold_in(keys.stream(setup.config.seed, "rollout"), step)
    questions = setup.questions(items)
    turns = tree.grow(state.params, setup.team, questions, key)
    graded = evaluate.grade(setup, setup.team, items, turns)
    evidence = Evidence(graded.reward, setup.team.protocol.spans)
    advantage, memory = setup.estimator.fn(
        evidence, state.memory, std=setup.config.credit.std
    )
    return Grown(questions, turns, graded, advantage, memory)


def credited(setup: Setup, grown: Grown, reference: dict | None) -> update.Scored:
    """What the update reads; with a reference policy, its log-probabilities too."""
    ref_logp = None
    if reference is not None:
        ref_logp = _all_logp(reference, setup.team, grown.questions, grown.turns)
    advantage = setup.place(grown.advantage)
    return update.Scored(grown.questions, grown.turns, advantage, ref_logp)


@functools.partial(jax.jit, static_argnums=1)
def _all_logp(params, team, questions, turns):
    return tuple(
        tree.logp(params, team, level, questions, turns) for level in range(len(turns))
    )


def start(setup: Setup, params: dict):
    """The state before the first step, on the mesh, and the compiled update."""
    optimise = optimiser(setup)
    abstract = abstract_state(setup)
    step = functools.partial(
        update.update, team=setup.team, objective=setup.objective, optimise=optimise
    )
    state = update.initial_state(optimise, setup.estimator.memory(), params)
    state = jax.device_put(state, jax.tree.map(lambda leaf: leaf.sharding, abstract))
    return state, update.compiled(step, abstract)


def abstract_state(setup: Setup) -> update.TrainState:
    """Shapes and shardings of a run's state, for a restore."""
    return update.abstract_state(
        optimiser(setup),
        setup.estimator.memory(),
        setup.abstract_params(),
        meshes.whole(setup.mesh),
    )


def optimiser(setup: Setup) -> optax.GradientTransformation:
    """AdamW over all optimiser steps of the run; see `update.optimiser`."""
    c = setup.config.train
    return update.optimiser(
        lr=c.lr,
        steps=c.steps * c.epochs * c.minibatches,
        warmup=c.warmup,
        b1=c.b1,
        b2=c.b2,
        weight_decay=c.weight_decay,
        max_grad_norm=c.max_grad_norm,
    )
