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

from c3jax.collect import batching, evidence, scorers, scoring
from c3jax.collect.scoring import ScoredAnswers
from c3jax.core import finite, hosts, metrics, sharding
from c3jax.core.types import Evidence, Questions
from c3jax.credit import api
from c3jax.rollout import contexts, loads, sampler, tree
from c3jax.rollout.tree import Tree
from c3jax.setup import objectives, train_state
from c3jax.setup.experiment import Setup

# Per tree and role that it compares, [B, N, K].
Advantage = tuple[tuple[np.ndarray, ...], ...]


@dataclasses.dataclass(frozen=True)
class Group:
    """Some of a step's questions, whose answers are being scored.

    Attributes:
        questions: B questions.
        trees: those that credit a role.
        load: how well the sampling kept the devices busy.
        scores: waits for the rewards of each tree, and returns them.
    """

    questions: Questions
    trees: tuple[Tree, ...]
    load: loads.Load
    scores: Callable[[], tuple[ScoredAnswers, ...]]


Rollout = tuple[Group, ...]


def share(setup: Setup) -> np.ndarray:
    """Which of a step's questions this process samples and scores, group by group."""
    c = setup.config.train
    size = c.batch_size // c.groups
    firsts = range(0, c.batch_size, size)
    return np.concatenate([first + setup.share(size) for first in firsts])


def sample(
    setup: Setup,
    state: train_state.TrainState,
    step: int,
    items: list,
    scorer: scorers.Scorer,
    watch: metrics.Stopwatch,
    stop: Callable[[], bool] = lambda: False,
) -> Rollout:
    """Samples the trees of one step and has their answers scored; changes nothing.

    Args:
        setup: `train.groups` says into how many groups items are cut.
        state: the policies that sample, and the critic, if there is one.
        step: folded into the keys.
        items: the questions, those of `share`.
        watch: counts the seconds of "rollout".
        stop: see `continuous.sample`.

    Raises:
        signals.Stopped: it was stopped.
    """
    size, rollout = len(items) // setup.config.train.groups, ()
    # All groups are padded alike: one program samples them, and they can be joined.
    encoded = setup.encode(items)
    for begin in range(0, len(items), size):
        rows = slice(begin, begin + size)
        with watch("rollout"):
            questions = setup.place(jax.tree.map(lambda x: x[rows], encoded))  # noqa: B023
            args = (setup, state, step, questions, items[rows], scorer, stop)
            rollout += (_group(*args),)
    return rollout


def _group(setup, state, step, questions, items, scorer, stop) -> Group:
    """One group's trees, sampled; scoring goes on in the background."""
    trees, waiting, load, unscored = [], [], loads.Load(), scoring.Spent()
    for one, tree_load in sampler.trees(
        state.params, setup.team, questions, setup.config.seed, step, stop
    ):
        load += tree_load
        # A vine's base episode is only paid for: its decisions have trees of their own.
        if not one.credited:
            bare = [turn.bare() for turn in one.turns]
            unscored += scoring.written(one.team, questions, hosts.fetch(bare))
            continue
        # Answers go to the scorer before the next tree is sampled.
        jax.block_until_ready(one.turns)
        scores = scoring.submit(
            setup, one.team, questions, items, one.turns, scorer, given=one.given
        )
        scores = evidence.gather(
            setup, state, step, questions, items, one.turns, scorer, scores, stop
        )
        trees.append(one)
        waiting.append(scores)

    @functools.cache
    def scores():
        first, *others = [wait() for wait in waiting]
        spent = unscored + first.spent
        return dataclasses.replace(first, spent=spent), *others

    return Group(questions, tuple(trees), load, scores)


def score(rollout: Rollout) -> tuple[ScoredAnswers, ...]:
    """The rewards of each tree, of all questions; waits for them."""
    groups = [group.scores() for group in rollout]
    return tuple(
        ScoredAnswers(
            reward=np.concatenate([part.reward for part in parts]),
            spent=_sum(part.spent for part in parts),
            evidence=jax.tree.map(
                lambda *rows: np.concatenate(rows), *(part.evidence for part in parts)
            ),
        )
        for parts in zip(*groups, strict=True)
    )


