"""Every field of a config: its default, what it may be, and what it is for.

A page begins with `experiment()` and says what its experiment sets. To add a field is
to add a line here, and to read it somewhere.
"""

import ml_collections

from c3jax.credit import api, shapes
from c3jax.policy import decoder
from c3jax.reward import math
from c3jax.train import choice, fields, losses, objectives
from c3jax.train.fields import ANY, SWITCH, TEXT, Field, Section, section

# Fields that had another name once, old to new, both with their sections: configs that
# were saved with the old one are read.
RENAMED: dict[str, str] = {}

# What values may be. MAYBE: or None.
COUNT, NATURAL = fields.whole(above=0), fields.whole(least=0)
INTEGER, ONE_UP, TWO_UP = fields.whole(), fields.whole(least=1), fields.whole(least=2)
RATE, WEIGHT = fields.number(above=0), fields.number(least=0)
SHARE, PART = fields.number(least=0, most=1), fields.number(above=0, most=1)
ABOVE_1, NORM = fields.number(above=1), fields.number(above=0, infinite=True)
MAYBE_COUNT, MAYBE_ONE_UP = fields.optional(COUNT), fields.optional(ONE_UP)
MAYBE_RATE, MAYBE_WEIGHT = fields.optional(RATE), fields.optional(WEIGHT)
MAYBE_ABOVE_1, MAYBE_INTEGER = fields.optional(ABOVE_1), fields.optional(INTEGER)
COUNTS, TEXTS = fields.several(COUNT), fields.several(TEXT)
RATES, INTEGERS = fields.several(RATE), fields.several(INTEGER)
DECAY = fields.Domain(float, "0 or more, below 1", lambda rate: 0 <= rate < 1)
AXIS = fields.Domain(int, "-1 or above 0", lambda size: size == -1 or size > 0)
WHOSE = fields.Domain(str, "'shared' or 'own'", lambda it: it in ("shared", "own"))
PLACES = fields.several(fields.one_of(math.FALLBACKS))
TARGETS = fields.several(fields.one_of(decoder.PRODUCTS))
DTYPE = fields.one_of(("float32", "bfloat16", "float16"))
REMAT, ATTENTION = fields.one_of(decoder.REMAT), fields.one_of(decoder.ATTENTION)
COST = fields.one_of(choice.COSTS)
OVERLAP = fields.one_of(("drop", "keep", "refuse"))
OVERLONG, MISSING = fields.one_of(("drop", "refuse")), fields.one_of(("refuse", "skip"))
RATIO = fields.one_of((*losses.RATIOS, objectives.PLAIN))
MEAN, KL = fields.one_of(losses.MEANS), fields.one_of(losses.KL)
KL_IN, FLAT = fields.one_of(objectives.PLACES), fields.one_of(objectives.FLAT)
TRUNCATED = fields.one_of(objectives.TRUNCATED)

_COMPUTED = dict(
    dtype=Field("float32", DTYPE, "of activations, keys and values"),
    remat=Field("none", REMAT, "what the backward pass computes again"),
    logits_chunk=Field(0, NATURAL, "tokens whose logits exist at once; 0: a message's"),
    unroll=Field(1, COUNT, "layers per iteration of the loop over them"),
    attention=Field("plain", ATTENTION, "einsums, or kernels, of 16-bit dtypes"),
    adapters=section(
        "low-rank changes (LoRA) that training moves in place of the weights",
        rank=Field(0, NATURAL, "of a change; 0: there are none, weights are trained"),
        alpha=Field(32.0, RATE, "a change counts alpha / rank times"),
        targets=Field(tuple(decoder.PRODUCTS), TARGETS, "weights that have one"),
    ),
)
_OWN = dict(
    width=Field(64, COUNT, "of the model"),
    layers=Field(2, COUNT, "of the model"),
    heads=Field(4, COUNT, "of queries, a multiple of kv_heads"),
    kv_heads=Field(2, COUNT, "of keys and values"),
    head_dim=Field(16, COUNT, "numbers in a head"),
    hidden=Field(192, COUNT, "width inside the MLP"),
    rope_theta=Field(1e4, RATE, "base of the rotary wavelengths"),
    norm_eps=Field(1e-6, WEIGHT, "added to mean squares"),
    tied=Field(True, SWITCH, "whether the embedding is the output table, too"),
    embed_std=Field(0.125, WEIGHT, "initial deviation of the embedding"),
    **_COMPUTED,
)
_PATH = "directory, GGUF, installed package, or name on the Hugging Face hub"
_PUBLISHED = dict(path=Field("", TEXT, _PATH), **_COMPUTED)
POLICY = Section(
    "a small policy of our own by its sizes, or with `path` a published one",
    lambda given: _PUBLISHED if "path" in given else _OWN,
)


