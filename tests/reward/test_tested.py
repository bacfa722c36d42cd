"""Tests of programs that can tell a right one from a wrong one."""

import pytest

from c3jax.reward import tested

CHECK = "def check(candidate):\n    assert candidate(1) == 2\n"


@pytest.mark.parametrize(
    ("tests", "entry_point"),
    [
        ("assert add(1, 2) == 3", ""),
        ("for n in (1, 2):\n    assert sum_to(n) > 0", ""),
        ("def test_it():\n    assert f(1)", ""),
        (CHECK + "check(f)", ""),
        (CHECK + "check(Solution().f)", "Solution().f"),
        ("assert sum([1, 2]) == 3", "sum"),
    ],
)
def test_tests_that_check_a_program_are_no_problem(tests, entry_point):
    assert tested.untested(tests, entry_point) == ""


@pytest.mark.parametrize(
    ("tests", "why"),
    [
        ("assert sum([1, 2]) == 3", "data.fields.entry_point"),
        (CHECK + "check(sum)", "data.fields.entry_point"),
        (CHECK, "makes no check"),
        ("print(f(1))", "makes no check"),
        ("def helper():\n    assert f(1)", "makes no check"),
        ("assert f(1", "is no Python"),
        ("assert f(1)\0", "is no Python"),
    ],
)
def test_tests_that_no_program_could_pass_or_fail_say_why(tests, why):
    assert why in tested.untested(tests)
