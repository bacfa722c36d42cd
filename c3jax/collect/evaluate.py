"""Evaluation of a team on questions that it never trains on."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import numpy as np

from c3jax.collect import scorers, scoring
from c3jax.core import keys, metrics, parts, signals, stats
from c3jax.core.ledger import Spent
from c3jax.data import pipeline
from c3jax.reward import math
from c3jax.rollout import continuous
from c3jax.setup.experiment import Setup

# How a line of the log names the figures of a split.
PREFIXES = {"test": "evaluate/", "validation": "validation/"}


class Evaluation(NamedTuple):
    """Accuracies of a team on the questions of a split.

    Attributes:
        split: "test" or "validation".
        questions: how many.
        figures: "greedy"; "pass_at_1" and other k, of `evaluate.samples` episodes a
            question; and on the test split, for each role that does not answer,
            "without <role>", sampled while its message is empty. If the task has a
            second reading, its name: the share of the answers of "pass_at_1" that are
            right in either reading. Intervals are over questions. A vote that ends in a
            tie solves nothing.
        spent: on measuring all of them.
        cut: share of the messages of "pass_at_1" that did not end.
    """

    split: str
    questions: int
    figures: dict[str, stats.Interval]
    spent: Spent
    cut: float

    def fields(self) -> dict[str, float]:
        """As fields of the log."""
        start = PREFIXES[self.split]
        fields = self.spent.figures(start) | {f"{start}questions": self.questions}
        for name, interval in self.figures.items():
            fields[f"{start}{name}"] = interval.mean
            fields[f"{start}{name}_low"] = interval.low
            fields[f"{start}{name}_high"] = interval.high
        return {**fields, f"{start}sampled_truncated_frac": self.cut}

    def __str__(self) -> str:
        figures = (f"{shown(n)} {value}" for n, value in self.figures.items())
        return "  ".join([self.split, *figures])


def shown(name: str) -> str:
    """The name of a figure as it is printed: pass@10."""
    return name.replace("pass_at_", "pass@")


def measure(
    params: dict,
    setup: Setup,
    scorer: scorers.Scorer,
    split: str = "test",
    stop: Callable[[], bool] = lambda: False,
    kept: parts.Parts | None = None,
) -> Evaluation | None:
    """Greedy accuracy and pass@k on the questions of a split.

    Args:
        setup: `config.evaluate` says how many questions and episodes.
        scorer: from `scorers.started`.
        split: "test" or "validation".
        stop: asked between batches and inside of them; see `continuous.sample`.
        kept: batches that were finished before this evaluation was stopped, and where
            further ones are kept; None to keep none.

    Returns:
        The evaluation; None if it was stopped.
    """
    # Per name, a team and the keys of its passes over the questions.
    chain, c = setup.team.protocol.chain(), setup.config.evaluate
    key = keys.stream(setup.config.seed, _STREAMS[split])
    greedy = setup.team.sampling.greedy()
    passes = {"greedy": (setup.team.replace(protocol=chain, sampling=greedy), [key])}
    passes["sampled"] = episodic_team(setup, split=split)
    for level, role in enumerate(chain.roles if split == "test" else ()):
        if not role.answers:
            passes[f"without {role.name}"] = episodic_team(setup, (level,))
    asked = _asked(setup, split)
    per_pass = -(-len(asked) // c.batch_size)
    total = per_pass * sum(len(draws) for _, draws in passes.values())
    progress = metrics.Progress("evaluate", total)

    # All passes, batch by batch.
    progress.open()
    done, solved, said, spent, cut = 0, {}, None, Spent(), 0.0
    try:
        for place, (name, (team, draws)) in enumerate(passes.items()):
            runs = [[] for _ in draws]
            for number, draw in enumerate(draws):
                args = (params, setup, team, asked, scorer, draw, stop, kept)
                for scores in _graded(*args, f"{split}-{place}-{number}"):
                    runs[number].append(scores)
                    done += 1
                    if done < total:
                        progress.show(done)
            played = _played(runs)
            solved[name], spent = played.solved, spent + played.spent
            if name == "sampled":
                cut = played.spent.truncated / max(played.spent.messages, 1)
                said = None if played.said is None else played.solved | played.said
    except signals.Stopped:
        return None
    finally:
        progress.close()

    # The same episodes give pass@k for every k, and the second reading.
    correct = solved.pop("sampled").sum(1)
    for k in sorted({1, *c.k}):
        solved[f"pass_at_{k}"] = stats.pass_at_k(correct, c.samples, k)[:, None]
    if said is not None:
        solved[setup.task.reading] = said
    order = sorted(solved, key=lambda name: name.startswith("without"))
    figures = {
        name: stats.accuracy(solved[name].mean(1), 1 if name == "greedy" else c.samples)
        for name in order
    }
    return Evaluation(split, len(asked), figures, spent, cut)


class Played(NamedTuple):
    """Outcomes of some episodes on the questions of a split.

    Attributes:
        solved: [questions, episodes] bool.
        said: the same by the task's second reading; None if it has none.
        spent: on sampling and scoring them.
    """

    solved: np.ndarray
    said: np.ndarray | None
    spent: Spent


def sampled(
    params: dict,
    setup: Setup,
    scorer: scorers.Scorer,
    silenced: tuple[int, ...] = (),
    stop: Callable[[], bool] = lambda: False,
) -> Played:
    """Whether sampled episodes on the test questions solve them.

    Args:
        setup: `evaluate.samples` says how many episodes.
        scorer: from `scorers.started`.
        silenced: levels of roles whose messages are empty.
        stop: see `continuous.sample`.

    Returns:
        `evaluate.samples` episodes a question.

    Raises:
        signals.Stopped: it was stopped.
    """
    team, draws = episodic_team(setup, silenced)
    args = (params, setup, team, _asked(setup, "test"), scorer)
    return _played([[*_graded(*args, key, stop)] for key in draws])


# The random numbers of a split are its own.
_STREAMS = {"test": "evaluate", "validation": "validate"}


def _asked(setup: Setup, split: str) -> Sequence:
    """The first questions of a split, `evaluate.questions` if there are so many."""
    questions = setup.task.split(split)
    count = min(setup.config.evaluate.questions, len(questions))
    return pipeline.Selected(questions, range(count))


def episodic_team(
    setup: Setup, silenced: tuple[int, ...] = (), split: str = "test"
) -> tuple:
    """The team of `evaluate.samples` episodes, and the keys of its passes."""
    chain = setup.team.protocol.chain()
    key = keys.stream(setup.config.seed, _STREAMS[split])
    episodes, draws = setup.config.evaluate.samples, [key]
    if not chain.is_episodic:  # All episodes would share later roles' messages.
        draws = [jax.random.fold_in(key, n) for n in range(episodes)]
        episodes = 1
    team = setup.team.silencing(*silenced).replace(protocol=chain.chain(episodes))
    return team, draws


def _played(runs: list[list[scoring.ScoredAnswers]]) -> Played:
    """The outcomes of all batches of some passes over the questions."""
    spent = sum((scores.spent for run in runs for scores in run), Spent())

    def flat(field):
        tables = [[getattr(scores, field) for scores in run] for run in runs]
        if tables[0][0] is None:
            return None
        rows = (np.concatenate(batches) for batches in tables)
        return np.concatenate([row.reshape(len(row), -1) for row in rows], 1)

    return Played(flat("solved"), flat("said"), spent)


def _graded(
    params, setup, team, asked, scorer, key, stop=lambda: False, kept=None, name=""
) -> Iterator[scoring.ScoredAnswers]:
    """The questions, a batch at a time; one is scored while the next is sampled.

    A batch that is finished is kept before a stop takes effect.

    Raises:
        signals.Stopped: it was stopped.
    """
    size, waiting = setup.config.evaluate.batch_size, []

    def settled():
        for part, pending in waiting:
            scores = pending()
            if kept is not None and part:
                kept.keep(part, scores.to_json())
            yield scores
        waiting.clear()

    # A batch is sampled while the answers of the one before are scored.
    for begin in range(0, len(asked), size):
        part = f"{name}-{begin:08d}"
        fields = None if kept is None else kept.get(part)
        if fields:  # Nothing is left to do, nor to keep.
            pending = functools.partial(scoring.ScoredAnswers.from_json, fields)
            part = ""
        else:
            try:
                pending = _batch(params, setup, team, asked, scorer, key, begin, stop)
            except signals.Stopped:
                yield from settled()
                raise
        yield from settled()
        waiting.append((part, pending))
    yield from settled()


def _batch(
    params, setup, team, asked, scorer, key, begin, stop
) -> Callable[[], scoring.ScoredAnswers]:
    """A batch of questions from `begin` on, sampled and being scored."""
    size, says = setup.config.evaluate.batch_size, math.READINGS.get(setup.task.reading)
    share, count = setup.share(size), min(size, len(asked) - begin)
    # The last batch is filled up, so that one shape is compiled, and cut again.
    filled = [asked[begin + min(int(row), count - 1)] for row in share]
    questions = setup.questions(filled)
    turns, _ = continuous.sample(params, team, questions, key, stop=stop)
    items = filled[: (share < count).sum()]
    return scoring.submit(
        setup, team, questions, items, turns, scorer, count, says=says
    )
