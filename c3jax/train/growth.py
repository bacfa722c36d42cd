"""One step's trees: grown on the devices while others of them are being scored."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from c3jax.core import hosts, keys, metrics
from c3jax.core.types import Evidence, Questions, Turn
from c3jax.rollout import comb, desks, loads, tree
from c3jax.train import evidence, grading, scored, scoring, update
from c3jax.train.setup import Setup


class Group(NamedTuple):
    """Some of a step's questions, grown together.

    Attributes:
        questions: heads of B questions.
        turns: one a role, the messages that learn.
        load: how well the writing kept the devices busy.
        graded: waits for the rewards of the leaves and what else credit needs.
        teeth: of a comb, per role, all turns of the tooth there; () of a tree.
    """

    questions: Questions
    turns: tuple[Turn, ...]
    load: loads.Load
    graded: Callable[[], grading.Graded]
    teeth: tuple[tuple[Turn, ...], ...] = ()

    @property
    def base(self) -> tuple[Turn, ...]:
        """Of a comb, the base episode but for the last role's turn; () of a tree."""
        return self.teeth[-1][:-1] if self.teeth else ()


class Tree(NamedTuple):
    """A nested tree that was grown, or one tooth of a comb.

    Attributes:
        tooth: index of the role whose alternatives it compares; None of a nested tree.
        turns: one a role.
        advantage: per role, [B, N, K]; 0 for what nobody learns from.
        reward: [B, k_1, .., k_R].
    """

    tooth: int | None
    turns: tuple[Turn, ...]
    advantage: tuple[np.ndarray, ...]
    reward: np.ndarray


class Grown:
    """One step's trees, with rewards and credit where they are asked for.

    Attributes:
        groups: of questions, in their order.
    """

    def __init__(self, setup: Setup, memory: object, groups: list[Group]):
        """Keeps what credit is made from.

        Args:
            setup: of the run.
            memory: of the estimator, before this step.
            groups: of questions, perhaps not scored yet.
        """
        self._setup, self._memory, self.groups = setup, memory, groups

    def advantages(self) -> Iterator[tuple]:
        """For each group in turn, per role [B, N, K]; waits for its rewards.

        An estimator that compares questions with each other waits for all.
        """
        if len(self.groups) > 1 and self._setup.estimator.per_question:
            for group in self.groups:
                yield self._credit(group.graded())[0]
            return
        sizes = [group.questions.uid.shape[0] for group in self.groups]
        cuts = np.cumsum(sizes)[:-1]
        roles = [np.split(np.asarray(each), cuts) for each in self.advantage]
        yield from zip(*roles, strict=True)

    @functools.cached_property
    def graded(self) -> grading.Graded:
        """Rewards of all the leaves, what else credit needs, and what they took."""
        parts = [group.graded() for group in self.groups]
        return grading.Graded(
            reward=np.concatenate([part.reward for part in parts]),
            spent=functools.reduce(lambda a, b: a + b, (part.spent for part in parts)),
            evidence=jax.tree.map(
                lambda *each: np.concatenate(each), *(part.evidence for part in parts)
            ),
        )

    @property
    def evidence(self) -> Evidence:
        """What the estimator sees of all questions."""
        return self._evidence(self.graded)

    @property
    def advantage(self) -> tuple:
        """Per role, [B, N, K]."""
        return self._all[0]

    @property
    def memory(self) -> object:
        """What the estimator remembers from here on."""
        return self._all[1]

    @property
    def questions(self) -> Questions:
        """Heads of all questions."""
        return self._joined[0]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """One a role, of all questions."""
        return self._joined[1]

    @property
    def trees(self) -> tuple[Tree, ...]:
        """The nested trees that were grown: one, or the teeth of a comb."""
        protocol = self._setup.team.protocol
        if not protocol.continuations:
            return (Tree(None, self.turns, self.advantage, self.graded.reward),)
        found, teeth = [], self.graded.evidence["teeth"]
        for level, turns in enumerate(self._joined[2]):
            credit = [np.zeros(turn.length.shape, np.float32) for turn in turns]
            credit[level] = self.advantage[level]
            shape = (len(teeth[level]), *protocol.tooth(level).branching)
            reward = teeth[level].reshape(shape)
            found.append(Tree(level, turns, tuple(credit), reward))
        return tuple(found)

    @property
    def load(self) -> loads.Load:
        """How well the writing kept the devices busy."""
        return functools.reduce(lambda a, b: a + b, (g.load for g in self.groups))

    def trained(self, objective: update.Objective) -> int:
        """Tokens that an update reads, those that it leaves out of its loss too."""
        levels = objective.levels(self._setup.team)
        sums = (int(self._lengths[level].sum()) for level in levels)
        return objective.epochs * sum(sums)

    @property
    def tokens(self) -> list[float]:
        """Per role, the mean length of its messages."""
        return [float(length.mean()) for length in self._lengths]

    @functools.cached_property
    def _lengths(self):
        """Per role, [B, N, K]."""
        each = hosts.fetch([[turn.length for turn in g.turns] for g in self.groups])
        return [np.concatenate(role) for role in zip(*each, strict=True)]

    @functools.cached_property
    def _all(self):
        return self._credit(self.graded)

    @functools.cached_property
    def _joined(self):
        parts = [(group.questions, group.turns, group.teeth) for group in self.groups]
        if len(parts) == 1:
            return parts[0]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)

    def _evidence(self, graded):
        spans, reward = self._setup.spans, graded.reward
        reward = reward.reshape(reward.shape[: 1 + len(spans)])
        return Evidence(reward, spans, **graded.evidence)

    def _credit(self, graded):
        """Advantages and memory; who counts votes has nothing to learn and gets 0."""
        protocol, writers = self._setup.team.protocol, len(self._setup.spans)
        found, batch = self._evidence(graded), len(graded.reward)
        advantage, memory = self._setup.estimator.fn(found, self._memory)
        for level in range(writers, len(protocol.roles)):
            size = (batch, protocol.contexts(level), protocol.branching[level])
            advantage += (np.zeros(size, np.float32),)
        return advantage, memory


