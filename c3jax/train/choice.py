"""Which trees a run grows: the config's, or those that its own trees ask for.

Where `protocol.branching` is "auto", trees show how much each role's messages add to
the reward's variance (`credit.plan.spread`), and every so often the run takes the
branching that by this leaves the least gradient variance for its cost. One that gives a
role a single alternative hides what that role adds; then a step now and then grows the
default tree, which shows it. Such steps train like any other.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from c3jax.core.types import Evidence
from c3jax.credit import api, plan, shapes
from c3jax.train.objectives import Objective

# What a tree costs: (tokens of its messages, what it costs to score an answer).
COSTS = {
    "evaluator_calls": lambda tokens: (None, 1.0),
    "generated_tokens": lambda tokens: (tokens, 0.0),
}
# A new tree is compiled, and estimates are noisy: a better one must save so much. Of
# 24 questions of the embedded team the spread of a role has a standard error of about
# 0.02, with spreads from 0.005 to 0.1; of ten such steps a third of that.
_GAIN = 0.1
# What becomes of the weight of what earlier steps have shown, at each step that shows.
_DECAY = 0.9


@dataclasses.dataclass(frozen=True)
class Seen:
    """What a run's trees have shown, as a checkpoint holds it.

    Attributes:
        spread: per role, what its messages add to the variance of the reward.
        tokens: per role, the mean length of a message.
        weight: how many questions these are means over; earlier ones count less.
        chosen: alternatives per role; () before the first choice.
    """

    spread: tuple[float, ...] = ()
    tokens: tuple[float, ...] = ()
    weight: float = 0.0
    chosen: tuple[int, ...] = ()

    def replace(self, **changes) -> "Seen":
        return dataclasses.replace(self, **changes)

    def with_trees(self, evidence: Evidence, tokens: Sequence[float]) -> "Seen":
        """The means with some more questions.

        Args:
            evidence: their rewards, every role with K >= 2 alternatives.
            tokens: per role, the mean length of their messages.
        """
        count, past = len(evidence.reward), _DECAY * self.weight
        share = count / (past + count)

        def pooled(old, new):
            if not old:
                return tuple(map(float, new))
            pairs = zip(old, new, strict=True)
            return tuple(float(a + share * (b - a)) for a, b in pairs)

        return self.replace(
            spread=pooled(self.spread, plan.spread(evidence)),
            tokens=pooled(self.tokens, tokens),
            weight=past + count,
        )

    @classmethod
    def from_json(cls, fields: Mapping) -> "Seen":
        """What was seen, from `dataclasses.asdict`, by way of JSON."""
        lists = {n: tuple(v) for n, v in fields.items() if n != "weight"}
        return cls(**{**fields, **lists})


@dataclasses.dataclass(frozen=True)
class Choice:
    """The trees that a run may grow, and how it chooses.

    Attributes:
        roles: their names.
        spans: per role, the tree axes of its contexts.
        first: the tree of the first steps, and of those that are to show more.
        budget: most answers a tree may have; 0: `first` is all there is.
        every: steps between choices.
        cost: a key of `COSTS`.
        blend: whether credit compares messages of several contexts.
        learns: per role, whether its policy does.
        sums: whether a message's score is the sum over its tokens, not the mean.
    """

    roles: tuple[str, ...]
    spans: tuple[tuple[int, ...], ...]
    first: tuple[int, ...]
    budget: int = 0
    every: int = 0
    cost: str = "evaluator_calls"
    blend: bool = False
    learns: tuple[bool, ...] = ()
    sums: bool = True

    @property
    def candidates(self) -> list[tuple[int, ...]]:
        """All trees that may be grown."""
        if not self.budget:
            return [self.first]
        return plan.branchings(self.spans, self.budget, blend=self.blend)

    def at(self, seen: Seen, step: int) -> tuple[int, ...]:
        """Alternatives per role in the trees of a step.

        Args:
            seen: of the steps before.
            step: counted from 0.
        """
        hides = min(seen.chosen, default=0) < 2
        if not seen.chosen or (hides and step % self.every == 0):
            return self.first
        return seen.chosen

    def after(
        self, seen: Seen, step: int, reward: np.ndarray, tokens: Sequence[float]
    ) -> Seen:
        """What is seen after a step.

        Args:
            seen: before it.
            step: counted from 0.
            reward: [B, k_1, .., k_R] of its trees.
            tokens: per role, the mean length of their messages.
        """
        if not self.budget:
            return seen
        if min(reward.shape[1:]) > 1:
            seen = seen.with_trees(Evidence(reward, self.spans), tokens)
        if step and step % self.every == 0:
            return seen.replace(chosen=self._best(seen))
        return seen

    def figures(self, seen: Seen, branching: tuple[int, ...]) -> dict[str, float]:
        """As fields of the log, where there is a choice.

        Args:
            seen: after a step.
            branching: of its trees.
        """
        if not self.budget:
            return {}
        named = {"branching": branching, "spread": seen.spread}
        return {
            f"{name}/{role}": value
            for name, values in named.items()
            for role, value in zip(self.roles, values, strict=True)
        }

    def told(self, before: Seen, after: Seen) -> str:
        """A change of trees, for a person; empty where there is none."""
        old, new = before.chosen or self.first, after.chosen or self.first
        if old == new:
            return ""
        pairs = zip(self.roles, after.spread, strict=True)
        spread = ", ".join(f"{role} {value:.4f}" for role, value in pairs)
        return f"trees of {new} in place of {old}; spread: {spread}"

    def _best(self, seen: Seen) -> tuple[int, ...]:
        """The tree with the least variance of the policy gradient for its cost.

        The policy gradient is a sum over roles, each one's part a mean over its
        messages of advantage times score. A score is a sum over tokens whose terms are
        uncorrelated, so its mean square grows like their number, and that of a mean
        over them falls so. Who does not learn has no part in it. (A loss that is a mean
        over tokens also gives a role that has more messages in a tree more of the step;
        that changes the target, not its noise, and is left out.)

        A run has as many steps with a small tree as with a large one, and they would
        be noisier. But K alternatives pay K / (K - 1) for their baseline, so that fewer
        answers than the budget are hardly ever cheaper: of two and three roles with up
        to 16 answers by 7% at most, which is no reason to change.
        """
        power = 1 if self.sums else -1
        pairs = zip(self.learns, seen.tokens, strict=True)
        weight = tuple(learns * tokens**power for learns, tokens in pairs)
        tokens, answer = COSTS[self.cost](seen.tokens)
        return plan.best(
            np.array(seen.spread),
            self.spans,
            self.budget,
            weight=weight,
            tokens=tokens,
            answer=answer,
            blend=self.blend,
            kept=seen.chosen or self.first,
            gain=_GAIN,
        )


def configured(
    config,
    roles: tuple[str, ...],
    spans: tuple[tuple[int, ...], ...],
    first: tuple[int, ...],
    objective: Objective,
    learns: tuple[bool, ...],
) -> Choice:
    """The choice that the section `protocol` of a config leaves to a run.

    Args:
        config: of the run.
        roles: their names.
        spans: per role, the tree axes of its contexts.
        first: its branching, from `shapes.branching`.
        objective: what an update minimises.
        learns: per role, whether its policy does.
    """
    c = config.protocol.auto
    if config.protocol.branching != shapes.AUTO:
        return Choice(roles, spans, first)
    return Choice(
        roles,
        spans,
        first,
        budget=config.protocol.budget,
        every=c.every,
        cost=c.cost,
        blend=api.ESTIMATORS[config.credit.name].plan == "tree",
        learns=learns,
        sums=objective.mean == "token",
    )
