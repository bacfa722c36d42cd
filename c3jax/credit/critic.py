"""Credit from a value critic: generalised advantage estimation over a team's turns."""

import jax

from c3jax.core.types import Evidence
from c3jax.credit import arrays, baselines


def gae(
    reward: jax.Array, value: tuple[jax.Array, ...], gamma: float, lam: float
) -> tuple[jax.Array, ...]:
    """Advantage of each step of episodes that are rewarded at their end only.

    With V_{R+1} = 0, and the reward r = 0 before the last step,

        d_t = r_t + gamma V_{t+1} - V_t,    A_t = d_t + gamma lam A_{t+1}.

    At gamma = lam = 1 the critic is a baseline and no more: A_t = r - V_t.

    Source: GAE, arXiv:1506.02438, equations 11 and 16.

    Args:
        reward: [..] float, at the end of each episode.
        value: per step, [..] float or what broadcasts to it: the critic's guess before
            that step.
        gamma: discount a step.
        lam: how far an advantage looks past the next guess.

    Returns:
        Per step, [..] float in reward units.
    """
    advantages, after, ahead = [], reward, 0.0
    for guess in reversed(value):
        ahead = after - guess + gamma * lam * ahead
        advantages.append(ahead)
        after = gamma * guess
    return tuple(reversed(advantages))


def mappo(
    evidence: Evidence,
    *,
    gamma: float = 1.0,
    lam: float = 1.0,
    normalise: bool = True,
) -> tuple[jax.Array, ...]:
    """Reward minus a critic's guess, over the roles of each episode in their order.

    `gae` with one step a role. A message of a tree gets the mean over the episodes that
    it is part of.

    Source: MAPPO, arXiv:2103.01955, one step a role as C3's comparison has it
    (arXiv:2603.06859). The published code also divides by a message's length, which
    makes its gradients smaller than other methods'; this does not. Needs `value`.

    Args:
        evidence: rewards, and the critic's guesses.
        gamma: discount a role.
        lam: how far an advantage looks past the next guess.
        normalise: whether advantages are z-scored over all messages of the batch.

    Returns:
        [B, N, K] a role, in reward units, without unit if normalised.
    """
    (guesses,) = arrays.given(evidence, "value")
    _, reward = arrays.as_float(evidence.reward)
    steps = gae(
        reward,
        tuple(
            arrays.on_tree(guess, span, None, reward.shape)
            for guess, span in zip(guesses, evidence.spans, strict=True)
        ),
        gamma,
        lam,
    )
    found = tuple(
        baselines.tree_value(step, span, level)
        for level, (step, span) in enumerate(zip(steps, evidence.spans, strict=True))
    )
    return baselines.whiten(*found) if normalise else found