def share(setup: Setup) -> np.ndarray:
    """Which of a step's questions this process grows and scores, group after group."""
    c = setup.config.train
    each = c.batch_size // c.groups
    firsts = range(0, c.batch_size, each)
    return np.concatenate([first + setup.share(each) for first in firsts])


def grow(
    setup: Setup,
    state: update.TrainState,
    step: int,
    items: list,
    scorer: scoring.Scorer,
    watch: metrics.Stopwatch,
    stop: Callable[[], bool] = lambda: False,
) -> Grown:
    """Samples the trees of one step and has them scored; changes nothing.

    The answers of one group are scored while the next is written, all by one policy.

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
    grow_some = _comb if setup.team.protocol.continuations else _tree
    each, groups = len(items) // setup.config.train.groups, []
    # All groups are padded alike: one program grows them, and they can be joined.
    encoded = setup.encode(items)
    for begin in range(0, len(items), each):
        rows = slice(begin, begin + each)
        with watch("rollout"):
            questions = setup.place(jax.tree.map(lambda x: x[rows], encoded))  # noqa: B023
            args = (setup, state, step, questions, items[rows], scorer, stop)
            groups.append(grow_some(*args))
    return Grown(setup, state.memory, groups)


def _tree(setup, state, step, questions, items, scorer, stop) -> Group:
    """Nested trees of some questions, and what else credit needs."""
    key = jax.random.fold_in(keys.stream(setup.config.seed, "rollout"), step)
    turns, load = desks.grow(state.params, setup.team, questions, key, stop=stop)
    turns = jax.block_until_ready(turns)
    graded = grading.submit(setup, setup.team, questions, items, turns, scorer)
    graded = evidence.gather(
        setup, state, step, questions, items, turns, scorer, graded, stop
    )
    return Group(questions, turns, load, functools.cache(graded))


def _comb(setup, state, step, questions, items, scorer, stop) -> Group:
    """Combs of some questions; answers of one tooth are scored while the next grows."""
    team = setup.team
    grown = comb.grow(state.params, team, questions, setup.config.seed, step, stop)
    said, load = next(grown)
    bare = [turn.replace(logp=None, margin=None, support=None) for turn in said]
    spent = grading.written(comb.base(team), questions, hosts.fetch(bare))
    teeth, waiting = [], []
    for level, (turns, took) in enumerate(grown):
        turns, load = jax.block_until_ready(turns), load + took
        told, given = comb.teeth(team)[level], tuple(range(level))
        waiting.append(
            grading.submit(setup, told, questions, items, turns, scorer, given=given)
        )
        teeth.append(turns)

    @functools.cache
    def graded():
        found = [each() for each in waiting]
        rewards = tuple(
            each.reward.reshape(len(each.reward), k, -1)
            for each, k in zip(found, team.protocol.branching, strict=True)
        )
        rows = [reward.reshape(len(reward), -1) for reward in rewards]
        return grading.Graded(
            reward=np.concatenate(rows, 1),
            spent=functools.reduce(lambda a, b: a + b, (f.spent for f in found), spent),
            evidence={"teeth": rewards},
        )

    alternatives = tuple(turns[level] for level, turns in enumerate(teeth))
    return Group(questions, alternatives, load, graded, tuple(teeth))


def credited(
    setup: Setup,
    grown: Grown,
    params: dict,
    reference: dict | None,
    watch: metrics.Stopwatch,
) -> Iterator[update.Scored]:
    """Group after group as the update reads it; waits for rewards as "score".

    Args:
        setup: of the run.
        grown: the trees.
        params: the policies.
        reference: what is `learned` of them as it was at the start; None without KL.
        watch: counts the seconds.
    """
    advantages = _shaped(setup, grown)
    for group in grown.groups:
        with watch("score"):
            advantage, counted = next(advantages)
            mine = setup.share(group.questions.uid.shape[0])
        ref_logp = None
        if reference is not None:
            start = update.relearned(params, reference)
            ref_logp = all_logp(
                start, setup.team, group.questions, group.turns, group.base
            )
        advantage = setup.place(tuple(np.asarray(each)[mine] for each in advantage))
        if counted is not None:
            counted = setup.place(counted[mine])
        yield update.Scored(
            *(group.questions, group.turns, advantage, ref_logp, counted, group.base)
        )


def _shaped(setup: Setup, grown: Grown) -> Iterator[tuple]:
    """Group after group as `scored.shaped`; waits for all if it compares them."""
    objective, each = setup.objective, grown.advantages()
    levels = objective.levels(setup.team)
    if not objective.whiten:
        for one in each:
            yield from zip(*scored.shaped(objective, [one], levels), strict=True)
        return
    written = None
    if setup.team.finishes:
        lengths = [[turn.length for turn in group.turns] for group in grown.groups]
        written = jax.tree.map(lambda length: length > 0, hosts.fetch(lengths))
    yield from zip(*scored.shaped(objective, [*each], levels, written), strict=True)


@functools.partial(jax.jit, static_argnums=1)
def all_logp(params, team, questions, turns, base=()) -> tuple[jax.Array, ...]:
    """Log-probabilities of every message, per role [B, N, K, T]; see `comb.at`."""

    def score(level):
        told, read = comb.at(team, level, turns, base)
        return tree.logp(params, told, level, questions, read)

    return tuple(
        turn.logp if level in team.silenced else score(level)
        for level, turn in enumerate(turns)
    )
