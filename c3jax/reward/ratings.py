"""Ratings: the shares that a role gives to itself and another, and the outcome it sees.

A rating is a JSON object anywhere in a message, the last one counts:

    {"shares": [0.6, 0.4], "correct": true}

Its shares are two tenths that add up to one, from 0.9 and 0.1 to 0.1 and 0.9.
"""

import json
from collections.abc import Sequence

import numpy as np

FIELDS = {"shares", "correct"}
# Characters at the end of a message that are looked at.
_CONSIDERED = 4000
_TENTHS = [(tenth / 10, (10 - tenth) / 10) for tenth in range(9, 0, -1)]


def read(text: str, right: bool) -> tuple[float, float] | None:
    """The two shares that a message states.

    Source: SEPO, arXiv:2603.21563, which asks for one of nine pairs and the outcome.

    Args:
        right: whether the answer was right. A rating that says otherwise has not
            understood the episode, and is invalid.

    Returns:
        None where there is no rating, or none that is valid.
    """
    # The last JSON object; objects inside of another are part of it.
    text = text[-_CONSIDERED:]
    rating, at = None, text.find("{")
    decoder = json.JSONDecoder()
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            rating = value
        at = text.find("{", end)

    if not isinstance(rating, dict) or {*rating} != FIELDS:
        return None
    if rating["correct"] is not right or not isinstance(rating["shares"], list):
        return None
    return next((pair for pair in _TENTHS if [*pair] == rating["shares"]), None)


def shares(
    texts: Sequence[Sequence[str]], right: Sequence[bool]
) -> tuple[np.ndarray, int]:
    """The ratings of the same episodes by several raters.

    Args:
        texts: per rater, one message an episode.
        right: whether the answer of each episode was right.

    Returns:
        [episodes, raters, 2] float32, .5 where a message holds no valid rating, and how
        many such messages there are.
    """
    ratings = [
        [read(text, bool(outcome)) for text, outcome in zip(row, right, strict=True)]
        for row in texts
    ]
    invalid = sum(pair is None for pairs in ratings for pair in pairs)
    values = np.float32([[pair or (0.5, 0.5) for pair in pairs] for pairs in ratings])
    return values.swapaxes(0, 1), invalid
