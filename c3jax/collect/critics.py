"""The critic's predictions, made before rewards are known.

So no value that credit is computed from depends on the rewards it is compared with.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp

from c3jax.core import sharding
from c3jax.core.ledger import Spent
from c3jax.core.types import Questions, Turn
from c3jax.policy import decoder
from c3jax.rollout import contexts, critic_values
from c3jax.setup import train_state
from c3jax.setup.experiment import Setup


@dataclasses.dataclass(frozen=True)
class CriticConfig:
    """How a critic reads and learns; static.

    Attributes:
        team: from `critic_values.critic_team`.
        heads: its outputs, keys of `critic_values.VALUES`.
        clip: how far a step may move a predicted value, in reward units.
        epochs: passes over the trees.
        minibatches: optimiser steps a pass.
        grad_accumulation: microbatches that a minibatch's gradient is summed over.
    """

    team: contexts.Team
    heads: tuple[str, ...]
    clip: float
    epochs: int
    minibatches: int
    grad_accumulation: int

    @property
    def shape(self) -> decoder.Shape:
        """Sizes of the critic's decoder."""
        return self.team.shapes[critic_values.NAME]

    @property
    def levels(self) -> list[int]:
        """Indices of the roles that write."""
        levels = range(len(self.team.policies))
        return [level for level in levels if level not in self.team.silenced]

    def pieces(self, questions: int) -> int:
        """How many microbatches questions are read in, each as large as in a step."""
        mesh = self.team.mesh
        per_device = questions // (1 if mesh is None else sharding.batch_size(mesh))
        return math.gcd(per_device, self.minibatches * self.grad_accumulation)


def critic_config(setup: Setup) -> CriticConfig:
    """The critic as the config of a run describes it; the run must have one."""
    c = setup.config
    return CriticConfig(
        team=critic_values.critic_team(setup.team, setup.critic.shape),
        heads=tuple(n for n in critic_values.VALUES if n in setup.estimator.needs),
        clip=c.critic.clip,
        epochs=c.critic.epochs,
        minibatches=c.critic.minibatches,
        grad_accumulation=c.train.grad_accumulation,
    )


def predict(
    setup: Setup,
    state: train_state.TrainState | tuple,
    questions: Questions,
    turns: tuple[Turn, ...],
) -> dict[str, tuple[jax.Array, ...]]:
    """The critic's values for some trees, as fields of `Evidence`; does not block.

    Args:
        setup: the critic, and how it is read.
        state: the critic's; () without one.
        questions: B questions, on the devices.
    """
    if setup.critic is None:
        return {}
    turns = tuple(turn.bare() for turn in turns)
    return predict_batch(state.params, critic_config(setup), questions, turns)


@functools.partial(jax.jit, static_argnums=1)
def predict_batch(params, critic: CriticConfig, questions, turns):
    size = questions.uid.shape[0]

    def values(microbatch):
        return {head: read(params, critic, head, *microbatch) for head in critic.heads}

    # One microbatch after the other, so that memory is that of a training step.
    microbatches = train_state.split((questions, turns), critic.pieces(size))
    return jax.tree.map(
        lambda x: jnp.moveaxis(x, 0, 1).reshape(size, *x.shape[2:]),
        jax.lax.map(values, microbatches),
    )


def read(
    params, critic: CriticConfig, head: str, questions, turns
) -> tuple[jax.Array, ...]:
    """Predicted values of a head, one array a role that writes."""
    fn = critic_values.VALUES[head]
    return tuple(fn(params, critic.team, n, questions, turns) for n in critic.levels)


def cost(setup: Setup, spent: Spent, batch: int) -> Spent:
    """Tokens that one pass of the critic over some trees reads; 0 without a critic.

    Args:
        setup: the critic, and how it is read.
        spent: on sampling these trees and on nothing else.
        batch: questions.
    """
    if setup.critic is None:
        return Spent()
    critic, tokens = critic_config(setup), 0
    for head in critic.heads:
        tokens += spent.prefilled_tokens
        if head == "q":  # Every message, behind a first token of its own.
            tokens += spent.messages + spent.generated_tokens
        else:
            tokens += batch * sum(map(critic.team.protocol.contexts, critic.levels))
    return Spent(critic_tokens=tokens)
