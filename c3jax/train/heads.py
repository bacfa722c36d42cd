"""How long questions are with their instructions, and what they are padded to.

A batch of questions is padded to the smallest of a few sizes that holds its longest:
every size is a program more to compile. The choice is a function of the batch and the
config alone, so a run that goes on makes it again.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from c3jax.data import buckets, tasks

# Sizes at most, and what every one below the limit is a multiple of: up to there, a
# prompt costs little however it is padded.
_COUNT, _MULTIPLE = 3, 64
# A size is worth its programs if it is at most this part of the next one.
_WORTH = 3 / 4
# Of questions that are generated, how many of a split are looked at.
_SOME = 512


@dataclasses.dataclass(frozen=True)
class Heads:
    """The heads of a run's questions.

    Attributes:
        median: tokens of a question in the middle, in the role where it is longest.
        longest: the same of the longest that was looked at.
        sizes: ascending, what a batch may be padded to; the last holds every question.
        limit: `data.prompt_tokens`.
    """

    median: int
    longest: int
    sizes: tuple[int, ...]
    limit: int

    def size(self, length: int) -> int:
        """What a batch is padded to whose longest head has so many tokens."""
        return buckets.fit(length, self.sizes)

    def __str__(self) -> str:
        *others, last = map(str, self.sizes)
        sizes = f"{', '.join(others)} or {last}" if others else last
        return (
            f"questions with their instruction: {self.median} tokens at the median, "
            f"{self.longest} at most, padded to {sizes} "
            f"(data.prompt_tokens={self.limit})"
        )


def of(
    task: tasks.Task,
    count: Callable[[list[str]], Sequence[int]],
    batch_size: Mapping[str, int],
    limit: int,
) -> Heads:
    """Looks at the questions of a run.

    Args:
        task: what is asked, with `lengths` unless all of it is generated.
        count: of each text, its tokens with the longest instruction.
        batch_size: of "train", "test" and "demonstrations".
        limit: tokens at most.
    """
    lengths = dict(task.lengths)
    if not lengths:
        for name, split in task.splits.items():
            some = [split[n].text for n in range(min(len(split), _SOME))]
            lengths[name] = count(some)
    if task.demonstrations:
        lengths["demonstrations"] = count([each.text for each in task.demonstrations])
    batches = [n for name in lengths for n in _longest(lengths[name], batch_size[name])]
    if not task.lengths:  # Another question may be longer.
        batches.append(limit)
    sizes = buckets.choose(batches, _COUNT, _MULTIPLE)
    every = np.concatenate([*lengths.values()])
    return Heads(
        median=int(np.median(every)),
        longest=int(every.max()),
        sizes=_apart(sorted({min(size, limit) for size in sizes})),
        limit=limit,
    )


def _apart(sizes: list[int]) -> tuple[int, ...]:
    """Without those that are hardly smaller than the next."""
    found = sizes[-1:]
    for size in reversed(sizes[:-1]):
        if size <= _WORTH * found[0]:
            found.insert(0, size)
    return tuple(found)


def _longest(lengths: Sequence[int], size: int) -> list[int]:
    """The longest question of each of some batches, as good as drawn."""
    # Datasets are often in the order of a subject, so a batch is every n-th question.
    n = max(1, len(lengths) // size)
    return [max(lengths[first::n]) for first in range(n)]
