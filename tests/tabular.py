"""A team small enough to enumerate: every figure exact, to hold estimates against.

Each role picks one of a few messages by a softmax over a table of logits, one row for
each question and context; the reward is a table over questions and the messages of all
roles. So values, gradients, influence and variances are sums over all outcomes.

Arrays have an axis for each role, [.., Q, A_1, .., A_R], of size 1 where they do not
depend on it; trees likewise, [.., Q, k_1, .., k_R].
"""

import dataclasses
import functools
import math

import numpy as np

from c3jax.core.types import Evidence

CHAIN2 = ((), (0,))
CHAIN3 = ((), (0,), (0, 1))
# A planner, two solvers who do not read each other, and one who reads both.
DIAMOND = ((), (0,), (0,), (0, 1, 2))


@dataclasses.dataclass(frozen=True)
class Team:
    """Policies and rewards.

    Attributes:
        reward: [Q, A_1, .., A_R] float.
        logits: per role, [Q, 1 or A_1, .., 1 or A_R], of size A on the axes of its
            ancestors and its own.
        ancestors: per role, the indices of its ancestors, ascending.
    """

    reward: np.ndarray
    logits: tuple[np.ndarray, ...]
    ancestors: tuple[tuple[int, ...], ...]

    @functools.cached_property
    def policy(self) -> tuple[np.ndarray, ...]:
        """Per role, the probability of each message in each context."""
        found = []
        for level, logits in enumerate(self.logits):
            odds = np.exp(logits - logits.max(1 + level, keepdims=True))
            found.append(odds / odds.sum(1 + level, keepdims=True))
        return tuple(found)

    @functools.cached_property
    def outcomes(self) -> np.ndarray:
        """[Q, A_1, .., A_R], the probability of all messages together."""
        return functools.reduce(np.multiply, self.policy)

    def reach(self, level: int) -> np.ndarray:
        """How likely a role's contexts are, with size 1 off its ancestors' axes."""
        return self._sum(self.outcomes, self.ancestors[level])

    def q(self, level: int) -> np.ndarray:
        """Mean reward after each message of a role in each context."""
        kept = (*self.ancestors[level], level)
        earned = self._sum(self.outcomes * self.reward, kept)
        return earned / self._sum(self.outcomes, kept)

    def value(self, level: int) -> np.ndarray:
        """Mean reward in each context of a role."""
        return (self.policy[level] * self.q(level)).sum(1 + level, keepdims=True)

    def gradient(self) -> tuple[np.ndarray, ...]:
        """Per role, the slope of each question's mean reward in its logits."""
        return tuple(
            self.reach(level) * pi * (self.q(level) - self.value(level))
            for level, pi in enumerate(self.policy)
        )

    def spread(self) -> np.ndarray:
        """[Q, R], what each role adds to the variance of the reward, given all before.

        They sum to the variance of the reward.
        """
        found, predicted = [], self._sum(self.outcomes * self.reward, ())
        for level in range(len(self.ancestors)):
            before = tuple(range(level + 1))
            known = self._sum(self.outcomes, before)
            better = self._sum(self.outcomes * self.reward, before) / known
            found.append(
                (known * (better - predicted) ** 2).reshape(len(predicted), -1).sum(1)
            )
            predicted = better
        return np.stack(found, 1)

    def influence(self, level: int, reader: int) -> np.ndarray:
        """Mutual information of two roles' messages in each context of the first, nats.

        I(m; y | h) = sum over m and y of p(m, y | h) ln (p(y | m, h) / p(y | h)).
        """
        ancestors = self.ancestors[level]
        both = self._sum(self.outcomes, (*ancestors, level, reader))
        both = both / self._sum(self.outcomes, ancestors)
        apart = both.sum(1 + reader, keepdims=True) * both.sum(1 + level, keepdims=True)
        terms = both * np.log(both / apart)
        return terms.sum((1 + level, 1 + reader), keepdims=True)

    def _sum(self, x, kept):
        """Sum over all roles' axes but these."""
        gone = (1 + axis for axis in range(len(self.ancestors)) if axis not in kept)
        return x.sum(tuple(gone), keepdims=True)


