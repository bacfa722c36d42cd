import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from c3jax.collect import scorers, scoring
from c3jax.core import keys, ledger, sharding
from c3jax.credit import baselines
from c3jax.learn import training, update, warm_start
from c3jax.rollout import replay, tree
from c3jax.setup import objectives, train_state
from tests import support

KEY = keys.stream(0, "rollout")
TRUNCATED = {"top_k": 5, "top_p": 0.9}
SMALL = {
    "train__batch_size": 8,
    "train__epochs": 2,
    "train__minibatches": 1,
    "warm_start__batch_size": 8,
    "policy__width": 32,
    "policy__hidden": 48,
}


def one_step(setup, step=0, update_step=None):
    """Parameters, trees and statistics of one training step from random parameters."""
    state = training.initial_state(setup, warm_start.initial_params(setup))
    update_step = update_step or training.compiled_update(setup)
    source = setup.task.split("train")
    items = [source[i] for i in range(setup.config.train.batch_size)]
    with scorers.started(setup) as scorer:
        grown = support.Step(setup, state, step, items, scorer)
    # Random answers are all wrong, so the rewards are made up.
    rng = np.random.default_rng(0)
    groups = []
    for group in grown.rollout:
        shape = (group.questions.uid.shape[0], *setup.team.protocol.branching)
        made_up = scoring.ScoredAnswers(np.float32(rng.random(shape)), ledger.Spent())
        score = functools.partial(lambda *x: x, made_up)
        groups.append(dataclasses.replace(group, scores=score))
    grown.rollout = tuple(groups)
    reference = None
    if setup.config.train.kl:
        learned = train_state.trainable(state.params, setup.objective.learners)
        reference = jax.tree.map(jnp.copy, learned)
    batches, objective = grown.batches(reference=reference), setup.objective_at(step)
    state, stats = update_step(objective, state, grown.rollout, batches)
    return state, grown, stats


@functools.cache
def program():
    """The update of the small setup."""
    return training.compiled_update(support.math_setup(**SMALL))


@functools.cache
def on_one_device():
    return one_step(support.math_setup(**SMALL), update_step=program())


def test_training_starts_from_the_log_probabilities_of_sampling():
    _, _, stats = on_one_device()
    assert float(stats["logp_gap"]) < 1e-5


def test_groups_that_are_scored_one_by_one_take_the_same_step():
    state, grown, stats = one_step(support.math_setup(**SMALL, train__groups=4))
    assert [g.questions.uid.shape[0] for g in grown.rollout] == [2] * 4
    wanted, other, wanted_stats = on_one_device()
    for mine, theirs in zip(*jax.device_get((grown.turns, other.turns)), strict=True):
        np.testing.assert_array_equal(mine.tokens, theirs.tokens)
    for name, value in wanted_stats.items():
        np.testing.assert_allclose(stats[name], value, rtol=1e-4, atol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5),
        *jax.device_get((state.params, wanted.params)),
    )


@pytest.mark.parametrize(
    "mesh",
    [
        {"mesh__data": 2, "mesh__fsdp": 4},
        {"mesh__data": 8},
    ],
)
@pytest.mark.slow
def test_eight_devices_draw_the_same_tree_and_take_the_same_step(mesh):
    state, grown, stats = on_one_device()
    other_state, other, other_stats = one_step(support.math_setup(8, **SMALL, **mesh))
    assert len(other.turns[0].tokens.sharding.device_set) == 8
    ties = near_ties(grown.turns, other.turns)
    assert len(ties) <= 1, ties
    if not ties:
        np.testing.assert_allclose(
            stats["grad_norm"], other_stats["grad_norm"], rtol=1e-5
        )
        # Advantages of siblings cancel in the loss, which is close to zero.
        size = np.mean([np.abs(each).mean() for each in grown.advantage])
        np.testing.assert_allclose(
            stats["loss"], other_stats["loss"], rtol=0, atol=1e-5 * size
        )
        # AdamW divides by the gradient's size, so tiny gradients lose digits.
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
            state.params,
            other_state.params,
        )


