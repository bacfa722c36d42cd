"""Every field of a config: its default, what it may be, and what it is for.

A page begins with `experiment()` and says what its experiment sets. To add a field is
to add a line here, and to read it somewhere.
"""

import ml_collections

from c3jax.credit import api, branchings, losses
from c3jax.policy import decoder
from c3jax.reward import code, math
from c3jax.setup import branching_schedule, data_fields, fields, objectives
from c3jax.setup.fields import ANY, SWITCH, TEXT, Field, Section, section

# Fields and values that were renamed, old to new, with their sections, so that configs
# saved under the old name can be read.
RENAMED: dict[str, str] = {
    "sampling.at_once": "sampling.max_concurrent",
    "train.accumulate": "train.grad_accumulation",
    "train.flat": "train.zero_advantage",
    "warm_start.accumulate": "warm_start.grad_accumulation",
    "credit.name=c3_comb": "credit.name=c3_vine",
}

# Fields that earlier versions had not, where these did another thing than the default.
EARLIER: dict[str, object] = {"data.validation": None}

# Domains of values. MAYBE: or None.
COUNT, NATURAL = fields.whole(above=0), fields.whole(least=0)
SEED = fields.number(least=0, most=2**32 - 1, kind=int)
ONE_UP, TWO_UP = fields.whole(least=1), fields.whole(least=2)
RATE, WEIGHT = fields.number(above=0), fields.number(least=0)
SHARE, PART = fields.number(least=0, most=1), fields.number(above=0, most=1)
ABOVE_1, NORM = fields.number(above=1), fields.number(above=0, infinite=True)
MAYBE_COUNT, MAYBE_ONE_UP = fields.optional(COUNT), fields.optional(ONE_UP)
MAYBE_RATE, MAYBE_WEIGHT = fields.optional(RATE), fields.optional(WEIGHT)
MAYBE_ABOVE_1, MAYBE_SEED = fields.optional(ABOVE_1), fields.optional(SEED)
COUNTS, TEXTS = fields.several(COUNT), fields.several(TEXT)
SEEDS = fields.several(SEED)
DECAY = fields.Domain(float, "0 or more, below 1", lambda rate: 0 <= rate < 1)
AXIS = fields.Domain(int, "-1 or above 0", lambda size: size == -1 or size > 0)
WHOSE = fields.Domain(str, "'shared' or 'own'", lambda it: it in ("shared", "own"))
TESTS = fields.one_of(code.TESTS)
PLACES = fields.several(fields.one_of(math.FALLBACKS))
TARGETS = fields.several(fields.one_of(decoder.PRODUCTS))
DTYPE = fields.one_of(("float32", "bfloat16", "float16"))
REMAT, ATTENTION = fields.one_of(decoder.REMAT), fields.one_of(decoder.ATTENTION)
COST = fields.one_of(branching_schedule.COSTS)
MISSING = fields.one_of(("refuse", "skip"))
RATIO = fields.one_of((*losses.RATIOS, objectives.PLAIN))
MEAN, KL = fields.one_of(losses.MEANS), fields.one_of(losses.KL)
KL_IN, TRUNCATED = fields.one_of(objectives.PLACES), fields.one_of(objectives.TRUNCATED)
NONFINITE = fields.one_of(("stop", "skip"))
ZERO_ADVANTAGE = fields.one_of(objectives.ZERO_ADVANTAGE)

