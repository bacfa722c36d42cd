"""The page of a small published model, run on that model; see `.ci/run`."""

import json
import shutil
import signal
import time

import pytest

from benchmarks import resume
from tests.program import c3jax, start

RUN = (
    "--config=configs/math.py:smollm2",
    *(
        f"--config.{change}"
        for change in (
            *("train.steps=2", "train.batch_size=2", "train.checkpoint_every=1"),
            *("warm_start.steps=1", "warm_start.batch_size=2", "evaluate.trees=1"),
            *("warm_start.accumulate=2", "train.accumulate=1"),
            *("evaluate.questions=2", "evaluate.batch_size=2"),
            *("evaluate.samples=1", "evaluate.k=(1,)"),
        )
    ),
)


@pytest.mark.model
def test_a_real_model_is_trained_replayed_and_goes_on_bit_equal_after_a_kill(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run = (*RUN, f"--cache_dir={tmp_path / 'cache'}")
    with start(*run, f"--workdir={whole}") as process:
        while process.poll() is None and not (whole / "checkpoints" / "1").exists():
            time.sleep(0.01)
        # What a kill would leave at this moment.
        process.send_signal(signal.SIGSTOP)
        shutil.copytree(whole, killed)
        process.send_signal(signal.SIGCONT)
        output = process.stdout.read()
    assert process.returncode == 0, output
    certificate = json.loads((whole / "certificate.json").read_text())
    assert certificate["nodes"] and not certificate["failures"], certificate
    assert "goes on from step 1 of 2" in c3jax(
        *run, f"--workdir={killed}", "--nocertify"
    )
    assert resume.differences(whole, killed) == []
