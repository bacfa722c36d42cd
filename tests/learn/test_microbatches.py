import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from c3jax.core import keys, sharding, signals
from c3jax.learn import microbatches, update
from c3jax.rollout import tree
from c3jax.setup import objectives, train_state
from tests import support

OPTIMISE = update.optimiser(
    lr=1e-2,
    steps=10,
    warmup=1,
    b1=0.9,
    b2=0.99,
    weight_decay=0.0,
    max_grad_norm=1.0,
)
OBJECTIVE = objectives.Objective(
    0.2, kl=0.1, epochs=1, minibatches=2, grad_accumulation=2
)
# The largest is more than the questions were grown with.
SIZES = microbatches.Sizes(prompts=(8, 16), messages=((4, 7),))


def scored():
    """Trees of eight questions whose messages are of different lengths, and credit."""
    role = dataclasses.replace(support.DUO[0], answers=True)
    team = support.team((role,), support.DUO_SCRIPTS[:1], (4,))
    questions = support.questions(8, roles=1)
    turns = list(
        tree.sample(support.params(), team, questions, keys.stream(0, "rollout"))
    )
    # Four questions with short messages, so that pieces of several sizes come up.
    short = jnp.array([9, 9, 3, 4, 9, 2, 9, 1])[:, None, None]
    turns = [t.replace(length=jnp.minimum(t.length, short)) for t in turns]
    turns = tuple(
        jax.tree.map(
            lambda x: jnp.where(t.mask, x, 0) if x.ndim == 4 else x,  # noqa: B023
            t,
        )
        for t in turns
    )
    rng = np.random.default_rng(0)
    credit = tuple(np.float32(rng.standard_normal(t.length.shape)) for t in turns)
    reference = tuple(t.logp - 0.2 for t in turns)
    return support.batch(team, questions, turns, credit, reference)


def state_on(devices, kl=(), optimise=OPTIMISE):
    mesh = sharding.make(-1, 1, 1, devices=jax.devices()[:devices])
    params = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(
            x.shape, x.dtype, sharding=sharding.replicated(mesh)
        ),
        support.params(),
    )
    abstract = train_state.abstract_state(
        optimise, (), params, sharding.replicated(mesh), kl=kl
    )
    places = jax.tree.map(lambda leaf: leaf.sharding, abstract)
    fresh = jax.tree.map(jnp.copy, support.params())
    state = train_state.initial_state(optimise, (), fresh, kl=kl)
    return mesh, abstract, jax.device_put(state, places)


# Of every kind of loss something that pieces must be told of the whole.
OTHER = OBJECTIVE.replace(
    clip=0.5,
    clip_high=0.6,
    ratio="sequence",
    mean="turn",
    kl_target=0.1,
    entropy=0.01,
    zero_advantage="drop",
    truncated="mask",
)


@pytest.mark.parametrize(
    ("objective", "optimise"),
    # AdamW divides by the gradient's size, and so shows nothing of a wrong mean.
    [
        pytest.param(OBJECTIVE, OPTIMISE, marks=pytest.mark.slow, id="default"),
        pytest.param(OTHER, optax.sgd(0.1), id="other"),
    ],
)
def test_pieces_of_several_sizes_take_the_step_of_the_whole(objective, optimise):
    batch = scored()
    kl = objective.kl_state
    if objective.zero_advantage == "drop":
        counted = jnp.array([True, False, True, True, True, False, True, True])
        batch = batch.replace(counted=counted)
    one = objective.replace(grad_accumulation=1)
    static = dict(objective=one, optimise=optimise)
    _, _, state = state_on(1, kl, optimise)
    other, wanted = jax.jit(functools.partial(update.update, **static))(state, batch)
    mesh, abstract, state = state_on(2, kl, optimise)
    (one,) = batch.trees
    batch = batch.replace(trees=(one.replace(team=one.team.replace(mesh=mesh)),))
    batch = jax.device_put(batch, sharding.batch(mesh))
    step = microbatches.compiled(mesh, objective, optimise, SIZES, abstract)
    state, stats = step(state, [batch], [batch])
    assert int(state.step) == 1
    assert set(stats) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(stats[name], value, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(state.kl, other.kl, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5),
        jax.device_get(state.params),
        jax.device_get(other.params),
    )


