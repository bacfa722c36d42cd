"""Trains a Reasoner -> Actor team to write one-line programs, which a sandbox runs.

    python -m c3jax.main --config=code
    python -m c3jax.main --config=code --config.seed=1 --workdir=runs/code1
    python -m c3jax.main --config=code:qwen2_5_coder_3b

Needs no accelerator, no network and no download; it needs Linux, for the sandbox.
Measured on 2 CPU cores, seed 0: 4 minutes; sampled accuracy on the test questions 53%
after the warm start and 98% after training. With the published model, a TPU or GPU and
MBPP: not yet measured.
"""

import ml_collections

from c3jax.configs import _texts, math
from c3jax.setup import defaults

POLICIES = {
    "embedded": math.POLICIES["embedded"],
    # A published model, and how it is computed. The path may be a directory.
    "qwen2_5_coder_3b": defaults.policy(
        path="Qwen/Qwen2.5-Coder-3B-Instruct", **math.LARGE
    ),
}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The experiment; `arg`, after the file's name and a colon, picks the policy."""
    model = arg or "embedded"
    if model not in POLICIES:
        raise ValueError(
            f"configs/code.py:{model} is not known; pick one of {sorted(POLICIES)}."
        )

    # The embedded team, and its generated tasks.
    c = defaults.experiment()
    c.name = "code"
    c.policy = POLICIES[model]
    c.data.update(task="programs", tokenizer="program_words", prompt_tokens=36)
    c.teams = _texts.embedded(
        plan=dict(instruction="write the steps .", max_tokens=7),
        work=dict(instruction="write the program .", max_tokens=24),
        check=dict(instruction="return the program .", max_tokens=24),
        votes=False,  # Programs are not compared.
    )
    c.protocol.update(name="duo", budget=8)
    c.credit.name = "c3"
    # The embedded team has no words for a rating.
    c.rating.update(instruction="write the program .", max_tokens=8)
    c.reward.update(timeout_s=2.0, memory_mb=256)

    # Careless demonstrations first, then training.
    c.warm_start.update(steps=600, batch_size=32, lr=5e-3, checkpoint_every=200)
    c.warm_start.careless = dict(misread=0.4, early=0.1, slip=0.05, unclosed=0.04)
    c.train.update(steps=120, batch_size=24, lr=1e-3)
    c.evaluate.update(every=40, questions=256, samples=4, k=(1, 4), batch_size=256)
    if model != "embedded":
        math.paper(c, "mbpp", _texts.CODE)
        c.reward.update(timeout_s=5.0, memory_mb=512)
    return c.lock()
