"""The optimiser step: one compiled function from credited trees to new parameters."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct

from c3jax.core.types import Questions, Turn
from c3jax.rollout import contexts, tree
from c3jax.train import losses, scored
from c3jax.train.objectives import Objective
from c3jax.train.scored import Batch, Whole


@struct.dataclass
class TrainState:
    """All that training changes.

    Attributes:
        step: scalar int32, training steps done.
        params: the policies, by name.
        opt_state: the optimiser's, of each policy that learns.
        memory: what the estimator remembers between steps; () for most.
        kl: scalar float32, weight of the KL to the starting policy; () if it is fixed.
        critic: a `TrainState` of the critic; () without one.
    """

    step: jax.Array
    params: dict
    opt_state: optax.OptState
    memory: object
    kl: object = ()
    critic: object = ()


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


def gradient(
    params: dict,
    objective: Objective,
    batch: Batch,
    kl: jax.Array | None = None,
) -> tuple[dict, dict]:
    """The gradient of the loss, summed over `objective.accumulate` pieces in turn.

    Args:
        params: the policies.
        objective: static.
        batch: some trees.
        kl: scalar, the KL's weight; None for the objective's.

    Returns:
        The gradient, of what is `learned`, and the statistics, of the whole batch.
    """
    if objective.accumulate == 1:
        return slope(params, objective, batch, Whole(kl=kl))
    masks = scored.counted(objective, batch)
    whole = Whole(losses.units(masks, objective.mean), kl)

    def add(total, piece):
        found, stats = slope(params, objective, piece, whole)
        return jax.tree.map(jnp.add, total, found), stats

    nothing = jax.tree.map(jnp.zeros_like, learned(params, objective.learners))
    total, stats = jax.lax.scan(add, nothing, deal(batch, objective.accumulate))
    return total, combined(stats)


def slope(
    params: dict,
    objective: Objective,
    batch: Batch,
    whole: Whole = scored.ALL,
) -> tuple[dict, dict]:
    """The gradient of `scored.loss` by what is `learned`, and the statistics."""

    def of(part):
        full = relearned(params, part)
        return scored.loss(full, objective, batch, whole)

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


def deal(batch, pieces: int):
    """Splits a tree of arrays on a new first axis; question i goes to i mod `pieces`.

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
    kl: object = (),
) -> TrainState:
    """The state before the first step; who does not learn has no optimiser state."""
    parts = learned(params, learners)
    return TrainState(
        step=jnp.int32(0),
        params=params,
        opt_state={name: optimise.init(part) for name, part in parts.items()},
        memory=memory,
        kl=kl,
    )


def placed_state(
    optimise: optax.GradientTransformation,
    memory: object,
    params: dict,
    places,
    kl: object = (),
) -> TrainState:
    """The state before the first step, on its mesh.

    Args:
        optimise: the optimiser.
        memory: of the estimator.
        params: where they are to stay.
        places: from `abstract_state`.
        kl: of the objective, its `kl_state`.
    """

    def rest(params):
        learners = tuple(places.opt_state)
        state = initial_state(optimise, memory, params, learners, kl)
        return state.replace(params=None)

    shardings = jax.tree.map(lambda leaf: leaf.sharding, places.replace(params=None))
    return jax.jit(rest, out_shardings=shardings)(params).replace(params=params)


def abstract_state(
    optimise: optax.GradientTransformation,
    memory: object,
    params: dict,
    whole,
    learners: tuple[str, ...] = ("shared",),
    kl: object = (),
) -> TrainState:
    """Shapes, dtypes and shardings of a state: what `jit` and a restore are given.

    Args:
        optimise: its moments live where their parameters do.
        memory: of the estimator.
        params: `jax.ShapeDtypeStruct`s with shardings.
        whole: the sharding of everything else.
        learners: names of the policies that learn.
        kl: of the objective, its `kl_state`.
    """
    begin = functools.partial(initial_state, optimise, memory, learners=learners, kl=kl)
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
        kl=jax.tree.map(place, state.kl),
    )


def is_whole(state: TrainState) -> bool:
    """Whether no step has begun to take a state's place."""
    return not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))


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
    batch: Batch,
    *,
    objective: Objective,
    optimise: optax.GradientTransformation,
) -> tuple[TrainState, dict]:
    """All epochs and minibatches of one training step; see `compiled`.

    Returns:
        The new state, and statistics: `logp_gap` from the first optimiser step (how far
        training is from sampling), the others averaged.
    """
    pieces, kl = deal(batch, objective.minibatches), weight(state, objective)

    def one(carry, piece):
        params, opt_state = carry
        slope, stats = gradient(params, objective, piece, kl)
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
    return steered(state, shown, objective)


def weight(state: TrainState, objective: Objective) -> jax.Array | None:
    """The KL's weight in a step, where it is adapted."""
    return None if objective.kl_target is None else state.kl


def steered(
    state: TrainState, stats: dict, objective: Objective
) -> tuple[TrainState, dict]:
    """After a step: the state with the KL's next weight, if adapted, and statistics.

    Args:
        state: with the weight of this step, which the statistics tell.
        stats: of the step; `kl` is the mean over its optimiser steps.
        objective: static.
    """
    if objective.kl_target is None:
        return state, stats
    after = losses.adapted(state.kl, stats["kl"], objective.kl_target)
    return state.replace(kl=after), {**stats, "kl_weight": state.kl}


def imitate(
    state: TrainState,
    questions: Questions,
    turns: tuple[Turn, ...],
    *,
    team: contexts.Team,
    optimise: optax.GradientTransformation,
    accumulate: int = 1,
) -> tuple[TrainState, jax.Array]:
    """One supervised step on demonstrated messages; see `compiled`.

    Returns:
        The new state and the mean negative log-likelihood in nats a token; both, and
        the gradient, are summed over `accumulate` pieces in turn.
    """
    spoken = [n for n in range(len(turns)) if n not in team.silenced]
    counts = losses.units(tuple(turns[n].mask for n in spoken))

    def nll(params, questions, turns):
        logp = tuple(tree.logp(params, team, n, questions, turns) for n in spoken)
        masks = tuple(turns[n].mask for n in spoken)
        return -losses.mean(logp, masks, counts=counts)

    found = jax.value_and_grad(nll)
    if accumulate == 1:
        value, slope = found(state.params, questions, turns)
    else:

        def add(total, piece):
            return jax.tree.map(jnp.add, total, found(state.params, *piece)), None

        nothing = jnp.float32(0), jax.tree.map(jnp.zeros_like, state.params)
        pieces = deal((questions, turns), accumulate)
        (value, slope), _ = jax.lax.scan(add, nothing, pieces)
    params, opt_state = descend(optimise, slope, state.params, state.opt_state)
    return state.replace(step=state.step + 1, params=params, opt_state=opt_state), value
