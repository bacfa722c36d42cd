"""What an update minimises: its options, and which of them go together."""

import dataclasses

import jax
import jax.numpy as jnp

from c3jax.credit import api
from c3jax.rollout import contexts
from c3jax.train import losses

# What becomes of messages that were cut at their limit, and of questions whose credit
# is zero throughout.
TRUNCATED = {
    "keep": "they are like others",
    "mask": "their tokens leave the loss, the KL's too, and its denominator",
    "zero": "their credit becomes 0",
}
FLAT = {
    "keep": "they are like others",
    "drop": "their tokens leave the loss as those of masked messages do",
}
PLACES = {"loss": "in the loss, of the policy as it is", "reward": "in the credit"}
PLAIN = "none"  # The ratio of REINFORCE.


@dataclasses.dataclass(frozen=True)
class Objective:
    """What the update minimises, and in how many pieces.

    Attributes:
        clip: how far below 1 the ratio of probabilities is trusted; None without one.
        kl: weight of the KL to the starting policy, where it begins if it is adapted; 0
            leaves it out.
        epochs: passes over the tree.
        minibatches: optimiser steps a pass, over disjoint sets of whole questions.
        accumulate: pieces that a minibatch's gradient is summed over, one after the
            other; memory is that of one piece, and the gradient the same.
        learners: names of the policies that are changed; the others' messages are only
            read.
        ratio: a key of `losses.RATIOS`, or "none" for REINFORCE.
        clip_high: how far above 1 the ratio is trusted; None for as far as below.
        dual_clip: bounds the loss of bad messages at so large a ratio; None: nothing
            does.
        mean: a key of `losses.MEANS`.
        kl_estimator: a key of `losses.KL`.
        kl_in: a key of `PLACES`.
        kl_target: nats a token that the KL's weight is adapted to; None: it is fixed.
        entropy: weight of the entropy's bonus; 0 only measures it, None not even that.
        whiten: whether credit is centred and scaled over all of a step's messages.
        flat: a key of `FLAT`.
        truncated: a key of `TRUNCATED`.
    """

    clip: float | None
    kl: float
    epochs: int
    minibatches: int
    accumulate: int = 1
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
    flat: str = "keep"
    truncated: str = "keep"

    def replace(self, **changes) -> "Objective":
        return dataclasses.replace(self, **changes)

    def levels(self, team: contexts.Team) -> list[int]:
        """Indices of the roles that learners play, but for those that are silent."""
        return [
            level
            for level, part in enumerate(team.cast)
            if part.name in self.learners and level not in team.silenced
        ]

    @property
    def trusted(self) -> tuple[float, float]:
        """How far below and above 1 the ratio is trusted, where there is one."""
        return self.clip, self.clip if self.clip_high is None else self.clip_high

    @property
    def filters(self) -> bool:
        """Whether the credit of some messages may be left unused."""
        return self.flat != "keep" or self.truncated != "keep"

    @property
    def kl_state(self) -> jax.Array | tuple:
        """The KL's weight before the first step, if it is adapted; () if it is not."""
        return () if self.kl_target is None else jnp.float32(self.kl)


def configured(config, estimator: api.Estimator) -> Objective:
    """The objective that the section `train` of a config names, for one policy.

    Args:
        config: of the run; each of its fields is known to be what it may be.
        estimator: its options bound.

    Raises:
        ValueError: a field has a value that makes no sense beside another's.
    """
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
    """Without a ratio there is nothing to clip, and one optimiser step a tree."""
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
            "to 1; train.accumulate saves memory."
        )


def _check_kl(c) -> None:
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
