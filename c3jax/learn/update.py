"""The optimiser step: one compiled function from credited trees to new parameters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from c3jax.collect import batching
from c3jax.collect.batching import Batch
from c3jax.core import finite
from c3jax.core.types import Questions, Turn
from c3jax.credit import losses
from c3jax.learn import policy_loss
from c3jax.learn.policy_loss import LossScale
from c3jax.rollout import contexts, tree
from c3jax.setup import train_state
from c3jax.setup.objectives import Objective


def optimiser(
    *,
    lr: float,
    steps: int,
    warmup: int,
    b1: float,
    b2: float,
    weight_decay: float,
    max_grad_norm: float,
    final_lr: float = 0.1,
) -> optax.GradientTransformation:
    """AdamW behind a global-norm clip; linear warm-up, then cosine.

    Args:
        lr: the peak.
        steps: optimiser steps in all, warm-up included.
        warmup: optimiser steps of warm-up.
        b1, b2, weight_decay: AdamW's.
        max_grad_norm: gradients are scaled down to this global norm.
        final_lr: the end of the cosine, as a fraction of lr.
    """
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=lr / max(warmup, 1),
        peak_value=lr,
        warmup_steps=warmup,
        decay_steps=max(steps, warmup + 1),
        end_value=final_lr * lr,
    )
    return optax.chain(
        optax.clip_by_global_norm(max_grad_norm),
        optax.adamw(schedule, b1=b1, b2=b2, weight_decay=weight_decay),
    )


def gradient(
    params: dict,
    objective: Objective,
    batch: Batch,
    kl: jax.Array | None = None,
) -> tuple[dict, dict]:
    """The gradient of the loss, summed over `grad_accumulation` microbatches.

    Args:
        objective: the loss, and the number of microbatches.
        kl: scalar, the KL's weight; None for the objective's.

    Returns:
        The gradient by the `trainable` parameters, and statistics of the whole batch.
    """
    if objective.grad_accumulation == 1:
        return grad(params, objective, batch, LossScale(kl=kl))
    masks = batching.counted(objective, batch)
    whole = LossScale(losses.units(masks, objective.mean), kl)

    def add(total, microbatch):
        grads, stats = grad(params, objective, microbatch, whole)
        return jax.tree.map(jnp.add, total, grads), stats

    # Denominators of the whole batch make the sum of gradients its gradient.
    part = train_state.trainable(params, objective.learners)
    zeros = jax.tree.map(jnp.zeros_like, part)
    microbatches = train_state.split(batch, objective.grad_accumulation)
    total, stats = jax.lax.scan(add, zeros, microbatches)
    return total, combined(stats)


def grad(
    params: dict,
    objective: Objective,
    batch: Batch,
    whole: LossScale = policy_loss.UNSCALED,
) -> tuple[dict, dict]:
    """The gradient of `policy_loss.loss` by the `trainable` parameters; statistics."""

    def of(part):
        full = train_state.with_trainable(params, part)
        return policy_loss.loss(full, objective, batch, whole)

    return jax.grad(of, has_aux=True)(train_state.trainable(params, objective.learners))


def apply_gradients(
    optimise: optax.GradientTransformation,
    grads: dict,
    params: dict,
    opt_state: dict,
    loss: jax.Array,
) -> tuple[tuple[dict, dict], dict]:
    """A step of each learner, by its own norm; none where a number is not finite.

    Args:
        loss: scalar, whose gradient it is.

    Returns:
        Parameters and optimiser state, as they were if the loss is not finite, or a
        gradient or parameter has no finite norm; and statistics.
    """
    old, part, states = train_state.trainable(params, tuple(grads)), {}, {}
    for name, before in old.items():
        change, states[name] = optimise.update(grads[name], opt_state[name], before)
        part[name] = optax.apply_updates(before, change)

    # Both are there already, so the check costs a pass over them and no memory.
    place = finite.first(finite.learned(grads, part))
    sound = (place == 0) & jnp.isfinite(loss)
    part, states = jax.tree.map(
        lambda new, old: jnp.where(sound, new, old),
        (part, states),
        (old, {name: opt_state[name] for name in states}),
    )
    stats = {"grad_norm": optax.tree.norm(grads), "nonfinite": place}
    return (train_state.with_trainable(params, part), {**opt_state, **states}), stats


def combined(stats: dict) -> dict:
    """Statistics of a batch from those of its microbatches, stacked."""
    gap = stats["logp_gap"].max()
    return {**{name: value.sum() for name, value in stats.items()}, "logp_gap": gap}


def averaged(stats: dict) -> dict:
    """Statistics of a training step from those of its optimiser steps.

    `logp_gap` is that of the first: later ones also hold what the step itself has
    changed. `nonfinite` is the largest.
    """
    means = {name: value.mean() for name, value in stats.items()}
    means["logp_gap"] = stats["logp_gap"].reshape(-1)[0]
    return {**means, "nonfinite": stats["nonfinite"].max()}


def compiled(step: Callable, state: train_state.TrainState) -> Callable:
    """(state, *args) -> (state, stats) as one program that is compiled once.

    The state is donated and comes back where it was, so that the second call finds the
    program of the first.

    Args:
        step: `update` or `imitate` with its keyword arguments bound.
        state: from `abstract_state`.
    """
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    return jax.jit(step, donate_argnums=0, out_shardings=(shardings, None))


def update(
    state: train_state.TrainState,
    batch: Batch,
    *,
    objective: Objective,
    optimise: optax.GradientTransformation,
) -> tuple[train_state.TrainState, dict]:
    """All epochs and minibatches of one training step; see `compiled`.

    Returns:
        The new state, and statistics, `averaged`; `logp_gap` is how far training is
        from sampling.
    """
    minibatches = train_state.split(batch, objective.minibatches)
    kl = weight(state, objective)

    def step(carry, minibatch):
        params, opt_state = carry
        grads, stats = gradient(params, objective, minibatch, kl)
        carry, norms = apply_gradients(
            optimise, grads, params, opt_state, stats["loss"]
        )
        return carry, stats | norms

    def epoch(carry, _):
        return jax.lax.scan(step, carry, minibatches)

    # Every pass takes the same minibatches.
    carry, stats = jax.lax.scan(
        epoch, (state.params, state.opt_state), None, length=objective.epochs
    )
    params, opt_state = carry
    state = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
    return update_kl_weight(state, averaged(stats), objective)


def weight(state: train_state.TrainState, objective: Objective) -> jax.Array | None:
    """The KL's weight in a step, where it is adapted."""
    return None if objective.kl_target is None else state.kl


