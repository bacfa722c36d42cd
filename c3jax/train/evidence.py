"""What an estimator needs beside the rewards, gathered with them and counted."""

import dataclasses
import functools
from collections.abc import Callable

import jax

from c3jax.core import hosts, keys
from c3jax.core.types import Questions, Turn
from c3jax.reward import ratings
from c3jax.rollout import desks, evidence
from c3jax.train import critics, grading, scoring, update
from c3jax.train.setup import Setup


def gather(
    setup: Setup,
    state: update.TrainState,
    step: int,
    questions: Questions,
    items: list,
    turns: tuple[Turn, ...],
    scorer: scoring.Scorer,
    graded: Callable[[], grading.Graded],
    stop: Callable[[], bool] = lambda: False,
) -> Callable[[], grading.Graded]:
    """Plays what the estimator needs, and hands the answers over to be scored.

    A critic guesses meanwhile, before it learns from these rewards.

    Its draws have a key stream of their own, so the tree is the same whether it is
    followed by other runs or not.

    Args:
        setup: of the run; the estimator says what it needs.
        state: with the policies that grew the tree, and the critic, if there is one.
        step: what the randomness is named after.
        questions: heads of B questions, on the devices.
        items: this process's share of the same questions.
        turns: the tree, one a role.
        scorer: of the run.
        graded: waits for the rewards of the tree.
        stop: as of `desks.grow`.

    Returns:
        What to call for rewards and evidence, with what both took; it waits for them.
    """
    if not setup.estimator.needs:
        return graded
    params = state.params
    guessed = critics.guess(setup, state.critic, questions, turns)
    at_step = jax.random.fold_in(keys.stream(setup.config.seed, "evidence"), step)
    waiting = {}
    for place, (name, extra) in enumerate(evidence.EXTRA.items()):
        if name not in setup.estimator.needs:
            continue
        waiting[name] = []
        for number, run in enumerate(extra.runs(setup.team)):
            key = jax.random.fold_in(jax.random.fold_in(at_step, place), number)
            said, _ = run.grow(params, questions, turns, key, stop)
            waiting[name].append(
                grading.submit(
                    setup, run.team, questions, items, said, scorer, given=run.given
                )
            )

    rated = None
    if setup.rated is not None:
        key = jax.random.fold_in(at_step, len(evidence.EXTRA))
        rated = _rate(setup, params, items, turns, key, stop)

    def gathered():
        tree = graded()
        found = {name: [run() for run in runs] for name, runs in waiting.items()}
        fields = {
            name: evidence.EXTRA[name].field([run.reward for run in runs])
            for name, runs in found.items()
        }
        fields |= hosts.fetch(guessed)
        spent = [run.spent for runs in found.values() for run in runs]
        spent.append(critics.cost(setup, tree.spent, len(tree.reward)))
        if rated is not None:
            fields["ratings"], wrote = rated(tree.reward)
            spent.append(wrote)
        return dataclasses.replace(
            tree,
            evidence={**tree.evidence, **fields},
            spent=functools.reduce(lambda a, b: a + b, spent, tree.spent),
        )

    return gathered


def _rate(setup, params, items, turns, key, stop) -> Callable:
    """Has every role rate every episode.

    The raters do not learn from it, and do not know the outcome, which they have to
    state: so they may write before it is known.

    Returns:
        (reward) -> [B, n, 2, 2] shares, .5 where nothing valid was said, and `Spent`.
    """
    team, count = setup.rated, len(turns)
    questions = setup.place(setup.encode(items, rated=True))
    given = dict(enumerate(turns))
    said, _ = desks.grow(params, team, questions, key, given, stop)
    said = [turn.replace(logp=None, margin=None, support=None) for turn in said]
    said = hosts.fetch(said)
    texts = [setup.texts(turn, level) for level, turn in enumerate(said[count:])]
    spent = grading.written(team, questions, said, given=tuple(range(count)))

    def rated(reward):
        shares, invalid = ratings.shares(texts, (reward > 0.5).reshape(-1))
        shares = shares.reshape(len(reward), -1, *shares.shape[1:])
        return shares, dataclasses.replace(spent, invalid_ratings=invalid)

    return rated
