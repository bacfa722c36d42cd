"""The objective that an update minimises: its options, and which go together."""

import dataclasses

import jax
import jax.numpy as jnp

from c3jax.credit import api, losses
from c3jax.rollout import contexts

# Treatments of messages that were cut at their limit, and of questions whose credit is
# zero throughout.
TRUNCATED = {
    "keep": "they are like others",
    "mask": "their tokens leave the loss, the KL's too, and its denominator",
    "zero": "their credit becomes 0",
}
ZERO_ADVANTAGE = {
    "keep": "they are like others",
    "drop": "their tokens leave the loss as those of masked messages do",
}
PLACES = {"loss": "in the loss, of the policy as it is", "reward": "in the credit"}
PLAIN = "none"  # The ratio of REINFORCE.


@dataclasses.dataclass(frozen=True)
class Objective:
    """The loss of the update, and its optimiser steps.

    Attributes:
        clip: how far below 1 the ratio of probabilities is trusted; None without one.
        kl: weight of the KL to the starting policy, its first one if it is adapted; 0
            leaves the KL out.
        epochs: passes over the trees.
        minibatches: optimiser steps a pass, over disjoint sets of whole questions.
        grad_accumulation: microbatches that a minibatch's gradient is summed over;
            memory is that of one microbatch, and the gradient the same.
        learners: names of the policies that learn; the others' messages are only read.
        ratio: a key of `losses.RATIOS`, or "none" for REINFORCE.
        clip_high: how far above 1 the ratio is trusted; None for as far as below.
        dual_clip: the ratio that bounds the loss of bad messages; None for no bound.
        mean: a key of `losses.MEANS`.
        kl_estimator: a key of `losses.KL`.
        kl_in: a key of `PLACES`.
        kl_target: nats a token that the KL's weight is adapted to; None: it is fixed.
        entropy: weight of the entropy bonus; 0 only measures it, None does not.
        whiten: whether credit is centred and scaled over all of a step's messages.
        zero_advantage: a key of `ZERO_ADVANTAGE`.
        truncated: a key of `TRUNCATED`.
    """

    clip: float | None
    kl: float
    epochs: int
    minibatches: int
    grad_accumulation: int = 1
    learners: tuple[str, ...] = ("shared",)
    ratio: str = "token"
    clip_high: float | None = None
    dual_clip: float | None = None
    mean: str = "token"
    kl_estimator: str = "k3"
    kl_in: str = "loss"
    kl_target: float | None = None
    entropy: float | None = None
    whiten: bool = False
    zero_advantage: str = "keep"
    truncated: str = "keep"

    def replace(self, **changes) -> "Objective":
        return dataclasses.replace(self, **changes)

    def levels(self, team: contexts.Team) -> list[int]:
        """Indices of the roles whose policies learn, without silenced ones."""
        return [
            level
            for level, policy in enumerate(team.policies)
            if policy.name in self.learners and level not in team.silenced
        ]

    @property
    def trusted(self) -> tuple[float, float]:
        """How far below and above 1 the ratio is trusted, if there is a ratio."""
        return self.clip, self.clip if self.clip_high is None else self.clip_high

    @property
    def filters(self) -> bool:
        """Whether the credit of some messages may be left unused."""
        return self.zero_advantage != "keep" or self.truncated != "keep"

    @property
    def kl_state(self) -> jax.Array | tuple:
        """The KL's weight before the first step, if it is adapted; () if it is not."""
        return () if self.kl_target is None else jnp.float32(self.kl)


def configured(config, estimator: api.Estimator) -> Objective:
    """The objective that the section `train` of a config describes.

    Args:
        config: of a run; each field by itself is valid.
        estimator: its options bound.

    Raises:
        ValueError: two fields contradict each other.
    """
    # Contradictions.
    c = config.train
    _check_ratio(c)
    _check_kl(c)
    for name in ("std", "normalise"):
        option = estimator.options.get(name)
        if c.whiten and option is not None and option.default:
            raise ValueError(
                f"train.whiten=True scales credit that credit.{name}=True has scaled "
                "already; set one of them to False."
            )

    # The ratio's own clipping, where the config leaves it open.
    clip, high = c.clip, c.clip_high
    if c.ratio != PLAIN:
        custom = losses.RATIOS[c.ratio]
        high = custom.clip_high if clip is None and high is None else high
        clip = custom.clip if clip is None else clip
    names = {field.name for field in dataclasses.fields(Objective)} & {*c}
    high = None if high == clip else high
    given = {name: c[name] for name in names} | {"clip": clip, "clip_high": high}
    return Objective(**given)


def _check_ratio(c) -> None:
    """Refuses clipping, and several optimiser steps a tree, without a ratio."""
    if c.ratio != PLAIN:
        return
    for name in ("clip", "clip_high", "dual_clip"):
        if c[name] is not None:
            raise ValueError(
                f"train.{name}={c[name]!r} is read by nobody: train.ratio='none' has "
                "no ratio that could be clipped; leave it at None."
            )
    if c.epochs * c.minibatches > 1:
        raise ValueError(
            f"train.ratio='none' with train.epochs={c.epochs} and train.minibatches="
            f"{c.minibatches}: after the first optimiser step messages are no longer "
            "of the policy that learns, and only a ratio corrects for it. Set both "
            "to 1; train.grad_accumulation saves memory."
        )


def _check_kl(c) -> None:
    """Refuses options of the KL that nothing reads, and k1 in the loss."""
    if not c.kl:
        if c.kl_target is not None:
            raise ValueError(
                f"train.kl_target={c.kl_target}: train.kl=0 is where the weight "
                "begins, and as it changes by factors it would stay there; set "
                "train.kl, say to 0.01."
            )
        for name, value in {"kl_estimator": "k3", "kl_in": "loss"}.items():
            if c[name] != value:
                raise ValueError(
                    f"train.{name}={c[name]!r} is read by nobody: train.kl=0 leaves "
                    f"the KL out; set train.kl, say to 0.01, or leave it at {value!r}."
                )
    if c.kl_estimator == "k1" and c.kl_in == "loss":
        raise ValueError(
            "train.kl_estimator='k1' with train.kl_in='loss': the gradient of k1 is "
            "zero in the mean, so it would only add noise; take 'k3', or "
            "train.kl_in='reward'."
        )
