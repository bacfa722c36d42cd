"""What a run is said to need, against what the compiler says and in words."""

import types

import jax
import pytest

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


@pytest.mark.parametrize("remat", ["none", "layer"])
def test_an_update_needs_what_is_said_within_a_factor_of_two(remat):
    setup = support.math_setup(**ROOMY, policy__remat=remat)
    limit = setup.config.data.prompt_tokens
    program, args = steps.STEPS["update"](steps.Case(setup.team, limit, 16))
    told = program.lower(*args).compile().memory_analysis()
    parts = memory.estimate(setup).parts
    update = ("gradients", "activations", "logits")
    # The state comes in and goes out.
    held = parts["parameters"] + parts["optimiser"]
    said = 2 * held + sum(parts[name] for name in update)
    found = told.argument_size_in_bytes + told.output_size_in_bytes
    found += told.temp_size_in_bytes
    assert found / 2 < said < found * 2


@pytest.mark.parametrize(
    ("largest", "knob"),
    [("keys and values", "sampling.at_once"), ("activations", "train.accumulate")],
)
def test_what_does_not_fit_is_refused_with_what_to_change(largest, knob):
    needed = memory.estimate(support.math_setup())
    needed.parts[largest] = 1 << 40
    device = types.SimpleNamespace(
        device_kind="small", memory_stats=lambda: {"bytes_limit": 1 << 30}
    )
    with pytest.raises(ValueError, match=f"small has 1.0 GiB.* {largest}: .*{knob}"):
        memory.check(needed, device)
    memory.check(needed, jax.devices()[0])
