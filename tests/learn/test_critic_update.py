"""What a critic learns of made-up trees, on one device and on several."""

import functools

import jax
import numpy as np
import pytest

from c3jax.collect import critics
from c3jax.core import sharding
from c3jax.credit import actor_critic
from c3jax.learn import critic_update, update
from c3jax.policy import value_head
from c3jax.rollout import critic_values
from c3jax.setup import train_state
from tests import support
from tests.rollout.test_critic_values import said

OPTIMISE = update.optimiser(
    lr=1e-2, steps=40, warmup=1, b1=0.9, b2=0.99, weight_decay=0.0, max_grad_norm=1.0
)
SOLO = support.team((support.DUO[0],), support.DUO_SCRIPTS[:1], (2,))


def course(team=SOLO):
    return critics.CriticConfig(
        team=critic_values.critic_team(team, support.SHAPE),
        heads=("q",),
        clip=0.5,
        epochs=1,
        minibatches=1,
        grad_accumulation=2,
    )


def begun(place=None):
    policy = support.params()["shared"]
    params = {critic_values.NAME: value_head.begin(policy, support.SHAPE, ("q",))}
    if place is not None:
        params = jax.device_put(params, place)
    return train_state.initial_state(OPTIMISE, (), params, (critic_values.NAME,))


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
    return jax.jit(
        functools.partial(critic_update.learn, critic=course(), optimise=OPTIMISE)
    )


def test_a_critic_learns_what_messages_are_worth():
    state, explained = begun(), []
    for step in range(40):
        questions, turns, target = trees(step)
        predicted = critics.predict_batch(state.params, course(), questions, turns)
        explained.append(actor_critic.explained(predicted["q"], target["q"]))
        state, stats = learn()(state, [(questions, turns)], predicted, target)
        if not step:
            np.testing.assert_allclose(stats["critic_loss"], 0.25, atol=0.1)
    assert explained[0] == 0 and np.mean(explained[-5:]) > 0.5
    assert int(state.step) == 40


@pytest.mark.slow
def test_groups_on_eight_devices_teach_a_critic_what_one_batch_on_one_does():
    questions, turns, target = trees(0)
    state = begun()
    predicted = critics.predict_batch(state.params, course(), questions, turns)
    wanted, stats = learn()(state, [(questions, turns)], predicted, target)

    mesh = sharding.make(2, 2, 2)
    critic = course(SOLO.replace(mesh=mesh))
    places = value_head.over_params(
        lambda p: sharding.parameter(mesh, p.shape, p.axes), support.SHAPE, critic.heads
    )
    state = begun({critic_values.NAME: places})
    whole = jax.device_put((questions, turns), sharding.batch(mesh))
    assert critic.pieces(8) == 2
    again = critics.predict_batch(state.params, critic, *whole)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), predicted, again
    )
    halves = [
        jax.device_put(
            jax.tree.map(lambda x, at=at: x[at : at + 4], (questions, turns)),
            sharding.batch(mesh),
        )
        for at in (0, 4)
    ]
    static = functools.partial(critic_update.learn, critic=critic, optimise=OPTIMISE)
    found, other = jax.jit(static)(state, halves, predicted, target)
    np.testing.assert_allclose(other["critic_loss"], stats["critic_loss"], rtol=1e-4)
    one = critics.predict_batch(wanted.params, course(), questions, turns)
    two = critics.predict_batch(found.params, critic, *whole)
    assert np.abs(one["q"][0] - predicted["q"][0]).max() > 0.01
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), one, two)
