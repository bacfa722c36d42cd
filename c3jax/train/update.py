"""The optimiser step: one compiled function from a scored tree to new parameters."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct

from c3jax.core.types import Questions, Turn
from c3jax.rollout import contexts, tree
from c3jax.train import losses


@struct.dataclass
class TrainState:
    """All that training changes.

    Attributes:
        step: scalar int32, training steps done.
        params: the policy.
        opt_state: the optimiser's.
        memory: what the estimator remembers between steps; () for most.
    """

    step: jax.Array
    params: dict
    opt_state: optax.OptState
    memory: object


@struct.dataclass
class Scored:
    """A grown tree with its credit, as the update reads it.

    Attributes:
        questions: heads of B questions.
        turns: one a role.
        advantage: per role, [B, N, K] float32.
        ref_logp: per role, [B, N, K, T] under the starting policy; None without KL.
    """

    questions: Questions
    turns: tuple[Turn, ...]
    advantage: tuple[jax.Array, ...]
    ref_logp: tuple[jax.Array, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Objective:
    """What the update minimises, and in how many pieces.

    Attributes:
        clip: half-width of the trusted interval of the probability ratio.
        kl: weight of the KL to the starting policy; 0 leaves it out.
        epochs: passes over the tree.
        minibatches: optimiser steps a pass, over disjoint sets of whole questions.
        accumulate: pieces that a minibatch's gradient is summed over, one after the
            other; memory is that of one piece, and the gradient the same.
    """

    clip: float
    kl: float
    epochs: int
    minibatches: int
    accumulate: int = 1


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
        final_lr: where the cosine ends, as a fraction of lr.
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


def loss(
    params: dict,
    team: contexts.Team,
    objective: Objective,
    batch: Scored,
    tokens: jax.Array | None = None,
) -> tuple[jax.Array, dict]:
    """The clipped policy gradient over every token of a scored tree.

    Each context is computed once, inside the differentiated function, so the gradient
    is that of the repeated-prompt computation.

    Args:
        params: the policy.
        team: static description.
        objective: static.
        batch: some trees.
        tokens: scalar, what the loss is a mean over, where the batch is one piece of
            several; None if it is all.

    Returns:
        The scalar loss (mean over the batch's tokens) and statistics of the ratio.
    """
    masks = tuple(turn.mask for turn in batch.turns)
    old = tuple(turn.logp for turn in batch.turns)
    new = tuple(
        tree.logp(params, team, level, batch.questions, batch.turns)
        for level in range(len(batch.turns))
    )
    policy = tuple(
        losses.clipped(n, o, a[..., None], objective.clip)
        for n, o, a in zip(new, old, batch.advantage, strict=True)
    )
    total = losses.masked_mean(policy, masks, tokens)
    gaps = jax.tree.map(lambda n, o: n - o, new, old)
    outside = jax.tree.map(lambda g: abs(jnp.expm1(g)) > objective.clip, gaps)
    stats = {
        "policy_loss": total,
        "clip_frac": losses.masked_mean(outside, masks, tokens),
        "logp_gap": jnp.max(jnp.array([abs(gap).max() for gap in gaps])),
    }
    if objective.kl:
        kl = jax.tree.map(losses.kl_k3, new, batch.ref_logp)
        stats["kl"] = losses.masked_mean(kl, masks, tokens)
        total = total + objective.kl * stats["kl"]
    return total, {**stats, "loss": total}


def gradient(
    params: dict, team: contexts.Team, objective: Objective, batch: Scored
) -> tuple[dict, dict]:
    """The gradient of `loss`, summed over `objective.accumulate` pieces in turn.

    Returns:
        The gradient and the statistics, of the whole batch.
    """
    if objective.accumulate == 1:
        return slope(params, team, objective, batch)
    tokens = sum(turn.mask.sum() for turn in batch.turns)

    def add(total, piece):
        found, stats = slope(params, team, objective, piece, tokens)
        return jax.tree.map(jnp.add, total, found), stats

    nothing = jax.tree.map(jnp.zeros_like, params)
    total, stats = jax.lax.scan(add, nothing, deal(batch, objective.accumulate))
    return total, combined(stats)


slope = jax.grad(loss, has_aux=True)


def combined(stats: dict) -> dict:
    """Statistics of pieces, stacked, as those of the whole that they are pieces of."""
    gap = stats["logp_gap"].max()
    return {**{name: value.sum() for name, value in stats.items()}, "logp_gap": gap}


def deal(batch: Scored, pieces: int) -> Scored:
    """Splits a batch on a new first axis; question i goes to piece i mod `pieces`.

    So a batch that is spread over devices stays where it is.
    """

    def split(x):
        return jnp.moveaxis(x.reshape(-1, pieces, *x.shape[1:]), 1, 0)

    return jax.tree.map(split, batch)


def initial_state(
    optimise: optax.GradientTransformation, memory: object, params: dict
) -> TrainState:
    """The state before the first step."""
    return TrainState(
        step=jnp.int32(0),
        params=params,
        opt_state=optimise.init(params),
        memory=memory,
    )


def placed_state(
    optimise: optax.GradientTransformation, memory: object, params: dict, places
) -> TrainState:
    """The state before the first step, on its mesh.

    Args:
        optimise: the optimiser.
        memory: of the estimator.
        params: where they are to stay.
        places: from `abstract_state`.
    """

    def rest(params):
        return initial_state(optimise, memory, params).replace(params=None)

    shardings = jax.tree.map(lambda leaf: leaf.sharding, places.replace(params=None))
    return jax.jit(rest, out_shardings=shardings)(params).replace(params=params)


def abstract_state(
    optimise: optax.GradientTransformation, memory: object, params: dict, whole
) -> TrainState:
    """Shapes, dtypes and shardings of a state: what `jit` and a restore are given.

    Args:
        optimise: its moments live where their parameters do.
        memory: of the estimator.
        params: `jax.ShapeDtypeStruct`s with shardings.
        whole: the sharding of everything else.
    """
    state = jax.eval_shape(functools.partial(initial_state, optimise, memory), params)

    def place(leaf, like=None):
        sharding = whole if like is None else like.sharding
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return TrainState(
        step=place(state.step),
        params=params,
        opt_state=optax.tree_map_params(
            optimise, place, state.opt_state, params, transform_non_params=place
        ),
        memory=jax.tree.map(place, state.memory),
    )


def compiled(step: Callable, state: TrainState) -> Callable:
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
    state: TrainState,
    batch: Scored,
    *,
    team: contexts.Team,
    objective: Objective,
    optimise: optax.GradientTransformation,
) -> tuple[TrainState, dict]:
    """All epochs and minibatches of one training step; see `compiled`.

    Returns:
        The new state, and statistics: `logp_gap` from the first optimiser step (how far
        training is from sampling), the others averaged.
    """
    pieces = deal(batch, objective.minibatches)

    def one(carry, piece):
        params, opt_state = carry
        slope, stats = gradient(params, team, objective, piece)
        stats["grad_norm"] = optax.tree.norm(slope)
        change, opt_state = optimise.update(slope, opt_state, params)
        return (optax.apply_updates(params, change), opt_state), stats

    def epoch(carry, _):
        return jax.lax.scan(one, carry, pieces)

    carry, stats = jax.lax.scan(
        epoch, (state.params, state.opt_state), None, length=objective.epochs
    )
    shown = {name: value.mean() for name, value in stats.items()}
    shown["logp_gap"] = stats["logp_gap"][0, 0]
    params, opt_state = carry
    state = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
    return state, shown


def imitate(
    state: TrainState,
    questions: Questions,
    turns: tuple[Turn, ...],
    *,
    team: contexts.Team,
    optimise: optax.GradientTransformation,
) -> tuple[TrainState, jax.Array]:
    """One supervised step on demonstrated messages; see `compiled`.

    Returns:
        The new state and the mean negative log-likelihood in nats a token.
    """

    def nll(params):
        logp = tuple(
            tree.logp(params, team, level, questions, turns)
            for level in range(len(turns))
        )
        return -losses.masked_mean(logp, tuple(turn.mask for turn in turns))

    value, slope = jax.value_and_grad(nll)(state.params)
    change, opt_state = optimise.update(slope, state.opt_state, state.params)
    params = optax.apply_updates(state.params, change)
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state), value
