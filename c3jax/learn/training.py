"""The programs of a run: its training step, and the states they start from."""

import functools
from collections.abc import Callable

import jax
import optax

from c3jax.collect import rollouts
from c3jax.core import sharding
from c3jax.data import padding
from c3jax.learn import critic_update, microbatches, update
from c3jax.protocol import prompts
from c3jax.setup import train_state
from c3jax.setup.experiment import Setup


def compiled_step(setup: Setup) -> Callable:
    """(step, state, memory, rollout, batches, stop) -> (state, statistics).

    Policies learn, by `compiled_update`, then the critic, if there is one; `memory` is
    the estimator's after this step.
    """
    update_step, critic_step = compiled_update(setup), critic_update.compiled(setup)

    def learn(step, state, memory, rollout, batches, stop=lambda: False):
        objective = setup.objective_at(step)
        state, stats = update_step(objective, state, rollout, batches, stop)
        evidence = rollouts.seen(setup.ancestors, rollouts.score(rollout)[0])
        critic, learnt = critic_step(state.critic, rollout, evidence)
        memory = jax.device_put(memory, sharding.replicated(setup.mesh))
        stats = {name: float(value) for name, value in (stats | learnt).items()}
        return state.replace(memory=memory, critic=critic), stats

    return learn


def compiled_update(setup: Setup) -> Callable:
    """(objective, state, groups, batches, stop) -> (state, statistics).

    The update is one program per objective, `update.update`, for one batch of one
    shape; otherwise `microbatches`, which begins with the groups that are scored first,
    and may be stopped between microbatches.
    """
    state = abstract_state(setup)
    c = setup.config.train
    in_microbatches = c.buckets or c.groups > 1 or c.grad_accumulation > 1
    sizes = piece_sizes(setup) if in_microbatches else None

    @functools.cache
    def program(objective):
        static = dict(objective=objective, optimise=optimiser(setup))
        if in_microbatches:
            mesh = setup.team.mesh
            return microbatches.compiled(mesh, **static, sizes=sizes, state=state)
        step = update.compiled(functools.partial(update.update, **static), state)
        return lambda state, groups, batches, stop=None: step(state, *batches)

    return lambda objective, *args: program(objective)(*args)


def piece_sizes(setup: Setup) -> microbatches.Sizes:
    """Padded sizes, from the lengths of the first questions and messages' limits."""
    count, known = setup.config.train.buckets, setup.prompt_lengths.sizes
    roles = setup.team.protocol.roles
    if not count:
        return microbatches.Sizes(known, tuple((role.max_tokens,) for role in roles))
    # The first questions stand for all.
    source = setup.task.split("train")
    first = [source[i].text for i in range(min(len(source), 2048))]
    lengths = prompts.longest(setup.prompts, first)
    return microbatches.Sizes(
        prompts=padding.choose([*lengths, known[-1]], count),
        messages=tuple(padding.ladder(role.max_tokens, count) for role in roles),
    )


def initial_state(setup: Setup, params: dict) -> train_state.TrainState:
    """The state before the first step, on the mesh."""
    memory = setup.estimator.memory(setup.ancestors)
    places, kl = abstract_state(setup).replace(critic=()), setup.objective.kl_state
    state = train_state.init_sharded(optimiser(setup), memory, params, places, kl)
    return state.replace(critic=critic_update.initial_state(setup, params))


def abstract_state(setup: Setup) -> train_state.TrainState:
    """Shapes and shardings of a run's state, for a restore."""
    state = train_state.abstract_state(
        optimiser(setup),
        setup.estimator.memory(setup.ancestors),
        setup.abstract_params(),
        sharding.replicated(setup.mesh),
        setup.objective.learners,
        setup.objective.kl_state,
    )
    return state.replace(critic=critic_update.abstract_state(setup))


def optimiser(setup: Setup) -> optax.GradientTransformation:
    """AdamW over all of a policy's steps in the run; see `update.optimiser`."""
    c = setup.config.train
    in_turn = len(setup.objective.learners) if c.alternate else 1
    return update.optimiser(
        lr=c.lr,
        steps=c.steps * c.epochs * c.minibatches // in_turn,
        warmup=c.warmup,
        b1=c.b1,
        b2=c.b2,
        weight_decay=c.weight_decay,
        max_grad_norm=c.max_grad_norm,
        final_lr=c.final_lr,
    )