def credit(
    estimator: api.Estimator,
    ancestors: tuple[tuple[int, ...], ...],
    rollout: Rollout,
    memory: object,
) -> tuple[Iterable[Advantage], object]:
    """The advantage of every message, group by group.

    An estimator that compares questions with each other waits for all groups; any
    other is asked as soon as a group is scored.

    Args:
        estimator: with its options bound.
        ancestors: per role, see `Evidence`.
        rollout: the groups of a step.
        memory: the estimator's, from the steps before.

    Returns:
        Per group, the advantages of its messages; and the estimator's memory after
        this step.

    Raises:
        NonFiniteError: of an advantage, when its group is asked for.
    """
    fn = estimator.fn

    def of(group, scores):
        pairs = zip(group.trees, scores, strict=True)
        return tuple(
            _credited(fn(seen(ancestors, rewards), memory)[0], one)
            for one, rewards in pairs
        )

    if estimator.per_question:
        return (of(group, group.scores()) for group in rollout), memory

    # All questions at once, and then apart again.
    trees, (scores,) = rollout[0].trees, score(rollout)
    advantage, memory = fn(seen(ancestors, scores), memory)
    sizes = [group.questions.uid.shape[0] for group in rollout]
    cuts = np.cumsum(sizes)[:-1]
    roles = [np.split(np.asarray(a), cuts) for a in _credited(advantage, *trees)]
    return [(group,) for group in zip(*roles, strict=True)], memory


def seen(ancestors: tuple[tuple[int, ...], ...], scores: ScoredAnswers) -> Evidence:
    """A tree's evidence; the role that counts votes has no axis in it."""
    reward = scores.reward
    reward = reward.reshape(reward.shape[: 1 + len(ancestors)])
    return Evidence(reward, ancestors, **scores.evidence)


def _credited(advantage: tuple, one: Tree) -> tuple:
    """The advantages of the roles that a tree compares.

    Raises:
        NonFiniteError: of one of them; names the role.
    """
    for level in one.credited:
        role = one.team.protocol.roles[level].name
        finite.check(advantage[level], f"the advantage of {role}")
    return tuple(advantage[level] for level in one.credited)


def batches(
    objective: objectives.Objective,
    mesh: jax.sharding.Mesh,
    rollout: Rollout,
    advantages: Iterable[Advantage],
    params: dict,
    reference: dict | None,
    watch: metrics.Stopwatch,
) -> Iterator[batching.Batch]:
    """One batch a group, as the update reads it; waits for rewards.

    Args:
        objective: shapes the credit.
        mesh: the devices.
        rollout: the groups of a step.
        advantages: from `credit`.
        reference: `trainable` of the starting policies; None without KL.
        watch: counts the seconds of waiting as "score".
    """
    shaped = _shaped(objective, rollout, iter(advantages))
    for group in rollout:
        with watch("score"):
            advantage, counted = next(shaped)
            mine = sharding.share(mesh, group.questions.uid.shape[0])
        trees, ref_logp = tuple(one.trimmed for one in group.trees), None
        if reference is not None:
            start = train_state.with_trainable(params, reference)
            ref_logp = all_logp(start, group.questions, trees)
        advantage = jax.tree.map(lambda x: np.asarray(x)[mine], advantage)  # noqa: B023
        if counted is not None:
            counted = sharding.place(mesh, counted[mine])
        advantage = sharding.place(mesh, advantage)
        yield batching.Batch(group.questions, trees, advantage, ref_logp, counted)


def _shaped(
    objective: objectives.Objective, rollout: Rollout, advantages: Iterator
) -> Iterator[tuple]:
    """`batching.shaped` group by group; whitening waits for all of them."""
    if not objective.whiten:
        for group, advantage in zip(rollout, advantages, strict=True):
            learned = batching.credited_roles(objective, group.trees)
            (fresh,), (counts,) = batching.shaped(objective, [advantage], learned)
            yield fresh, counts
        return
    trees = rollout[0].trees
    learned, written = batching.credited_roles(objective, trees), None
    # In a dialogue that may finish early some messages do not exist.
    if trees[0].team.finishes:
        lengths = [
            [[one.turns[n].length for n in one.credited] for one in group.trees]
            for group in rollout
        ]
        written = jax.tree.map(lambda length: length > 0, hosts.fetch(lengths))
    whitened = batching.shaped(objective, [*advantages], learned, written)
    yield from zip(*whitened, strict=True)


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


def spent(scores: tuple[ScoredAnswers, ...]) -> scoring.Spent:
    """Cost of a step's trees and of the evidence that was gathered for them."""
    return _sum(answers.spent for answers in scores)


def mean_reward(scores: tuple[ScoredAnswers, ...]) -> float:
    """Mean over all answers of a step."""
    rows = [x.reward.reshape(len(x.reward), -1) for x in scores]
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
    by_role, roles = lengths(rollout), range(len(team.protocol.roles))
    return [float(by_role[n].mean()) if n in by_role else 0.0 for n in roles]


def trained(
    objective: objectives.Objective, team: contexts.Team, rollout: Rollout
) -> int:
    """Tokens that an update reads, those that it leaves out of its loss too."""
    by_role = lengths(rollout)
    return objective.epochs * sum(int(by_role[n].sum()) for n in objective.levels(team))


def _sum(values: Iterable):
    return functools.reduce(operator.add, values)
