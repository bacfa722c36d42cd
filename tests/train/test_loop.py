"""What a run goes on from, and how far its learning rates fall."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3jax.core import checkpoint
from c3jax.learn import critic_update, training
from c3jax.setup import train_state
from c3jax.train import due, loop
from c3jax.train.record import Record
from tests import support
from tests.setup import test_branching_schedule
from tests.setup.test_branching_schedule import cheap  # noqa: F401

SMALL = dict(policy__width=32, policy__hidden=48, policy__layers=1, train__batch_size=4)


@pytest.mark.parametrize(
    ("changes", "read"),
    [
        (dict(), {0: ["validation", "test"], 2: ["validation"]}),
        (dict(data__validation=None), {0: ["test"], 2: ["test"]}),
        # Nothing is read between: the test questions do.
        (dict(evaluate__every=4), {0: ["test"]}),
        (
            dict(evaluate__every=4, train__until__evaluator_calls=9),
            {0: ["validation", "test"]},
        ),
    ],
)
def test_test_questions_are_read_at_the_start_and_the_end(changes, read):
    given = dict(train__steps=4, evaluate__every=2, **SMALL) | changes
    setup = support.math_setup(**given)
    found = {step: due.splits(setup, Record(0, step)) for step in read}
    assert found == read
    assert due.splits(setup, Record(0, 4)) == read[0]


def test_a_step_is_saved_when_the_last_one_is_old():
    setup = support.math_setup(train__checkpoint_every=5, evaluate__every=50, **SMALL)
    saved = [step for step in range(1, 12) if due.is_saved(setup, Record(0, step), 0)]
    assert saved == [5, 10]
    assert due.is_saved(setup, Record(0, 3), 600) and "10 minutes" in due.promise(setup)
    assert not due.is_saved(setup, Record(0, 3), 599)
    never = support.math_setup(train__checkpoint_minutes=None, **SMALL)
    assert not due.is_saved(never, Record(0, 3), 1e6)
    assert "every 20 steps, with every evaluation; a kill" in due.promise(never)


def test_a_run_that_goes_on_is_held_to_the_policy_it_began_with(tmp_path):
    setup = support.math_setup(train__kl=0.1, **SMALL)

    def state(value):
        return jax.tree.map(
            lambda x: jax.device_put(np.full(x.shape, value, x.dtype), x.sharding),
            training.abstract_state(setup),
        )

    with checkpoint.Store(tmp_path / "checkpoints") as store:
        for step in (0, 3):
            record = Record(seed=0, step=step)
            store.save(step, state(step), dataclasses.asdict(record))
        store.wait()
        found, record, reference = loop.begin(
            setup, store, tmp_path, None, lambda: False
        )
    assert record.step == 3 and int(found.step) == 3
    jax.tree.map(np.testing.assert_array_equal, found, state(3))
    began = train_state.trainable(state(0).params, setup.objective.learners)
    jax.tree.map(np.testing.assert_array_equal, reference, began)


def test_a_stop_within_an_update_leaves_what_it_began_with(
    cheap,  # noqa: F811
    tmp_path,
):
    one = dict(protocol__name="solo", warm_start__steps=0, train__checkpoint_every=9)
    setup = support.math_setup(
        train__grad_accumulation=2, protocol__budget=2, **one, **SMALL
    )
    # Asked before and after messages are written, and before each of two pieces.
    state, _, log = test_branching_schedule.run(setup, tmp_path / "whole", 2 * 4)
    assert [line["step"] for line in log] == [1, 2]
    other, record, found = test_branching_schedule.run(
        setup, tmp_path / "parts", 7, 3, 4
    )
    assert (record["step"], found) == (2, log)
    jax.tree.map(np.testing.assert_array_equal, *jax.device_get((state, other)))


@pytest.mark.parametrize(
    ("made", "changes", "steps"),
    [
        (training.optimiser, dict(train__epochs=3), 4 * 3 * 2),
        (
            training.optimiser,
            dict(protocol__policies="own", train__alternate=True),
            4 * 2 // 2,
        ),
        (critic_update.optimiser, dict(credit__name="mappo"), 4 * 5 * 2),
    ],
    ids=["policy", "taking turns", "critic"],
)
def test_a_learning_rate_falls_until_the_last_of_all_optimiser_steps(
    made, changes, steps
):
    counts = dict(train__steps=4, train__minibatches=2, train__warmup=1)
    lessons = dict(critic__epochs=5, critic__minibatches=2)
    optimise = made(support.math_setup(**SMALL, **counts, **lessons, **changes))
    nothing = jnp.float32(0)

    def step(state, _):
        # A slope that stays the same moves a parameter by the learning rate.
        change, state = optimise.update(jnp.float32(1), state, nothing)
        return state, -change

    _, rates = jax.lax.scan(step, optimise.init(nothing), length=steps + 1)
    *_, last, after = rates / rates.max()
    np.testing.assert_allclose(after, 0.1, rtol=1e-3)
    assert last > 0.1003
