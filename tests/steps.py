"""Every program of a run with arguments that have shapes and places, but no numbers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from c3jax.collect import critics, rollouts
from c3jax.core import keys, sharding
from c3jax.learn import microbatches, policy_loss, update
from c3jax.policy import decoder, value_head
from c3jax.rollout import (
    contexts,
    continuous,
    critic_values,
    decode,
    replay,
    slots,
    together,
)
from c3jax.setup import objectives, train_state
from tests import support

OPTIMISE = update.optimiser(
    lr=1e-3, steps=9, warmup=1, b1=0.9, b2=0.99, weight_decay=0.1, max_grad_norm=1.0
)
OBJECTIVE = objectives.Objective(clip=0.2, kl=0.1, epochs=1, minibatches=1)
KEY = keys.stream(0, "rollout")


@dataclasses.dataclass(frozen=True)
class Case:
    """A team, and the sizes of a batch.

    Attributes:
        team: static description of what runs.
        prompt: padded tokens of a head.
        batch: questions, and slots of a pool.
    """

    team: contexts.Team
    prompt: int
    batch: int = 2

    def placed(self, found, axes=None):
        """Abstract arrays as they are spread; `axes` says where questions are, 0."""
        if self.team.mesh is None:
            return found
        axes = jax.tree.map(lambda _: 0, found) if axes is None else axes

        def place(axis, x):
            mesh = self.team.mesh
            where = sharding.kv(mesh, x.ndim) if axis else sharding.batch(mesh)
            return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=where)

        return jax.tree.map(place, axes, found)

    def parameter(self, p: decoder.Param):
        mesh = self.team.mesh
        where = mesh and sharding.parameter(mesh, p.shape, p.axes)
        return jax.ShapeDtypeStruct(p.shape, jnp.float32, sharding=where)

    @functools.cached_property
    def params(self):
        shape = self.team.policies[0].shape
        return {"shared": decoder.over_params(self.parameter, shape)}

    @functools.cached_property
    def questions(self):
        shapes = jax.eval_shape(lambda: support.questions(self.batch, self.prompt))
        return self.placed(shapes)

    @functools.cached_property
    def turns(self):
        def blank():
            protocol = self.team.protocol
            return tuple(
                decode.blank(
                    self.team, level, (self.batch, protocol.contexts(level), k)
                )
                for level, k in enumerate(protocol.branching)
            )

        return self.placed(jax.eval_shape(blank))

    @functools.cached_property
    def instruction(self):
        """The segments of the second role's instruction."""
        read = functools.partial(continuous.instruction_of, team=self.team, level=1)
        return jax.eval_shape(read, self.params)

    @functools.cached_property
    def slot(self):
        """One context of the second role."""

        def begun(params, instruction, questions, turns):
            args = params, self.team, 1, instruction, questions, turns, 0
            segments = continuous.read_question(*args)
            siblings = self.team.protocol.branching[1]
            node = keys.nodes(KEY, questions.uid[:1], 1, siblings)[0]
            return continuous.insertable(self.team, 1, segments, 0, node)

        args = self.params, self.instruction, self.questions, self.turns
        return jax.eval_shape(begun, *args)

    @functools.cached_property
    def pool(self):
        """As many slots as there are questions."""
        allocate = functools.partial(slots.allocate, self.team, width=self.batch)
        return self.placed(
            jax.eval_shape(allocate, self.slot), slots.slot_axes(self.slot)
        )

    @functools.cached_property
    def state(self):
        if self.team.mesh is None:
            start = functools.partial(train_state.initial_state, OPTIMISE, ())
            return jax.eval_shape(start, self.params)
        whole = sharding.replicated(self.team.mesh)
        return train_state.abstract_state(OPTIMISE, (), self.params, whole)

    @functools.cached_property
    def scored(self):
        blank = [jax.ShapeDtypeStruct(t.length.shape, jnp.float32) for t in self.turns]
        logp = tuple(turn.logp for turn in self.turns)
        credit = self.placed(tuple(blank))
        return support.batch(self.team, self.questions, self.turns, credit, logp)

    @functools.cached_property
    def watched(self):
        """A critic of messages, as large as the policy, and its parameters."""
        shape = self.team.policies[0].shape
        team = critic_values.critic_team(self.team, shape)
        course = critics.CriticConfig(team, ("q",), 0.5, 1, 1, 1)
        params = value_head.over_params(self.parameter, shape, ("q",))
        return course, {critic_values.NAME: params}

    @functools.cached_property
    def pieces(self):
        return microbatches.programs(self.team.mesh, OBJECTIVE, OPTIMISE, self.state)


def _add(c: Case):
    """Half of the questions, a little cropped."""
    heads = max(1, c.prompt - 1)
    messages = tuple(role.max_tokens - 1 for role in c.team.protocol.roles)
    chosen = jnp.arange(c.batch // 2)
    whole = policy_loss.LossScale((9,) * len(c.team.policies))
    total = (c.params, c.params, c.scored, chosen, whole)
    return c.pieces.add, (*total, (heads, messages))


def _guess(c: Case):
    course, params = c.watched
    return critics.predict_batch, (params, course, c.questions, c.turns)


def _step(fn, c: Case):
    return jax.jit(functools.partial(fn, team=c.team, optimise=OPTIMISE))


# Name to the program and its arguments.
STEPS = {
    "sample": lambda c: (
        together.begin,
        (c.params, c.team, len(c.team.policies) - 1, c.questions, c.turns, KEY, 16),
    ),
    "read for a slot": lambda c: (
        continuous.read_question,
        (c.params, c.team, 1, c.instruction, c.questions, c.turns, 0),
    ),
    "insert into a slot": lambda c: (slots.insert, (c.team, c.pool, c.slot, 0)),
    "write in slots": lambda c: (
        continuous.advance_slots,
        (c.params, c.team, 1, c.instruction, c.pool, jnp.ones(c.batch, bool), 0, 1),
    ),
    "leave a slot": lambda c: (
        slots.evict,
        (c.team, c.pool, 0, jnp.zeros(1, jnp.int32), 1),
    ),
    "replay": lambda c: (
        replay.node,
        (
            *(c.params, c.team, 1, jnp.zeros(2 * c.prompt, jnp.int32), 9, KEY),
            jnp.zeros(c.team.protocol.roles[1].max_tokens, jnp.int32),
        ),
    ),
    "logp": lambda c: (
        rollouts.all_logp,
        (c.params, c.questions, c.scored.trees),
    ),
    "update": lambda c: (
        jax.jit(
            functools.partial(update.update, objective=OBJECTIVE, optimise=OPTIMISE)
        ),
        (c.state, c.scored),
    ),
    "add a piece": _add,
    "apply": lambda c: (
        c.pieces.apply,
        (c.params, c.state.opt_state, c.params, jnp.float32(0)),
    ),
    "imitate": lambda c: (
        _step(update.imitate, c),
        (c.state, c.questions, c.turns),
    ),
    "guess": _guess,
}
