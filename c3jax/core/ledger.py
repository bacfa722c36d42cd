"""The spending of a run, counted where it happens, never derived from the config."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Spent:
    """Counts of one rollout, update or evaluation, or sums of them.

    Attributes:
        evaluator_calls: answers scored.
        malformed: scored answers that cannot be read.
        timed_out: scored answers that a verifier gave up at its time limit.
        failed: scored answers that a verifier failed on; they earn nothing.
        messages: messages sampled, of all roles.
        truncated: messages cut at their limit.
        generated_tokens: sampled tokens, end tokens included.
        prefilled_tokens: context tokens run through the policy to sample; one that
            several messages share counts once, as it is computed once.
        prefilled_slots: slots computed for these tokens, padding included.
        trained_tokens: tokens in a loss, once for each pass over them.
        invalid_ratings: messages that should have rated an episode and did not.
        critic_tokens: tokens run through a critic, to predict and to learn, once for
            each pass; shared ones count once.
    """

    evaluator_calls: int = 0
    malformed: int = 0
    timed_out: int = 0
    failed: int = 0
    messages: int = 0
    truncated: int = 0
    generated_tokens: int = 0
    prefilled_tokens: int = 0
    prefilled_slots: int = 0
    trained_tokens: int = 0
    invalid_ratings: int = 0
    critic_tokens: int = 0

    def __add__(self, other: "Spent") -> "Spent":
        mine, theirs = dataclasses.asdict(self), dataclasses.asdict(other)
        return Spent(**{name: mine[name] + theirs[name] for name in mine})

    def figures(self, prefix: str = "") -> dict[str, float]:
        """Counts and fractions, as fields of the log."""
        figures = {
            "evaluator_calls": self.evaluator_calls,
            "generated_tokens": self.generated_tokens,
            "prefilled_tokens": self.prefilled_tokens,
            "prefilled_slots": self.prefilled_slots,
            "trained_tokens": self.trained_tokens,
            "critic_tokens": self.critic_tokens,
            "invalid_ratings": self.invalid_ratings,
            "truncated_frac": self.truncated / max(self.messages, 1),
            "malformed_frac": self.malformed / max(self.evaluator_calls, 1),
            "timed_out_frac": self.timed_out / max(self.evaluator_calls, 1),
            "failed_frac": self.failed / max(self.evaluator_calls, 1),
        }
        return {prefix + name: value for name, value in figures.items()}


@dataclasses.dataclass(frozen=True)
class Ledger:
    """The spending of a run so far; evaluation and warm start are counted apart.

    Attributes:
        warm_start: spent on imitation.
        train: spent on reinforcement learning.
        evaluate: spent on measurements, which no method needs to learn.
        seconds: wall-clock by phase.
    """

    warm_start: Spent = dataclasses.field(default_factory=Spent)
    train: Spent = dataclasses.field(default_factory=Spent)
    evaluate: Spent = dataclasses.field(default_factory=Spent)
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def add(self, part: str, spent: Spent, seconds: Mapping[str, float]) -> "Ledger":
        """The ledger after some more work on one of its parts."""
        names = {*self.seconds, *seconds}
        both = {n: self.seconds.get(n, 0.0) + seconds.get(n, 0.0) for n in names}
        total = getattr(self, part) + spent
        return dataclasses.replace(self, **{part: total, "seconds": both})

    def figures(self) -> dict[str, float]:
        """The totals so far, as fields of the log."""
        return {
            **self.train.figures("total/"),
            **self.evaluate.figures("total/evaluate/"),
            "total/seconds": sum(self.seconds.values()),
            **{f"total/seconds/{n}": s for n, s in sorted(self.seconds.items())},
        }

    @classmethod
    def from_json(cls, fields: Mapping) -> "Ledger":
        """A ledger from `dataclasses.asdict`, by way of JSON."""
        parts = {n: Spent(**v) for n, v in fields.items() if n != "seconds"}
        return cls(**parts, seconds=fields["seconds"])