def _option(name: str, kind: type) -> Field:
    every = {n: each.options for n, each in api.ESTIMATORS.items()}
    found = {n: own[name].default for n, own in every.items() if name in own}
    whose, usual = ", ".join(found), ", ".join(map(repr, found.values()))
    if len({*found.values()}) == 1:
        usual = repr(found.popitem()[1])
    doc = f"of {whose}; None: {usual}"
    return Field(None, fields.optional(fields.Domain(kind)), doc)


def _credit(given) -> fields.Fields:
    """An estimator's name, and the options of all there are by now."""
    name = Field("c3", fields.one_of(api.ESTIMATORS), "of the estimator")
    return {"name": name} | {n: _option(n, kind) for n, kind in api.options().items()}


CREDIT = Section(
    "who earned the reward; an option that an estimator does not have is refused",
    _credit,
    open=True,
)
DATA = section(
    "the questions",
    task=Field("problems", TEXT, "generated, or math, gsm8k, .. of data.tasks"),
    train=Field((), TEXTS, '"dataset/split" or files of your own; (): the task\'s'),
    weights=Field((), RATES, "how often each is drawn from; (): all questions equally"),
    test=Field("", TEXT, 'like one of train; "": the task\'s'),
    directory=Field("", TEXT, 'of prepared datasets; "": ~/.cache/c3jax/data'),
    source=Field("", TEXT, 'directory of datasets\' files; "": they are downloaded'),
    fields=section(
        'what your own files call these; "": there is none',
        question=Field("question", TEXT, "its text"),
        answer=Field("answer", TEXT, "the right one; of programs, their tests"),
        id=Field("", TEXT, "of the question"),
        entry_point=Field("", TEXT, "what the tests of a program call"),
    ),
    overlap=section(
        "training questions that are in the test split",
        action=Field("drop", OVERLAP, "what becomes of them"),
        ngram=Field(13, NATURAL, "words in a row that tell; 0: equal questions alone"),
        share=Field(0.5, PART, "of a test question's n-grams that make it the same"),
    ),
    tokenizer=Field("words", TEXT, 'or a directory or GGUF; "": that of policy.path'),
    prompt_tokens=Field(32, NATURAL, "of the longest question; 0: as it needs, to 512"),
    overlong=Field("drop", OVERLONG, "what becomes of questions of more tokens"),
    thinking=Field(False, SWITCH, "what a chat template with a switch for it is told"),
)
PROTOCOL = section(
    "who plays, and how many alternatives each one gets",
    name=Field("duo", TEXT, "of the team, one of teams"),
    policies=Field("shared", WHOSE, "one policy for all roles, or one for each agent"),
    budget=Field(8, COUNT, "answers scored per question"),
    branching=Field(
        None,
        ANY,
        "alternatives a role; None: the estimator's own, (4, 2) for C3; "
        f"{shapes.AUTO!r}: the run finds out",
    ),
    continuations=Field(None, MAYBE_ONE_UP, "of an alternative in a comb; None: 2"),
    auto=section(
        f"how a branching of {shapes.AUTO!r} is found out",
        every=Field(20, TWO_UP, "steps between choices"),
        cost=Field("evaluator_calls", COST, "what variance is weighed by"),
    ),
)
SAMPLING = section(
    "how messages are drawn",
    temperature=Field(1.0, RATE, "of the softmax"),
    top_k=Field(0, NATURAL, "tokens that are left, the most likely ones; 0: all"),
    top_p=Field(1.0, PART, "of the probability that is left; below 1 needs top_k"),
    min_tokens=Field(1, NATURAL, "before a message may end"),
    at_once=Field(0, NATURAL, "messages written at a time; 0: all of a step"),
)
REWARD = section(
    "how answers are scored",
    workers=Field(0, NATURAL, "processes that score; 0: one a core"),
    timeout_s=Field(5.0, RATE, "for one answer, or one program and its tests"),
    cut=Field(1.0, SHARE, "what each message that was cut leaves, while training"),
    fallback=Field(("boxed",), PLACES, "where an answer is looked for, in this order"),
    memory_mb=Field(512, COUNT, "for one program"),
    bubblewrap=Field(False, SWITCH, "around programs, beside what the kernel offers"),
    accept=Field("", TEXT, "a risk, in the words of the error that names it"),
)
WARM_START = section(
    "supervised on careless demonstrations: the team learns the form, not the truth",
    demonstrations=Field(
        "", TEXT, 'a file of your own; "": the task\'s, careless ones'
    ),
    missing=Field("refuse", MISSING, "what to do where a task has no demonstrations"),
    steps=Field(1500, NATURAL, "of the optimiser; 0: no warm start"),
    batch_size=Field(32, COUNT, "questions"),
    accumulate=Field(1, COUNT, "pieces a gradient is summed over, to save memory"),
    lr=Field(5e-3, RATE, "at its highest"),
    warmup=Field(30, NATURAL, "optimiser steps"),
    careless=Section("how often each thing goes wrong in them", {}, open=True),
    checkpoint_every=Field(250, COUNT, "steps"),
    seed=Field(None, MAYBE_INTEGER, "of the starting policy; None: the run's"),
)
UNTIL = section(
    "what training may spend, by its ledger; the run ends at the last of these",
    evaluator_calls=Field(None, MAYBE_COUNT, "answers scored"),
    generated_tokens=Field(None, MAYBE_COUNT, "tokens sampled"),
    seconds=Field(None, MAYBE_RATE, "of sampling, scoring and updates"),
)
TRAIN = section(
    "from here on only the reward of the final answer teaches",
    steps=Field(240, COUNT, "batches of questions"),
    batch_size=Field(24, COUNT, "questions"),
    groups=Field(1, COUNT, "parts of a batch, scored while the next is written"),
    epochs=Field(1, COUNT, "passes over a batch"),
    frozen=Field((), TEXTS, "policies that are left as they are"),
    alternate=Field(False, SWITCH, "policies learn in turn, one a step"),
    minibatches=Field(1, COUNT, "optimiser steps a pass"),
    accumulate=Field(1, COUNT, "pieces a gradient is summed over, to save memory"),
    buckets=Field(0, NATURAL, "sizes pieces may be padded to; 0: one for all"),
    ratio=Field(
        "token",
        RATIO,
        "what is clipped, as in PPO; sequence (GSPO) and turn (ReMA): one a message; "
        "none: REINFORCE",
    ),
    mean=Field(
        "token",
        MEAN,
        "what counts equally; sequence: every message; turn: every role, and of it "
        "every message",
    ),
    clip=Field(None, MAYBE_RATE, "below 1; None: the ratio's, 0.2, of sequences 3e-4"),
    clip_high=Field(None, MAYBE_RATE, "above 1; None: as below, of sequences 4e-4"),
    dual_clip=Field(None, MAYBE_ABOVE_1, "bounds the loss of bad messages; None: not"),
    whiten=Field(False, SWITCH, "credit is centred and scaled over a step's messages"),
    kl=Field(0.0, WEIGHT, "weight of the KL to the starting policy; 0: there is none"),
    kl_estimator=Field("k3", KL, "of the KL"),
    kl_in=Field("loss", KL_IN, "reward: a message pays for its own divergence"),
    kl_target=Field(None, MAYBE_RATE, "nats a token that kl is adapted to; None: not"),
    entropy=Field(
        None,
        MAYBE_WEIGHT,
        "weight of that of the distribution sampled from; 0: measured; None: not even",
    ),
    flat=Field("keep", FLAT, "questions without any credit count in the mean, or not"),
    truncated=Field(
        "keep",
        TRUNCATED,
        "messages cut at their limit; mask: leave the loss; zero: get no credit",
    ),
    lr=Field(1e-3, RATE, "at its highest"),
    warmup=Field(10, NATURAL, "optimiser steps"),
    b1=Field(0.9, DECAY, "of AdamW"),
    b2=Field(0.99, DECAY, "of AdamW"),
    weight_decay=Field(0.0, WEIGHT, "of AdamW"),
    max_grad_norm=Field(0.3, NORM, "that gradients are scaled down to"),
    final_lr=Field(0.1, SHARE, "of lr, where its cosine ends; 1.0: it stays"),
    checkpoint_every=Field(20, COUNT, "steps"),
    until=UNTIL,
)
CRITIC = section(
    "who guesses what a context (mappo) or a message (c3_value_..) will earn",
    policy=Section(
        "like policy; empty: a copy of the first role's, to begin with",
        lambda given: POLICY.of(given) if given else {},
    ),
    lr=Field(1e-3, RATE, "at its highest"),
    clip=Field(0.5, RATE, "how far a step may move a guess"),
    epochs=Field(4, COUNT, "passes over a batch"),
    minibatches=Field(1, COUNT, "optimiser steps a pass"),
)
EXPERIMENT = section(
    "one run",
    name=Field("experiment", TEXT, "of the run, and of its directory in runs/"),
    seed=Field(0, INTEGER, "of all that is drawn"),
    mesh=section(
        "parts that the devices make; one size may be -1: what the others leave",
        data=Field(-1, AXIS, "of the questions"),
        fsdp=Field(1, AXIS, "of questions and parameters"),
        tensor=Field(1, AXIS, "of heads, hidden units and vocabulary"),
    ),
    policy=POLICY,
    policies=Section(
        "role: what its own policy is instead",
        lambda given: dict.fromkeys(given, POLICY),
        open=True,
    ),
    data=DATA,
    teams=Section("name: role: its fields; any acyclic graph of roles", {}, open=True),
    protocol=PROTOCOL,
    credit=CREDIT,
    rating=section(
        "what roles are told once the answer is there, if credit asks for ratings",
        instruction=Field("", TEXT, "to rate all in JSON"),
        max_tokens=Field(8, COUNT, "of a rating"),
    ),
    sampling=SAMPLING,
    reward=REWARD,
    warm_start=WARM_START,
    train=TRAIN,
    critic=CRITIC,
    evaluate=section(
        "how good the team is on questions it never trained on",
        every=Field(40, COUNT, "training steps"),
        questions=Field(512, COUNT, "of the test split"),
        samples=Field(10, COUNT, "episodes a question, for pass@k"),
        k=Field((1, 4, 10), COUNTS, "of pass@k"),
        batch_size=Field(512, COUNT, "questions"),
        trees=Field(4, NATURAL, "questions of which the whole tree is saved"),
    ),
)
COMPARISON = section(
    "runs of several methods, from one starting policy at equal cost",
    name=Field("compare", TEXT, "of the comparison, and of its directory in runs/"),
    base=EXPERIMENT,
    methods=Section("label: what differs from the base", {}, open=True),
    reference=Field("magrpo", TEXT, "whom the others are held against"),
    seeds=Field((0, 1, 2), INTEGERS, "runs of one seed are paired"),
    budgets=Section("what each may spend; read where it crossed each", UNTIL.fields),
    processes=Field(1, ONE_UP, "runs at a time"),
    cells=Field("", TEXT, 'file of finished runs; "": cells.jsonl in the workdir'),
    keep=Field(False, SWITCH, "whether checkpoints of finished runs stay"),
)
AUDIT = section(
    "how good credit is, of a run or in the logs of any system",
    name=Field("audit", TEXT, "of the directory in runs/, without --workdir"),
    audit=section(
        "of a run, but for buckets",
        buckets=Field("", TEXT, 'a file of contexts, a line each; "": a run\'s own'),
        methods=Field("", TEXT, 'whose credit; "": the run\'s own, c3 and magrpo'),
        questions=Field(200, COUNT, "of the test split; each a context for every role"),
        batch_size=Field(100, ONE_UP, "of them grown at a time"),
        candidates=Field(8, TWO_UP, "messages sampled from a context"),
        continuations=Field(8, ONE_UP, "of each"),
        extra=Field(16, NATURAL, "further messages from a context, for its value"),
        fit=Field(40, NATURAL, "steps' worth of trees to learn a critic, .. from"),
    ),
)


def experiment() -> ml_collections.ConfigDict:
    """A run, all fields at their defaults but its teams; not locked."""
    return fields.config(EXPERIMENT)


def comparison() -> ml_collections.ConfigDict:
    """A comparison, all fields at their defaults but its methods; not locked."""
    return fields.config(COMPARISON)


def audit() -> ml_collections.ConfigDict:
    """An audit, all fields at their defaults; not locked."""
    return fields.config(AUDIT)


def policy(**given) -> dict:
    """A section `policy`, all fields but `given` at their defaults."""
    return fields.config(Section("", POLICY.of(given))).to_dict() | given


def declared(config) -> Section:
    """What a config is of: a run, a comparison or an audit."""
    if "methods" in config:
        return COMPARISON
    return AUDIT if "audit" in config else EXPERIMENT
