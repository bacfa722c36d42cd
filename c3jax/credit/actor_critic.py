"""Credit from a value critic: generalised advantage estimation over a team's turns.

And the targets of critics: the reward from a context on, or from a message on.
"""

import chex
import jax
import numpy as np

from c3jax.core.types import Evidence
from c3jax.credit import arrays, baselines


def gae(
    reward: jax.Array, value: tuple[jax.Array, ...], gamma: float, lam: float
) -> tuple[jax.Array, ...]:
    """Advantage of each step of episodes that are rewarded at their end only.

    With V_{R+1} = 0, and reward r_t = 0 before the last step,

        d_t = r_t + gamma V_{t+1} - V_t,    A_t = d_t + gamma lam A_{t+1}.

    At gamma = lam = 1 the critic is a baseline and no more: A_t = r - V_t.

    Source: GAE, arXiv:1506.02438, equations 11 and 16.

    Args:
        reward: [..] float, at the end of each episode.
        value: per step, the critic's value before that step, [..] float or a shape that
            broadcasts to it.
        gamma: discount a step.
        lam: how far an advantage looks past the next value.

    Returns:
        Per step, [..] float in reward units.
    """
    for predicted in value:
        chex.assert_is_broadcastable(np.shape(predicted), np.shape(reward))
    advantages, after, ahead = [], reward, 0.0
    # Backwards: a step's advantage holds that of the step after it.
    for predicted in reversed(value):
        ahead = after - predicted + gamma * lam * ahead
        advantages.append(ahead)
        after = gamma * predicted
    return tuple(reversed(advantages))


def mappo(
    evidence: Evidence, *, gamma: float = 1.0, lam: float = 1.0, normalise: bool = True
) -> tuple[jax.Array, ...]:
    """Reward minus a critic's value, over the roles of each episode in their order.

    `gae` with one step a role. A message of a tree gets the mean over the episodes that
    hold it.

    Source: MAPPO, arXiv:2103.01955, one step a role as C3's comparison has it
    (arXiv:2603.06859). The published code also divides by a message's length, which
    makes its gradients smaller than other methods'; this does not. Needs `value`.

    Args:
        evidence: rewards, and the critic's values of contexts.
        gamma: discount a role.
        lam: how far an advantage looks past the next value.
        normalise: whether advantages are z-scored over all messages of the batch.

    Returns:
        [B, N, K] a role, in reward units; without unit if normalised.
    """
    (predicted,) = arrays.given(evidence, "value")
    steps = _steps(evidence, predicted, gamma, lam)
    roles = zip(steps, evidence.ancestors, strict=True)
    advantages = tuple(
        baselines.tree_value(step, ancestors, level)
        for level, (step, ancestors) in enumerate(roles)
    )
    return baselines.whiten(*advantages) if normalise else advantages


def returns(
    evidence: Evidence, *, gamma: float = 1.0, lam: float = 1.0
) -> tuple[jax.Array, ...]:
    """The targets of `mappo`'s critic for each context, A_t + V_t of `gae`.

    At gamma = lam = 1 a target is the reward, whatever the critic predicted.

    Args:
        evidence, gamma, lam: as in `mappo`.

    Returns:
        [B, N] a role in reward units, the mean over the episodes below each context.
    """
    (predicted,) = arrays.given(evidence, "value")
    steps = _steps(evidence, predicted, gamma, lam)
    roles = zip(steps, predicted, evidence.ancestors, strict=True)
    return tuple(
        value + baselines.tree_value(step, ancestors, level).mean(-1)
        for level, (step, value, ancestors) in enumerate(roles)
    )


def outcomes(evidence: Evidence) -> tuple[jax.Array, ...]:
    """The targets of a critic of messages: the mean reward below each.

    Returns:
        [B, N, K] a role in reward units.
    """
    return tuple(
        baselines.tree_value(evidence.reward, ancestors, level)
        for level, ancestors in enumerate(evidence.ancestors)
    )


def explained(
    predicted: tuple[jax.Array, ...], target: tuple[jax.Array, ...]
) -> jax.Array:
    """The fraction of the targets' variance that the critic explains.

        1 - Var(target - predicted) / Var(target),

    over all entries of all roles; 0 where there is no variance, and below 0 for a
    critic that is worse than a constant.

    Args:
        predicted, target: per role, arrays of one shape.
    """
    xp, _ = arrays.as_float(target[0])
    predicted, target = (
        xp.concatenate([xp.ravel(x) for x in roles]) for roles in (predicted, target)
    )
    total, left = target.var(), (target - predicted).var()
    return xp.where(total > 0, 1 - left / xp.where(total > 0, total, 1), 0.0)


def _steps(evidence, predicted, gamma, lam) -> tuple[jax.Array, ...]:
    """`gae` over the roles of the tree; per role, an array that broadcasts to it."""
    _, reward = arrays.as_float(evidence.reward)
    chex.assert_rank(reward, 1 + len(evidence.ancestors))
    chex.assert_rank(predicted, 2)
    on_tree = tuple(
        arrays.on_tree(value, ancestors, None, reward.shape)
        for value, ancestors in zip(predicted, evidence.ancestors, strict=True)
    )
    return gae(reward, on_tree, gamma, lam)
