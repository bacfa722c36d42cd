"""How good a team is on questions it never trained on."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from c3jax.core import keys, stats
from c3jax.rollout import contexts, desks
from c3jax.train import scoring
from c3jax.train.ledger import Spent
from c3jax.train.setup import Setup


@dataclasses.dataclass(frozen=True)
class Graded:
    """Rewards of a grown batch of trees.

    Attributes:
        reward: [B, k_1, .., k_R] float32 in [0, 1], one axis per role.
        spent: on growing and scoring them.
    """

    reward: np.ndarray
    spent: Spent


def submit(
    setup: Setup,
    team: contexts.Team,
    questions,
    items: list,
    turns,
    scorer: scoring.Scorer,
) -> Callable[[], Graded]:
    """Hands over every answer of a batch of trees to be scored.

    Args:
        setup: of the run.
        team: that grew the trees.
        questions: heads of B questions, on the devices or not.
        items: the same questions.
        turns: one a role.
        scorer: of the run.

    Returns:
        What to call for the rewards; it waits for them.
    """
    turns, questions = jax.device_get((turns, questions))
    texts = setup.texts(turns[-1], -1)
    each = len(texts) // len(items)
    grades = scorer.submit(texts, [item for item in items for _ in range(each)])
    said = [turn for level, turn in enumerate(turns) if level not in team.silenced]
    spent = Spent(
        evaluator_calls=len(texts),
        messages=sum(turn.length.size for turn in said),
        truncated=sum(int((~turn.ended).sum()) for turn in said),
        generated_tokens=sum(int(turn.length.sum()) for turn in said),
        prefilled_tokens=contexts.prefilled(team, questions, turns),
    )

    def graded():
        found = grades()
        reward = np.array([grade.reward for grade in found], np.float32)
        return Graded(
            reward=reward.reshape(len(items), *team.protocol.branching),
            spent=dataclasses.replace(
                spent,
                malformed=sum(grade.malformed for grade in found),
                timed_out=sum(grade.timed_out for grade in found),
            ),
        )

    return graded


class Evaluation(NamedTuple):
    """A team on the test questions.

    Attributes:
        figures: "greedy"; "pass_at_1" and other k, of `evaluate.samples` episodes a
            question; and for each role that does not answer, "without <role>", sampled
            while its message is empty: what is left when the others are on their own.
            Intervals are over questions.
        spent: on measuring them.
    """

    figures: dict[str, stats.Interval]
    spent: Spent

    def fields(self) -> dict[str, float]:
        """As fields of the log."""
        found = self.spent.figures("evaluate/")
        for name, interval in self.figures.items():
            found[f"evaluate/{name}"] = interval.mean
            found[f"evaluate/{name}_low"] = interval.low
            found[f"evaluate/{name}_high"] = interval.high
        return found

    def __str__(self) -> str:
        return "  ".join(f"{shown(n)} {value}" for n, value in self.figures.items())


def shown(name: str) -> str:
    """The name of a figure, for a person: pass@10."""
    return name.replace("pass_at_", "pass@")


def measure(
    params: dict,
    setup: Setup,
    scorer: scoring.Scorer,
    stop: Callable[[], bool] = lambda: False,
) -> Evaluation | None:
    """Greedy accuracy and pass@k on the test questions.

    Args:
        params: the policy.
        setup: of the run.
        scorer: from `scoring.started`.
        stop: asked between batches.

    Returns:
        The evaluation; None if it was stopped.
    """
    c = setup.config.evaluate
    chain = setup.team.protocol.chain()
    sampled = setup.team.replace(protocol=chain.chain(c.samples))
    teams = {
        "greedy": setup.team.replace(
            protocol=chain, sampling=setup.team.sampling.greedy()
        ),
        "sampled": sampled,
    }
    for level, role in enumerate(chain.roles):
        if not role.answers:
            teams[f"without {role.name}"] = sampled.replace(silenced=(level,))
    solved, spent = {}, Spent()
    for name, team in teams.items():
        rewards, waiting = [], []
        for pending in _graded(params, setup, team, scorer):
            waiting.append(pending)
            if stop():
                return None
        for graded in (pending() for pending in waiting):
            rewards.append(graded.reward.reshape(graded.reward.shape[0], -1))
            spent += graded.spent
        solved[name] = np.concatenate(rewards) == 1  # [questions, episodes]
    correct = solved.pop("sampled").sum(1)
    for k in sorted({1, *c.k}):
        solved[f"pass_at_{k}"] = stats.pass_at_k(correct, c.samples, k)[:, None]
    order = sorted(solved, key=lambda name: name.startswith("without"))
    return Evaluation({n: stats.bootstrap(solved[n].mean(1)) for n in order}, spent)


def _graded(params, setup, team, scorer):
    """The test questions as trees that are being scored, a batch at a time."""
    c = setup.config.evaluate
    test, key = setup.task.split("test"), keys.stream(setup.config.seed, "evaluate")
    for begin in range(0, c.questions, c.batch_size):
        items = [test[i] for i in range(begin, min(begin + c.batch_size, c.questions))]
        # The last batch is filled up, so that one shape is compiled, and cut again.
        filled = items + [items[-1]] * (c.batch_size - len(items))
        questions = setup.questions(filled)
        turns, _ = desks.grow(params, team, questions, key)
        questions, turns = jax.tree.map(
            lambda leaf: leaf[: len(items)],  # noqa: B023
            jax.device_get((questions, turns)),
        )
        yield submit(setup, team, questions, items, turns, scorer)