# A policy: how it is computed, and its sizes or its place.
_COMPUTED = dict(
    dtype=Field("float32", DTYPE, "of activations, keys and values"),
    remat=Field("none", REMAT, "activations that the backward pass computes again"),
    logits_chunk=Field(0, NATURAL, "tokens whose logits exist at once; 0: a message's"),
    unroll=Field(1, COUNT, "layers per iteration of the loop over them"),
    attention=Field("plain", ATTENTION, "einsums, or kernels for 16-bit dtypes"),
    adapters=section(
        "low-rank updates (LoRA), trained in place of the weights",
        rank=Field(0, NATURAL, "of an update; 0: no adapters, weights are trained"),
        alpha=Field(32.0, RATE, "updates are scaled by alpha / rank"),
        targets=Field(tuple(decoder.PRODUCTS), TARGETS, "weights with an adapter"),
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
    norm_eps=Field(1e-6, WEIGHT, "added to mean squares in norms"),
    tied=Field(True, SWITCH, "whether the embedding is the output table, too"),
    embed_std=Field(0.125, WEIGHT, "initial deviation of the embedding"),
    **_COMPUTED,
)
_PATH = "directory, GGUF, installed package, or name on the Hugging Face hub"
_ENDS = "further tokens that end a message, beside those that the model names"
_PUBLISHED = dict(
    path=Field("", TEXT, _PATH), end_tokens=Field((), TEXTS, _ENDS), **_COMPUTED
)
POLICY = Section(
    "a small policy of our own by its sizes, or a published one by its `path`",
    lambda given: _PUBLISHED if "path" in given else _OWN,
)


def _own_option(option) -> Field:
    default = option.default
    domain = fields.optional(fields.Domain(type(default)))
    return Field(None, domain, f"of your estimator; None: {default!r}")


def _option(name: str, kind: type) -> Field:
    """The field of an option: the estimators that have it, and their defaults."""
    options = {n: estimator.options for n, estimator in api.ESTIMATORS.items()}
    usual = {n: own[name].default for n, own in options.items() if name in own}
    whose, values = ", ".join(usual), ", ".join(map(repr, usual.values()))
    if len({*usual.values()}) == 1:
        values = repr(usual.popitem()[1])
    doc = f"of {whose}; None: {values}"
    return Field(None, fields.optional(fields.Domain(kind)), doc)


def _credit(given) -> fields.Fields:
    """An estimator's name, and the options of all there are."""
    options = {n: _option(n, kind) for n, kind in api.options().items()}
    domain = fields.one_of(api.ESTIMATORS)
    if ":" in str(given.get("name", "")):  # One in a file, with options of its own.
        domain, own = TEXT, api.find(given["name"]).options
        options |= {n: _own_option(p) for n, p in own.items() if n not in options}
    doc = "of the estimator, or FILE.py:NAME of your own"
    return {"name": Field("c3", domain, doc)} | options


CREDIT = Section(
    "how credit is assigned; an option that the estimator lacks is refused",
    _credit,
    open=True,
)

# The sections of a run.
PROTOCOL = section(
    "the team, and how many alternatives each role gets",
    name=Field("duo", TEXT, "of the team, one of teams"),
    policies=Field("shared", WHOSE, "one policy for all roles, or one for each agent"),
    budget=Field(8, COUNT, "answers scored per question"),
    branching=Field(
        None,
        ANY,
        "alternatives a role; None: the estimator's own, (4, 2) for C3; "
        f"{branchings.AUTO!r}: the run chooses",
    ),
    continuations=Field(None, MAYBE_ONE_UP, "of an alternative in a vine; None: 2"),
    auto=section(
        f"how a branching of {branchings.AUTO!r} is chosen",
        every=Field(20, TWO_UP, "steps between choices"),
        cost=Field("evaluator_calls", COST, "cost that variance is weighed by"),
    ),
)
SAMPLING = section(
    "how messages are drawn",
    temperature=Field(1.0, RATE, "of the softmax"),
    top_k=Field(0, NATURAL, "most likely tokens, which are kept; 0: all"),
    top_p=Field(1.0, PART, "of the probability, which is kept; below 1 needs top_k"),
    min_tokens=Field(1, NATURAL, "before a message may end"),
    max_concurrent=Field(0, NATURAL, "messages decoded at a time; 0: all of a step"),
)
REWARD = section(
    "how answers are scored",
    workers=Field(0, NATURAL, "processes that score; 0: one a core"),
    timeout_s=Field(5.0, RATE, "for one answer, or one program and its tests"),
    cut=Field(1.0, SHARE, "factor on the training reward for each cut message"),
    fallback=Field(("boxed",), PLACES, "places of an answer, the first found counts"),
    memory_mb=Field(512, COUNT, "for one program"),
    tests=Field("asserts", TESTS, "of programs: code, or cases of what is printed"),
    all_passed=Field(False, SWITCH, "a program earns 1 for all of its tests, else 0"),
    prelude=Field("", TEXT, "source that runs before every program: imports"),
    bubblewrap=Field(False, SWITCH, "whether it, too, confines programs"),
    accept=Field("", TEXT, "a risk, in the words of the error that names it"),
)
WARM_START = section(
    "supervised on careless demonstrations: the team learns the form, not the truth",
    demonstrations=Field("", TEXT, 'file of your own; "": the task\'s, careless ones'),
    missing=Field("refuse", MISSING, "what to do if a task has no demonstrations"),
    steps=Field(1500, NATURAL, "of the optimiser; 0: no warm start"),
    batch_size=Field(32, COUNT, "questions"),
    grad_accumulation=Field(1, COUNT, "microbatches a gradient is summed over"),
    lr=Field(5e-3, RATE, "at its highest"),
    warmup=Field(30, NATURAL, "optimiser steps"),
    careless=Section("how often each kind of mistake occurs", {}, open=True),
    checkpoint_every=Field(250, COUNT, "steps"),
    seed=Field(None, MAYBE_SEED, "of the starting policy; None: the run's"),
)
UNTIL = section(
    "budgets of training, by its ledger; the run ends at the last of these",
    evaluator_calls=Field(None, MAYBE_COUNT, "answers scored"),
    generated_tokens=Field(None, MAYBE_COUNT, "tokens sampled"),
    seconds=Field(None, MAYBE_RATE, "of sampling, scoring and updates"),
)
TRAIN = section(
    "reinforcement learning from the reward of the final answer",
    steps=Field(240, COUNT, "batches of questions"),
    batch_size=Field(24, COUNT, "questions"),
    groups=Field(1, COUNT, "parts of a batch, scored while the next is sampled"),
    epochs=Field(1, COUNT, "passes over a batch"),
    frozen=Field((), TEXTS, "policies that are left as they are"),
    alternate=Field(False, SWITCH, "policies learn in turn, one a step"),
    minibatches=Field(1, COUNT, "optimiser steps a pass"),
    grad_accumulation=Field(1, COUNT, "microbatches a gradient is summed over"),
    buckets=Field(0, NATURAL, "padded sizes of microbatches; 0: one for all"),
    ratio=Field(
        "token",
        RATIO,
        "clipped as in PPO, one a token; sequence (GSPO) and turn (ReMA): one a "
        "message; none: REINFORCE",
    ),
    mean=Field(
        "token",
        MEAN,
        "units of equal weight; sequence: messages; turn: roles, and messages within",
    ),
    clip=Field(None, MAYBE_RATE, "below 1; None: the ratio's, 0.2, of sequences 3e-4"),
    clip_high=Field(None, MAYBE_RATE, "above 1; None: as below, of sequences 4e-4"),
    dual_clip=Field(None, MAYBE_ABOVE_1, "bound on the loss of bad messages, if any"),
    whiten=Field(False, SWITCH, "credit is centred and scaled over a step's messages"),
    kl=Field(0.0, WEIGHT, "weight of the KL to the starting policy; 0: no KL"),
    kl_estimator=Field("k3", KL, "of the KL"),
    kl_in=Field("loss", KL_IN, "reward: a message pays for its own divergence"),
    kl_target=Field(None, MAYBE_RATE, "nats a token that kl is adapted to; None: not"),
    entropy=Field(
        None,
        MAYBE_WEIGHT,
        "weight of that of the distribution sampled from; 0: measured; None: not even",
    ),
    zero_advantage=Field(
        "keep", ZERO_ADVANTAGE, "whether questions without any credit count in the mean"
    ),
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
    max_grad_norm=Field(0.3, NORM, "larger gradients are scaled down to it"),
    final_lr=Field(0.1, SHARE, "of lr, at the end of its cosine; 1.0: constant"),
    nonfinite=Field(
        "stop",
        NONFINITE,
        "what ends a run at once; skip: its step is left out, up to max_skipped",
    ),
    max_skipped=Field(3, COUNT, "steps in a row that may be left out"),
    checkpoint_every=Field(20, COUNT, "steps"),
    checkpoint_minutes=Field(
        10.0, MAYBE_RATE, "until a step is saved that is not due otherwise; None: never"
    ),
    until=UNTIL,
)
CRITIC = section(
    "a model that predicts the reward of a context (mappo) or message (c3_value_..)",
    policy=Section(
        "like policy; empty: it starts as a copy of the first role's",
        lambda given: POLICY.of(given) if given else {},
    ),
    lr=Field(1e-3, RATE, "at its highest"),
    clip=Field(0.5, RATE, "how far a step may move a prediction"),
    epochs=Field(4, COUNT, "passes over a batch"),
    minibatches=Field(1, COUNT, "optimiser steps a pass"),
)
EXPERIMENT = section(
    "one run",
    name=Field("experiment", TEXT, "of the run, and of its directory in runs/"),
    seed=Field(0, SEED, "of all random numbers"),
    mesh=section(
        "axes of the devices; one size may be -1: all that the others leave",
        data=Field(-1, AXIS, "of the questions"),
        fsdp=Field(1, AXIS, "of questions and parameters"),
        tensor=Field(1, AXIS, "of heads, hidden units and vocabulary"),
    ),
    policy=POLICY,
    policies=Section(
        "role: its own policy, in place of the common one",
        lambda given: dict.fromkeys(given, POLICY),
        open=True,
    ),
    data=data_fields.SECTION,
    teams=Section("name: role: its fields; any acyclic graph of roles", {}, open=True),
    protocol=PROTOCOL,
    credit=CREDIT,
    rating=section(
        "how roles rate each other after the answer, for credit by ratings",
        instruction=Field("", TEXT, "asks for a rating of every role in JSON"),
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
        questions=Field(512, COUNT, "of the test split; of validation, at most"),
        samples=Field(10, COUNT, "episodes a question, for pass@k"),
        k=Field((1, 4, 10), COUNTS, "of pass@k"),
        batch_size=Field(512, COUNT, "questions"),
        trees=Field(4, NATURAL, "questions whose whole tree is saved"),
    ),
)

# The other pages.
COMPARISON = section(
    "runs of several methods, from one starting policy at equal cost",
    name=Field("compare", TEXT, "of the comparison, and of its directory in runs/"),
    base=EXPERIMENT,
    methods=Section("label: its changes to the base", {}, open=True),
    reference=Field("magrpo", TEXT, "method that the others are compared with"),
    seeds=Field((0, 1, 2), SEEDS, "runs of one seed are paired"),
    budgets=Section("costs at which methods are compared", UNTIL.fields),
    processes=Field(1, ONE_UP, "runs at a time"),
    cells=Field("", TEXT, 'file of finished runs; "": cells.jsonl in the workdir'),
    keep=Field(False, SWITCH, "whether checkpoints of finished runs stay"),
)
AUDIT = section(
    "the quality of credit, in a run or in the logs of any system",
    name=Field("audit", TEXT, "of the directory in runs/, without --workdir"),
    audit=section(
        "which contexts and estimators; all but buckets is for an audit of a run",
        buckets=Field("", TEXT, 'a file of contexts, a line each; "": a run\'s own'),
        methods=Field("", TEXT, 'estimators; "": the run\'s own, c3 and magrpo'),
        questions=Field(
            200,
            COUNT,
            "of the test split, a multiple of audit.batch_size; each a context for "
            "every role",
        ),
        batch_size=Field(100, ONE_UP, "of them sampled at a time"),
        candidates=Field(8, TWO_UP, "messages sampled from a context"),
        continuations=Field(8, ONE_UP, "of each"),
        extra=Field(16, NATURAL, "further messages from a context, for its value"),
        fit=Field(40, NATURAL, "steps of trees that a critic or a memory learns from"),
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
    """The declaration of a config: of a run, a comparison or an audit."""
    if "methods" in config:
        return COMPARISON
    return AUDIT if "audit" in config else EXPERIMENT
