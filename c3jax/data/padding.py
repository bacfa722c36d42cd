"""Padded sizes: few, so that little is compiled, and close to the lengths that occur.

An array is padded to the smallest size of a short list that holds it. The lengths of
prompts are known before training, so their sizes are chosen to fit. The lengths of
messages are not, so their sizes are a geometric ladder down from the limit.
"""

from collections.abc import Sequence

import numpy as np


def choose(lengths: Sequence[int], count: int, multiple: int = 8) -> tuple[int, ...]:
    """The sizes that pad these lengths with the fewest slots in all.

    Dynamic programming over the distinct lengths u_1 < .. < u_n: the best k sizes of
    which the largest is u_j cost

        cost(k, j) = min_i  cost(k - 1, i) + u_j * #{lengths in (u_i, u_j]}.

    Args:
        lengths: tokens of each prompt.
        count: the largest number of sizes.
        multiple: every size is a multiple of this.

    Returns:
        Ascending sizes; the last holds the longest length.
    """
    # The distinct lengths, and how many are below each.
    rounded = -(-np.maximum(np.asarray(lengths), 1) // multiple) * multiple
    size, number = np.unique(rounded, return_counts=True)
    below = np.concatenate([[0], np.cumsum(number)])

    # Forwards: the cheapest way to cover all lengths up to each with k sizes.
    cost = np.full(len(size) + 1, np.inf)
    cost[0] = 0
    choices = []
    for _ in range(min(count, len(size))):
        # [i, j]: the size u_j for all that are longer than u_i.
        slots = (below[None, 1:] - below[:, None]) * size[None, :]
        total = np.where(slots > 0, cost[:, None] + slots, np.inf)
        choices.append(total.argmin(0))
        cost = np.concatenate([[np.inf], total.min(0)])

    # Backwards: the sizes that the cheapest way chose.
    sizes, at = [], len(size)
    for choice in reversed(choices):
        sizes.append(int(size[at - 1]))
        at = choice[at - 1]
    return tuple(reversed(sizes))


def ladder(limit: int, count: int, multiple: int = 8) -> tuple[int, ...]:
    """Sizes from the limit downwards, each two thirds of the one above.

    If lengths spread evenly over a rung's logarithm, 18% of the slots are padding.

    Args:
        limit: the largest size.
        count: the largest number of sizes.
        multiple: every size but the limit is a multiple of this.
    """
    steps = (1.5 ** -np.arange(1, count) * limit / multiple).round() * multiple
    return tuple(sorted({limit, *(int(s) for s in steps if 0 < s < limit)}))


def fit(length: int, sizes: Sequence[int]) -> int:
    """The smallest of some ascending sizes that holds a length.

    Raises:
        ValueError: none does.
    """
    at = int(np.searchsorted(sizes, length))
    if at == len(sizes):
        raise ValueError(f"length {length} is beyond the largest size, {sizes[-1]}.")
    return int(sizes[at])
