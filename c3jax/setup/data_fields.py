"""The section `data` of a config: the questions of a run."""

from c3jax.reward import golds
from c3jax.setup import fields
from c3jax.setup.fields import SWITCH, TEXT, Field, section

_TEXTS, _RATES = fields.several(TEXT), fields.several(fields.number(above=0))
_NATURAL, _PART = fields.whole(least=0), fields.number(above=0, most=1)
_OVERLAP = fields.one_of(("drop", "keep", "refuse"))
_OVERLONG, _GOLD = fields.one_of(("drop", "refuse")), fields.one_of(golds.PLACES)
_BELOW_1 = fields.Domain(float, "0 or more, below 1", lambda part: 0 <= part < 1)
_MAYBE_BELOW_1, _MAYBE = fields.optional(_BELOW_1), fields.optional(SWITCH)
_DATE = fields.Domain(str, "a date such as 2026-01-01", fields.is_date)

SECTION = section(
    "the questions",
    task=Field("problems", TEXT, "generated, or math, gsm8k, .. of data.tasks"),
    train=Field((), _TEXTS, '"dataset/split" or files of your own; (): the task\'s'),
    weights=Field((), _RATES, "relative rates of these; (): all questions equally"),
    test=Field("", TEXT, 'like one of train; "": the task\'s'),
    validation=Field(
        "",
        fields.optional(TEXT),
        'read between start and end, like one of train; "": the task\'s, or a tenth of '
        "train; None: none, and the test split is read then",
    ),
    directory=Field("", TEXT, 'of prepared datasets; "": ~/.cache/c3jax/data'),
    source=Field("", TEXT, 'directory of datasets\' files; "": they are downloaded'),
    fields=section(
        'what your own files call these, a.b for b within a; "": there is none',
        question=Field("question", TEXT, "its text"),
        answer=Field("answer", TEXT, "the right one; of programs, their tests"),
        id=Field("", TEXT, "of the question"),
        entry_point=Field("", TEXT, "what tests call, where they leave that open"),
        inputs=Field("", TEXT, "of a program that prints, a list, with `outputs`"),
        outputs=Field("", TEXT, "that a program shall print, a list"),
        time_limit_s=Field("", TEXT, "seconds a case, where a problem has its own"),
        memory_limit_mb=Field("", TEXT, "MiB a case, where a problem has its own"),
    ),
    answer=Field("whole", _GOLD, "what of your own answers is the gold one"),
    rules=section(
        "what answers to your own questions may be; None: as the task's may",
        tolerance=Field(None, _MAYBE_BELOW_1, "of a number, as a part of the gold one"),
        percent=Field(None, _MAYBE, "a percent sign may be missing"),
        ordered=Field(None, _MAYBE, "lists must be in the gold one's order"),
        chinese=Field(None, _MAYBE, "numerals and units may be Chinese"),
        lowest_terms=Field(None, _MAYBE, "fractions must be, if the gold one is"),
    ),
    overlap=section(
        "training questions that are in another split",
        action=Field("drop", _OVERLAP, "how these are treated"),
        ngram=Field(13, _NATURAL, "words of an n-gram; 0: only equal questions count"),
        share=Field(0.5, _PART, "of the other's n-grams that make a question the same"),
    ),
    tokenizer=Field("words", TEXT, 'or a directory or GGUF; "": that of policy.path'),
    prompt_tokens=Field(
        32, _NATURAL, "of the longest question; 0: as it needs, to 512"
    ),
    overlong=Field("drop", _OVERLONG, "how longer questions are treated"),
    thinking=Field(False, SWITCH, "state of the switch that some chat templates have"),
    date=Field("2026-01-01", _DATE, "today's, to chat templates that write it"),
)
