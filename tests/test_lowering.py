"""Every program of a run is lowered for GPUs and TPUs, though none is here."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import pytest

from c3jax.core import keys
from c3jax.policy import decoder
from c3jax.rollout import contexts, desks, replay, tree
from c3jax.train import growth, update
from tests import support

OPTIMISE = update.optimiser(
    lr=1e-3, steps=9, warmup=1, b1=0.9, b2=0.99, weight_decay=0.1, max_grad_norm=1.0
)
OBJECTIVE = update.Objective(clip=0.2, kl=0.1, epochs=1, minibatches=1)
KEY = keys.stream(0, "rollout")


@dataclasses.dataclass(frozen=True)
class Case:
    """A team and the size of its heads.

    Attributes:
        team: static description of what runs.
        prompt: padded tokens of a head.
        kernels: per platform, of attention and of its gradient.
    """

    team: contexts.Team
    prompt: int
    kernels: dict[str, tuple[str, str]]

    @functools.cached_property
    def params(self):
        shape = self.team.cast[0].shape
        return {"shared": jax.eval_shape(lambda key: decoder.init(key, shape), KEY)}

    @functools.cached_property
    def questions(self):
        return support.questions(2, self.prompt)

    @functools.cached_property
    def turns(self):
        grow = functools.partial(tree.grow, team=self.team)
        return jax.eval_shape(grow, self.params, questions=self.questions, key=KEY)

    @functools.cached_property
    def desks(self):
        """A room of two desks for the second role."""

        def furnished(params, questions, turns):
            segments = desks._read(params, self.team, 1, questions, turns, 0)
            node = keys.nodes(KEY, questions.uid[:1], 1, 2)[0]
            desk = desks._begin(self.team, 1, segments, 0, node)
            return desks._furnish(self.team, desk, 2)

        return jax.eval_shape(furnished, self.params, self.questions, self.turns)

    @functools.cached_property
    def state(self):
        start = functools.partial(update.initial_state, OPTIMISE, ())
        return jax.eval_shape(start, self.params)

    @functools.cached_property
    def scored(self):
        blank = [jax.ShapeDtypeStruct(t.length.shape, jnp.float32) for t in self.turns]
        logp = tuple(turn.logp for turn in self.turns)
        return update.Scored(self.questions, self.turns, tuple(blank), logp)


@functools.cache
def plain():
    return Case(support.team(branching=(2, 2)), 11, {"cuda": (), "tpu": ()})


@functools.cache
def fused():
    """Numbers of 16 bits, and shapes that the kernels of both platforms take."""
    roles = tuple(dataclasses.replace(role, max_tokens=128) for role in support.DUO)
    team = support.team(roles, branching=(2, 2)).reshaped(
        attention="fused",
        dtype="bfloat16",
        head_dim=64,
        unroll=1,
        remat="layer",
        logits_chunk=64,
    )
    names = {
        "cuda": ("@__cudnn$fmhaSoftmax(", "@__cudnn$fmhaSoftmaxBackward("),
        "tpu": ('"splash_mha_fwd_residuals"', '"splash_mha_dkv_no_residuals"'),
    }
    return Case(team, 128, names)


def _step(fn, case):
    return jax.jit(functools.partial(fn, team=case.team, optimise=OPTIMISE))


# How many of a platform's kernels are in a program: without and with a gradient.
FORWARD, BOTH = {"cuda": 1, "tpu": 1}, {"cuda": 2, "tpu": 2}
# Two siblings at a time are too few for a tile of the TPU's.
FEW = {"cuda": 1, "tpu": 0}

# Name to the program, its arguments, and the kernels in it.
STEPS = {
    "grow": lambda c: (tree.grow, (c.params, c.team, c.questions, KEY), FORWARD),
    "read for a desk": lambda c: (
        desks._read,
        (c.params, c.team, 1, c.questions, c.turns, 0),
        FORWARD,
    ),
    "write at desks": lambda c: (
        desks._advance,
        (c.params, c.team, 1, c.desks, jnp.ones(2, bool), 0, 1),
        FEW,
    ),
    "replay": lambda c: (
        replay.node,
        (c.params, c.team, 1, jnp.zeros(2 * c.prompt, jnp.int32), 9, KEY),
        FORWARD,
    ),
    "logp": lambda c: (
        growth.all_logp,
        (c.params, c.team, c.questions, c.turns),
        FORWARD,
    ),
    "update": lambda c: (
        _step(functools.partial(update.update, objective=OBJECTIVE), c),
        (c.state, c.scored),
        BOTH,
    ),
    "imitate": lambda c: (
        _step(update.imitate, c),
        (c.state, c.questions, c.turns),
        BOTH,
    ),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("case", [plain, fused], ids=["plain", "fused"])
def test_a_step_is_lowered_with_the_kernels_of_the_platform(case, step):
    case = case()
    program, args, kernels = STEPS[step](case)
    traced = program.trace(*args)
    for platform, names in case.kernels.items():
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        found = [name for name in names if name in text]
        assert found == [*names[: kernels[platform]]]
