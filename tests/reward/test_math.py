import threading
import time

import pytest

from c3jax.core import types
from c3jax.reward import math


@pytest.fixture(scope="module")
def verifier():
    verifier = math.Verifier(workers=2)
    yield verifier
    verifier.close()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{ 22 }", "22"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed {3}", "3"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ 1 \right.}", r"\left\{ 1 \right."),
        (r"\boxed{3}" + "x" * 5000, None),
        (r"\boxed{ }", None),
        (r"\boxed{{}", None),
        ("22", None),
        ("", None),
    ],
)
def test_the_last_balanced_box_is_the_answer(text, found):
    assert math.extract(text) == found


@pytest.mark.parametrize(
    ("text", "fallback", "found"),
    [
        ("It is 3.\n#### 18", "hash", "18"),
        ("The answer is 12. I hope", "answer_is", "12"),
        ("the answer is: $x^2$.", "answer_is", "x^2"),
        ("**Answer:** 3.5", "answer_is", "3.5"),
        ("答案是12元。", "answer_is", "12元"),
        ("from 3 to 1,250 m", "last_number", "1,250"),
        ("2 - 5 is -3", "last_number", "-3"),
        ("none", "last_number", None),
    ],
)
def test_other_places_are_looked_at_where_they_are_named(text, fallback, found):
    assert math.extract(text) is None
    assert math.extract(text, ("boxed", fallback)) == found


def test_an_unknown_place_to_look_is_refused():
    with pytest.raises(ValueError, match="fallback='box' is not known; did you mean"):
        math.extract("", ("box",))


@pytest.mark.parametrize(
    ("gold", "box"),
    [
        ("5", "9" * 1_000_000),
        ("5", "{" * 1_000 + "5" + "}" * 1_000),
        ("x", "(" * 200 + "x" + ")" * 200),
        (r"\sqrt{2}", r"\sqrt{" * 60 + "2" + "}" * 60),
        ("x", "x" + "+x" * 240),
        ("5", "5\x00"),
        ("12", "\u202e21"),
        ("x", "\ud800"),
        ("5", "," * 499),
        ("5", "-" * 400 + "5"),
        ("5", "5 " + "a" * 400 + "!"),
        ("5", "1/0"),
        ("x", "x/0"),
    ],
)
def test_a_hostile_answer_is_wrong_at_once(gold, box):
    begin = time.perf_counter()
    assert math.score(rf"\boxed{{{box}}}", gold) == 0.0
    assert time.perf_counter() - begin < 3


@pytest.mark.parametrize("piece", [r"\boxed{", "{", "}", "\\", r"\boxed", "####", "1"])
def test_a_megabyte_is_looked_through_at_once(piece):
    begin = time.perf_counter()
    places = tuple(math.FALLBACKS)
    math.extract(piece * (1_000_000 // len(piece)), places)
    assert time.perf_counter() - begin < 0.5


def test_verdicts_come_in_order_and_say_what_happened(verifier):
    texts = [r"\boxed{\sqrt{8}}", "none", r"\boxed{3}", r"\boxed{x+y}", r"\boxed{4}"]
    golds = [r"2\sqrt{2}", "1", "3", "x-y", "5"]
    assert math.grade(texts, golds, verifier=verifier) == [
        math.Verdict(correct=True),
        math.Verdict(malformed=True),
        math.Verdict(correct=True),
        math.Verdict(),
        math.Verdict(),
    ]


def test_an_answer_that_takes_too_long_is_a_timeout_and_the_next_is_judged():
    verifier = math.Verifier(workers=1, limit_s=0.0)
    try:
        found = math.grade([r"\boxed{\sqrt{8}}"], [r"2\sqrt{2}"], verifier=verifier)
        assert found == [math.Verdict(timeout=True)]
    finally:
        verifier.close()


def test_what_was_judged_is_not_judged_again(verifier):
    rules = types.Rules()
    first = verifier.submit(r"\sqrt{12}", r"2\sqrt{3}", rules)
    assert verifier.submit(r"\sqrt{12}", r"2\sqrt{3}", rules) is first
    other = types.Rules(tolerance=0.1)
    assert verifier.submit(r"\sqrt{12}", r"2\sqrt{3}", other) is not first


def test_only_the_last_judgements_are_remembered():
    verifier = math.Verifier(workers=1, remembered=1)
    try:
        first = verifier.submit("x", "y", types.Rules())
        verifier.submit("x", "z", types.Rules())
        assert verifier.submit("x", "y", types.Rules()) is not first
    finally:
        verifier.close()


def test_any_thread_may_ask(verifier):
    found = {}

    def ask(n):
        text, gold = rf"\boxed{{\sqrt{{{2 * n * n}}}}}", rf"{n}\sqrt{{2}}"
        found[n] = math.grade([text], [gold], verifier=verifier)[0].correct

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(2, 12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(2, 12), True)


def test_plain_numbers_need_no_worker(monkeypatch):
    monkeypatch.setattr(math, "shared", None)
    texts = [r"\boxed{22}", r"\boxed{ 22.0 }", r"\boxed{21}", "22", r"\boxed{2+20}"]
    assert math.scores(texts, ["22"] * 5) == [1.0, 1.0, 0.0, 0.0, 0.0]


def test_as_many_answers_as_texts_are_asked_for():
    with pytest.raises(ValueError, match="2 texts and 1 answers"):
        math.grade(["", ""], [""])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("3 + 4 = 7. She has 3.", True),
        ("he buys 5 more, so he now has 3 + 4 = 7 coins for 2 days", True),
        ("The total number of eggs is **7**. There were 3.", True),
        ("There are now $7, not 8", True),
        ("He has 7 books left of 9", True),
        ("So Tom has 7 books, and 2 pens.", True),
        ("3 and 4 make 7", True),
        ("Tom has 7 books and 2 pens", False),  # as in a question
        ("It is 7 + 2, so 9", False),  # a sum that is not done
        ("There are 7 x 2 eggs: 14", False),
        ("= 7.5 or 2", False),
        ("It is 17, or 72", False),
        ("seven", False),
        ("", False),
    ],
)
def test_any_number_that_stands_as_a_result_is_found_and_no_other(text, found):
    assert math.any_number(text, "7") == found
