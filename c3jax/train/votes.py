"""A vote of the team: every voter's messages are scored once, and then counted."""

from collections.abc import Sequence

import numpy as np

from c3jax.credit import arrays, removal
from c3jax.rollout.contexts import Team
from c3jax.train import answers


def counted(
    team: Team, ballots: Sequence[np.ndarray], correct: Sequence[np.ndarray]
) -> np.ndarray:
    """What each combination of messages earns.

    A voter's alternatives are combined with all of the others', which takes no further
    scoring; see `removal.majority`.

    Args:
        team: whose last role counts.
        ballots: per voter, [B, N, K] int, equal for equal answers, -1 abstains.
        correct: per voter, [B, N, K] float, what the answer earns.

    Returns:
        [B, k_1, .., k_R] float32.
    """
    sizes = (len(ballots[0]), *team.protocol.branching)
    spans, levels = team.protocol.spans, answers.levels(team)

    def crossed(votes):
        laid = (
            arrays.on_tree(vote, spans[level], level, sizes)
            for level, vote in zip(levels, votes, strict=True)
        )
        return np.stack([np.broadcast_to(vote, sizes) for vote in laid], -1)

    return np.float32(removal.majority(crossed(ballots), crossed(correct)))