def team(
    ancestors=CHAIN2,
    actions: int | tuple[int, ...] = 3,
    questions: int = 4,
    weight: tuple[float, ...] | None = None,
    seed: int = 0,
    binary: bool = False,
) -> Team:
    """A random team whose mean reward differs between questions.

    Args:
        ancestors: per role, its ancestors.
        actions: messages of each role.
        questions: how many.
        weight: per role, how much its message matters by itself; 1 for each if None.
        seed: of the tables.
        binary: whether every reward is 0 or 1.
    """
    rng, roles = np.random.default_rng(seed), len(ancestors)
    actions = (actions,) * roles if isinstance(actions, int) else actions
    weight = (1.0,) * roles if weight is None else weight
    logit = rng.normal(0, 1, (questions, *(1,) * roles))
    for level, each in enumerate(weight):
        # What a message is worth depends on all the messages before it.
        seen = (*actions[: level + 1], *(1,) * (roles - level - 1))
        logit = logit + each * rng.normal(0, 1.5, (questions, *seen))
    logits = []
    for level, above in enumerate(ancestors):
        sizes = (a if r in (*above, level) else 1 for r, a in enumerate(actions))
        logits.append(rng.normal(0, 0.7, (questions, *sizes)))
    reward = 1.0 * (logit > 0) if binary else 1 / (1 + np.exp(-logit))
    return Team(reward, tuple(logits), ancestors)


def draw(
    team: Team,
    level: int,
    said: tuple[np.ndarray, ...],
    size: tuple[int, ...],
    rng: np.random.Generator,
) -> np.ndarray:
    """Messages of one role, as numbers.

    Args:
        team: who.
        level: which role.
        said: per ancestor, what it said, [n, Q, ..] with an axis for each role.
        size: (n, Q, ..) of what is drawn.
        rng: where from.
    """
    question = np.arange(size[1]).reshape(1, -1, *(1,) * (len(size) - 2))
    odds = np.moveaxis(team.policy[level], 1 + level, -1)
    index = [question] + [0] * (len(team.ancestors) - 1)
    for axis, message in zip(team.ancestors[level], said, strict=True):
        # The role's own axis was moved to the end; ancestors come before it.
        index[1 + axis] = message
    threshold = odds[tuple(index)].cumsum(-1)
    uniform = rng.random((*size, 1))
    return np.minimum((uniform > threshold).sum(-1), threshold.shape[-1] - 1)