def update_kl_weight(
    state: train_state.TrainState, stats: dict, objective: Objective
) -> tuple[train_state.TrainState, dict]:
    """The state with the KL's next weight, if it is adapted, and statistics with it.

    Args:
        state: with the weight of this step, which the statistics report.
        stats: `kl` is the mean over the optimiser steps.
        objective: `kl_target` is read.
    """
    if objective.kl_target is None:
        return state, stats
    after = losses.adapted(state.kl, stats["kl"], objective.kl_target)
    after = jnp.where(jnp.isfinite(after), after, state.kl)
    return state.replace(kl=after), {**stats, "kl_weight": state.kl}


def imitate(
    state: train_state.TrainState,
    questions: Questions,
    turns: tuple[Turn, ...],
    *,
    team: contexts.Team,
    optimise: optax.GradientTransformation,
    grad_accumulation: int = 1,
) -> tuple[train_state.TrainState, jax.Array]:
    """One supervised step on demonstrated messages; see `compiled`.

    Returns:
        The new state and the mean negative log-likelihood in nats a token; both, and
        the gradient, are summed over `grad_accumulation` microbatches. It is NaN if the
        gradient has no finite norm, and the state as it was.
    """
    writers = [n for n in range(len(turns)) if n not in team.silenced]
    counts = losses.units(tuple(turns[n].mask for n in writers))

    def nll(params, questions, turns):
        logp = tuple(tree.logp(params, team, n, questions, turns) for n in writers)
        masks = tuple(turns[n].mask for n in writers)
        return -losses.mean(logp, masks, counts=counts)

    value_and_grad = jax.value_and_grad(nll)
    if grad_accumulation == 1:
        value, grads = value_and_grad(state.params, questions, turns)
    else:

        def add(total, part):
            return jax.tree.map(
                jnp.add, total, value_and_grad(state.params, *part)
            ), None

        zeros = jnp.float32(0), jax.tree.map(jnp.zeros_like, state.params)
        microbatches = train_state.split((questions, turns), grad_accumulation)
        (value, grads), _ = jax.lax.scan(add, zeros, microbatches)

    # Policies share no parameters: each takes its own step.
    (params, opt_state), stats = apply_gradients(
        optimise, grads, state.params, state.opt_state, value
    )
    value = jnp.where(stats["nonfinite"], jnp.nan, value)
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state), value
