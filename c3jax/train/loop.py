"""The story of a run: grow trees, score the leaves, assign credit, update."""

import functools
import pathlib
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

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

    optimise = optimiser(setup)
    state = initial_state(setup, optimise, params)
    reference = jax.tree.map(jnp.copy, params) if c.train.kl else None
    progress = metrics.Progress("train", c.train.steps)
    for step in range(c.train.steps):
        start = time.monotonic()
        items = tasks.batch(source, step, c.train.batch_size)
        grown = grow(setup, state, step, items)
        batch = update.Scored(
            questions=grown.questions,
            turns=grown.turns,
            advantage=jax.device_put(grown.advantage, meshes.batch(setup.mesh)),
            ref_logp=score_again(reference, setup.team, grown),
        )
        state, stats = update.update(
            state.replace(memory=grown.memory),
            setup.team,
            setup.objective,
            optimise,
            batch,
        )
        figures = {**grown.figures(), **{k: float(v) for k, v in stats.items()}}
        seconds = time.monotonic() - start
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
    checkpoint.save_trees(
        workdir, setup, c.train.steps, items, grown.turns, grown.graded, grown.advantage
    )
    print(f"{metrics.clock(time.monotonic() - begin)} in all; everything is in {workdir}")
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


def optimiser(setup: Setup):
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


def initial_state(setup: Setup, optimise, params: dict) -> update.TrainState:
    """The state before the first step."""
    return update.TrainState(
        step=jnp.int32(0),
        params=params,
        opt_state=optimise.init(params),
        memory=setup.estimator.memory(),
    )


@functools.partial(jax.jit, static_argnums=1)
def _all_logp(params, team, questions, turns):
    return tuple(
        tree.logp(params, team, level, questions, turns) for level in range(len(turns))
    )


def score_again(reference: dict | None, team: tree.Team, grown: Grown):
    """Log-probabilities under the starting policy; None when no KL asks for them."""
    if reference is None:
        return None
    return _all_logp(reference, team, grown.questions, grown.turns)
