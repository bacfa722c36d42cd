"""Lengths of prompts, questions with their instructions, and their padded sizes.

A batch of questions is padded to the smallest of a few sizes that holds its longest:
every size is one more program to compile. The choice is a function of the batch and
the config alone, so a resumed run makes it again.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from c3jax.data import padding, tasks

# Sizes at most, and their common divisor below the limit: padding up to so few tokens
# costs little.
_COUNT, _MULTIPLE = 3, 64
# The limit of prompts if `data.prompt_tokens` is 0.
_MOST = 512
# A limit below that is a multiple of this.
_ROUND = 8
# A size is worth its programs if it is at most this part of the next one.
_WORTH = 3 / 4
# Generated questions of a split that are measured.
_SOME = 512


@dataclasses.dataclass(frozen=True)
class PromptLengths:
    """Lengths of a run's prompts, in tokens, each in the role where it is longest.

    Attributes:
        median: of the questions that were measured.
        longest: of the same questions.
        sizes: ascending, to pad batches to; the last holds every question.
        limit: no prompt is longer.
    """

    median: int
    longest: int
    sizes: tuple[int, ...]
    limit: int

    def size(self, length: int) -> int:
        """The padded size of a batch whose longest prompt has so many tokens."""
        return padding.fit(length, self.sizes)

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
        prompt_tokens: `data.prompt_tokens`; 0: the default limit.
    """
    return prompt_tokens or _MOST


def of(
    task: tasks.Task,
    count: Callable[[list[str]], Sequence[int]],
    batch_size: Mapping[str, int],
    prompt_tokens: int,
) -> PromptLengths:
    """Measures the prompts of a run.

    Args:
        task: with `lengths` unless all of it is generated; without splits, which were
            not read then, only the limit is known.
        count: texts to their tokens with the longest instruction.
        batch_size: of "train", "test", "validation" and "demonstrations".
        prompt_tokens: `data.prompt_tokens`; 0: as needed, up to the default limit.
    """
    if not task.splits:
        return PromptLengths(0, 0, (limit(prompt_tokens),), limit(prompt_tokens))

    # The lengths of all questions, or of the first of each split.
    lengths = dict(task.lengths)
    if not lengths:
        for name, split in task.splits.items():
            first = [split[n].text for n in range(min(len(split), _SOME))]
            lengths[name] = count(first)
    if task.demonstrations:
        lengths["demonstrations"] = count([item.text for item in task.demonstrations])
    every = np.concatenate([*lengths.values()])
    longest, most = int(every.max()), limit(prompt_tokens)
    if task.lengths and not prompt_tokens:  # All were measured.
        most = min(most, -(-longest // _ROUND) * _ROUND)

    # Sizes that waste least on batches like theirs.
    batches = [n for name in lengths for n in _longest(lengths[name], batch_size[name])]
    if not task.lengths:  # Another question may be longer.
        batches.append(most)
    sizes = padding.choose(batches, _COUNT, _MULTIPLE)
    return PromptLengths(
        median=int(np.median(every)),
        longest=longest,
        sizes=_apart(sorted({min(size, most) for size in sizes})),
        limit=most,
    )


def _apart(sizes: list[int]) -> tuple[int, ...]:
    """The sizes without those that are hardly smaller than the next."""
    kept = sizes[-1:]
    for size in reversed(sizes[:-1]):
        if size <= _WORTH * kept[0]:
            kept.insert(0, size)
    return tuple(kept)


def _longest(lengths: Sequence[int], size: int) -> list[int]:
    """The longest question of each of some batches, nearly random ones."""
    # Datasets are often in the order of a subject, so a batch is every n-th question.
    n = max(1, len(lengths) // size)
    return [max(lengths[first::n]) for first in range(n)]
