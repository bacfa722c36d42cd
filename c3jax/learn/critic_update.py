"""The critic's training step, and its state.

The state is a `TrainState` of its own, in that of the run.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from c3jax.collect import critics
from c3jax.core import sharding
from c3jax.core.types import Questions, Turn
from c3jax.credit import actor_critic, losses
from c3jax.learn import update, warm_start
from c3jax.policy import decoder, value_head
from c3jax.rollout import critic_values
from c3jax.setup import train_state
from c3jax.setup.experiment import Setup


@struct.dataclass
class CriticBatch:
    """Trees as a critic learns from them.

    Attributes:
        questions: B questions.
        turns: one a role.
        predicted: by head, per role that writes, [B, N] or [B, N, K], before the step.
        target: the same, the regression targets.
    """

    questions: Questions
    turns: tuple[Turn, ...]
    predicted: dict[str, tuple[jax.Array, ...]]
    target: dict[str, tuple[jax.Array, ...]]


def abstract_params(setup: Setup) -> dict:
    """Shape, dtype and sharding of each parameter of the critic."""
    critic, place = critics.critic_config(setup), functools.partial(_placed, setup.mesh)
    return {
        critic_values.NAME: value_head.over_params(place, critic.shape, critic.heads)
    }


def _placed(mesh: jax.sharding.Mesh, p: decoder.Param) -> jax.ShapeDtypeStruct:
    where = sharding.parameter(mesh, p.shape, p.axes)
    return jax.ShapeDtypeStruct(p.shape, jnp.float32, sharding=where)


def abstract_state(setup: Setup) -> train_state.TrainState | tuple:
    """Shapes and shardings of the critic's state; () without one."""
    if setup.critic is None:
        return ()
    return train_state.abstract_state(
        optimiser(setup),
        (),
        abstract_params(setup),
        sharding.replicated(setup.mesh),
        (critic_values.NAME,),
    )


def initial_state(setup: Setup, params: dict) -> train_state.TrainState | tuple:
    """The critic before the first step, on the mesh; () without one.

    Args:
        setup: `critic.policy` names a model of its own, if there is one.
        params: the policies; otherwise the critic is a copy of the first.
    """
    if setup.critic is None:
        return ()
    critic, places = critics.critic_config(setup), abstract_state(setup)

    # A decoder, and value heads on it.
    if setup.config.critic.policy:
        place = functools.partial(_placed, setup.mesh)
        whole = decoder.over_params(place, critic.shape)
        start = warm_start.untaught(setup, setup.critic, critic.shape, whole)
    else:
        start = params[setup.team.policies[0].name]

    def begin(params):
        return {
            critic_values.NAME: value_head.begin(params, critic.shape, critic.heads)
        }

    shardings = jax.tree.map(lambda leaf: leaf.sharding, places.params)
    fresh = jax.jit(begin, out_shardings=shardings)(start)
    return train_state.init_sharded(optimiser(setup), (), fresh, places)


def optimiser(setup: Setup) -> optax.GradientTransformation:
    """The policies' optimiser with the critic's learning rate and number of steps."""
    c = setup.config
    return update.optimiser(
        lr=c.critic.lr,
        steps=c.train.steps * c.critic.epochs * c.critic.minibatches,
        warmup=c.train.warmup,
        b1=c.train.b1,
        b2=c.train.b2,
        weight_decay=c.train.weight_decay,
        max_grad_norm=c.train.max_grad_norm,
    )


def compiled(setup: Setup) -> Callable:
    """(state of the critic, rollout, evidence) -> (state, statistics), as one program.

    Without a critic nothing happens, and there are no statistics.
    """
    if setup.critic is None:
        return lambda state, rollout, evidence: (state, {})
    critic = critics.critic_config(setup)
    step = functools.partial(learn, critic=critic, optimise=optimiser(setup))
    program = update.compiled(step, abstract_state(setup))

    def run(state, rollout, evidence):
        predicted = {head: getattr(evidence, head) for head in critic.heads}
        target = {head: _target(setup, head, evidence) for head in predicted}
        groups = [
            (group.questions, tuple(turn.bare() for turn in group.trees[0].turns))
            for group in rollout
        ]
        state, stats = program(state, groups, predicted, target)
        explained = [
            actor_critic.explained(predicted[head], target[head]) for head in predicted
        ]
        return state, {**stats, "explained_variance": np.mean(explained)}

    return run


def _target(setup: Setup, head: str, evidence) -> tuple[np.ndarray, ...]:
    if head == "q":
        target = actor_critic.outcomes(evidence)
    else:
        options = setup.estimator.options
        chosen = {name: options[name].default for name in ("gamma", "lam")}
        target = actor_critic.returns(evidence, **chosen)
    return tuple(np.float32(values) for values in target)


def learn(
    state: train_state.TrainState,
    groups: list[tuple[Questions, tuple[Turn, ...]]],
    predicted: dict,
    target: dict,
    *,
    critic: critics.CriticConfig,
    optimise: optax.GradientTransformation,
) -> tuple[train_state.TrainState, dict]:
    """All epochs and minibatches of a critic's training step; see `update.compiled`.

    Args:
        state: the critic's.
        groups: questions and turns.
        predicted: for all groups together, as in `CriticBatch`.
        target: the same.
        critic: how it reads and learns.

    Returns:
        The new state, and `critic_loss`, mean over the first pass.
    """
    # All groups of the step are one batch to the critic.
    trees = jax.tree.map(lambda *parts: jnp.concatenate(parts), *groups)
    if critic.team.mesh is not None:
        place = sharding.batch(critic.team.mesh)
        trees = jax.lax.with_sharding_constraint(trees, place)
    batch = CriticBatch(*trees, predicted, target)

    def add(total, microbatch, params):
        fresh = jax.value_and_grad(loss)(params, critic, microbatch)
        return jax.tree.map(lambda a, b: a + b / critic.grad_accumulation, total, fresh)

    def step(carry, minibatch):
        params, opt_state = carry
        zeros = jnp.float32(0), jax.tree.map(jnp.zeros_like, params)
        (value, grads), _ = jax.lax.scan(
            lambda total, microbatch: (add(total, microbatch, params), None),
            zeros,
            train_state.split(minibatch, critic.grad_accumulation),
        )
        carry, norms = update.apply_gradients(optimise, grads, params, opt_state, value)
        return carry, (value, norms["nonfinite"])

    def epoch(carry, _):
        return jax.lax.scan(step, carry, train_state.split(batch, critic.minibatches))

    # Every pass takes the same minibatches.
    carry, (values, nonfinite) = jax.lax.scan(
        epoch, (state.params, state.opt_state), None, length=critic.epochs
    )
    params, opt_state = carry
    state = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
    # NaN if an optimiser step was left out.
    value = jnp.where(nonfinite.any(), jnp.nan, values[0].mean())
    return state, {"critic_loss": value}


def loss(params: dict, critic: critics.CriticConfig, batch: CriticBatch) -> jax.Array:
    """`losses.value`, mean over a role's contexts or messages, then roles and heads.

    Args:
        params: the critic's.
        critic: how it reads and learns.
    """
    means = []
    for head in critic.heads:
        values = critics.read(params, critic, head, batch.questions, batch.turns)
        roles = zip(values, batch.predicted[head], batch.target[head], strict=True)
        means += [losses.value(*role, critic.clip).mean() for role in roles]
    return jnp.stack(means).mean()
