"""A number that is infinite or NaN ends a run, or leaves a step out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from c3jax.collect import rollouts
from c3jax.core import checkpoint, finite, metrics
from c3jax.learn import training, update, warm_start
from c3jax.train import loop
from c3jax.train.record import Record
from tests import support
from tests.setup.test_branching_schedule import cheap  # noqa: F401

SMALL = dict(
    protocol__name="solo",
    protocol__budget=2,
    policy__width=32,
    policy__hidden=48,
    policy__layers=1,
    train__batch_size=4,
    train__steps=6,
    train__checkpoint_every=1,
    warm_start__steps=0,
)


@pytest.mark.parametrize(
    ("gradient", "loss", "param"),
    [(np.nan, 1.0, 1.0), (2e19, 1.0, 1.0), (1.0, np.inf, 1.0), (1.0, 1.0, 1e20)],
    ids=["gradient", "its norm", "loss", "parameter"],
)
def test_an_optimiser_step_with_such_a_number_changes_nothing(gradient, loss, param):
    optimise = optax.adam(0.1)
    params = {"shared": {"w": jnp.array([param, 2.0])}}
    before = {"shared": optimise.init(params["shared"])}
    grads = {"shared": {"w": jnp.array([1.0, gradient])}}
    args = (optimise, grads, params, before, jnp.float32(loss))
    found, stats = jax.jit(update.apply_gradients, static_argnums=0)(*args)
    jax.tree.map(np.testing.assert_array_equal, found, (params, before))
    assert (int(stats["nonfinite"]) > 0) == np.isfinite(loss)
    sound = {"shared": {"w": jnp.ones(2)}}
    changed, stats = update.apply_gradients(optimise, sound, sound, before, 1.0)
    assert not np.array_equal(changed[0]["shared"]["w"], [1, 1])
    assert int(stats["nonfinite"]) == 0


@pytest.mark.parametrize("top_k", [0, 3])
def test_a_nan_among_the_logits_is_seen_in_who_sampled_it(top_k):
    setup = support.math_setup(**SMALL, sampling__top_k=top_k)
    params = warm_start.initial_params(setup)
    # One id's row of the tied table: its logit alone is NaN, and it is never read.
    params["shared"]["embed"] = params["shared"]["embed"].at[-1].set(jnp.nan)
    state = training.initial_state(setup, params)
    items = [setup.task.split("train")[i] for i in range(4)]
    watch = metrics.Stopwatch()
    with pytest.raises(finite.NonFiniteError, match="token that actor sampled"):
        rollouts.sample(setup, state, 0, items, support.MadeUp(), watch)


def begun(setup, workdir, change=lambda leaf: leaf):
    params = warm_start.initial_params(setup)
    params["shared"]["embed"] = change(params["shared"]["embed"])
    state = training.initial_state(setup, params)
    with checkpoint.Store(workdir / "checkpoints") as store:
        record = Record(seed=0, evaluated=0)
        store.save(0, state, dataclasses.asdict(record))


def failing(monkeypatch, steps):
    """Sampling that finds a NaN at some steps."""
    sample = rollouts.sample

    def fails(setup, state, step, *args):
        if step in steps:
            raise finite.NonFiniteError("a logit is NaN")
        return sample(setup, state, step, *args)

    monkeypatch.setattr(rollouts, "sample", fails)


def test_a_run_stops_at_the_step_and_keeps_the_one_before(
    cheap,  # noqa: F811
    monkeypatch,
    tmp_path,
):
    setup = support.math_setup(**SMALL)
    begun(setup, tmp_path)
    failing(monkeypatch, {2})
    said = "step 3: a logit is NaN.*checkpoint of step 1 .*nonfinite=skip"
    with pytest.raises(FloatingPointError, match=said):
        loop.run(setup, tmp_path)
    assert [line["step"] for line in metrics.read(tmp_path)] == [1, 2]


def test_steps_are_left_out_and_counted_but_not_many_in_a_row(
    cheap,  # noqa: F811
    monkeypatch,
    tmp_path,
):
    setup = support.math_setup(
        **SMALL, train__nonfinite="skip", train__max_skipped=2, evaluate__every=99
    )
    begun(setup, tmp_path)
    failing(monkeypatch, {1, 2, 4, 5, 6})
    with pytest.raises(FloatingPointError, match="step 7: "):
        loop.run(setup, tmp_path)
    left_out = [line.get("left_out", 0) for line in metrics.read(tmp_path)]
    assert left_out == [0, 1, 1, 0, 1, 1]


def test_a_policy_that_is_not_finite_is_not_trained(tmp_path):
    setup = support.math_setup(**SMALL)
    begun(setup, tmp_path, lambda leaf: leaf.at[0].set(jnp.nan))
    with pytest.raises(
        FloatingPointError, match="checkpoint of step 0: .* finite norm"
    ):
        loop.run(setup, tmp_path)
