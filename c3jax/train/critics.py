"""The critic of a run: it guesses before rewards are known, then learns from them.

So no guess that credit is computed from depends on the rewards it is compared with. Its
state is a `TrainState` of its own, in that of the run.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from c3jax.core import mesh as meshes
from c3jax.core.types import Questions, Turn
from c3jax.credit import critic as credit
from c3jax.policy import critic, decoder
from c3jax.rollout import contexts, guesses
from c3jax.train import losses, update, warm_start
from c3jax.train.ledger import Spent
from c3jax.train.setup import Setup


@struct.dataclass
class Lesson:
    """Trees as a critic learns from them.

    Attributes:
        questions: heads of B questions.
        turns: one a role.
        guess: by head, per role that writes, [B, N] or [B, N, K], before the step.
        target: the same, what it should have been.
    """

    questions: Questions
    turns: tuple[Turn, ...]
    guess: dict[str, tuple[jax.Array, ...]]
    target: dict[str, tuple[jax.Array, ...]]


@dataclasses.dataclass(frozen=True)
class Course:
    """How a critic reads and learns; static.

    Attributes:
        team: of `guesses.watched`.
        heads: what it guesses, keys of `guesses.GUESSES`.
        clip: how far a step may move a guess, in reward units.
        epochs: passes over the trees.
        minibatches: optimiser steps a pass.
        accumulate: pieces that a minibatch's gradient is summed over.
    """

    team: contexts.Team
    heads: tuple[str, ...]
    clip: float
    epochs: int
    minibatches: int
    accumulate: int

    @property
    def shape(self) -> decoder.Shape:
        """Of the critic."""
        return self.team.shapes[guesses.NAME]

    @property
    def levels(self) -> list[int]:
        """Indices of the roles that write."""
        levels = range(len(self.team.cast))
        return [level for level in levels if level not in self.team.silenced]

    def pieces(self, questions: int) -> int:
        """Into how many parts questions are cut to be read, as large as in a step."""
        mesh = self.team.mesh
        each = questions // (1 if mesh is None else meshes.batch_size(mesh))
        return math.gcd(each, self.minibatches * self.accumulate)


def course(setup: Setup) -> Course:
    """What the config says of the critic of a run, which has one."""
    c = setup.config
    return Course(
        team=guesses.watched(setup.team, setup.critic.shape),
        heads=tuple(n for n in guesses.GUESSES if n in setup.estimator.needs),
        clip=c.critic.clip,
        epochs=c.critic.epochs,
        minibatches=c.critic.minibatches,
        accumulate=c.train.accumulate,
    )


def abstract_params(setup: Setup) -> dict:
    """Shape, dtype and sharding of each parameter of the critic of a run."""
    made, place = course(setup), functools.partial(_placed, setup.mesh)
    return {guesses.NAME: critic.over_params(place, made.shape, made.heads)}


def _placed(mesh: jax.sharding.Mesh, p: decoder.Param) -> jax.ShapeDtypeStruct:
    sharding = meshes.parameter(mesh, p.shape, p.axes)
    return jax.ShapeDtypeStruct(p.shape, jnp.float32, sharding=sharding)


def abstract_state(setup: Setup) -> update.TrainState | tuple:
    """Shapes and shardings of the critic's state; () without one."""
    if setup.critic is None:
        return ()
    return update.abstract_state(
        _optimiser(setup),
        (),
        abstract_params(setup),
        meshes.whole(setup.mesh),
        (guesses.NAME,),
    )


def initial_state(setup: Setup, params: dict) -> update.TrainState | tuple:
    """The critic before the first step, on the mesh; () without one.

    Args:
        setup: of the run.
        params: the policies, of which the first may be what the critic starts from.
    """
    if setup.critic is None:
        return ()
    made, places = course(setup), abstract_state(setup)
    if setup.config.critic.policy:
        place = functools.partial(_placed, setup.mesh)
        whole = decoder.over_params(place, made.shape)
        start = warm_start.untaught(setup, setup.critic, made.shape, whole)
    else:
        start = params[setup.team.cast[0].name]

    def begin(params):
        return {guesses.NAME: critic.begin(params, made.shape, made.heads)}

    there = jax.tree.map(lambda leaf: leaf.sharding, places.params)
    fresh = jax.jit(begin, out_shardings=there)(start)
    return update.placed_state(_optimiser(setup), (), fresh, places)


def _optimiser(setup: Setup) -> optax.GradientTransformation:
    """That of policies, with the critic's learning rate, over its own steps."""
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


def guess(
    setup: Setup,
    state: update.TrainState | tuple,
    questions: Questions,
    turns: tuple[Turn, ...],
) -> dict[str, tuple[jax.Array, ...]]:
    """What the critic says of some trees, as fields of `Evidence`.

    It does not wait for the devices.

    Args:
        setup: of the run.
        state: of the critic; () without one.
        questions: heads of B questions, on the devices.
        turns: one a role.
    """
    if setup.critic is None:
        return {}
    return _guess(state.params, course(setup), questions, _seen(turns))


