"""The branching of a run's trees: the config's, or one chosen by what trees show.

With `protocol.branching` "auto", trees show how much each role's messages add to the
reward's variance (`credit.plan.variance_components`), and every so often the run takes
the branching that by this leaves the least gradient variance for its cost. A branching
that gives a role a single alternative hides that role's share; then a step now and then
samples the default tree, which shows it. Such steps train like any other.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from c3jax.core.types import Evidence
from c3jax.credit import api, branchings, plan
from c3jax.rollout import contexts
from c3jax.setup.objectives import Objective

# The cost of a tree: (tokens of its messages, cost of scoring an answer).
COSTS = {
    "evaluator_calls": lambda tokens: (None, 1.0),
    "generated_tokens": lambda tokens: (tokens, 0.0),
}
# A new tree is compiled, and estimates are noisy: a better one must save so much. With
# 24 questions of the embedded team a role's component has a standard error of about
# 0.02, with components from 0.005 to 0.1; with ten such steps a third of that.
_GAIN = 0.1
# Factor on the weight of earlier steps, at each step that adds to the means.
DECAY = 0.9


@dataclasses.dataclass(frozen=True)
class BranchingStats:
    """Statistics of a run's trees, as a checkpoint holds them.

    Attributes:
        components: per role, the reward's variance that its messages explain.
        tokens: per role, the mean length of a message.
        weight: how many questions these are means over; earlier ones count less.
        chosen: alternatives per role; () before the first choice.
    """

    components: tuple[float, ...] = ()
    tokens: tuple[float, ...] = ()
    weight: float = 0.0
    chosen: tuple[int, ...] = ()

    def replace(self, **changes) -> "BranchingStats":
        return dataclasses.replace(self, **changes)

    def with_trees(
        self, evidence: Evidence, tokens: Sequence[float]
    ) -> "BranchingStats":
        """The means with some more questions.

        Args:
            evidence: rewards, every role with K >= 2 alternatives.
            tokens: per role, the mean length of their messages.
        """
        count, past = len(evidence.reward), DECAY * self.weight
        share = count / (past + count)

        def pooled(old, new):
            if not old:
                return tuple(map(float, new))
            pairs = zip(old, new, strict=True)
            return tuple(float(a + share * (b - a)) for a, b in pairs)

        return self.replace(
            components=pooled(self.components, plan.variance_components(evidence)),
            tokens=pooled(self.tokens, tokens),
            weight=past + count,
        )

    @classmethod
    def from_json(cls, fields: Mapping) -> "BranchingStats":
        """Statistics from `dataclasses.asdict`, by way of JSON."""
        fields = {{"spread": "components"}.get(n, n): v for n, v in fields.items()}
        lists = {n: tuple(v) for n, v in fields.items() if n != "weight"}
        return cls(**{**fields, **lists})


@dataclasses.dataclass(frozen=True)
class BranchingSchedule:
    """The trees that a run may sample, and how it chooses.

    Attributes:
        roles: their names.
        ancestors: per role, the tree axes of its contexts.
        first: the branching of the first steps, and of those that explore.
        budget: most answers a tree may have; 0: `first` is the only branching.
        every: steps between choices.
        cost: a key of `COSTS`.
        blend: whether credit compares messages of several contexts.
        learns: per role, whether its policy learns.
        sums: whether a message's score is the sum over its tokens, not the mean.
    """

    roles: tuple[str, ...]
    ancestors: tuple[tuple[int, ...], ...]
    first: tuple[int, ...]
    budget: int = 0
    every: int = 0
    cost: str = "evaluator_calls"
    blend: bool = False
    learns: tuple[bool, ...] = ()
    sums: bool = True

    @property
    def candidates(self) -> list[tuple[int, ...]]:
        """All branchings that may be chosen."""
        if not self.budget:
            return [self.first]
        return plan.branchings(self.ancestors, self.budget, blend=self.blend)

    def at(self, seen: BranchingStats, step: int) -> tuple[int, ...]:
        """Alternatives per role in the trees of a step.

        Args:
            seen: statistics of the steps before.
            step: counted from 0.
        """
        hides = min(seen.chosen, default=0) < 2
        if not seen.chosen or (hides and step % self.every == 0):
            return self.first
        return seen.chosen

    def after(
        self,
        seen: BranchingStats,
        step: int,
        reward: np.ndarray,
        tokens: Sequence[float],
    ) -> BranchingStats:
        """The statistics after a step.

        Args:
            seen: statistics of the steps before.
            step: counted from 0.
            reward: [B, k_1, .., k_R] of its trees.
            tokens: per role, the mean length of their messages.
        """
        if not self.budget:
            return seen
        if min(reward.shape[1:]) > 1:
            seen = seen.with_trees(Evidence(reward, self.ancestors), tokens)
        if step and step % self.every == 0:
            return seen.replace(chosen=self._best(seen))
        return seen

    def figures(
        self, seen: BranchingStats, branching: tuple[int, ...]
    ) -> dict[str, float]:
        """The branching and its reasons as fields of the log; {} without a choice.

        Args:
            seen: statistics after a step.
            branching: of the step's trees.
        """
        if not self.budget:
            return {}
        named = {"branching": branching, "spread": seen.components}
        return {
            f"{name}/{role}": value
            for name, values in named.items()
            for role, value in zip(self.roles, values, strict=True)
        }

    def told(self, before: BranchingStats, after: BranchingStats) -> str:
        """A line about a change of trees; "" without a change."""
        old, new = before.chosen or self.first, after.chosen or self.first
        if old == new:
            return ""
        pairs = zip(self.roles, after.components, strict=True)
        components = ", ".join(f"{role} {value:.4f}" for role, value in pairs)
        return f"trees of {new} in place of {old}; spread: {components}"

    def _best(self, seen: BranchingStats) -> tuple[int, ...]:
        """The tree with the least variance of the policy gradient for its cost.

        The policy gradient is a sum over roles, each one's part a mean over its
        messages of advantage times score. A score is a sum over tokens whose terms are
        uncorrelated, so its mean square grows like their number, and that of a mean
        over them falls like it. A frozen role has no part. (A loss that is a mean over
        tokens also gives a role with more messages in a tree more of the step; that
        changes the target, not its noise, and is left out.)

        A run has as many steps with a small tree as with a large one, and they would
        be noisier. But K alternatives pay K / (K - 1) for their baseline, so fewer
        answers than the budget are hardly ever cheaper: for two and three roles with up
        to 16 answers by 7% at most, which is no reason to change.
        """
        power = 1 if self.sums else -1
        pairs = zip(self.learns, seen.tokens, strict=True)
        weight = tuple(learns * tokens**power for learns, tokens in pairs)
        tokens, answer = COSTS[self.cost](seen.tokens)
        return plan.best(
            np.array(seen.components),
            self.ancestors,
            self.budget,
            weight=weight,
            tokens=tokens,
            answer=answer,
            blend=self.blend,
            kept=seen.chosen or self.first,
            gain=_GAIN,
        )


def configured(config, team: contexts.Team, objective: Objective) -> BranchingSchedule:
    """The schedule that the section `protocol` of a config asks for.

    Args:
        team: with the branching of the first steps, from `branchings.branching`.
        objective: what an update minimises; its learners' policies are known.
    """
    c, protocol = config.protocol.auto, team.protocol
    names = tuple(role.name for role in protocol.roles)
    fixed = BranchingSchedule(names, protocol.ancestors, protocol.branching)
    if config.protocol.branching != branchings.AUTO:
        return fixed
    learners = objective.levels(team)
    return dataclasses.replace(
        fixed,
        budget=config.protocol.budget,
        every=c.every,
        cost=c.cost,
        blend=api.find(config.credit.name).plan == "tree",
        learns=tuple(level in learners for level in range(len(names))),
        sums=objective.mean == "token",
    )
