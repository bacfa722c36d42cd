"""What each role of a team is shown."""

import pytest

from c3jax.data import problems
from c3jax.train import warm_start
from tests import support

SHOWN = problems.Demonstration(plan="3 +4", answer=r"3 +4 7 \boxed{ 7 }")


@pytest.mark.parametrize(
    ("name", "budget", "said"),
    [
        ("solo", 8, ["answer"]),
        ("duo", 8, ["plan", "answer"]),
        ("trio", 8, ["plan", "answer", "answer"]),
        ("branch", 16, ["plan", "answer", "answer", "answer"]),
        ("vote", 8, ["answer", "answer", "answer", ""]),
        ("debate", 32, ["answer"] * 5),
    ],
)
def test_roles_that_solve_are_shown_answers_and_the_others_plans(name, budget, said):
    setup = support.math_setup(protocol__name=name, protocol__budget=budget)
    turns = warm_start.demonstrated(setup, [[SHOWN]])
    texts = [setup.texts(turn, level)[0] for level, turn in enumerate(turns)]
    assert texts == [getattr(SHOWN, each) if each else "" for each in said]
    assert [bool(turn.ended[0, 0, 0]) for turn in turns] == [
        bool(each) for each in said
    ]
