"""CCPO: a thinker and a solver, compared with the solver alone.

Both versions and SEPO read n episodes of a question: role 0 thinks, role 1 reads the
thought and answers. J is the reward of the answer, S that of n answers without a
thought.
"""

from typing import Literal

import chex
import jax
import jax.numpy as jnp
from flax import struct

from c3jax.core.types import Evidence
from c3jax.credit import arrays, baselines


@struct.dataclass
class History:
    """Running statistics of three streams: J - S, J and S.

    Attributes:
        mean: [3] float32, moving average of batch means.
        variance: [3] float32, moving average of variances within a batch.
        steps: scalar int32, batches seen.
    """

    mean: jax.Array
    variance: jax.Array
    steps: jax.Array


def no_history() -> History:
    """The statistics before the first batch."""
    return History(jnp.zeros(3), jnp.zeros(3), jnp.int32(0))


def ccpo_v1(
    evidence: Evidence,
    memory: History,
    *,
    alpha: float = 1.0,
    eta: float = 1.0,
    decay: float = 0.99,
    period: int = 10,
) -> tuple[tuple[jax.Array, ...], History]:
    """The gain from the thought, scaled by its history; a gate between J and S.

    With J, S in {0, 1}, d = J - S, mu and sigma of each stream as they were before this
    batch (sigma = 1 where the variance is at most 1e-6), and z = (x - mu) / sigma,

        r_thinker = tanh(alpha z_d),
        r_solver = g z_J + (1 - g) z_S,    g = sigmoid(eta mu_d / sigma_d),

    d and J themselves in the first batch, 0 where the episode broke off. Then each
    question's n rewards are centred and divided by their deviation. The roles take
    turns of `period` batches, the thinker first; the other's advantages are 0.

    The batch then moves mu and the variance by moving averages; the first one sets
    them. Episodes that broke off count in these with the rewards they got.

    Source: CCPO v1, arXiv:2603.21563v1, dyad. Needs `solo`; reads `finished`.

    Args:
        evidence: rewards with the thought and without.
        memory: statistics of the batches before.
        alpha: slope of the thinker's reward.
        eta: slope of the solver's gate.
        decay: the weight that moving averages keep in a batch.
        period: batches in a turn; 0 trains both roles in every batch.

    Returns:
        ([B, 1, n], [B, n, 1]) without unit, and the new statistics.
    """
    joint, solo = _episodes(evidence)
    xp, _ = arrays.as_float(joint)
    memory = jax.tree.map(xp.asarray, memory)

    # Each stream against its history.
    streams = xp.stack([joint - solo, joint, solo])
    sigma = xp.sqrt(xp.where(memory.variance <= 1e-6, 1, memory.variance))
    sigma = sigma + baselines.EPS
    z = (streams - memory.mean[:, None, None]) / sigma[:, None, None]

    # Rewards of the two roles; the first batch has no history.
    gate = 1 / (1 + xp.exp(-eta * memory.mean[0] / sigma[0]))
    first = memory.steps == 0
    thinker = xp.where(first, streams[0], xp.tanh(alpha * z[0]))
    solver = xp.where(first, joint, gate * z[1] + (1 - gate) * z[2])
    if evidence.finished is not None:
        done = evidence.finished.reshape(joint.shape)
        thinker, solver = xp.where(done, thinker, 0), xp.where(done, solver, 0)

    # Advantages by question; the roles take turns.
    centred = map(baselines.mean_advantage, (thinker, solver))
    advantages = [*map(baselines.standardise, centred)]
    if period:
        turn = (memory.steps // period) % 2
        advantages = [xp.where(turn == r, a, 0) for r, a in enumerate(advantages)]

    # This batch counts from the next one on.
    keep = xp.where(first, 0, decay)
    memory = History(
        mean=_moved(memory.mean, streams.mean((1, 2)), keep),
        variance=_moved(memory.variance, streams.var((1, 2)), keep),
        steps=memory.steps + 1,
    )
    return _per_role(*advantages), memory


def ccpo(
    evidence: Evidence,
    *,
    lam: float = 0.2,
    baseline: Literal["group", "solo", "batch"] = "group",
) -> tuple[jax.Array, ...]:
    """The shared reward, with a bonus where the outcome differs from the solo one.

    With J, S in {-1, +1} and b the mean of the question's S,

        r_thinker = J + lam (1[J > 0 and b < 0] - 1[J < 0 and b > 0]),    r_solver = J.

    As b is one number a question, the bonus is affine in J there: centred by group, the
    thinker's advantage is (1 + lam / 2) (J - mean J) wherever b != 0, the shared reward
    scaled. The other two baselines keep the bonus's information.

    Source: CCPO, arXiv:2603.21563. Needs `solo`.

    Args:
        evidence: rewards with the thought and without.
        lam: size of the bonus.
        baseline: the number subtracted: "group", the mean of the question's rewards;
            "solo", b; "batch", the mean over the batch, with its deviation as divisor.

    Returns:
        ([B, 1, n], [B, n, 1]) in units of half a reward, without unit for "batch".

    Raises:
        ValueError: an unknown baseline.
    """
    joint, solo = (2 * reward - 1 for reward in _episodes(evidence))
    b = solo.mean(-1, keepdims=True)
    bonus = 1.0 * ((joint > 0) & (b < 0)) - 1.0 * ((joint < 0) & (b > 0))
    rewards = joint + lam * bonus, joint
    if baseline == "group":
        return _per_role(*map(baselines.mean_advantage, rewards))
    if baseline == "solo":
        return _per_role(*(reward - b for reward in rewards))
    if baseline == "batch":
        return _per_role(*(baselines.whiten(reward)[0] for reward in rewards))
    raise ValueError(f"baseline={baseline!r}: it must be 'group', 'solo' or 'batch'.")


def sepo(
    evidence: Evidence, *, eta: float = 0.3, lam: float = 0.2, blame: float = 0.2
) -> tuple[jax.Array, ...]:
    """The shared reward, split by the two roles' ratings of themselves and each other.

    With t and q the shares that the thinker and the solver state,

        s_1 = eta t_1 + (1 - eta) q_1,    s_2 = eta q_2 + (1 - eta) t_2,
        w = s / (s_1 + s_2),    c = w - mean of w,
        r = 1 + lam c of a correct episode, -1 - blame c of a wrong one,

    the mean over the question's episodes of the same outcome. Then each role's rewards
    are centred by question. c_2 = -c_1.

    Source: SEPO, arXiv:2603.21563. Needs `ratings`.

    Args:
        evidence: rewards, and the ratings of each episode.
        eta: weight of a role's rating of itself.
        lam: share of the ratings in the reward of a correct episode.
        blame: share of the ratings in the reward of a wrong episode.

    Returns:
        ([B, 1, n], [B, n, 1]) in units of half a reward.
    """
    (ratings,) = arrays.given(evidence, "ratings")
    joint, ratings = _flat(evidence.reward), arrays.as_float(ratings)[1]
    chex.assert_shape(ratings, (*joint.shape, 2, 2))
    xp, _ = arrays.as_float(joint)

    # The first role's share, each rating weighed; even where neither states one.
    thinker, solver = ratings[..., 0, :], ratings[..., 1, :]
    first = eta * thinker[..., 0] + (1 - eta) * solver[..., 0]
    second = eta * solver[..., 1] + (1 - eta) * thinker[..., 1]
    total = first + second
    share = xp.where(total > 0, first / xp.where(total > 0, total, 1), 0.5)

    # The share's part above the mean of the question's episodes of the same outcome.
    right = joint > 0.5
    alike = right[..., :, None] == right[..., None, :]
    mean = (alike * share[..., None, :]).sum(-1) / alike.sum(-1)
    c = share - mean

    def reward(c):
        return xp.where(right, 1 + lam * c, -1 - blame * c)

    return _per_role(*(baselines.mean_advantage(reward(x)) for x in (c, -c)))


def _episodes(evidence):
    """J and S, [B, n] float."""
    (solo,) = arrays.given(evidence, "solo")
    chex.assert_rank(solo, 2)
    return _flat(evidence.reward), arrays.as_float(solo)[1]


def _flat(reward):
    """[B, n] from the leaves of a tree of episodes."""
    return arrays.as_float(reward)[1].reshape(reward.shape[0], -1)


def _per_role(thinker, solver):
    """[B, n] as the messages of a chain of two: [B, 1, n] and [B, n, 1]."""
    return thinker[:, None, :], solver[:, :, None]


def _moved(old, new, keep):
    """One step of a moving average that keeps so much of the old value."""
    return (keep * old + (1 - keep) * new).astype(old.dtype)
