"""Golds that an answer can meet."""

import pytest

from c3jax.core.types import EXACT, Rules
from c3jax.reward import golds, math

ANSWERS = [
    *("18", "-2.50", "1e3", "1,200", r"\frac{1}{2}", r"3\sqrt{2}+1", "x^2 + 3x + 2"),
    *("(1, 2)", r"[0, \infty)", r"\{1, 2\}", "1, 2, 3", "x = 5", "C", "(C) 42", "no"),
    *(r"5 \text{ feet}", "25\\%", r"\$12", "三分之二", r"\text{Monday}", "10:30 a.m."),
    "C. Tom is older than Ann. Ann is older than Kim.",
    "90\\text{ square\nunits}",
    "\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}",
]  # fmt: skip


def test_an_answer_that_can_be_given_is_no_problem_and_earns_the_reward():
    for gold in ANSWERS:
        assert golds.unmet(gold, EXACT) == ""
        assert math.score(rf"so \boxed{{{gold}}}", gold) == 1


@pytest.mark.parametrize(
    ("gold", "why"),
    [
        (" \n", "is empty"),
        ("3*6 = 18\n#### 18", "it holds ####. Say data.answer='hash'"),
        (r"so $\boxed{5}$", r"it holds \\boxed. Say data.answer='boxed'"),
        ("The answer is 5.", "it holds answer is. Say data.answer='answer_is'"),
        ("答案是5", "Say data.answer='answer_is'"),
        ("1+" * 251, "has 502 characters; an answer has 500 at most"),
        ("5\u200b", r"an invisible character, U\+200B"),
        (r"\frac{1}{2", "cannot be read back from a box"),
        ("1}+{2", "cannot be read back from a box"),
        ("5\\", "cannot be read back from a box"),
        ("First we add two numbers. Then we get five apples.", "is prose"),
        ("Tom buys three more.\nHe has five now", "is prose"),
        ("先算出苹果的总数。然后除以三得到五。", "is prose"),
        ("She has " + "very " * 9 + "many apples", "is prose"),
    ],
)
def test_a_gold_that_no_answer_would_meet_says_why(gold, why):
    with pytest.raises(AssertionError, match=why):
        assert not golds.unmet(gold, EXACT), golds.unmet(gold, EXACT)


def test_a_gold_must_fit_where_answers_are_looked_for():
    numbers = Rules(fallback=("last_number",))
    assert golds.unmet("18", numbers) == ""
    assert "add 'boxed' to that" in golds.unmet("x+1", numbers)
    assert golds.unmet("x+1", Rules(fallback=("last_number", "hash"))) == ""
    assert golds.unmet("x+1", Rules(fallback=("answer_is",))) == ""


def test_an_answer_is_taken_from_the_place_in_a_solution():
    assert golds.reduced("3*6 = 18\n#### 18\n", "hash") == "18"
    assert golds.reduced(r"so $\boxed{\frac{1}{2}}$.", "boxed") == r"\frac{1}{2}"
    assert golds.reduced("Hence the answer is 5.", "answer_is") == "5"
    assert golds.reduced("Tom has 7 pens.", "last_number") == "7"
    assert golds.reduced(" 7 ", golds.WHOLE) == "7"
    assert golds.reduced("7", "boxed") == ""
