"""Evidence that an estimator needs beside the rewards, gathered and counted."""

import dataclasses
import functools
from collections.abc import Callable

import jax

from c3jax.collect import critics, scorers, scoring
from c3jax.core import hosts, keys
from c3jax.core.types import Questions, Turn
from c3jax.reward import ratings
from c3jax.rollout import continuous, extra_runs
from c3jax.setup import train_state
from c3jax.setup.experiment import Setup


def gather(
    setup: Setup,
    state: train_state.TrainState,
    step: int,
    questions: Questions,
    items: list,
    turns: tuple[Turn, ...],
    scorer: scorers.Scorer,
    scores: Callable[[], scoring.ScoredAnswers],
    stop: Callable[[], bool] = lambda: False,
) -> Callable[[], scoring.ScoredAnswers]:
    """Samples the extra runs that the estimator needs, and submits their answers.

    A critic predicts meanwhile, before it learns from these rewards. Draws have a key
    stream of their own, so the tree is the same with or without extra runs.

    Args:
        setup: `estimator.needs` is read.
        state: the policies that sampled the tree, and the critic, if there is one.
        step: folded into the keys.
        questions: B questions, on the devices.
        items: this process's share of the same questions.
        turns: the tree, one a role.
        scores: waits for the rewards of the tree.
        stop: see `continuous.sample`.

    Returns:
        A function that waits for rewards and evidence, and returns them with the cost
        of both.
    """
    if not setup.estimator.needs:
        return scores
    params = state.params
    predicted = critics.predict(setup, state.critic, questions, turns)
    at_step = jax.random.fold_in(keys.stream(setup.config.seed, "evidence"), step)

    # Extra runs, scored while the next is sampled.
    waiting = {}
    for place, (name, extra) in enumerate(extra_runs.EXTRA.items()):
        if name not in setup.estimator.needs:
            continue
        waiting[name] = []
        for number, run in enumerate(extra.runs(setup.team)):
            key = jax.random.fold_in(jax.random.fold_in(at_step, place), number)
            extra_turns, _ = run.sample(params, questions, turns, key, stop)
            args = (setup, run.team, questions, items, extra_turns, scorer)
            waiting[name].append(scoring.submit(*args, given=run.given))

    # Ratings, written before the outcome is known.
    rated = None
    if setup.rated is not None:
        key = jax.random.fold_in(at_step, len(extra_runs.EXTRA))
        rated = _rate(setup, params, items, turns, key, stop)

    def gathered():
        tree = scores()
        scored = {name: [run() for run in runs] for name, runs in waiting.items()}
        fields = {
            name: extra_runs.EXTRA[name].field([run.reward for run in runs])
            for name, runs in scored.items()
        }
        fields |= hosts.fetch(predicted)
        # All of this is part of the price of a step.
        spent = [run.spent for runs in scored.values() for run in runs]
        spent.append(critics.cost(setup, tree.spent, len(tree.reward)))
        if rated is not None:
            fields["ratings"], cost = rated(tree.reward)
            spent.append(cost)
        return dataclasses.replace(
            tree,
            evidence={**tree.evidence, **fields},
            spent=functools.reduce(lambda a, b: a + b, spent, tree.spent),
        )

    return gathered


def _rate(setup, params, items, turns, key, stop) -> Callable:
    """Every role rates every episode.

    A rating teaches its writer nothing, and has to state the outcome: so it may be
    written before the outcome is known.

    Returns:
        (reward) -> [B, n, 2, 2] shares, .5 for an invalid rating, and `Spent`.
    """
    team, count = setup.rated, len(turns)
    questions = setup.place(setup.encode(items, rated=True))
    given = dict(enumerate(turns))
    said, _ = continuous.sample(params, team, questions, key, given, stop)
    said = hosts.fetch([turn.bare() for turn in said])
    # The raters' roles follow those of the episode.
    texts = [setup.texts(turn, level) for level, turn in enumerate(said[count:])]
    spent = scoring.written(team, questions, said, given=tuple(range(count)))

    def rated(reward):
        shares, invalid = ratings.shares(texts, (reward > 0.5).reshape(-1))
        shares = shares.reshape(len(reward), -1, *shares.shape[1:])
        return shares, dataclasses.replace(spent, invalid_ratings=invalid)

    return rated
