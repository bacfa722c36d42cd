"""The questions of a config: what may be said of them, and what is refused."""

import pytest

from c3jax.core.types import Rules
from c3jax.data import own
from c3jax.setup import questions
from tests import support
from tests.data import layout

WORDS = "ana has {} pens . buys 4 . how many now ?"


def config(**changes):
    return support.page_config("math", **changes)


def test_rules_are_the_tasks_where_nothing_else_is_said():
    assert questions.reading(config(data__task="cmath")).rules == Rules(chinese=True)
    changed = config(
        data__task="cmath",
        data__rules__chinese=False,
        data__rules__tolerance=0.01,
        data__rules__ordered=True,
        reward__fallback=("boxed", "hash"),
    )
    reading = questions.reading(changed)
    places = ("boxed", "hash")
    assert reading.rules == Rules(tolerance=0.01, ordered=True, fallback=places)
    assert len(reading.given) == 3 and "data.rules.tolerance=0.01" in reading.given


def test_answers_are_read_as_the_config_says(tmp_path):
    row = {"question": "a?", "answer": "3*6 = 18\n#### 18"}
    path = layout.jsonl(tmp_path / "mine.jsonl", [row])
    told = "mine.jsonl, line 1: field 'answer' is a solution.*data.answer='hash'"
    with pytest.raises(ValueError, match=told):
        own.read(path, questions.reading(config(data__task="gsm8k")))
    changed = config(data__task="gsm8k", data__answer="hash")
    assert own.read(path, questions.reading(changed))[0].answer == "18"
    tests = layout.jsonl(tmp_path / "t.jsonl", [{"question": "f?", "answer": "f(1)"}])
    with pytest.raises(ValueError, match="t.jsonl, line 1: .* makes no check"):
        own.read(tests, questions.reading(config(data__task="mbpp")))


@pytest.mark.parametrize(
    "changes", [{"data__answer": "hash"}, {"data__rules__percent": True}]
)
def test_programs_have_no_rules_of_answers(changes):
    with pytest.raises(
        ValueError, match="^data.*: the answers of data.task='mbpp' are"
    ):
        questions.reading(config(data__task="mbpp", **changes))


def test_a_split_of_one_question_is_refused_with_the_way_on(tmp_path):
    def file(name, numbers):
        made = [{"question": WORDS.format(n), "answer": n + 4} for n in numbers]
        return str(layout.jsonl(tmp_path / name, made))

    def load(**names):
        changed = {f"data__{name}": value for name, value in names.items()}
        given = config(data__task="gsm8k", evaluate__questions=2, **changed)
        questions.load(given, lambda texts: [1] * len(texts), ())

    train, two = (file("train.jsonl", range(1, 9)),), file("two.jsonl", (11, 12))
    one = file("one.jsonl", (10,))
    load(train=train, test=two)
    with pytest.raises(
        ValueError, match="^data.test=.*one.jsonl' has 1 question.*more"
    ):
        load(train=train, test=one)
    with pytest.raises(ValueError, match="^data.validation=.* has 1 .* or say None"):
        load(train=train, test=two, validation=one)
