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
        params: the policies, by name.
        opt_state: the optimiser's, of each policy that learns.
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
        learners: names of the policies that are changed; the others' messages are only
            read.
    """

    clip: float
    kl: float
    epochs: int
    minibatches: int
    accumulate: int = 1
    learners: tuple[str, ...] = ("shared",)

    def replace(self, **changes) -> "Objective":
        return dataclasses.replace(self, **changes)

    def levels(self, team: contexts.Team) -> list[int]:
        """Indices of the roles that learners play, but for those that are silent."""
        return [
            level
            for level, part in enumerate(team.cast)
            if part.name in self.learners and level not in team.silenced
        ]


def learned(params: dict, learners: tuple[str, ...]) -> dict:
    """What training changes of some policies: their adapters, or else everything."""
    return {name: params[name].get("adapters", params[name]) for name in learners}


def relearned(params: dict, part: dict) -> dict:
    """The policies with `part`, as `learned` makes it, in its place."""

    def put(whole, part):
        return {**whole, "adapters": part} if "adapters" in whole else part

    return {**params, **{name: put(params[name], new) for name, new in part.items()}}


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
    """The clipped policy gradient over every token that learners wrote.

    Each context is computed once, inside the differentiated function, so the gradient
    is that of the repeated-prompt computation.

    Args:
        params: the policies.
        team: static description.
        objective: static.
        batch: some trees.
        tokens: scalar, what the loss is a mean over, where the batch is one piece of
            several; None if it is all.

    Returns:
        The scalar loss (mean over the batch's tokens) and statistics of the ratio.
    """
    levels = objective.levels(team)
    masks = tuple(batch.turns[level].mask for level in levels)
    old = tuple(batch.turns[level].logp for level in levels)
    new = tuple(
        tree.logp(params, team, level, batch.questions, batch.turns) for level in levels
    )
    policy = tuple(
        losses.clipped(n, o, batch.advantage[level][..., None], objective.clip)
        for n, o, level in zip(new, old, levels, strict=True)
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
        starting = tuple(batch.ref_logp[level] for level in levels)
        kl = jax.tree.map(losses.kl_k3, new, starting)
        stats["kl"] = losses.masked_mean(kl, masks, tokens)
        total = total + objective.kl * stats["kl"]
    return total, {**stats, "loss": total}


def gradient(
    params: dict, team: contexts.Team, objective: Objective, batch: Scored
) -> tuple[dict, dict]:
    """The gradient of `loss`, summed over `objective.accumulate` pieces in turn.

    Returns:
        The gradient, of what is `learned`, and the statistics, of the whole batch.
    """
    if objective.accumulate == 1:
        return slope(params, team, objective, batch)
    tokens = sum(batch.turns[level].mask.sum() for level in objective.levels(team))

    def add(total, piece):
        found, stats = slope(params, team, objective, piece, tokens)
        return jax.tree.map(jnp.add, total, found), stats

    nothing = jax.tree.map(jnp.zeros_like, learned(params, objective.learners))
    total, stats = jax.lax.scan(add, nothing, deal(batch, objective.accumulate))
    return total, combined(stats)


def slope(
    params: dict,
    team: contexts.Team,
    objective: Objective,
    batch: Scored,
    tokens: jax.Array | None = None,
) -> tuple[dict, dict]:
    """The gradient of `loss` by what is `learned`, and the statistics."""

    def of(part):
        return loss(relearned(params, part), team, objective, batch, tokens)

    return jax.grad(of, has_aux=True)(learned(params, objective.learners))


def descend(
    optimise: optax.GradientTransformation, slope: dict, params: dict, opt_state: dict
) -> tuple[dict, dict]:
    """Parameters and optimiser state after a step of each learner, by its own norm."""
    part, states = {}, dict(opt_state)
    for name, old in learned(params, tuple(slope)).items():
        change, states[name] = optimise.update(slope[name], opt_state[name], old)
        part[name] = optax.apply_updates(old, change)
    return relearned(params, part), states


def combined(stats: dict) -> dict:
    """Statistics of pieces, stacked, as those of the whole that they are pieces of."""
    gap = stats["logp_gap"].max()
    return {**{name: value.sum() for name, value in stats.items()}, "logp_gap": gap}


def deal(batch: Scored, pieces: int) -> Scored:
    """Splits a batch on a new first axis; question i goes to piece i mod `pieces`.

    So a batch that is spread over devices stays where it is.
    """

    def split(x):
        each = x.reshape(x.shape[0] // pieces, pieces, *x.shape[1:])
        return jnp.moveaxis(each, 1, 0)

    return jax.tree.map(split, batch)


def initial_state(
    optimise: optax.GradientTransformation,
    memory: object,
    params: dict,
    learners: tuple[str, ...] = ("shared",),
) -> TrainState:
    """The state before the first step; who does not learn has no optimiser state."""
    parts = learned(params, learners)
    return TrainState(
        step=jnp.int32(0),
        params=params,
        opt_state={name: optimise.init(part) for name, part in parts.items()},
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
        learners = tuple(places.opt_state)
        state = initial_state(optimise, memory, params, learners)
        return state.replace(params=None)

    shardings = jax.tree.map(lambda leaf: leaf.sharding, places.replace(params=None))
    return jax.jit(rest, out_shardings=shardings)(params).replace(params=params)


def abstract_state(
    optimise: optax.GradientTransformation,
    memory: object,
    params: dict,
    whole,
    learners: tuple[str, ...] = ("shared",),
) -> TrainState:
    """Shapes, dtypes and shardings of a state: what `jit` and a restore are given.

    Args:
        optimise: its moments live where their parameters do.
        memory: of the estimator.
        params: `jax.ShapeDtypeStruct`s with shardings.
        whole: the sharding of everything else.
        learners: names of the policies that learn.
    """
    begin = functools.partial(initial_state, optimise, memory, learners=learners)
    state = jax.eval_shape(begin, params)

    def place(leaf, like=None):
        sharding = whole if like is None else like.sharding
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    return TrainState(
        step=place(state.step),
        params=params,
        opt_state={
            name: optax.tree_map_params(
                optimise,
                place,
                state.opt_state[name],
                part,
                transform_non_params=place,
            )
            for name, part in learned(params, learners).items()
        },
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
        return descend(optimise, slope, params, opt_state), stats

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
        spoken = [n for n in range(len(turns)) if n not in team.silenced]
        logp = tuple(tree.logp(params, team, n, questions, turns) for n in spoken)
        return -losses.masked_mean(logp, tuple(turns[n].mask for n in spoken))

    value, slope = jax.value_and_grad(nll)(state.params)
    params, opt_state = descend(optimise, slope, state.params, state.opt_state)
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state), value