def near_ties(turns, others):
    """Where two trees differ, all of it within the margin."""
    found = []
    for turn, again in zip(*jax.device_get((turns, others)), strict=True):
        for at in np.ndindex(*turn.length.shape):
            agreement = replay.compare(record(turn, at), record(again, at))
            assert agreement.agrees, agreement
            if agreement.near_tie is not None:
                found.append((at, agreement.where))
    return found


def record(turn, at):
    size = int(turn.length[at])
    return {
        name: getattr(turn, name)[at][:size].tolist()
        for name in ("tokens", "logp", "margin")
    }


def test_the_same_step_twice_is_bit_equal():
    state, _, stats = on_one_device()
    again, _, again_stats = one_step(support.math_setup(**SMALL), update_step=program())
    jax.tree.map(np.testing.assert_array_equal, state.params, again.params)
    jax.tree.map(np.testing.assert_array_equal, stats, again_stats)


@pytest.mark.slow
def test_minibatches_change_the_step():
    state, _, _ = on_one_device()
    other, _, stats = one_step(support.math_setup(**{**SMALL, "train__minibatches": 4}))
    assert all(np.isfinite(value) for value in stats.values())
    moved = jax.tree.map(
        lambda a, b: float(abs(a - b).max()), state.params, other.params
    )
    assert max(jax.tree.leaves(moved)) > 0


def solo(**sampling):
    """A team of one role, four questions, and their trees."""
    role = dataclasses.replace(support.DUO[0], answers=True)
    team = support.team((role,), support.DUO_SCRIPTS[:1], (4,), **sampling)
    questions = support.questions(4, roles=1)
    return team, questions, tree.sample(support.params(), team, questions, KEY)


def grads(
    shape=support.SHAPE, grad_accumulation=1, mesh=None, options=(), kl=None, **sampling
):
    """Gradient and statistics of made-up credit on the trees of four questions."""
    team, questions, turns = solo(**sampling)
    rng = np.random.default_rng(0)
    advantage = tuple(
        np.float32(rng.standard_normal(turn.length.shape)) for turn in turns
    )
    # As if the policy had moved since: ratios other than one, on both sides.
    turns = tuple(turn.replace(logp=turn.logp - 0.1) for turn in turns)
    reference = tuple(turn.logp - 0.2 for turn in turns)
    plain = dict(clip=0.2, kl=0.1, epochs=1, minibatches=1)
    objective = objectives.Objective(**{**plain, **dict(options)})
    params, team = support.params(), team.replace(policies=support.policies(shape, 1))
    if mesh is not None:
        params, team = support.spread(team, mesh)
    batch = support.batch(team, questions, turns, advantage, reference)
    if mesh is not None:
        batch = jax.device_put(batch, sharding.batch(mesh))
    return jax.jit(update.gradient, static_argnums=1)(
        params,
        dataclasses.replace(objective, grad_accumulation=grad_accumulation),
        batch,
        kl,
    )


def assert_close(one, other):
    gap = optax.tree.norm(jax.tree.map(jnp.subtract, one[0], other[0]))
    assert float(gap / optax.tree.norm(one[0])) < 1e-5
    for name in one[1]:
        np.testing.assert_allclose(one[1][name], other[1][name], rtol=1e-5, atol=1e-7)


def test_a_distance_from_the_first_policy_changes_the_gradient_and_is_told():
    one, none = (grads(options=dict(kl=kl), **TRUNCATED) for kl in (0.1, 0))
    assert "kl" in one[1] and "kl" not in none[1]
    gap = optax.tree.norm(jax.tree.map(jnp.subtract, one[0], none[0]))
    assert float(gap / optax.tree.norm(one[0])) > 1e-3