@functools.partial(jax.jit, static_argnums=1)
def _guess(params, made: Course, questions, turns):
    size = questions.uid.shape[0]

    def one(piece):
        return {head: _said(params, made, head, *piece) for head in made.heads}

    dealt = update.deal((questions, turns), made.pieces(size))
    return jax.tree.map(
        lambda x: jnp.moveaxis(x, 0, 1).reshape(size, *x.shape[2:]),
        jax.lax.map(one, dealt),
    )


def _said(params, made: Course, head: str, questions, turns) -> tuple[jax.Array, ...]:
    """Guesses of a head, one array a role that writes."""
    fn = guesses.GUESSES[head]
    return tuple(fn(params, made.team, n, questions, turns) for n in made.levels)


def _seen(turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
    """Turns without what a critic does not read."""
    return tuple(turn.replace(logp=None, margin=None, support=None) for turn in turns)


def cost(setup: Setup, spent: Spent, batch: int) -> Spent:
    """What one pass of the critic over some trees takes; nothing without one.

    Args:
        setup: of the run.
        spent: on growing these trees and on nothing else.
        batch: how many there are.
    """
    if setup.critic is None:
        return Spent()
    made, tokens = course(setup), 0
    for head in made.heads:
        tokens += spent.prefilled_tokens
        if head == "q":  # Every message, behind an opener of its own.
            tokens += spent.messages + spent.generated_tokens
        else:
            tokens += batch * sum(map(made.team.protocol.contexts, made.levels))
    return Spent(critic_tokens=tokens)


def compiled(setup: Setup) -> Callable:
    """(state of the critic, rollout, evidence) -> (state, statistics), as one program.

    Without a critic nothing happens, and there are no statistics.

    Args:
        setup: of the run.
    """
    if setup.critic is None:
        return lambda state, rollout, evidence: (state, {})
    made = course(setup)
    step = functools.partial(learn, made=made, optimise=_optimiser(setup))
    program = update.compiled(step, abstract_state(setup))

    def run(state, rollout, evidence):
        guess = {head: getattr(evidence, head) for head in made.heads}
        target = {head: _target(setup, head, evidence) for head in guess}
        groups = [(g.questions, _seen(g.trees[0].turns)) for g in rollout]
        state, stats = program(state, groups, guess, target)
        explained = [credit.explained(guess[head], target[head]) for head in guess]
        return state, {**stats, "explained_variance": np.mean(explained)}

    return run


def _target(setup: Setup, head: str, evidence) -> tuple[np.ndarray, ...]:
    if head == "q":
        found = credit.outcomes(evidence)
    else:
        options = setup.estimator.options
        chosen = {name: options[name].default for name in ("gamma", "lam")}
        found = credit.returns(evidence, **chosen)
    return tuple(np.float32(each) for each in found)


def learn(
    state: update.TrainState,
    groups: list[tuple[Questions, tuple[Turn, ...]]],
    guess: dict,
    target: dict,
    *,
    made: Course,
    optimise: optax.GradientTransformation,
) -> tuple[update.TrainState, dict]:
    """All epochs and minibatches of a critic's training step; see `update.compiled`.

    Args:
        state: of the critic.
        groups: questions and turns.
        guess: of all groups together, as in `Lesson`.
        target: the same.
        made: static.
        optimise: the optimiser.

    Returns:
        The new state, and `critic_loss`, mean over the first pass.
    """
    trees = jax.tree.map(lambda *parts: jnp.concatenate(parts), *groups)
    if made.team.mesh is not None:
        place = meshes.batch(made.team.mesh)
        trees = jax.lax.with_sharding_constraint(trees, place)
    lesson = Lesson(*trees, guess, target)

    def add(total, piece, params):
        found = jax.value_and_grad(loss)(params, made, piece)
        return jax.tree.map(lambda a, b: a + b / made.accumulate, total, found)

    def one(carry, minibatch):
        params, opt_state = carry
        nothing = jnp.float32(0), jax.tree.map(jnp.zeros_like, params)
        (value, slope), _ = jax.lax.scan(
            lambda total, piece: (add(total, piece, params), None),
            nothing,
            update.deal(minibatch, made.accumulate),
        )
        return update.descend(optimise, slope, params, opt_state), value

    def epoch(carry, _):
        return jax.lax.scan(one, carry, update.deal(lesson, made.minibatches))

    carry, values = jax.lax.scan(
        epoch, (state.params, state.opt_state), None, length=made.epochs
    )
    params, opt_state = carry
    state = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
    return state, {"critic_loss": values[0].mean()}


def loss(params: dict, made: Course, lesson: Lesson) -> jax.Array:
    """`losses.value`, mean over what a role is guessed for, then over roles and heads.

    Args:
        params: of the critic.
        made: static.
        lesson: some trees.
    """
    found = []
    for head in made.heads:
        said = _said(params, made, head, lesson.questions, lesson.turns)
        each = zip(said, lesson.guess[head], lesson.target[head], strict=True)
        found += [losses.value(*three, made.clip).mean() for three in each]
    return jnp.stack(found).mean()
