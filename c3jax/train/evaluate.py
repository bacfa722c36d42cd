"""How good a team is on questions it never trained on."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax
import numpy as np

from c3jax.core import hosts, keys, metrics, signals, stats
from c3jax.reward import math as maths
from c3jax.rollout import contexts, desks
from c3jax.train import answers, parts, scoring, votes
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
        said = None if self.said is None else self.said.tolist()
        spent = dataclasses.asdict(self.spent)
        return {"reward": self.reward.tolist(), "spent": spent, "said": said}

    @classmethod
    def from_json(cls, fields: Mapping) -> "Graded":
        """From `to_json`, by way of JSON."""
        said = None if fields["said"] is None else np.array(fields["said"], bool)
        reward = np.array(fields["reward"], np.float32)
        return cls(reward, Spent(**fields["spent"]), said=said)


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
    slots = contexts.slots(team, questions, turns, given)
    questions = hosts.fetch(questions.replace(heads=()))
    turns, questions = jax.tree.map(lambda x: x[:count], (turns, questions))
    quiet = {*team.silenced, *given}
    said = [turn for level, turn in enumerate(turns) if level not in quiet]
    return Spent(
        messages=sum(int((turn.length > 0).sum()) for turn in said),
        truncated=sum(int((~turn.ended & (turn.length > 0)).sum()) for turn in said),
        generated_tokens=sum(int(turn.length.sum()) for turn in said),
        prefilled_tokens=contexts.prefilled(team, questions, turns, given),
        prefilled_slots=slots,
    )


def _split(rows: np.ndarray, shapes: list[tuple[int, int]]) -> tuple[np.ndarray, ...]:
    """[B, M] as [B, N, K] of each of several levels."""
    cuts = np.cumsum([math.prod(shape) for shape in shapes])[:-1]
    parts = zip(np.split(rows, cuts, 1), shapes, strict=True)
    return tuple(part.reshape(-1, *shape) for part, shape in parts)


class Evaluation(NamedTuple):
    """A team on the test questions.

    Attributes:
        figures: "greedy"; "pass_at_1" and other k, of `evaluate.samples` episodes a
            question; and for each role that does not answer, "without <role>", sampled
            while its message is empty: what is left when the others are on their own.
            Where the task has a second reading, its name: the answers of "pass_at_1"
            that are right in either reading. Intervals are over questions. A vote that
            ends in a tie solves nothing.
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
    kept: parts.Parts | None = None,
) -> Evaluation | None:
    """Greedy accuracy and pass@k on the test questions.

    Args:
        params: the policy.
        setup: of the run.
        scorer: from `scoring.started`.
        stop: asked between batches and inside of them; see `desks.grow`.
        kept: of this evaluation, where it goes on with batches that were finished
            before it was stopped; None to keep none.

    Returns:
        The evaluation; None if it was stopped.
    """
    chain, c = setup.team.protocol.chain(), setup.config.evaluate
    key = keys.stream(setup.config.seed, "evaluate")
    greedy = setup.team.sampling.greedy()
    plays = {"greedy": (setup.team.replace(protocol=chain, sampling=greedy), [key])}
    plays["sampled"] = _episodes(setup)
    for level, role in enumerate(chain.roles):
        if not role.answers:
            plays[f"without {role.name}"] = _episodes(setup, (level,))
    each = -(-c.questions // c.batch_size)
    total = each * sum(len(draws) for _, draws in plays.values())
    progress = metrics.Progress("evaluate", total)
    progress.open()
    done, solved, said, spent = 0, {}, None, Spent()
    try:
        for place, (name, (team, draws)) in enumerate(plays.items()):
            runs = [[] for _ in draws]
            for number, draw in enumerate(draws):
                args = (params, setup, team, scorer, draw, stop, kept)
                for graded in _graded(*args, f"{place}-{number}"):
                    runs[number].append(graded)
                    done += 1
                    if done < total:
                        progress.show(done)
            found = _played(runs)
            solved[name], spent = found.solved, spent + found.spent
            if name == "sampled" and found.said is not None:
                said = found.solved | found.said
    except signals.Stopped:
        return None
    finally:
        progress.close()
    correct = solved.pop("sampled").sum(1)
    for k in sorted({1, *c.k}):
        solved[f"pass_at_{k}"] = stats.pass_at_k(correct, c.samples, k)[:, None]
    if said is not None:
        solved[setup.task.reading] = said
    order = sorted(solved, key=lambda name: name.startswith("without"))
    return Evaluation({n: stats.bootstrap(solved[n].mean(1)) for n in order}, spent)


class Played(NamedTuple):
    """What became of some episodes on the test questions.

    Attributes:
        solved: [questions, episodes] bool.
        said: the same of the task's second reading; None where there is none.
        spent: on playing and scoring them.
    """

    solved: np.ndarray
    said: np.ndarray | None
    spent: Spent


def sampled(
    params: dict,
    setup: Setup,
    scorer: scoring.Scorer,
    silenced: tuple[int, ...] = (),
) -> Played:
    """Whether sampled episodes on the test questions solve them.

    Args:
        params: the policies.
        setup: of the run; `evaluate.samples` says how many episodes.
        scorer: from `scoring.started`.
        silenced: levels of roles whose messages are empty.

    Returns:
        `evaluate.samples` episodes a question.
    """
    team, each = _episodes(setup, silenced)
    return _played([[*_graded(params, setup, team, scorer, key)] for key in each])


def _episodes(setup: Setup, silenced: tuple[int, ...] = ()) -> tuple:
    """The team that plays `evaluate.samples` episodes, once with each of some keys."""
    chain, key = setup.team.protocol.chain(), keys.stream(setup.config.seed, "evaluate")
    episodes, each = setup.config.evaluate.samples, [key]
    if not chain.is_episodic:  # Roles apart from the first would speak once for all.
        each = [jax.random.fold_in(key, n) for n in range(episodes)]
        episodes = 1
    silent = (*setup.team.silenced, *silenced)
    team = setup.team.replace(protocol=chain.chain(episodes), silenced=silent)
    return team, each


def _played(runs: list[list[Graded]]) -> Played:
    """What came of all batches of some runs over the test questions."""
    spent = sum((graded.spent for run in runs for graded in run), Spent())

    def flat(field):
        found = [[getattr(graded, field) for graded in run] for run in runs]
        if found[0][0] is None:
            return None
        rows = (np.concatenate(batches) for batches in found)
        return np.concatenate([row.reshape(len(row), -1) for row in rows], 1)

    return Played(flat("solved"), flat("said"), spent)


def _graded(
    params, setup, team, scorer, key, stop=lambda: False, kept=None, name=""
) -> Iterator[Graded]:
    """The test questions, a batch at a time; one is scored while the next is written.

    What is finished is kept before a stop is heard.

    Raises:
        signals.Stopped: it was stopped.
    """
    c, waiting = setup.config.evaluate, []

    def settled():
        for part, pending in waiting:
            graded = pending()
            if kept is not None and part:
                kept.keep(part, graded.to_json())
            yield graded
        waiting.clear()

    for begin in range(0, c.questions, c.batch_size):
        part = f"{name}-{begin:08d}"
        if kept is not None and (found := kept.get(part)):
            pending, part = functools.partial(Graded.from_json, found), ""
        else:
            try:
                pending = _batch(params, setup, team, scorer, key, begin, stop)
            except signals.Stopped:
                yield from settled()
                raise
        yield from settled()
        waiting.append((part, pending))
    yield from settled()


def _batch(params, setup, team, scorer, key, begin, stop) -> Callable[[], Graded]:
    """The test questions from one on, written and being scored."""
    c, test = setup.config.evaluate, setup.task.split("test")
    share, says = setup.share(c.batch_size), maths.READINGS.get(setup.task.reading)
    count = min(c.batch_size, c.questions - begin)
    # The last batch is filled up, so that one shape is compiled, and cut again.
    filled = [test[begin + min(int(row), count - 1)] for row in share]
    questions = setup.questions(filled)
    turns, _ = desks.grow(params, team, questions, key, stop=stop)
    items = filled[: (share < count).sum()]
    return submit(setup, team, questions, items, turns, scorer, count, says=says)
