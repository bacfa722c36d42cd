"""What a run knows beside its arrays."""

import dataclasses
from collections.abc import Mapping

from c3jax.train.choice import Seen
from c3jax.train.ledger import Ledger, Spent


@dataclasses.dataclass(frozen=True)
class Record:
    """What a run knows beside its arrays, as a checkpoint holds it.

    Attributes:
        seed: of the run.
        step: training steps done.
        next_index: place in the data, questions from its beginning.
        evaluated: the last step that was evaluated; -1 before the first.
        ledger: what was spent.
        crossed: budgets that were crossed, and where; from `budgets.crossed`.
        log: bytes of each log file that were written.
        seen: what its trees have shown of how to branch.
    """

    seed: int
    step: int = 0
    next_index: int = 0
    evaluated: int = -1
    ledger: Ledger = dataclasses.field(default_factory=Ledger)
    crossed: Mapping[str, Mapping] = dataclasses.field(default_factory=dict)
    log: Mapping[str, int] = dataclasses.field(default_factory=dict)
    seen: Seen = dataclasses.field(default_factory=Seen)

    def replace(self, **changes) -> "Record":
        return dataclasses.replace(self, **changes)

    def spend(self, part: str, spent: Spent, seconds: Mapping[str, float]) -> "Record":
        """The record after some more work on one part of the ledger."""
        return self.replace(ledger=self.ledger.add(part, spent, seconds))

    @classmethod
    def from_json(cls, fields: Mapping) -> "Record":
        """A record from `dataclasses.asdict`, by way of JSON."""
        known = {"ledger": Ledger, "seen": Seen}
        read = {name: kind.from_json(fields[name]) for name, kind in known.items()}
        return cls(**{**fields, **read})
