"""What cannot fit is refused, in words, before anything is allocated."""

import os
import subprocess
import sys
import types

import jax
import pytest

from c3jax import modes
from c3jax.core import host_memory
from c3jax.train import admission, device_memory
from tests import support

GPU = types.SimpleNamespace(
    device_kind="small", memory_stats=lambda: {"bytes_limit": 1 << 30}
)


@pytest.mark.parametrize(
    ("phase", "part", "knob"),
    [
        ("warm start", "activations", "warm_start.grad_accumulation"),
        ("sampling", "keys and values", "sampling.max_concurrent"),
        ("update", "activations", "train.grad_accumulation"),
        ("update", "optimiser", "policy.adapters.rank"),
        ("evaluation", "keys and values", "evaluate.batch_size"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_change(phase, part, knob):
    needed = admission.Estimate(device_memory.training(support.math_setup()))
    needed.phases[phase][part] = 1 << 40
    wanted = f"most in the {phase} .*small has 1.0 GiB. Most are {part}: .*{knob}"
    with pytest.raises(ValueError, match=wanted):
        admission.check(needed, GPU)


def test_a_cpu_has_what_the_system_has_left(monkeypatch):
    setup, device = support.math_setup(), jax.devices()[0]
    needed = admission.estimate(setup, device_memory.training(setup))
    assert all(
        parts["itself"] >= host_memory.resident() for parts in needed.phases.values()
    )
    admission.check(needed, device)
    monkeypatch.setattr(host_memory, "available", lambda: 0)
    monkeypatch.setattr(host_memory, "resident", lambda: needed.total - 1)
    with pytest.raises(ValueError, match="this process needs .*this machine has"):
        admission.check(needed, device)
    monkeypatch.setattr(host_memory, "available", lambda: None)
    admission.check(needed, device)


@pytest.mark.parametrize("mode", [modes.evaluate, modes.replay, modes.export])
def test_every_mode_is_refused_before_it_looks_for_a_checkpoint(
    mode, tmp_path, monkeypatch
):
    monkeypatch.setattr(host_memory, "available", lambda: 0)
    with pytest.raises(ValueError, match="this machine has .*: use a machine with"):
        mode(support.page_config(), tmp_path, "")


@pytest.mark.slow
def test_a_process_has_at_its_peak_what_it_said_within_a_quarter():
    command = [sys.executable, "-m", "tests.train.memory_process"]
    # Compiled as in a run, from nothing: that takes memory, too.
    ours = ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR")
    env = {name: value for name, value in os.environ.items() if name not in ours}
    output = subprocess.check_output(command, cwd=support.ROOT, env=env)
    said, had = map(int, output.split())
    assert had / 1.25 < said < had * 1.25


def test_of_an_audit_what_it_samples_may_be_changed_and_of_a_run_that_exists_nothing():
    phases = device_memory.evaluating(support.math_setup())
    needed = admission.Estimate({**phases, "frozen contexts": {"logits": 1 << 40}})
    with pytest.raises(ValueError, match="Most are logits: lower audit.batch_size"):
        admission.check(needed, GPU)
    needed.phases["frozen contexts"]["optimiser"] = 1 << 41
    with pytest.raises(ValueError, match="Most are optimiser: use a machine"):
        admission.check(needed, GPU)
