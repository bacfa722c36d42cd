"""What a critic learns of made-up trees, on one device and on several."""

import functools

import jax
import numpy as np
import pytest

from c3jax.core import mesh as meshes
from c3jax.credit import critic as credit
from c3jax.policy import critic as heads
from c3jax.rollout import guesses
from c3jax.train import critics, update
from tests import support
from tests.rollout.test_guesses import said

OPTIMISE = update.optimiser(
    lr=1e-2, steps=40, warmup=1, b1=0.9, b2=0.99, weight_decay=0.0, max_grad_norm=1.0
)
SOLO = support.team((support.DUO[0],), support.DUO_SCRIPTS[:1], (2,))


def course(team=SOLO):
    return critics.Course(
        team=guesses.watched(team, support.SHAPE),
        heads=("q",),
        clip=0.5,
        epochs=1,
        minibatches=1,
        accumulate=2,
    )


def begun(place=None):
    policy = support.params()["shared"]
    params = {guesses.NAME: heads.begin(policy, support.SHAPE, ("q",))}
    if place is not None:
        params = jax.device_put(params, place)
    return update.initial_state(OPTIMISE, (), params, (guesses.NAME,))


def trees(seed, batch=8):
    """Random messages, worth 1 if they begin with the token 9 and 0 if with 8."""
    [turn], rng = said(SOLO, batch), np.random.default_rng(seed)
    worth, tokens = rng.integers(0, 2, turn.length.shape), turn.tokens.copy()
    tokens[..., 0] = 8 + worth
    turn = turn.replace(tokens=tokens, length=np.maximum(turn.length, 1))
    questions = support.questions(batch, roles=1)
    return questions, (turn,), {"q": (np.float32(worth),)}


@functools.cache
def learn():
    return jax.jit(functools.partial(critics.learn, made=course(), optimise=OPTIMISE))


def test_a_critic_learns_what_messages_are_worth():
    state, explained = begun(), []
    for step in range(40):
        questions, turns, target = trees(step)
        guess = critics._guess(state.params, course(), questions, turns)
        explained.append(credit.explained(guess["q"], target["q"]))
        state, stats = learn()(state, [(questions, turns)], guess, target)
        if not step:
            np.testing.assert_allclose(stats["critic_loss"], 0.25, atol=0.1)
    assert explained[0] == 0 and np.mean(explained[-5:]) > 0.5
    assert int(state.step) == 40


@pytest.mark.slow
def test_groups_on_eight_devices_teach_a_critic_what_one_batch_on_one_does():
    questions, turns, target = trees(0)
    state = begun()
    guess = critics._guess(state.params, course(), questions, turns)
    wanted, stats = learn()(state, [(questions, turns)], guess, target)

    mesh = meshes.make(2, 2, 2)
    made = course(SOLO.replace(mesh=mesh))
    places = heads.over_params(
        lambda p: meshes.parameter(mesh, p.shape, p.axes), support.SHAPE, made.heads
    )
    state = begun({guesses.NAME: places})
    whole = jax.device_put((questions, turns), meshes.batch(mesh))
    assert made.pieces(8) == 2
    again = critics._guess(state.params, made, *whole)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), guess, again)
    halves = [
        jax.device_put(
            jax.tree.map(lambda x, at=at: x[at : at + 4], (questions, turns)),
            meshes.batch(mesh),
        )
        for at in (0, 4)
    ]
    static = functools.partial(critics.learn, made=made, optimise=OPTIMISE)
    found, other = jax.jit(static)(state, halves, guess, target)
    np.testing.assert_allclose(other["critic_loss"], stats["critic_loss"], rtol=1e-4)
    one = critics._guess(wanted.params, course(), questions, turns)
    two = critics._guess(found.params, made, *whole)
    assert np.abs(one["q"][0] - guess["q"][0]).max() > 0.01
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), one, two)
