"""The page of a small published model, run on that model; see `.ci/run`."""

import shutil

import pytest

from benchmarks import resume
from c3jax.audit import certificate
from c3jax.learn import training
from c3jax.train import loop
from tests import support

SMALL = {
    "protocol__budget": 4,
    "teams__duo__reasoner__max_tokens": 4,
    "teams__duo__actor__max_tokens": 4,
    "warm_start__steps": 1,
    "warm_start__batch_size": 1,
    "warm_start__grad_accumulation": 1,
    "train__steps": 2,
    "train__batch_size": 1,
    "train__grad_accumulation": 1,
    "train__checkpoint_every": 1,
    "evaluate__trees": 1,
    "evaluate__questions": 2,
    "evaluate__batch_size": 2,
    "evaluate__samples": 1,
    "evaluate__k": (1,),
}


@pytest.mark.model
def test_a_real_model_is_trained_replayed_and_goes_on_bit_equal_after_a_kill(
    tmp_path, monkeypatch, capsys
):
    setup = support.setup("math:smollm2", **SMALL)
    update = training.compiled_update(setup)
    monkeypatch.setattr(training, "compiled_update", lambda _: update)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()

    def look():
        """Keeps what a kill would leave after the first step, and never stops."""
        if (whole / "checkpoints" / "1").exists() and not killed.exists():
            shutil.copytree(whole, killed)
        return False

    loop.run(setup, whole, stop=look)
    found = certificate.certify(setup, whole)
    assert found.nodes == 6 and not found.failures, found
    capsys.readouterr()
    loop.run(setup, killed)
    assert "goes on from step 1 of 2" in capsys.readouterr().out
    assert resume.differences(whole, killed) == []
