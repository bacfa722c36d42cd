"""A seeded, resumable order of questions.

Item i of an order is a function of (sources, weights, seed, i) alone. A run's place in
the data is therefore one number, and processes that read their rows of each batch share
one order.
"""

import bisect
import concurrent.futures
import itertools
from collections.abc import Sequence

import grain


class Selected(Sequence):
    """Some items of a sequence, as a sequence."""

    def __init__(self, source: Sequence, places: Sequence[int]):
        self._source, self._places = source, places

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int):
        return self._source[self._places[index]]


class Mixture(Sequence):
    """Several sequences, one after the other; `order` draws from them by weight.

    Attributes:
        weights: how often each is drawn from; () for every item equally often.
    """

    def __init__(self, parts: Sequence[Sequence], weights: Sequence[float] = ()):
        self.parts, self.weights = tuple(parts), tuple(weights)
        self._ends = list(itertools.accumulate(len(part) for part in parts))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int):
        if not 0 <= index < len(self):
            raise IndexError(f"the mixture has {len(self)} items, not {index}.")
        number = bisect.bisect_right(self._ends, index)
        part = self.parts[number]
        return part[index - (self._ends[number] - len(part))]


def order(source: Sequence, seed: int) -> Sequence:
    """An endless sequence over a source, shuffled anew each time it is through.

    In a mixture with weights, each part is shuffled by itself: any stretch of the order
    holds each part's share to within an item, and a small part repeats more often than
    a large one.
    """
    weighted = isinstance(source, Mixture) and source.weights
    parts = [
        grain.MapDataset.source(part).shuffle(seed=seed).repeat()
        for part in (source.parts if weighted else (source,))
    ]
    return grain.MapDataset.mix(parts, source.weights) if weighted else parts[0]


class Batches:
    """Batches of an order, by the place of their first item; the next is read ahead.

    Reading ahead changes nothing but the time it takes.
    """

    def __init__(self, ordered: Sequence, size: int, rows: Sequence[int] | None = None):
        """Reads from an order.

        Args:
            ordered: a sequence from `order`.
            size: items in a batch.
            rows: which rows of a batch are read here; None for all.
        """
        self._ordered, self._size = ordered, size
        self._rows = range(size) if rows is None else [int(row) for row in rows]
        self._thread = concurrent.futures.ThreadPoolExecutor(1)
        self._ahead = {}

    def __getitem__(self, begin: int) -> list:
        """The items of the batch that begins at a place."""
        ahead = self._ahead.pop(begin, None)
        batch = self._read(begin) if ahead is None else ahead.result()
        after = begin + self._size
        self._ahead = {after: self._thread.submit(self._read, after)}
        return batch

    def _read(self, begin: int) -> list:
        return [self._ordered[begin + row] for row in self._rows]
