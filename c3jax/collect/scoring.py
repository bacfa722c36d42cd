"""Answers of sampled trees, handed to the scorer, and the rewards that come back."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from c3jax.collect import answers, scorers, votes
from c3jax.core import finite, hosts
from c3jax.core.ledger import Spent
from c3jax.rollout import contexts, prefill
from c3jax.setup.experiment import Setup


@dataclasses.dataclass(frozen=True)
class ScoredAnswers:
    """Rewards of a batch of trees.

    Attributes:
        reward: [B, k_1, .., k_R] float32 in [0, 1], one axis per role; that of the
            answer, times `reward.cut` for each message on its path that did not end.
        spent: on sampling and scoring them.
        evidence: other fields of `Evidence`, by name.
        solved: like `reward`, bool, whether the answer is right, cut or not; None for
            groups that were joined.
        said: like `reward`, bool, whether the second reading of the answers found the
            gold one; None without a second reading, or where votes are counted.
    """

    reward: np.ndarray
    spent: Spent
    evidence: Mapping[str, object] = dataclasses.field(default_factory=dict)
    solved: np.ndarray | None = None
    said: np.ndarray | None = None

    def to_json(self) -> dict:
        """As JSON holds it; evidence for credit is left out."""
        tables = {
            name: None if (table := getattr(self, name)) is None else table.tolist()
            for name in ("reward", "solved", "said")
        }
        return {**tables, "spent": dataclasses.asdict(self.spent)}

    @classmethod
    def from_json(cls, fields: Mapping) -> "ScoredAnswers":
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
    scorer: scorers.Scorer,
    count: int | None = None,
    given: tuple[int, ...] = (),
    says: Callable[[str, str], bool] | None = None,
) -> Callable[[], ScoredAnswers]:
    """Hands over every answer of a batch of trees to be scored.

    Each process scores its share of the questions and receives the verdicts on all. In
    a vote each voter's answer is scored once, and the rewards of their combinations
    follow from that; comparing answers looks at no gold answer and is no evaluator
    call. In a dialogue that may finish early, an answer that several leaves share is
    scored once, and an episode without an answer earns 0.

    Args:
        setup: decodes the messages; `reward.cut` is read.
        team: as it sampled the trees.
        questions: B questions, on the devices or not.
        items: this process's share of the same questions.
        count: how many questions are real, where others fill up the batch; None: all.
        given: levels whose messages existed before, and cost nothing more.
        says: a second reading, (text, gold answer) -> whether it finds that one.

    Returns:
        A function that waits for the rewards and returns them.

    Raises:
        NonFiniteError: of a log-probability; names the role. A reward raises it when
            it is waited for.
    """
    size, reads = questions.uid.shape[0], says is not None
    # What is scored or counted; the rest stays on the devices.
    bare = [turn.bare() for turn in turns]
    turns, sound = hosts.fetch((bare, _sound([turn.logp for turn in turns])))
    for role, is_sound in zip(team.protocol.roles, sound, strict=True):
        if not is_sound:
            raise finite.NonFiniteError(
                f"the log-probability of a token that {role.name} sampled is not finite"
            )
    asked = _asked(setup, team, turns, items, size, count)
    spent = written(team, questions, turns, given, count)
    spent = dataclasses.replace(spent, evaluator_calls=asked.calls)
    turns = jax.tree.map(lambda x: x[:count], turns)

    # From here on verifiers work, and the devices may go on.
    grades, no_votes = scorer.submit(asked.texts, asked.items), [0] * len(asked.texts)
    is_vote = team.protocol.roles[-1].counts
    compare = scorer.compare(asked.texts, asked.items) if is_vote else lambda: no_votes
    pairs = zip(asked.texts, asked.items, strict=True)
    again = [reads and says(text, item.answer) for text, item in pairs]

    def scores():
        marks = zip(asked.rows, grades(), compare(), again, strict=True)
        verdicts = _gathered(setup, marks, size, asked.per_question, count)
        return _rewarded(setup, team, turns, asked, verdicts, spent, reads)

    return scores


@jax.jit
def _sound(logp: list) -> list[jax.Array]:
    """Per role, whether all of its log-probabilities are finite, if it has some."""
    return [part is None or jnp.isfinite(part).all() for part in logp]


class _Asked(NamedTuple):
    """Messages that a process hands to the scorer.

    Attributes:
        texts, items: the text of each message, and its question.
        rows: the place of each among all messages of the process, M a question.
        shapes: per level of `answers.levels`, the (N, K) messages a question.
        answer: from `answers.of_leaves`, of real questions; None if all messages are
            scored.
        calls: messages that all processes have scored on real questions.
    """

    texts: list[str]
    items: list
    rows: np.ndarray
    shapes: list[tuple[int, int]]
    answer: np.ndarray | None
    calls: int

    @property
    def per_question(self) -> int:
        """M, messages per question."""
        return sum(map(math.prod, self.shapes))


def _asked(setup, team, turns, items, size: int, count: int | None) -> _Asked:
    """The messages that are some leaf's answer, each once."""
    share, levels = setup.share(size), answers.levels(team)
    read = [turns[level] for level in levels]
    texts = answers.texts(setup, read, levels, share, len(items))
    shapes = [turn.length.shape[1:] for turn in read]
    per_question, answer = sum(map(math.prod, shapes)), None
    is_scored = np.ones((size, per_question), bool)
    if team.finishes:
        answer = answers.of_leaves(team, turns)
        is_scored = answers.used(answer, per_question)
        answer = answer[:count]
    rows = np.flatnonzero(is_scored[share[: len(items)]])
    return _Asked(
        texts=[texts[row] for row in rows],
        items=[items[row // per_question] for row in rows],
        rows=rows,
        shapes=shapes,
        answer=answer,
        calls=int(is_scored[:count].sum()),
    )


class _Verdicts(NamedTuple):
    """Arrays [B, M] float32: a `scorers.Grade`, a ballot, and a second reading."""

    reward: np.ndarray
    malformed: np.ndarray
    timed_out: np.ndarray
    failed: np.ndarray
    ballot: np.ndarray
    said: np.ndarray


def _gathered(
    setup, marks: Iterable[tuple], size: int, per_question: int, count: int | None
) -> _Verdicts:
    """The verdicts of all processes, on real questions; 0 for what is not scored."""
    share, width = len(setup.share(size)), len(_Verdicts._fields)
    mine = np.zeros((share * per_question, width), np.float32)
    for row, grade, ballot, again in marks:
        mine[row] = *dataclasses.astuple(grade), ballot, again
    table = setup.gather(mine.reshape(share, per_question, width), size)[:count]
    return _Verdicts(*np.ascontiguousarray(table.transpose(2, 0, 1)))


def _rewarded(
    setup, team, turns, asked: _Asked, verdicts: _Verdicts, spent: Spent, reads: bool
) -> ScoredAnswers:
    """The reward of each leaf from the verdicts on messages."""
    reward, said, extra = verdicts.reward, verdicts.said, {}
    if team.protocol.roles[-1].counts:
        reward, extra = _voted(team, asked.shapes, verdicts)
        reads = False

    # Where answers were scored once, each leaf takes its own.
    if asked.answer is not None:
        reward, said = _at(reward, asked.answer), _at(said, asked.answer)
    finite.check(reward, "a reward")
    reward = reward.reshape(-1, *team.protocol.branching)

    # Cut messages pay; whether the answer is right stays.
    kept = setup.config.reward.cut ** answers.cut(team, turns)
    return ScoredAnswers(
        reward=(reward * kept).astype(np.float32),
        solved=reward == 1,
        said=said.reshape(reward.shape) == 1 if reads else None,
        evidence=extra,
        spent=dataclasses.replace(
            spent,
            malformed=int(verdicts.malformed.sum()),
            timed_out=int(verdicts.timed_out.sum()),
            failed=int(verdicts.failed.sum()),
        ),
    )


def _voted(team, shapes, verdicts: _Verdicts) -> tuple[np.ndarray, dict]:
    """The majority's reward for every combination, and the votes as evidence."""
    correct, ballots = _split(verdicts.reward, shapes), _split(verdicts.ballot, shapes)
    ballots = tuple(ballot.astype(np.int32) for ballot in ballots)
    reward = votes.counted(team, ballots, correct)
    if any(count != 1 for count, _ in shapes):
        return reward, {}
    return reward, {
        "ballots": tuple(ballot[:, 0] for ballot in ballots),
        "correct": tuple(right[:, 0] for right in correct),
    }


def _at(values: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """[B, M] values of messages as those of leaves; 0 for an episode without answer."""
    index = answer.reshape(len(values), -1)
    return np.where(index < 0, 0, np.take_along_axis(values, index, 1))


def written(
    team: contexts.Team,
    questions,
    turns,
    given: tuple[int, ...] = (),
    count: int | None = None,
) -> Spent:
    """The cost of sampling some trees.

    Args:
        team: as it sampled them.
        questions: B questions, on the devices or not.
        turns: one a role, on the host.
        given: levels whose messages existed before.
        count: how many questions are real; None for all. Prefilled slots count for the
            others, too.
    """
    slots = prefill.slots(team, questions, turns, given)
    questions = hosts.fetch(questions.replace(prompts=()))
    turns, questions = jax.tree.map(lambda x: x[:count], (turns, questions))
    free = {*team.silenced, *given}
    paid = [turn for level, turn in enumerate(turns) if level not in free]
    return Spent(
        messages=sum(int((turn.length > 0).sum()) for turn in paid),
        truncated=sum(int((~turn.ended & (turn.length > 0)).sum()) for turn in paid),
        generated_tokens=sum(int(turn.length.sum()) for turn in paid),
        prefilled_tokens=prefill.tokens(team, questions, turns, given),
        prefilled_slots=slots,
    )


def _split(rows: np.ndarray, shapes: list[tuple[int, int]]) -> tuple[np.ndarray, ...]:
    """[B, M] as [B, N, K] of each of several levels."""
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = zip(np.split(rows, cuts, 1), shapes, strict=True)
    return tuple(part.reshape(-1, *shape) for part, shape in parts)
