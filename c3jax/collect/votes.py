"""A vote of the team: every voter's messages are scored once, and then counted."""

from collections.abc import Sequence

import chex
import numpy as np

from c3jax.collect import answers
from c3jax.credit import arrays, removal
from c3jax.rollout.contexts import Team


def counted(
    team: Team, ballots: Sequence[np.ndarray], correct: Sequence[np.ndarray]
) -> np.ndarray:
    """The reward of the majority's answer, for each combination of messages.

    A voter's alternatives are combined with all of the others', which takes no further
    scoring; see `removal.majority`.

    Args:
        team: its last role counts.
        ballots: per voter, [B, N, K] int, equal for equal answers, -1 abstains.
        correct: per voter, [B, N, K] float, reward of the answer.

    Returns:
        [B, k_1, .., k_R] float32.
    """
    chex.assert_rank([*ballots, *correct], 3)
    sizes = (len(ballots[0]), *team.protocol.branching)
    ancestors, levels = team.protocol.ancestors, answers.levels(team)

    def crossed(votes):
        on_axes = (
            arrays.on_tree(vote, ancestors[level], level, sizes)
            for level, vote in zip(levels, votes, strict=True)
        )
        return np.stack([np.broadcast_to(vote, sizes) for vote in on_axes], -1)

    return np.float32(removal.majority(crossed(ballots), crossed(correct)))
