"""The load of sampling messages: steps, rows and contexts computed."""

import dataclasses
from collections.abc import Sequence

from c3jax.core import hosts
from c3jax.core.types import Turn


@dataclasses.dataclass(frozen=True)
class Load:
    """The tokens of some messages, and the work of sampling them.

    Attributes:
        steps: decode steps, of all pools.
        rows: rows computed, summed over steps, whether they wrote a token or not.
        contexts: contexts read, summed over steps.
    """

    steps: int = 0
    tokens: int = 0
    rows: int = 0
    contexts: int = 0

    def __add__(self, other: "Load") -> "Load":
        fields = dataclasses.fields(self)
        return Load(*(getattr(self, f.name) + getattr(other, f.name) for f in fields))

    @property
    def utilisation(self) -> float:
        """Tokens sampled per row computed."""
        return self.tokens / max(self.rows, 1)

    @property
    def sharing(self) -> float:
        """Tokens sampled per context read: how many siblings a read serves."""
        return self.tokens / max(self.contexts, 1)


def at_once(turns: Sequence[Turn]) -> Load:
    """The load of `tree.sample`: every row is computed until the last one ends."""
    load = Load()
    for length in hosts.fetch([turn.length for turn in turns]):
        steps = int(length.max(initial=0))
        contexts = steps * length[..., 0].size
        load += Load(steps, int(length.sum()), steps * length.size, contexts)
    return load
