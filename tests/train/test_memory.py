"""What a run is said to need, against what the compiler says and in words."""

import functools
import types

import jax
import pytest

from c3jax.core import memory as system
from c3jax.train import memory
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
GPU = types.SimpleNamespace(
    device_kind="small", memory_stats=lambda: {"bytes_limit": 1 << 30}
)


@pytest.mark.parametrize("remat", ["none", "layer"])
def test_an_update_needs_what_is_said_within_a_quarter(remat):
    setup = support.math_setup(**ROOMY, policy__remat=remat)
    limit = setup.config.data.prompt_tokens
    program, args = steps.STEPS["update"](steps.Case(setup.team, limit, 16))
    told = program.lower(*args).compile().memory_analysis()
    parts = memory.phases(setup)["update"]
    # The state comes in and goes out.
    said = sum(parts.values()) + parts["parameters"] + parts["optimiser"]
    found = told.argument_size_in_bytes + told.output_size_in_bytes
    found += told.temp_size_in_bytes
    assert found / 1.25 < said < found * 1.25


@functools.cache
def sums(**changes) -> dict[str, int]:
    found = memory.phases(support.math_setup(**changes))
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
        ({"warm_start__accumulate": 4}, "warm start"),
        ({"train__accumulate": 4}, "update"),
        ({"policy__remat": "layer"}, "update"),
        ({"policy__remat": "layer"}, "warm start"),
        ({"sampling__at_once": 16}, "sampling"),
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
    ("phase", "part", "knob"),
    [
        ("warm start", "activations", "warm_start.accumulate"),
        ("sampling", "keys and values", "sampling.at_once"),
        ("update", "activations", "train.accumulate"),
        ("update", "optimiser", "policy.adapters.rank"),
        ("evaluation", "keys and values", "evaluate.batch_size"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_change(phase, part, knob):
    needed = memory.Estimate(memory.phases(support.math_setup()))
    needed.phases[phase][part] = 1 << 40
    wanted = f"most in the {phase} .*small has 1.0 GiB. Most are {part}: .*{knob}"
    with pytest.raises(ValueError, match=wanted):
        memory.check(needed, GPU)


def test_a_cpu_has_what_the_system_has_left(monkeypatch):
    setup, device = support.math_setup(), jax.devices()[0]
    needed = memory.estimate(setup)
    assert all(parts["itself"] >= system.resident() for parts in needed.phases.values())
    memory.check(needed, device)
    monkeypatch.setattr(system, "available", lambda: 0)
    monkeypatch.setattr(system, "resident", lambda: needed.total - 1)
    with pytest.raises(ValueError, match="this process needs .*this machine has"):
        memory.check(needed, device)
    monkeypatch.setattr(system, "available", lambda: None)
    memory.check(needed, device)
