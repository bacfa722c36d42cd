"""Trees with the credit of their messages, and the loss of them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from c3jax.core.types import Questions, Turn
from c3jax.credit import baselines
from c3jax.rollout import tree
from c3jax.rollout.tree import Tree
from c3jax.train import losses
from c3jax.train.objectives import PLAIN, Objective


@struct.dataclass
class Batch:
    """Trees with credit, as the update reads them.

    Attributes:
        questions: heads of B questions.
        trees: turns up to the last that is credited.
        advantage: per tree and role that it credits, [B, N, K] float32.
        ref_logp: the same, [B, N, K, T] under the starting policy; None without KL.
        counted: [B] bool, questions that the loss is taken over; None for all.
    """

    questions: Questions
    trees: tuple[Tree, ...]
    advantage: tuple[tuple[jax.Array, ...], ...]
    ref_logp: tuple[tuple[jax.Array, ...], ...] | None = None
    counted: jax.Array | None = None


class Learning(NamedTuple):
    """Messages that are learned from: those of one role in one tree.

    Attributes:
        tree: index among the trees.
        place: of the role, among those that the tree credits.
        level: index of the role.
    """

    tree: int
    place: int
    level: int

    def turn(self, trees: tuple[Tree, ...]) -> Turn:
        """The messages."""
        return trees[self.tree].turns[self.level]

    def of(self, values: tuple):
        """Their part of what is kept per tree and role that it credits."""
        return values[self.tree][self.place]


def learning(objective: Objective, trees: tuple[Tree, ...]) -> list[Learning]:
    """The messages of some trees that learners wrote."""
    return [
        Learning(number, place, level)
        for number, one in enumerate(trees)
        for place, level in enumerate(one.credited)
        if level in objective.levels(one.team)
    ]


@struct.dataclass
class Whole:
    """What the loss of some trees is told from outside of them.

    Attributes:
        counts: per `learning`, what the loss is a mean over (`losses.units`), where the
            trees are one piece of several; None if they are all.
        kl: scalar, the KL's weight, where it is adapted; None for the objective's.
    """

    counts: tuple[jax.Array, ...] | None = None
    kl: jax.Array | None = None


ALL = Whole()


def counted(objective: Objective, batch: Batch) -> tuple:
    """Per `learning`, [B, N, K, T] bool: the tokens that the loss is over."""
    found = []
    for each in learning(objective, batch.trees):
        turn = each.turn(batch.trees)
        mask = turn.mask
        if objective.truncated == "mask":
            mask &= turn.ended[..., None]
        if batch.counted is not None:
            mask &= batch.counted[:, None, None, None]
        found.append(mask)
    return tuple(found)


def credit(
    objective: Objective, batch: Batch, each: Learning, weight: float | jax.Array
) -> jax.Array:
    """What the messages of one role in one tree are credited with in the loss.

    Where the KL is a part of the reward, a message pays for its own: with
    D_k = sum_t of the estimate at its tokens, under the policy that sampled it,

        A_k - weight (D_k - mean_{j != k} D_j),

    the mean over its siblings, or, if it has none, over its role's other messages for
    the question. With k1 the gradient is that of the divergence; with k3 it lacks a
    part. The weight means what it means in the loss, under the mean over tokens.

    Args:
        objective: static.
        batch: some trees.
        each: which messages.
        weight: of the KL.

    Returns:
        [B, N, K] float32.
    """
    turn, advantage = each.turn(batch.trees), each.of(batch.advantage)
    if objective.truncated == "zero":
        advantage = jnp.where(turn.ended, advantage, 0)
    if not objective.kl or objective.kl_in != "reward":
        return advantage
    estimate = losses.KL[objective.kl_estimator]
    spent = estimate(turn.logp, each.of(batch.ref_logp))
    spent = jnp.where(turn.mask, spent, 0).sum(-1)
    if spent.shape[-1] < 2:
        spent = spent.reshape(spent.shape[0], 1, -1)
    if spent.shape[-1] > 1:
        spent = baselines.loo_advantage(spent)
    return advantage - weight * spent.reshape(advantage.shape)


def loss(
    params: dict,
    objective: Objective,
    batch: Batch,
    whole: Whole = ALL,
) -> tuple[jax.Array, dict]:
    """The policy gradient over what learners wrote, with KL and entropy if asked for.

    Each context is computed once, inside the differentiated function, so the gradient
    is that of the repeated-prompt computation.

    Args:
        params: the policies.
        objective: static.
        batch: some trees.
        whole: what they are a piece of.

    Returns:
        The scalar loss and statistics, each of them the same mean, apart from
        `logp_gap`, the largest difference to sampling in nats, and `messages_out`, how
        many messages teach nothing as they were cut or their question is flat.
    """
    learned = learning(objective, batch.trees)
    masks = counted(objective, batch)
    old = tuple(each.turn(batch.trees).logp for each in learned)
    new, entropy = _scores(params, objective, batch, learned)
    weight = objective.kl if whole.kl is None else whole.kl
    owed = [credit(objective, batch, each, weight)[..., None] for each in learned]

    def mean(values):
        return losses.mean(tuple(values), masks, objective.mean, whole.counts)

    stats = {}
    if objective.ratio == PLAIN:
        policy = map(losses.reinforce, new, owed)
    else:
        low, high = objective.trusted
        ratios = [*map(losses.RATIOS[objective.ratio].fn, new, old, masks)]
        policy = [
            losses.clipped(ratio, a, low, high, objective.dual_clip)
            for ratio, a in zip(ratios, owed, strict=True)
        ]
        stats["clip_frac"] = mean((r < 1 - low) | (r > 1 + high) for r in ratios)
    stats["policy_loss"] = total = mean(policy)
    gaps = [abs(n - o).max() for n, o in zip(new, old, strict=True)]
    stats["logp_gap"] = jnp.max(jnp.array(gaps))
    if objective.kl:
        starting = [each.of(batch.ref_logp) for each in learned]
        stats["kl"] = mean(map(losses.KL[objective.kl_estimator], new, starting))
        if objective.kl_in == "loss":
            total = total + weight * stats["kl"]
    if objective.entropy is not None:
        stats["entropy"] = mean(entropy)
        total = total - objective.entropy * stats["entropy"]
    if objective.filters:
        stats["messages_out"] = _out(objective, batch, learned)
    return total, {**stats, "loss": total}


def _scores(params, objective, batch, learned):
    """Log-probabilities of learners' messages, and entropies if they are asked for."""

    def score(fn, each):
        one = batch.trees[each.tree]
        return fn(params, one.team, each.level, batch.questions, one.turns)

    if objective.entropy is None:
        return tuple(score(tree.logp, each) for each in learned), None
    found = [score(tree.logp_and_entropy, each) for each in learned]
    return tuple(zip(*found, strict=True))


