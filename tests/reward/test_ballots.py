import pytest

from c3jax.core.types import Rules
from c3jax.reward import ballots


def boxed(*answers):
    return [rf"so \boxed{{{answer}}}" for answer in answers]


@pytest.mark.parametrize(
    ("answers", "numbers"),
    [
        (["7", "8", "7"], [0, 1, 0]),
        (["0.5", r"\frac{1}{2}", "1/2", "2"], [0, 0, 0, 1]),
        (["(1, 2)", "(2, 1)", "(1,2)"], [0, 1, 0]),
    ],
)
def test_equal_answers_are_one_ballot(answers, numbers):
    assert ballots.submit(boxed(*answers))() == numbers


def test_the_order_of_two_answers_does_not_matter():
    assert ballots.submit(boxed("2", "1+1"))() == [0, 0]
    assert ballots.submit(boxed("1+1", "2"))() == [0, 0]


def test_who_gives_no_answer_abstains():
    assert ballots.submit(["7", *boxed("7"), ""])() == [-1, 0, -1]
    said = ballots.submit(["7", *boxed("7")], Rules(fallback=("boxed", "last_number")))
    assert said() == [0, 0]
    assert ballots.submit([])() == []
