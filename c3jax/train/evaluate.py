"""How good a team is on questions it never trained on."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import numpy as np

from c3jax.core import keys, metrics, signals, stats
from c3jax.reward import math as maths
from c3jax.rollout import desks
from c3jax.train import grading, parts, scoring
from c3jax.train.ledger import Spent
from c3jax.train.setup import Setup


class Evaluation(NamedTuple):
    """A team on the test questions.

    Attributes:
        figures: "greedy"; "pass_at_1" and other k, of `evaluate.samples` episodes a
            question; and for each role that does not answer, "without <role>", sampled
            while its message is empty: what is left when the others are on their own.
            Where the task has a second reading, its name: the answers of "pass_at_1"
            that are right in either reading. Intervals are over questions. A vote that
            ends in a tie solves nothing.
        spent: on measuring all of them.
        cut: share of the messages of "pass_at_1" that did not end.
    """

    figures: dict[str, stats.Interval]
    spent: Spent
    cut: float

    def fields(self) -> dict[str, float]:
        """As fields of the log."""
        found = self.spent.figures("evaluate/")
        for name, interval in self.figures.items():
            found[f"evaluate/{name}"] = interval.mean
            found[f"evaluate/{name}_low"] = interval.low
            found[f"evaluate/{name}_high"] = interval.high
        return {**found, "evaluate/sampled_truncated_frac": self.cut}

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
    done, solved, said, spent, cut = 0, {}, None, Spent(), 0.0
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
            if name == "sampled":
                cut = found.spent.truncated / max(found.spent.messages, 1)
                said = None if found.said is None else found.solved | found.said
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
    figures = {name: stats.bootstrap(solved[name].mean(1)) for name in order}
    return Evaluation(figures, spent, cut)


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
    stop: Callable[[], bool] = lambda: False,
) -> Played:
    """Whether sampled episodes on the test questions solve them.

    Args:
        params: the policies.
        setup: of the run; `evaluate.samples` says how many episodes.
        scorer: from `scoring.started`.
        silenced: levels of roles whose messages are empty.
        stop: as of `desks.grow`.

    Returns:
        `evaluate.samples` episodes a question.

    Raises:
        signals.Stopped: it was stopped.
    """
    team, each = _episodes(setup, silenced)
    return _played([[*_graded(params, setup, team, scorer, k, stop)] for k in each])


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


def _played(runs: list[list[grading.Graded]]) -> Played:
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
) -> Iterator[grading.Graded]:
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
            pending, part = functools.partial(grading.Graded.from_json, found), ""
        else:
            try:
                pending = _batch(params, setup, team, scorer, key, begin, stop)
            except signals.Stopped:
                yield from settled()
                raise
        yield from settled()
        waiting.append((part, pending))
    yield from settled()


def _batch(
    params, setup, team, scorer, key, begin, stop
) -> Callable[[], grading.Graded]:
    """The test questions from one on, written and being scored."""
    c, test = setup.config.evaluate, setup.task.split("test")
    share, says = setup.share(c.batch_size), maths.READINGS.get(setup.task.reading)
    count = min(c.batch_size, c.questions - begin)
    # The last batch is filled up, so that one shape is compiled, and cut again.
    filled = [test[begin + min(int(row), count - 1)] for row in share]
    questions = setup.questions(filled)
    turns, _ = desks.grow(params, team, questions, key, stop=stop)
    items = filled[: (share < count).sum()]
    return grading.submit(
        setup, team, questions, items, turns, scorer, count, says=says
    )
