"""A step's trees: sampled, scored, credited, and handed to the update.

Questions go through it in groups, if `train.groups` says so: the answers of one group
are scored while the next is sampled, and the update of a group begins as soon as it is
scored.
"""

import dataclasses
import functools
import operator
from collections.abc import Callable, Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from c3jax.core import hosts, metrics
from c3jax.core.types import Evidence, Questions
from c3jax.rollout import contexts, loads, sampler, tree
from c3jax.rollout.tree import Tree
from c3jax.train import evidence, grading, scored, scoring, update
from c3jax.train.grading import Graded
from c3jax.train.setup import Setup

# Per tree and role that it compares, [B, N, K].
Advantage = tuple[tuple[np.ndarray, ...], ...]


@dataclasses.dataclass(frozen=True)
class Group:
    """Some of a step's questions, whose answers are being scored.

    Attributes:
        questions: heads of B questions.
        trees: that compare somebody's messages.
        load: how well the sampling kept the devices busy.
        graded: waits for what came of each tree.
    """

    questions: Questions
    trees: tuple[Tree, ...]
    load: loads.Load
    graded: Callable[[], tuple[Graded, ...]]


Rollout = tuple[Group, ...]


def share(setup: Setup) -> np.ndarray:
    """Which of a step's questions this process samples and scores, group by group."""
    c = setup.config.train
    each = c.batch_size // c.groups
    firsts = range(0, c.batch_size, each)
    return np.concatenate([first + setup.share(each) for first in firsts])


def sample(
    setup: Setup,
    state: update.TrainState,
    step: int,
    items: list,
    scorer: scoring.Scorer,
    watch: metrics.Stopwatch,
    stop: Callable[[], bool] = lambda: False,
) -> Rollout:
    """Samples the trees of one step and has their answers scored; changes nothing.

    Args:
        setup: of the run; `train.groups` says into how many groups items are cut.
        state: with the policy that samples, and the critic, if there is one.
        step: what its randomness is named after.
        items: the questions, those of `share`.
        scorer: of the run.
        watch: counts the seconds of "rollout".
        stop: as of `desks.grow`.

    Raises:
        signals.Stopped: it was stopped.
    """
    each, rollout = len(items) // setup.config.train.groups, ()
    # All groups are padded alike: one program samples them, and they can be joined.
    encoded = setup.encode(items)
    for begin in range(0, len(items), each):
        rows = slice(begin, begin + each)
        with watch("rollout"):
            questions = setup.place(jax.tree.map(lambda x: x[rows], encoded))  # noqa: B023
            args = (setup, state, step, questions, items[rows], scorer, stop)
            rollout += (_group(*args),)
    return rollout


def _group(setup, state, step, questions, items, scorer, stop) -> Group:
    trees, waiting, load, unscored = [], [], loads.Load(), grading.Spent()
    for one, took in sampler.trees(
        state.params, setup.team, questions, setup.config.seed, step, stop
    ):
        load += took
        if not one.credited:
            bare = [t.replace(logp=None, margin=None, support=None) for t in one.turns]
            unscored += grading.written(one.team, questions, hosts.fetch(bare))
            continue
        jax.block_until_ready(one.turns)
        graded = grading.submit(
            setup, one.team, questions, items, one.turns, scorer, given=one.given
        )
        graded = evidence.gather(
            setup, state, step, questions, items, one.turns, scorer, graded, stop
        )
        trees.append(one)
        waiting.append(graded)

    @functools.cache
    def graded():
        first, *others = [wait() for wait in waiting]
        spent = unscored + first.spent
        return dataclasses.replace(first, spent=spent), *others

    return Group(questions, tuple(trees), load, graded)


def score(rollout: Rollout) -> tuple[Graded, ...]:
    """What came of each tree, of all questions; waits for their rewards."""
    groups = [group.graded() for group in rollout]
    return tuple(
        Graded(
            reward=np.concatenate([part.reward for part in parts]),
            spent=_sum(part.spent for part in parts),
            evidence=jax.tree.map(
                lambda *each: np.concatenate(each), *(part.evidence for part in parts)
            ),
        )
        for parts in zip(*groups, strict=True)
    )


def credit(
    setup: Setup, rollout: Rollout, memory
) -> tuple[Iterable[Advantage], object]:
    """The advantage of every message, group by group.

    An estimator that compares questions with each other waits for all groups; any
    other is asked as soon as a group is scored.

    Args:
        setup: of the run, with its estimator.
        rollout: of a step.
        memory: what the estimator remembers from before it.

    Returns:
        For each group what its messages are credited with; and what the estimator
        remembers from here on.
    """
    fn = setup.estimator.fn

    def of(group, graded):
        pairs = zip(group.trees, graded, strict=True)
        return tuple(
            _credited(fn(seen(setup, each), memory)[0], one) for one, each in pairs
        )

    if setup.estimator.per_question:
        return (of(group, group.graded()) for group in rollout), memory
    trees, (graded,) = rollout[0].trees, score(rollout)
    found, memory = fn(seen(setup, graded), memory)
    sizes = [group.questions.uid.shape[0] for group in rollout]
    cuts = np.cumsum(sizes)[:-1]
    roles = [np.split(np.asarray(each), cuts) for each in _credited(found, *trees)]
    return [(each,) for each in zip(*roles, strict=True)], memory