def sample(
    team: Team, branching: tuple[int, ...], count: int, rng: np.random.Generator
) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Trees of every question, `count` times.

    Returns:
        Per role its messages, [n, Q, 1 or k_1, .., 1 or k_R]; rewards
        [n, Q, k_1, .., k_R].
    """
    said = []
    for level, ancestors in enumerate(team.ancestors):
        kept = (*ancestors, level)
        size = tuple(k if axis in kept else 1 for axis, k in enumerate(branching))
        size = (count, len(team.reward), *size)
        said.append(draw(team, level, tuple(said[a] for a in ancestors), size, rng))
    return tuple(said), rewards(team, said)


def comb(
    team: Team,
    alternatives: tuple[int, ...],
    continuations: tuple[int, ...],
    count: int,
    rng: np.random.Generator,
) -> tuple[tuple[tuple[np.ndarray, ...], ...], tuple[np.ndarray, ...]]:
    """Alternatives at each decision of base episodes, each continued some times.

    Args:
        team: who.
        alternatives: per role, K.
        continuations: per role, M; what does not read the role is as in the base.
        count: base episodes of each question.
        rng: where from.

    Returns:
        Per role, what was said up to its alternatives, for `slope`; and rewards
        [n, Q, K, M].
    """
    roles = len(team.ancestors)
    base, _ = sample(team, (1,) * roles, count, rng)
    said, found = [], []
    for level, ancestors in enumerate(team.ancestors):
        size = [count, len(team.reward), *(1,) * roles]
        size[2 + level] = alternatives[level]
        here = draw(team, level, tuple(base[a] for a in ancestors), tuple(size), rng)
        said.append((*base[:level], here))
        parts = []
        for _ in range(continuations[level]):
            tree = [*said[level], *base[level + 1 :]]
            for later in range(level + 1, roles):
                if level in team.ancestors[later]:
                    read = tuple(tree[a] for a in team.ancestors[later])
                    tree[later] = draw(team, later, read, tuple(size), rng)
            parts.append(rewards(team, tree).reshape(count, -1, size[2 + level]))
        found.append(np.stack(parts, -1))
    return tuple(said), tuple(found)


def every(
    team: Team, branching: tuple[int, ...]
) -> tuple[tuple[np.ndarray, ...], np.ndarray, np.ndarray]:
    """All trees there are of a small branching.

    Returns:
        Per role its messages, [n, Q, 1 or k_1, .., 1 or k_R]; rewards
        [n, Q, k_1, .., k_R]; the trees' probabilities, [n, Q].
    """
    questions, actions = team.reward.shape[:2]
    sizes = [
        tuple(
            k if axis in (*ancestors, level) else 1 for axis, k in enumerate(branching)
        )
        for level, ancestors in enumerate(team.ancestors)
    ]
    counts = [math.prod(size) for size in sizes]
    digits = np.indices((actions,) * sum(counts)).reshape(sum(counts), -1).T
    said, chance = [], np.ones((len(digits), questions))
    question = np.arange(questions).reshape(1, -1, *(1,) * len(team.ancestors))
    parts = np.split(digits, np.cumsum(counts)[:-1], axis=1)
    for level, (part, size) in enumerate(zip(parts, sizes, strict=True)):
        said.append(np.repeat(part.reshape(-1, 1, *size), questions, 1))
        kept = (*team.ancestors[level], level)
        index = (said[a] if a in kept else 0 for a in range(level + 1))
        rest = (0,) * (len(team.ancestors) - level - 1)
        each = team.policy[level][(question, *index, *rest)]
        chance = chance * each.reshape(*chance.shape, -1).prod(-1)
    return tuple(said), rewards(team, said), chance


def rewards(team: Team, said) -> np.ndarray:
    """What all the messages together earn, broadcast over their axes."""
    question = np.arange(len(team.reward)).reshape(1, -1, *(1,) * len(team.ancestors))
    return team.reward[(question, *said)]


def grads(
    team: Team, level: int, said: tuple[np.ndarray, ...], advantage: np.ndarray
) -> np.ndarray:
    """A role's gradient estimated from trees: the mean of advantage times score.

    Args:
        team: who.
        level: which role.
        said: per role, [n, Q, ..] with an axis for each role; those of its ancestors
            and its own are read.
        advantage: [n, Q, N, K] of its messages.

    Returns:
        [n, *shape of its logits], to be compared with `Team.gradient`.
    """
    sizes, pi = said[level].shape, team.policy[level]
    trees = math.prod(sizes[:2])
    cell = np.arange(trees).reshape(*sizes[:2], *(1,) * len(team.ancestors))
    for axis, size in enumerate(pi.shape[1:]):
        cell = cell * size + (
            said[axis] if axis in (*team.ancestors[level], level) else 0
        )
    each = advantage.reshape(sizes) * (trees / math.prod(sizes))
    chosen = np.bincount(cell.ravel(), each.ravel(), sizes[0] * pi.size)
    chosen = chosen.reshape(-1, *pi.shape)
    return chosen - pi * chosen.sum(2 + level, keepdims=True)


def slopes(team: Team, said, advantages) -> tuple[np.ndarray, ...]:
    """`slope` of every role."""
    return tuple(grads(team, r, said, each) for r, each in enumerate(advantages))


def evidence(team: Team, said: tuple[np.ndarray, ...], reward: np.ndarray) -> Evidence:
    """All the trees, n * Q questions, with the guesses of a critic that is exact."""
    question = np.arange(reward.shape[1]).reshape(1, -1, *(1,) * len(team.ancestors))
    value, q = [], []

    def predicted(table, kept):
        index = (said[a] if a in kept else 0 for a in range(len(said)))
        sizes = (k if a in kept else 1 for a, k in enumerate(reward.shape[2:]))
        found = np.broadcast_to(table[(question, *index)], (*reward.shape[:2], *sizes))
        return found.reshape(reward.shape[0] * reward.shape[1], -1)

    for level, ancestors in enumerate(team.ancestors):
        value.append(predicted(team.value(level), ancestors))
        each = predicted(team.q(level), (*ancestors, level))
        q.append(each.reshape(*value[-1].shape, -1))
    flat = reward.reshape(-1, *reward.shape[2:])
    return Evidence(flat, team.ancestors, value=tuple(value), q=tuple(q))
