import pytest

from c3jax.credit import api


@pytest.mark.parametrize(
    ("name", "levels", "expected"),
    [
        ("c3", 1, (8,)),
        ("c3", 2, (4, 2)),
        ("c3", 3, (2, 2, 2)),
        ("magrpo", 1, (8,)),
        ("magrpo", 2, (8, 1)),
        ("rloo", 3, (8, 1, 1)),
    ],
)
def test_branching_resolves_per_estimator(name, levels, expected):
    assert api.branching(name, levels, 8, None) == expected


def test_a_given_branching_is_kept():
    assert api.branching("c3", 2, 8, (2, 4)) == (2, 4)


@pytest.mark.parametrize(
    ("name", "levels", "budget", "given", "message"),
    [
        ("c3", 2, 8, (8, 1), r"compares siblings.*Try \(4, 2\)"),
        ("c3", 2, 8, (2, 2), "scores 4 answers.*budget=8"),
        ("c3", 2, 8, (2, 2, 2), "3 entries for 2 roles"),
        ("c3", 2, 8, (4, 0), "positive integer"),
        ("c3", 4, 8, None, "try 16"),
        ("c3", 2, 1, None, "at least 2"),
        ("magrpo", 2, 8, (4, 2), r"independent episodes, which is \(8, 1\)"),
    ],
)
def test_a_branching_that_does_not_fit_is_refused(name, levels, budget, given, message):
    with pytest.raises(ValueError, match=message):
        api.branching(name, levels, budget, given)