def test_layers_spread_over_devices_draw_the_same_tree_and_have_the_same_gradient():
    mesh = sharding.make(2, 2, 2)
    team, questions, turns = solo(**TRUNCATED)
    params, team = support.spread(team, mesh)
    placed = jax.device_put(questions, sharding.batch(mesh))
    again = tree.sample(params, team, placed, KEY)
    assert near_ties(turns, again) == []
    one, other = jax.device_get((grads(**TRUNCATED), grads(mesh=mesh, **TRUNCATED)))
    assert_close(one, other)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=pytest.mark.slow),
        dict(mean="sequence", ratio="turn", truncated="mask", kl_in="reward"),
        pytest.param(
            dict(mean="turn", ratio="none", truncated="zero", entropy=0.1),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_a_gradient_summed_over_pieces_is_that_of_the_whole(options):
    kl = np.float32(0.3)  # as if it was adapted
    one = grads(options=options, kl=kl)
    assert_close(one, grads(grad_accumulation=2, options=options, kl=kl))
    assert ("entropy" in one[1]) == ("entropy" in options)
    assert ("clip_frac" in one[1]) == (options.get("ratio") != "none")
    assert ("messages_out" in one[1]) == ("truncated" in options)


@pytest.mark.parametrize(
    "sampling", [pytest.param({}, marks=pytest.mark.slow), TRUNCATED]
)
def test_logits_in_chunks_have_the_same_gradient(sampling):
    chunked = dataclasses.replace(support.SHAPE, logits_chunk=4, remat="layer")
    assert_close(grads(**sampling), grads(chunked, **sampling))


def test_nothing_is_compiled_again_after_the_first_step(caplog):
    setup, (state, _, _) = support.math_setup(**SMALL), on_one_device()
    state = jax.tree.map(jnp.copy, state)
    source = setup.task.split("train")
    with jax.log_compiles():
        for step in (1, 2):
            items = [source[8 * step + i] for i in range(8)]
            grown = support.Step(setup, state, step, items)
            args = setup.objective, state, grown.rollout, grown.batches()
            state, _ = program()(*args)
        found = [text for text in caplog.messages if text.startswith("Compiling")]
        assert found == []
        jax.jit(lambda x: x + 1)(1)
    assert "Compiling" in caplog.text  # It is told of what is.


def test_credit_teaches_a_team_what_is_rewarded():
    """From random messages to the rewarded token, by C3 on made-up rewards."""
    team = support.team(branching=(4, 2))
    optimise = update.optimiser(
        lr=2e-2,
        steps=40,
        warmup=1,
        b1=0.9,
        b2=0.99,
        weight_decay=0.0,
        max_grad_norm=1.0,
    )
    objective = objectives.Objective(clip=0.2, kl=0.0, epochs=1, minibatches=1)
    state = train_state.initial_state(
        optimise, (), jax.tree.map(jnp.copy, support.params())
    )
    step = jax.jit(
        functools.partial(update.update, objective=objective, optimise=optimise)
    )
    questions, history = support.questions(8), []
    for index in range(40):
        turns = tree.sample(
            state.params, team, questions, jax.random.fold_in(KEY, index)
        )
        # The actor is paid for every token 7 that it says.
        actor = jax.device_get(turns[1])
        reward = ((actor.tokens == 7) & np.asarray(actor.mask)).mean(-1)
        history.append(reward.mean())
        value = reward.reshape(8, 4, 2)
        advantage = (
            baselines.loo_advantage(baselines.tree_value(value, (), 0)),
            baselines.loo_advantage(baselines.tree_value(value, (0,), 1)),
        )
        advantage = tuple(np.float32(a) for a in advantage)
        batch = support.batch(team, questions, turns, advantage)
        state, _ = step(state, batch)
    assert history[0] < 0.1
    assert np.mean(history[-5:]) > 0.6


def test_imitation_in_pieces_is_that_of_the_whole():
    team, questions, turns = solo()
    one = dict(team=team.replace(protocol=team.protocol.chain()))
    one["optimise"] = optax.sgd(1.0)
    first = tuple(jax.tree.map(lambda x: x[:, :, :1], turn) for turn in turns)
    state = train_state.initial_state(one["optimise"], (), support.params())
    (whole, nll), (pieces, mean) = (
        jax.jit(functools.partial(update.imitate, **one, grad_accumulation=count))(
            state, questions, first
        )
        for count in (1, 2)
    )
    assert float(nll) == pytest.approx(float(mean), rel=1e-5)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=1e-5),
        whole.params,
        pieces.params,
    )
