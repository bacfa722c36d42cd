import pytest

from c3jax.reward import math


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so \boxed{ 22 }", "22"),
        (r"\boxed{1} then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{3} and \boxed{4", "3"),
        (r"\boxed{{}", None),
        ("22", None),
        ("", None),
    ],
)
def test_the_last_balanced_box_is_the_answer(text, found):
    assert math.extract(text) == found


def test_only_an_exact_match_is_paid():
    assert math.score(r"\boxed{ 22 }", "22") == 1.0
    assert math.score(r"\boxed{ 22.0 }", "22") == 0.0
    assert math.score("22", "22") == 0.0
