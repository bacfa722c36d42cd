"""Small teams and setups that several tests share."""

import functools
import importlib
import importlib.util
import pathlib
import zlib

import jax
import jax.numpy as jnp
import numpy as np

from c3jax.collect import batching, rollouts, scorers
from c3jax.core import keys, metrics, sharding
from c3jax.core.types import ContextTemplate, Questions, Role
from c3jax.policy import decoder
from c3jax.protocol.graph import Protocol
from c3jax.rollout import contexts, draws, replay, sampler
from c3jax.setup import experiment

ROOT = pathlib.Path(__file__).parent.parent
SHAPE = decoder.Shape(
    vocab=40,
    width=32,
    layers=2,
    heads=4,
    kv_heads=2,
    head_dim=8,
    hidden=48,
    tied=False,
    unroll=1,
    embed_std=0.2,
)
END = 1

DUO = (
    Role("reasoner", "", (), False, 7),
    Role("actor", "", ("reasoner",), True, 9),
)
DUO_SCRIPTS = (ContextTemplate((), (), 2), ContextTemplate((0,), ((5, 6),), 3))

# What every head begins with, and what some roles compute once for all questions.
INSTRUCTION = (9, 8, 7)

# A planner, two solvers who do not read each other, and one who reads both solvers.
DIAMOND = (
    Role("planner", "", (), False, 5),
    Role("solver_a", "", ("planner",), False, 4),
    Role("solver_b", "", ("planner",), False, 6),
    Role("integrator", "", ("solver_b", "solver_a"), True, 5),
)
DIAMOND_SCRIPTS = (
    ContextTemplate((), (), 2, instruction=INSTRUCTION),
    ContextTemplate((0,), ((4,),), 3),
    ContextTemplate((0,), ((),), 3),
    ContextTemplate((2, 1), ((5,), (6, 7)), 2, instruction=INSTRUCTION),
)


@functools.cache
def params() -> dict:
    """Random parameters of `SHAPE`, for one policy that all roles share."""
    init = jax.jit(decoder.init, static_argnums=1)
    return {"shared": init(keys.stream(3, "init"), SHAPE)}


def policies(shape: decoder.Shape, roles: int = 2) -> tuple[contexts.PolicyRef, ...]:
    """Roles that share a policy of some sizes."""
    return (contexts.PolicyRef(shape),) * roles


def spread(team: contexts.Team, mesh: jax.sharding.Mesh):
    """`params` on the devices, and a team that knows of them."""

    def place(p: decoder.Param):
        return sharding.parameter(mesh, p.shape, p.axes)

    places = {"shared": decoder.over_params(place, SHAPE)}
    told = team.reshaped(mesh=mesh).replace(mesh=mesh)
    return jax.device_put(params(), places), told


def team(
    roles=DUO, templates=DUO_SCRIPTS, branching=(4, 2), **sampling
) -> contexts.Team:
    return contexts.Team(
        policies=policies(SHAPE, len(roles)),
        protocol=Protocol(roles, branching),
        templates=templates,
        sampling=draws.Sampling(end=(END,), **sampling),
    )


def questions(batch: int = 3, size: int = 11, roles: int = 2) -> Questions:
    """Random heads of different lengths, behind `INSTRUCTION`."""
    rng = np.random.default_rng(0)
    length = rng.integers(4, size + 1, batch)
    heads = rng.integers(8, 40, (roles, batch, size)) * (
        np.arange(size) < length[:, None]
    )
    heads[..., : len(INSTRUCTION)] = INSTRUCTION
    return Questions(
        uid=jnp.arange(10, 10 + batch, dtype=jnp.uint32),
        prompts=tuple(jnp.array(head, jnp.int32) for head in heads),
        lengths=(jnp.array(length, jnp.int32),) * roles,
    )


def torch():
    """PyTorch; it is imported by the tests that need it, since that takes seconds."""
    return importlib.import_module("torch")


