"""Credit by removal: the team's reward against its reward without a role."""

import chex
import jax

from c3jax.core.types import Evidence
from c3jax.credit import arrays, baselines


def agent_removal(evidence: Evidence) -> tuple[jax.Array, ...]:
    """The reward minus the reward without the role.

        A = R - R_without.

    As a score of a message this is not Q - V: what remains of the team reads contexts
    that the team never produces, so its mean over a role's own messages is
    V - V_without, not 0. As a gradient it is unbiased only where R_without does not
    depend on the message removed, that is, where all roles that could have read it are
    resampled. Later messages that are kept still depend on the removed one, and the
    gradient is biased.

    Source: difference rewards, Wolpert and Tumer, Optimal Payoff Functions for Members
    of Collectives, 2001; the practice that C3, arXiv:2603.06859, argues against. Needs
    `without`. Returns [B, N, K] a role.
    """
    (without,) = arrays.given(evidence, "without")
    _, reward = arrays.as_float(evidence.reward)
    roles = zip(without, evidence.ancestors, strict=True)
    return tuple(
        baselines.tree_value(reward - alone, ancestors, level)
        for level, (alone, ancestors) in enumerate(roles)
    )


def majority(ballot: jax.Array, correct: jax.Array) -> jax.Array:
    """The reward of the most frequent answer of a vote; ties are broken evenly.

    Tied answers have equally many voters, so the mean over the voters of all of them
    is the mean over the answers.

    Args:
        ballot: [.., V] int, equal numbers for equal answers, -1 abstains.
        correct: [.., V] float, the reward of each voter's answer.

    Returns:
        [..] float in reward units; 0 where all abstain.
    """
    xp, correct = arrays.as_float(correct)
    votes = ballot >= 0
    same = (ballot[..., :, None] == ballot[..., None, :]) & votes[..., None, :]
    count = xp.where(votes, same.sum(-1), 0)
    top = votes & (count == count.max(-1, keepdims=True))
    winners = top.sum(-1)
    return xp.where(top, correct, 0).sum(-1) / xp.where(winners > 0, winners, 1)


def pivots(ballot: jax.Array, correct: jax.Array) -> jax.Array:
    """How much each ballot changes a vote, by counting once more without it.

        delta_k = majority(all) - majority(all but k),

    zero except for ballots that decide. Source: CCPO v1, arXiv:2603.21563v1, voting.

    Args:
        ballot: [.., V] int, -1 abstains.
        correct: [.., V] float, the reward of each voter's answer.

    Returns:
        [.., V] float in reward units.
    """
    chex.assert_equal_shape([ballot, correct])
    xp, correct = arrays.as_float(correct)
    own = xp.eye(ballot.shape[-1], dtype=bool)
    counted = majority(ballot, correct)
    rest = xp.where(own, -1, ballot[..., None, :])
    return counted[..., None] - majority(rest, correct[..., None, :])


def ccpo_vote(evidence: Evidence) -> tuple[jax.Array, ...]:
    """How much a ballot changes the majority's reward, mean over the others' ballots.

    Voters read nothing and the last role counts: it has nothing to learn and gets 0. A
    voter's alternatives are combined with all of the others', which costs no
    generation. The vote without ballot k does not depend on it, so delta_k is unbiased
    without a further baseline.

    Source: CCPO v1, arXiv:2603.21563v1, voting; there is no public code. Needs
    `ballots` and `correct`. Returns [B, N, K] a role.
    """
    ballots, correct = arrays.given(evidence, "ballots", "correct")
    xp, reward = arrays.as_float(evidence.reward)
    voters = len(ballots)
    sizes = reward.shape[: 1 + voters]

    # Every combination of the voters' alternatives is one vote.
    def crossed(votes):
        by_voter = (arrays.on_tree(x, (), r, sizes) for r, x in enumerate(votes))
        return xp.stack([xp.broadcast_to(x, sizes) for x in by_voter], -1)

    delta = pivots(crossed(ballots), crossed(correct))
    advantages = [
        baselines.tree_value(delta[..., r], above, r)
        for r, above in enumerate(evidence.ancestors[:voters])
    ]
    # The role that counts learns nothing.
    for level in range(voters, len(evidence.ancestors)):
        value = baselines.tree_value(reward, evidence.ancestors[level], level)
        advantages.append(xp.zeros_like(value))
    return tuple(advantages)
