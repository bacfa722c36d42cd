"""The state of training: what changes, where it lives on a mesh, and its parts."""

import functools

import chex
import jax
import jax.numpy as jnp
import optax
from flax import struct


@struct.dataclass
class TrainState:
    """All that training changes.

    Attributes:
        step: scalar int32, training steps done.
        params: the policies, by name.
        opt_state: the optimiser's, of each policy that learns.
        memory: the estimator's, kept between steps; () for most.
        kl: scalar float32, weight of the KL to the starting policy; () if it is fixed.
        critic: a `TrainState` of the critic; () without one.
    """

    step: jax.Array
    params: dict
    opt_state: optax.OptState
    memory: object
    kl: object = ()
    critic: object = ()


def trainable(params: dict, learners: tuple[str, ...]) -> dict:
    """The parameters that training changes: policies' adapters, or all they have."""
    return {name: params[name].get("adapters", params[name]) for name in learners}


def with_trainable(params: dict, part: dict) -> dict:
    """The policies with `part`, as `trainable` makes it, in its place."""

    def put(whole, part):
        return {**whole, "adapters": part} if "adapters" in whole else part

    return {**params, **{name: put(params[name], new) for name, new in part.items()}}


def split(batch, pieces: int):
    """Splits a tree of arrays on a new first axis; question i goes to i mod `pieces`.

    So a batch that is spread over devices stays where it is.
    """
    chex.assert_equal_shape_prefix(jax.tree.leaves(batch), 1)

    def split(x):
        rows = x.reshape(x.shape[0] // pieces, pieces, *x.shape[1:])
        return jnp.moveaxis(rows, 1, 0)

    return jax.tree.map(split, batch)


def initial_state(
    optimise: optax.GradientTransformation,
    memory: object,
    params: dict,
    learners: tuple[str, ...] = ("shared",),
    kl: object = (),
) -> TrainState:
    """The state before the first step; frozen policies have no optimiser state."""
    parts = trainable(params, learners)
    return TrainState(
        step=jnp.int32(0),
        params=params,
        opt_state={name: optimise.init(part) for name, part in parts.items()},
        memory=memory,
        kl=kl,
    )


def init_sharded(
    optimise: optax.GradientTransformation,
    memory: object,
    params: dict,
    places,
    kl: object = (),
) -> TrainState:
    """The state before the first step, on its mesh.

    Args:
        memory: the estimator's.
        params: on the mesh already, and not copied.
        places: from `abstract_state`.
        kl: the objective's `kl_state`.
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
    """Shapes, dtypes and shardings of a state, for `jit` and for a restore.

    Args:
        optimise: its moments are sharded like their parameters.
        memory: the estimator's.
        params: `jax.ShapeDtypeStruct`s with shardings.
        whole: the sharding of everything else.
        learners: names of the policies that learn.
        kl: the objective's `kl_state`.
    """
    begin = functools.partial(initial_state, optimise, memory, learners=learners, kl=kl)
    state = jax.eval_shape(begin, params)

    def place(leaf, like=None):
        sharding = whole if like is None else like.sharding
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    # Moments lie where their parameters lie.
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
            for name, part in trainable(params, learners).items()
        },
        memory=jax.tree.map(place, state.memory),
        kl=jax.tree.map(place, state.kl),
    )


def is_whole(state: TrainState) -> bool:
    """Whether all arrays of a state exist: a step that donates them has not begun."""
    return not any(leaf.is_deleted() for leaf in jax.tree.leaves(state))
