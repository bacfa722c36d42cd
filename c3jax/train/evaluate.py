"""How good a team is on questions it never trained on."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from c3jax.core import hosts, keys, stats
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
        evidence: other fields of `Evidence`, by name.
    """

    reward: np.ndarray
    spent: Spent
    evidence: Mapping[str, object] = dataclasses.field(default_factory=dict)


def submit(
    setup: Setup,
    team: contexts.Team,
    questions,
    items: list,
    turns,
    scorer: scoring.Scorer,
    count: int | None = None,
    given: tuple[int, ...] = (),
) -> Callable[[], Graded]:
    """Hands over every answer of a batch of trees to be scored.

    Each process scores those of its share of the questions, and learns of all.

    Args:
        setup: of the run.
        team: that grew the trees.
        questions: heads of B questions, on the devices or not.
        items: this process's share of the same questions.
        turns: one a role.
        scorer: of the run.
        count: how many questions are asked for, where others fill up the batch; None
            for all.
        given: levels whose messages were there before, and cost nothing more.

    Returns:
        What to call for the rewards; it waits for them.
    """
    share = setup.share(size := questions.uid.shape[0])
    # What is scored or counted; the rest stays on the devices.
    turns = [turn.replace(logp=None, margin=None, support=None) for turn in turns]
    turns, questions = hosts.fetch((turns, questions.replace(heads=())))
    answers = jax.tree.map(lambda x: x[share[: len(items)]], turns[-1])
    turns, questions = jax.tree.map(lambda x: x[:count], (turns, questions))
    texts, each = setup.texts(answers, -1), math.prod(team.protocol.branching)
    grades = scorer.submit(texts, [item for item in items for _ in range(each)])
    quiet = {*team.silenced, *given}
    said = [turn for level, turn in enumerate(turns) if level not in quiet]
    spent = Spent(
        evaluator_calls=(count or size) * each,
        messages=sum(turn.length.size for turn in said),
        truncated=sum(int((~turn.ended).sum()) for turn in said),
        generated_tokens=sum(int(turn.length.sum()) for turn in said),
        prefilled_tokens=contexts.prefilled(team, questions, turns, given),
    )

    def graded():
        mine = np.zeros((len(share) * each, 3), np.float32)
        for row, grade in enumerate(grades()):
            mine[row] = grade.reward, grade.malformed, grade.timed_out
        found = setup.gather(mine.reshape(len(share), each, 3), size)[:count]
        reward, malformed, timed_out = np.ascontiguousarray(found.transpose(2, 0, 1))
        return Graded(
            reward=reward.reshape(-1, *team.protocol.branching),
            spent=dataclasses.replace(
                spent,
                malformed=int(malformed.sum()),
                timed_out=int(timed_out.sum()),
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
    share = setup.share(c.batch_size)
    for begin in range(0, c.questions, c.batch_size):
        count = min(c.batch_size, c.questions - begin)
        # The last batch is filled up, so that one shape is compiled, and cut again.
        filled = [test[begin + min(int(row), count - 1)] for row in share]
        questions = setup.questions(filled)
        turns, _ = desks.grow(params, team, questions, key)
        items = filled[: (share < count).sum()]
        yield submit(setup, team, questions, items, turns, scorer, count)
