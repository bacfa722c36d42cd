"""The state of a run beside its arrays."""

import dataclasses
from collections.abc import Mapping

from c3jax.core.ledger import Ledger, Spent
from c3jax.setup.branching_schedule import BranchingStats


@dataclasses.dataclass(frozen=True)
class Record:
    """The state of a run beside its arrays, as a checkpoint holds it.

    Attributes:
        seed: `config.seed`.
        step: training steps done.
        next_index: place in the data, questions from its beginning.
        evaluated: the last step that was evaluated; -1 before the first.
        ledger: costs so far.
        crossed: budgets that were crossed, and where; from `budgets.crossed`.
        log: bytes of each log file that were written.
        seen: statistics of its trees, for the choice of a branching.
        skipped: steps in a row that were left out up to here; see `train.nonfinite`.
    """

    seed: int
    step: int = 0
    next_index: int = 0
    evaluated: int = -1
    ledger: Ledger = dataclasses.field(default_factory=Ledger)
    crossed: Mapping[str, Mapping] = dataclasses.field(default_factory=dict)
    log: Mapping[str, int] = dataclasses.field(default_factory=dict)
    seen: BranchingStats = dataclasses.field(default_factory=BranchingStats)
    skipped: int = 0

    def replace(self, **changes) -> "Record":
        return dataclasses.replace(self, **changes)

    def spend(self, part: str, spent: Spent, seconds: Mapping[str, float]) -> "Record":
        """The record with some more work on one part of the ledger."""
        return self.replace(ledger=self.ledger.add(part, spent, seconds))

    @classmethod
    def from_json(cls, fields: Mapping) -> "Record":
        """A record from `dataclasses.asdict`, by way of JSON."""
        known = {"ledger": Ledger, "seen": BranchingStats}
        read = {name: kind.from_json(fields[name]) for name, kind in known.items()}
        return cls(**{**fields, **read})