def _out(objective, batch, learned) -> jax.Array:
    """How many messages of learners have credit that is not used."""
    total = jnp.int32(0)
    for each in learned:
        turn = each.turn(batch.trees)
        out = jnp.zeros_like(turn.ended)
        if objective.truncated != "keep":
            out |= ~turn.ended
        if batch.counted is not None:
            out |= ~batch.counted[:, None, None]
        total += (out & (turn.length > 0)).sum()
    return total


def spoken(objective: Objective, length: np.ndarray, ended: np.ndarray) -> np.ndarray:
    """What each question adds to `losses.units`, for one role, before flat ones leave.

    Args:
        objective: static.
        length: [B, N, K] int, tokens of messages.
        ended: [B, N, K] bool, False where one was cut.

    Returns:
        [B] int.
    """
    each = length if objective.mean == "token" else length > 0
    if objective.truncated == "mask":
        each = each * ended
    return each.reshape(len(each), -1).sum(-1)


def shaped(
    objective: Objective,
    advantages: list[tuple],
    learned: list[Learning],
    written: list[tuple] | None = None,
) -> tuple[list[tuple], list[np.ndarray | None]]:
    """The estimator's credit as the loss takes it, and which questions that is over.

    Whitening is over the messages of learners, of all questions, flat ones too. A
    question is flat if all its learners' credit is zero up to rounding, before that.

    Args:
        objective: static.
        advantages: per group of questions, per tree and role that it credits,
            [B, N, K].
        learned: which of these learners wrote.
        written: as advantages, bool, whose messages there are; None for all of them.
            Where there is none the advantage is without meaning.

    Returns:
        The advantages, and per group [B] bool; None where all questions count.
    """
    counts = [None] * len(advantages)
    if objective.flat == "drop":
        counts = [
            np.any(
                [abs(each.of(group)).max((1, 2)) > baselines.EPS for each in learned],
                axis=0,
            )
            for group in advantages
        ]
    if objective.whiten:
        advantages = _whitened(advantages, learned, written)
    return advantages, counts


def _whitened(advantages, learned, written) -> list[tuple]:
    """The advantages of learners by the mean and deviation of all that was written."""
    flat = [each.of(group) for group in advantages for each in learned]
    if written is None:
        scaled = iter(baselines.whiten(*flat))
    else:
        masks = [each.of(group) for group in written for each in learned]
        found = baselines.whiten(*(x[m] for x, m in zip(flat, masks, strict=True)))
        scaled = map(_scattered, found, masks)
    result = []
    for group in advantages:
        fresh = [[*each] for each in group]
        for each in learned:
            fresh[each.tree][each.place] = next(scaled)
        result.append(tuple(map(tuple, fresh)))
    return result


def _scattered(values, mask) -> np.ndarray:
    """Values at the places of a mask, zero elsewhere."""
    found = np.zeros(mask.shape, np.float32)
    found[mask] = values
    return found
