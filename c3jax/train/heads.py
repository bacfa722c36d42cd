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
# What questions may take where `data.prompt_tokens` does not say it.
_MOST = 512
# What that is a multiple of if they take less.
_ROUND = 8
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
        limit: what no question is longer than.
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
            f"{self.longest} at most, padded to {sizes} (limit: {self.limit})"
        )


def limit(prompt_tokens: int) -> int:
    """The tokens of the longest question that is not left out.

    Args:
        prompt_tokens: of `data`; 0 for room for all but the very longest.
    """
    return prompt_tokens or _MOST


def of(
    task: tasks.Task,
    count: Callable[[list[str]], Sequence[int]],
    batch_size: Mapping[str, int],
    prompt_tokens: int,
) -> Heads:
    """Looks at the questions of a run.

    Args:
        task: what is asked, with `lengths` unless all of it is generated; of one that
            was not read nothing but the limit is known.
        count: of each text, its tokens with the longest instruction.
        batch_size: of "train", "test" and "demonstrations".
        prompt_tokens: of `data`.
    """
    if not task.splits:
        return Heads(0, 0, (limit(prompt_tokens),), limit(prompt_tokens))
    lengths = dict(task.lengths)
    if not lengths:
        for name, split in task.splits.items():
            some = [split[n].text for n in range(min(len(split), _SOME))]
            lengths[name] = count(some)
    if task.demonstrations:
        lengths["demonstrations"] = count([each.text for each in task.demonstrations])
    every = np.concatenate([*lengths.values()])
    longest, most = int(every.max()), limit(prompt_tokens)
    if task.lengths and not prompt_tokens:  # All were looked at.
        most = min(most, -(-longest // _ROUND) * _ROUND)
    batches = [n for name in lengths for n in _longest(lengths[name], batch_size[name])]
    if not task.lengths:  # Another question may be longer.
        batches.append(most)
    sizes = buckets.choose(batches, _COUNT, _MULTIPLE)
    return Heads(
        median=int(np.median(every)),
        longest=longest,
        sizes=_apart(sorted({min(size, most) for size in sizes})),
        limit=most,
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
