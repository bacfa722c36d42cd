"""A batch: credited trees as an update reads them, and which of them count."""

from typing import NamedTuple

import chex
import jax
import numpy as np
from flax import struct

from c3jax.core.types import Questions, Turn
from c3jax.credit import baselines
from c3jax.rollout.tree import Tree
from c3jax.setup.objectives import Objective


@struct.dataclass
class Batch:
    """Trees with credit, as the update reads them.

    Attributes:
        questions: B questions.
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


class CreditedRole(NamedTuple):
    """Messages that a policy learns from: those of one role in one tree.

    Attributes:
        tree: index among the trees.
        place: of the role, among those that the tree credits.
        level: index of the role.
    """

    tree: int
    place: int
    level: int

    def turn(self, trees: tuple[Tree, ...]) -> Turn:
        """The role's messages in its tree."""
        return trees[self.tree].turns[self.level]

    def of(self, values: tuple):
        """The role's entry in `values`, kept per tree and role that it credits."""
        return values[self.tree][self.place]


def credited_roles(objective: Objective, trees: tuple[Tree, ...]) -> list[CreditedRole]:
    """Per tree, the credited roles whose policy learns."""
    return [
        CreditedRole(number, place, level)
        for number, tree in enumerate(trees)
        for place, level in enumerate(tree.credited)
        if level in objective.levels(tree.team)
    ]


def counted(objective: Objective, batch: Batch) -> tuple:
    """Per `credited_roles`, [B, N, K, T] bool: the tokens that the loss is over."""
    masks = []
    for role in credited_roles(objective, batch.trees):
        turn = role.turn(batch.trees)
        mask = turn.mask
        if objective.truncated == "mask":
            mask &= turn.ended[..., None]
        if batch.counted is not None:
            mask &= batch.counted[:, None, None, None]
        masks.append(mask)
    return tuple(masks)


def spoken(objective: Objective, length: np.ndarray, ended: np.ndarray) -> np.ndarray:
    """Each question's share of `losses.units` for one role, flat questions included.

    Args:
        objective: whether tokens or messages are counted, and cut ones too.
        length: [B, N, K] int, tokens of messages.
        ended: [B, N, K] bool, False for a message that was cut.

    Returns:
        [B] int.
    """
    chex.assert_equal_shape([length, ended])
    units = length if objective.mean == "token" else length > 0
    if objective.truncated == "mask":
        units = units * ended
    return units.reshape(len(units), -1).sum(-1)


def shaped(
    objective: Objective,
    advantages: list[tuple],
    learned: list[CreditedRole],
    written: list[tuple] | None = None,
) -> tuple[list[tuple], list[np.ndarray | None]]:
    """The estimator's credit as the loss takes it, and which questions that is over.

    Whitening is over the messages of learners, of all questions, flat ones too. A
    question is flat if all its learners' credit is zero up to rounding, before that.

    Args:
        objective: `zero_advantage` and `whiten` are read.
        advantages: per group of questions, per tree and role that it credits,
            [B, N, K].
        learned: the roles whose policies learn.
        written: like advantages, bool, which messages exist; None for all of them.
            The advantage of a message that does not exist has no meaning.

    Returns:
        The advantages, and per group [B] bool; None where all questions count.
    """
    chex.assert_rank([role.of(group) for group in advantages for role in learned], 3)
    counts = [None] * len(advantages)
    if objective.zero_advantage == "drop":
        counts = [
            np.any(
                [abs(role.of(group)).max((1, 2)) > baselines.EPS for role in learned],
                axis=0,
            )
            for group in advantages
        ]
    if objective.whiten:
        advantages = _whitened(advantages, learned, written)
    return advantages, counts


def _whitened(advantages, learned, written) -> list[tuple]:
    """Learners' advantages, centred and scaled over all messages that exist."""
    flat = [role.of(group) for group in advantages for role in learned]
    if written is None:
        scaled = iter(baselines.whiten(*flat))
    else:
        masks = [role.of(group) for group in written for role in learned]
        values = baselines.whiten(*(x[m] for x, m in zip(flat, masks, strict=True)))
        scaled = map(_scattered, values, masks)

    # The roles that do not learn keep what they have.
    result = []
    for group in advantages:
        fresh = [[*tree] for tree in group]
        for role in learned:
            fresh[role.tree][role.place] = next(scaled)
        result.append(tuple(map(tuple, fresh)))
    return result


def _scattered(values, mask) -> np.ndarray:
    """Values at the places of a mask, zero elsewhere."""
    full = np.zeros(mask.shape, np.float32)
    full[mask] = values
    return full
