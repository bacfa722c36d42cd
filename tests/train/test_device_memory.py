"""What a run is said to need, phase by phase, against what the compiler says."""

import functools

import pytest

from c3jax.train import device_memory
from tests import steps, support

ROOMY = {
    "policy__width": 128,
    "policy__hidden": 384,
    "policy__heads": 4,
    "policy__head_dim": 32,
    "policy__layers": 4,
    "policy__unroll": 1,
    "protocol__name": "solo",
    "train__batch_size": 16,
}


@pytest.mark.parametrize("remat", ["none", "layer", "products"])
def test_an_update_needs_what_is_said_within_a_quarter(remat):
    setup = support.math_setup(**ROOMY, policy__remat=remat)
    limit = setup.config.data.prompt_tokens
    program, args = steps.STEPS["update"](steps.Case(setup.team, limit, 16))
    told = program.lower(*args).compile().memory_analysis()
    parts = device_memory.training(setup)["update"]
    # The state comes in and goes out.
    said = sum(parts.values()) + parts["parameters"] + parts["optimiser"]
    found = told.argument_size_in_bytes + told.output_size_in_bytes
    found += told.temp_size_in_bytes
    assert found / 1.25 < said < found * 1.25


def test_a_starting_policys_scores_need_what_is_said_within_a_quarter():
    setup = support.math_setup(**ROOMY, train__kl=0.1)
    case = steps.Case(setup.team, setup.prompt_lengths.sizes[-1], 16)
    program, args = steps.STEPS["logp"](case)
    found = program.lower(*args).compile().memory_analysis().temp_size_in_bytes
    parts = device_memory.training(setup)["starting policy's scores"]
    assert found / 1.25 < parts["activations"] + parts["logits"] < found * 1.25


@functools.cache
def sums(**changes) -> dict[str, int]:
    found = device_memory.training(support.math_setup(**changes))
    return {name: sum(parts.values()) for name, parts in found.items()}


@pytest.mark.parametrize(
    ("change", "grow"),
    [
        ({"warm_start__batch_size": 64}, {"warm start"}),
        ({"train__batch_size": 48}, {"sampling", "update"}),
        ({"evaluate__batch_size": 1024}, {"evaluation"}),
        ({"evaluate__samples": 20}, {"evaluation"}),
    ],
)
def test_a_larger_batch_raises_its_own_phase_alone(change, grow):
    before, after = sums(), sums(**change)
    assert {name for name in before if after[name] > before[name]} == grow
    assert all(after[name] >= before[name] for name in before)


@pytest.mark.parametrize(
    ("change", "shrinks"),
    [
        ({"warm_start__grad_accumulation": 4}, "warm start"),
        ({"train__grad_accumulation": 4}, "update"),
        ({"policy__remat": "layer"}, "update"),
        ({"policy__remat": "layer"}, "warm start"),
        ({"sampling__max_concurrent": 16}, "sampling"),
    ],
)
def test_what_is_advised_needs_less(change, shrinks):
    assert sums(**ROOMY, **change)[shrinks] < sums(**ROOMY)[shrinks]


def test_a_phase_that_a_run_has_not_is_not_there():
    assert "warm start" not in sums(warm_start__steps=0)
    assert "starting policy's scores" not in sums()
    assert "starting policy's scores" in sums(train__kl=0.1)
    assert "critic's update" not in sums()
    assert "critic's update" in sums(credit__name="mappo")


@pytest.mark.parametrize(
    "phases",
    [device_memory.evaluating, device_memory.replaying, device_memory.exporting],
)
def test_whatever_reads_a_checkpoint_holds_all_of_it(phases):
    for changes in ({}, {"credit__name": "mappo"}):
        setup = support.math_setup(**changes)
        [parts] = phases(setup).values()
        assert device_memory.restored(setup).items() <= parts.items()


def test_a_replay_in_fewer_bits_samples_what_was_sampled_at_once():
    setup = support.math_setup()
    [alone] = device_memory.replaying(setup).values()
    [together] = device_memory.replaying(
        support.math_setup(policy__dtype="bfloat16")
    ).values()
    assert together["keys and values"] > 8 * alone["keys and values"]


def test_an_export_holds_merged_copies_of_adapted_weights_alone():
    adapters = dict(rank=2, alpha=4.0, targets=("q", "gate"))
    setup = support.math_setup(policy__adapters=adapters)
    layers = setup.abstract_params()["shared"]["layers"]
    [parts] = device_memory.exporting(setup).values()
    assert parts["merged"] == 4 * (layers["q"].size + layers["gate"].size)
    assert device_memory.exporting(support.math_setup())["export"]["merged"] == 0