def test_a_stop_between_pieces_leaves_a_state_until_a_step_has_changed_it():
    batch = scored()
    _, abstract, state = state_on(1)
    step = microbatches.compiled(None, OBJECTIVE, OPTIMISE, SIZES, abstract)
    # Of two minibatches of two pieces.
    for piece, whole in [(1, True), (2, False)]:
        asked = itertools.count()
        with pytest.raises(signals.Stopped):
            step(state, [batch], [batch], lambda n=piece, a=asked: next(a) == n)
        assert train_state.is_whole(state) == whole


def test_a_piece_is_as_large_as_its_longest_question_and_message():
    batch = scored()
    cuts, [tokens] = microbatches.planned([batch], OBJECTIVE, SIZES)
    lengths = np.asarray(batch.questions.lengths[0])
    longest = [
        np.asarray(t.length).reshape(8, -1).max(-1) for t in batch.trees[0].turns
    ]
    assert sorted(np.concatenate([i for cut in cuts for _, i, _ in cut])) == [*range(8)]
    sizes = {size for cut in cuts for *_, size in cut}
    assert 1 < len(sizes) <= SIZES.programs
    for _, chosen, (head, messages) in (piece for cut in cuts for piece in cut):
        assert lengths[chosen].max() <= head
        for each, size in zip(longest, messages, strict=True):
            assert each[chosen].max() <= size
    assert tokens.sum() == sum(int(t.length.sum()) for t in batch.trees[0].turns)


def test_a_piece_holds_the_base_episode_that_its_messages_are_alternatives_to():
    batch = scored()
    (turn,), sizes = batch.trees[0].turns, microbatches.Sizes((8, 16), ((4, 7), (4, 7)))
    team = support.team(branching=(1, 4))
    first = jax.tree.map(lambda x: x[:, :, :1], turn)
    long = first.replace(length=jnp.array([1, 1, 1, 1, 1, 1, 1, 7])[:, None, None])
    found = []
    for given in (first.replace(length=0 * long.length), long):
        along = batch.replace(trees=(tree.Tree((given, turn), team, (1,), (0,)),))
        found.append(microbatches.lengths(along, OBJECTIVE, sizes))
    (rungs, spoken), (others, learned) = found
    assert (rungs[7, 1], others[7, 1]) == (1, 0)
    np.testing.assert_array_equal(others[:7], rungs[:7])
    np.testing.assert_array_equal(learned, spoken)
    cropped = microbatches.cropped(along.replace(ref_logp=None), 8, (4, 4))
    assert cropped.trees[0].turns[0].tokens.shape == (8, 1, 1, 4)
    assert cropped.trees[0].turns[1].tokens.shape == (8, 1, 4, 4)


def test_a_minibatch_is_some_whole_groups():
    batch = scored()

    def some(first):
        return jax.tree.map(lambda x: x[first : first + 2], batch)

    groups = [some(first) for first in range(0, 8, 2)]
    cuts, tokens = microbatches.planned(groups, OBJECTIVE, SIZES)
    assert [[group for group, *_ in cut] for cut in cuts] == [[0, 1], [2, 3]]
    assert all(sorted(i) == [0, 1] for cut in cuts for _, i, _ in cut)
    spoken = [
        sum(int(t.length.sum()) for t in group.trees[0].turns) for group in groups
    ]
    counts = [microbatches.loss_counts(cut, tokens, []) for cut in cuts]
    assert counts == [(sum(spoken[:2]),), (sum(spoken[2:]),)]
