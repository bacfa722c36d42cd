import json

import numpy as np
import pytest

from c3jax.reward import ratings


@pytest.mark.parametrize(
    ("text", "right", "shares"),
    [
        ('{"shares": [0.6, 0.4], "correct": true}', True, (0.6, 0.4)),
        ('so: {"correct": false, "shares": [0.1, 0.9]}.', False, (0.1, 0.9)),
        ('{"shares": [0.9, 0.1], "correct": true} no: ' * 2, True, (0.9, 0.1)),
        ('{x} {"shares": [0.3, 0.7], "correct": true}', True, (0.3, 0.7)),
        ('{"shares": [0.6, 0.4], "correct": true}', False, None),
        ('{"shares": [0.6, 0.4], "correct": 1}', True, None),
        ('{"shares": [0.6, 0.6], "correct": true}', True, None),
        ('{"shares": [1.0, 0.0], "correct": true}', True, None),
        ('{"shares": "0.6, 0.4", "correct": true}', True, None),
        ('{"shares": [0.6, 0.4]}', True, None),
        ('{"shares": [0.6, 0.4], "correct": true', True, None),
        ("[" * 50_000, True, None),
        ("{" + '"a":{' * 5_000, True, None),
        ("", True, None),
    ],
)
def test_a_rating_is_valid_if_it_is_one_of_nine_and_knows_the_outcome(
    text, right, shares
):
    assert ratings.read(text, right) == shares


def test_all_nine_pairs_are_valid():
    for tenth in range(1, 10):
        pair = tenth / 10, (10 - tenth) / 10
        text = json.dumps({"shares": pair, "correct": True})
        assert ratings.read(text, True) == pair


def test_raters_are_told_apart_and_what_is_not_valid_is_even():
    def says(first, second, right):
        return json.dumps({"shares": [first, second], "correct": right})

    thinker = [says(0.9, 0.1, True), says(0.2, 0.8, True), "?"]
    solver = [says(0.3, 0.7, True), says(0.4, 0.6, False), says(0.6, 0.4, True)]
    found, invalid = ratings.shares([thinker, solver], [True, False, True])
    wanted = [[[0.9, 0.1], [0.3, 0.7]], [[0.5, 0.5], [0.4, 0.6]]]
    np.testing.assert_allclose(found[:2], wanted)
    np.testing.assert_allclose(found[2], [[0.5, 0.5], [0.6, 0.4]])
    assert invalid == 2