def page_config(page: str = "math", **changes):
    """`configs/<page>.py`, with `section__field=value` changes; "page:policy" too."""
    page, _, policy = page.partition(":")
    path = ROOT / "configs" / f"{page}.py"
    spec = importlib.util.spec_from_file_location("page", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return changed(module.get_config(policy or None), **changes)


def changed(config, **changes):
    """A config with `section__field=value` changes, made in place."""
    with config.unlocked():
        for name, value in changes.items():
            *sections, field = name.split("__")
            place = config
            for section in sections:
                place = place[section]
            place[field] = value
    return config


def setup(page: str, devices: int = 1, **changes) -> experiment.Setup:
    """`page_config`, resolved; layers in a loop, which are compiled once."""
    config = page_config(page, **{"policy__unroll": 1, **changes})
    return experiment.resolve(config, jax.devices()[:devices])


def math_setup(devices: int = 1, **changes) -> experiment.Setup:
    return setup("math", devices, **changes)


def code_setup(**changes) -> experiment.Setup:
    return setup("code", **changes)


def assert_rounded(found, wanted):
    """Scores, such as logits or log-probabilities, that differ by rounding alone: by no
    more than a replay allows, in proportion to the largest of them."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    allowed = replay.tolerance("float32", float(np.abs(wanted).max(initial=0.0)))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=allowed.logp)


class MadeUp:
    """Grades that depend on the text alone: random answers are all wrong."""

    def submit(self, texts, items):
        assert len(texts) == len(items)
        return lambda: [scorers.Grade(self._hash(text) % 2) for text in texts]

    def compare(self, texts, items):
        return lambda: [self._hash(text) % 3 for text in texts]

    @staticmethod
    def _hash(text):
        return zlib.crc32(text.encode())


class Step:
    """The trees of a training step, and what comes of them, of all questions.

    Attributes:
        setup: of the run.
        state: with the policy that samples.
        rollout: the trees.
    """

    def __init__(self, setup, state, step, items, scorer=None):
        watch = metrics.Stopwatch()
        self.setup, self.state = setup, state
        self.rollout = rollouts.sample(
            setup, state, step, items, scorer or MadeUp(), watch
        )

    @property
    def scores(self):
        """Of a nested tree."""
        (found,) = self.all_graded
        return found

    @property
    def all_graded(self):
        return rollouts.score(self.rollout)

    @property
    def evidence(self):
        return rollouts.seen(self.setup.ancestors, self.scores)

    @property
    def questions(self):
        return rollouts.joined(self.rollout)[0]

    @property
    def trees(self):
        return rollouts.joined(self.rollout)[1]

    @property
    def turns(self):
        """Per role that is credited, its messages."""
        return tuple(tree.turns[n] for tree in self.trees for n in tree.credited)

    @property
    def advantages(self):
        """Group by group."""
        return self._credit()[0]

    @property
    def advantage(self):
        """Per role that is credited."""
        joined = jax.tree.map(lambda *each: np.concatenate(each), *self.advantages)
        return tuple(each for tree in joined for each in tree)

    @property
    def memory(self):
        return self._credit()[1]

    def batches(self, params=None, reference=None):
        params = self.state.params if params is None else params
        setup, watch = self.setup, metrics.Stopwatch()
        args = self.rollout, self.advantages, params, reference, watch
        return rollouts.batches(setup.objective, setup.mesh, *args)

    def _credit(self):
        setup = self.setup
        args = setup.estimator, setup.ancestors, self.rollout, self.state.memory
        return rollouts.credit(*args)


def batch(
    team, questions, turns, advantage, ref_logp=None, **changes
) -> batching.Batch:
    """A nested tree as the update reads it; the rest is per role."""
    ref_logp = None if ref_logp is None else (ref_logp,)
    tree = sampler.whole(team, turns)
    return batching.Batch(questions, (tree,), (advantage,), ref_logp, **changes)