def seen(setup: Setup, graded: Graded) -> Evidence:
    """What the estimator sees of a tree; who counts votes has no alternatives."""
    reward = graded.reward
    reward = reward.reshape(reward.shape[: 1 + len(setup.spans)])
    return Evidence(reward, setup.spans, **graded.evidence)


def _credited(advantage: tuple, one: Tree) -> tuple:
    return tuple(advantage[level] for level in one.credited)


def batches(
    setup: Setup,
    rollout: Rollout,
    advantages: Iterable[Advantage],
    params: dict,
    reference: dict | None,
    watch: metrics.Stopwatch,
) -> Iterator[update.Batch]:
    """Group by group as the update reads it; waits for rewards as "score".

    Args:
        setup: of the run.
        rollout: of a step.
        advantages: of `credit`.
        params: the policies.
        reference: what is `learned` of them as it was at the start; None without KL.
        watch: counts the seconds.
    """
    shaped = _shaped(setup, rollout, iter(advantages))
    for group in rollout:
        with watch("score"):
            advantage, counted = next(shaped)
            mine = setup.share(group.questions.uid.shape[0])
        trees, ref_logp = tuple(one.trimmed for one in group.trees), None
        if reference is not None:
            start = update.relearned(params, reference)
            ref_logp = all_logp(start, group.questions, trees)
        advantage = jax.tree.map(lambda x: np.asarray(x)[mine], advantage)  # noqa: B023
        if counted is not None:
            counted = setup.place(counted[mine])
        yield update.Batch(
            group.questions, trees, setup.place(advantage), ref_logp, counted
        )


def _shaped(setup: Setup, rollout: Rollout, advantages: Iterator) -> Iterator[tuple]:
    """Group by group as `scored.shaped`; waits for all if it compares them."""
    objective = setup.objective
    if not objective.whiten:
        for group, one in zip(rollout, advantages, strict=True):
            pairs = scored.learning(objective, group.trees)
            yield from zip(*scored.shaped(objective, [one], pairs), strict=True)
        return
    pairs, written = scored.learning(objective, rollout[0].trees), None
    if setup.team.finishes:
        lengths = [
            [[one.turns[n].length for n in one.credited] for one in group.trees]
            for group in rollout
        ]
        written = jax.tree.map(lambda length: length > 0, hosts.fetch(lengths))
    found = scored.shaped(objective, [*advantages], pairs, written)
    yield from zip(*found, strict=True)


@jax.jit
def all_logp(params: dict, questions: Questions, trees: tuple[Tree, ...]) -> tuple:
    """Log-probabilities of the messages that each tree compares, [B, N, K, T]."""
    return tuple(
        tuple(
            tree.logp(params, one.team, level, questions, one.turns)
            for level in one.credited
        )
        for one in trees
    )


def joined(rollout: Rollout) -> tuple[Questions, tuple[Tree, ...]]:
    """All questions of a step, and their trees."""
    parts = [(group.questions, group.trees) for group in rollout]
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def load(rollout: Rollout) -> loads.Load:
    """How well the sampling of a step kept the devices busy."""
    return _sum(group.load for group in rollout)


def spent(graded: tuple[Graded, ...]) -> grading.Spent:
    """What the trees of a step took, with all that belongs to them."""
    return _sum(each.spent for each in graded)


def mean_reward(graded: tuple[Graded, ...]) -> float:
    """Of all answers of a step."""
    rows = [each.reward.reshape(len(each.reward), -1) for each in graded]
    return float(np.concatenate(rows, 1).mean())


def lengths(rollout: Rollout) -> dict[int, np.ndarray]:
    """Per role, [B, N, K] tokens of the messages that are compared."""
    fetched = hosts.fetch(
        [
            {n: one.turns[n].length for one in group.trees for n in one.credited}
            for group in rollout
        ]
    )
    return jax.tree.map(lambda *parts: np.concatenate(parts), *fetched)


def tokens(rollout: Rollout, team: contexts.Team) -> list[float]:
    """Per role, the mean length of the messages that are compared."""
    found, roles = lengths(rollout), range(len(team.protocol.roles))
    return [float(found[n].mean()) if n in found else 0.0 for n in roles]


def trained(objective: update.Objective, team: contexts.Team, rollout: Rollout) -> int:
    """Tokens that an update reads, those that it leaves out of its loss too."""
    found = lengths(rollout)
    return objective.epochs * sum(int(found[n].sum()) for n in objective.levels(team))


def _sum(values: Iterable):
    return functools.reduce(operator.add, values)
