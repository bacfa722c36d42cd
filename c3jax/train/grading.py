"""Answers of grown trees, handed over to be scored, and the rewards that come back."""

import dataclasses
import math
from collections.abc import Callable, Mapping

import jax
import numpy as np

from c3jax.core import hosts
from c3jax.rollout import contexts, prefill
from c3jax.train import answers, scoring, votes
from c3jax.train.ledger import Spent
from c3jax.train.setup import Setup


@dataclasses.dataclass(frozen=True)
class Graded:
    """Rewards of a grown batch of trees.

    Attributes:
        reward: [B, k_1, .., k_R] float32 in [0, 1], one axis per role; that of the
            answer, times `reward.cut` for each message on its way that did not end.
        spent: on growing and scoring them.
        evidence: other fields of `Evidence`, by name.
        solved: like `reward`, bool, whether the answer is right, cut or not; None of
            groups that were joined.
        said: like `reward`, bool, whether the second reading of the answers, too, found
            the gold one; None where nobody asked, or votes are counted.
    """

    reward: np.ndarray
    spent: Spent
    evidence: Mapping[str, object] = dataclasses.field(default_factory=dict)
    solved: np.ndarray | None = None
    said: np.ndarray | None = None

    def to_json(self) -> dict:
        """As JSON holds it; what credit would need is left out."""
        tables = {
            name: None if (table := getattr(self, name)) is None else table.tolist()
            for name in ("reward", "solved", "said")
        }
        return {**tables, "spent": dataclasses.asdict(self.spent)}

    @classmethod
    def from_json(cls, fields: Mapping) -> "Graded":
        """From `to_json`, by way of JSON."""
        solved, said = (
            None if fields[name] is None else np.array(fields[name], bool)
            for name in ("solved", "said")
        )
        reward = np.array(fields["reward"], np.float32)
        return cls(reward, Spent(**fields["spent"]), solved=solved, said=said)


def submit(
    setup: Setup,
    team: contexts.Team,
    questions,
    items: list,
    turns,
    scorer: scoring.Scorer,
    count: int | None = None,
    given: tuple[int, ...] = (),
    says: Callable[[str, str], bool] | None = None,
) -> Callable[[], Graded]:
    """Hands over every answer of a batch of trees to be scored.

    Each process scores those of its share of the questions, and learns of all. Of a
    team that votes, the answers of all voters are scored, each once; the rewards of
    their combinations are counted from that. Comparing answers with each other looks at
    no gold answer and is no evaluator call. Where a talk may finish early, an answer
    that several leaves share is scored once; where nobody answered, the reward is 0.

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
        says: a second reading, (text, gold answer) -> whether it finds that one.

    Returns:
        What to call for the rewards; it waits for them.
    """
    share = setup.share(size := questions.uid.shape[0])
    # What is scored or counted; the rest stays on the devices.
    turns = [turn.replace(logp=None, margin=None, support=None) for turn in turns]
    turns = hosts.fetch(turns)
    levels, counts = answers.levels(team), team.protocol.roles[-1].counts
    texts = answers.texts(
        setup, [turns[level] for level in levels], levels, share, len(items)
    )
    shapes = [turns[level].length.shape[1:] for level in levels]
    each = sum(map(math.prod, shapes))
    answer = answers.of_leaves(team, turns) if team.finishes else None
    scored = np.ones((size, each), bool)
    if answer is not None:
        scored = answers.used(answer, each)
    rows = np.flatnonzero(scored[share[: len(items)]])
    texts = [texts[row] for row in rows]
    asked = [items[row // each] for row in rows]
    spent = written(team, questions, turns, given, count)
    turns, answer = jax.tree.map(lambda x: x[:count], (turns, answer))
    grades = scorer.submit(texts, asked)
    compared = scorer.compare(texts, asked) if counts else lambda: [0] * len(texts)
    spent = dataclasses.replace(spent, evaluator_calls=int(scored[:count].sum()))

    read = [
        says is not None and says(text, item.answer)
        for text, item in zip(texts, asked, strict=True)
    ]

    def graded():
        mine = np.zeros((len(share) * each, 6), np.float32)
        told = zip(rows, grades(), compared(), read, strict=True)
        for row, grade, ballot, again in told:
            mine[row] = *dataclasses.astuple(grade), ballot, again
        found = setup.gather(mine.reshape(len(share), each, 6), size)[:count]
        reward, malformed, timed_out, failed, ballot, said = np.ascontiguousarray(
            found.transpose(2, 0, 1)
        )
        extra = {}
        if counts:
            correct, ballots = _split(reward, shapes), _split(ballot, shapes)
            ballots = tuple(each.astype(np.int32) for each in ballots)
            reward = votes.counted(team, ballots, correct)
            if all(contexts == 1 for contexts, _ in shapes):
                extra = {
                    "ballots": tuple(each[:, 0] for each in ballots),
                    "correct": tuple(each[:, 0] for each in correct),
                }
        if answer is not None:
            at = answer.reshape(len(reward), -1)
            reward, said = (
                np.where(at < 0, 0, np.take_along_axis(values, at, 1))
                for values in (reward, said)
            )
        branching, asks = team.protocol.branching, says is not None and not counts
        reward = reward.reshape(-1, *branching)
        kept = setup.config.reward.cut ** answers.cut(team, turns)
        return Graded(
            reward=(reward * kept).astype(np.float32),
            solved=reward == 1,
            said=said.reshape(-1, *branching) == 1 if asks else None,
            evidence=extra,
            spent=dataclasses.replace(
                spent,
                malformed=int(malformed.sum()),
                timed_out=int(timed_out.sum()),
                failed=int(failed.sum()),
            ),
        )

    return graded


def written(
    team: contexts.Team,
    questions,
    turns,
    given: tuple[int, ...] = (),
    count: int | None = None,
) -> Spent:
    """What the messages of some trees took to sample.

    Args:
        team: that grew them.
        questions: heads of B questions, on the devices or not.
        turns: one a role, on the host.
        given: levels whose messages were there before.
        count: how many of the questions are asked for; None for all. What was computed
            for the others was computed, too.
    """
    slots = prefill.slots(team, questions, turns, given)
    questions = hosts.fetch(questions.replace(heads=()))
    turns, questions = jax.tree.map(lambda x: x[:count], (turns, questions))
    quiet = {*team.silenced, *given}
    said = [turn for level, turn in enumerate(turns) if level not in quiet]
    return Spent(
        messages=sum(int((turn.length > 0).sum()) for turn in said),
        truncated=sum(int((~turn.ended & (turn.length > 0)).sum()) for turn in said),
        generated_tokens=sum(int(turn.length.sum()) for turn in said),
        prefilled_tokens=prefill.tokens(team, questions, turns, given),
        prefilled_slots=slots,
    )


def _split(rows: np.ndarray, shapes: list[tuple[int, int]]) -> tuple[np.ndarray, ...]:
    """[B, M] as [B, N, K] of each of several levels."""
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = zip(np.split(rows, cuts, 1), shapes, strict=True)
    return tuple(part.reshape(-1, *shape) for part, shape in parts)
