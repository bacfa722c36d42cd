"""Buckets as lines of JSON and as arrays."""

import json

import numpy as np
import pytest

from c3jax.audit import buckets


def some() -> list[buckets.Bucket]:
    return [
        buckets.Bucket(
            id="q1/actor",
            role="actor",
            context="7 pens, 3 each",
            extra=(0.0, 1.0, 1.0, 1.0),
            candidates=(
                buckets.Candidate(
                    (1.0, 0.0), "a", {"c3": 0.25}, ("ok", "no"), ("21", "3")
                ),
                buckets.Candidate((0.0, 0.0), "b", {"c3": -0.25}, ("no", "no")),
            ),
        ),
        buckets.Bucket((buckets.Candidate((1.0,)), buckets.Candidate((0.5,)))),
        buckets.Bucket(
            role="actor",
            extra=(1.0, 1.0),
            candidates=(
                buckets.Candidate((1.0, 1.0), credit={"c3": 0.5, "other": 0.0}),
                buckets.Candidate((1.0, 0.0), credit={"c3": 0.0, "other": 0.0}),
                buckets.Candidate((0.0, 0.0), credit={"c3": -0.5, "other": 0.0}),
            ),
        ),
    ]


def test_a_file_reads_back(tmp_path):
    path = tmp_path / "buckets.jsonl"
    buckets.write(path, some())
    assert buckets.read(path) == (some(), [])
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["candidates"][0]["returns"] == [1.0, 0.0]


def test_only_candidates_and_their_returns_are_needed():
    line = '{"candidates": [{"returns": [1]}, {"returns": [0]}]}'
    assert buckets.parse(line).candidates[0].returns == (1.0,)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "wanted a JSON object"),
        ("3", "the line: wanted an object, came 3"),
        ('{"candidates": []}', "candidates: wanted a list of 2 or more"),
        ('{"candidates": [1, 2]}', r"candidates\[0\]: wanted an object, came 1"),
        (
            '{"candidates": [{"returns": [1]}, {"returns": []}]}',
            r"candidates\[1\].returns: wanted one number or more",
        ),
        (
            '{"candidates": [{"returns": [1]}, {"returns": [true]}]}',
            r"candidates\[1\].returns\[0\]: wanted a number, came True",
        ),
        (
            '{"candidates": [{"returns": [1], "credit": {"x": NaN}}, {}]}',
            r"candidates\[0\].credit.x: wanted a number, came nan",
        ),
        (
            '{"candidates": [{"returns": [1, 0], "replies": ["a"]}, {}]}',
            r"candidates\[0\].replies: wanted 2, one a return",
        ),
        ('{"candidate": []}', r"\['candidate'\] is read by nobody"),
    ],
)
def test_a_malformed_line_says_what_was_wanted(line, message):
    with pytest.raises(buckets.Malformed, match=message):
        buckets.parse(line)


def test_the_other_lines_of_a_file_are_read(tmp_path):
    path = tmp_path / "logs.jsonl"
    good = '{"candidates": [{"returns": [1]}, {"returns": [0]}]}'
    path.write_text(f"{good}\n\n{{}}\n{good}\n")
    found, wrong = buckets.read(path)
    assert len(found) == 2
    assert wrong == [f"{path}:3: candidates: wanted a list of 2 or more objects"]


def test_arrays_are_padded_with_what_is_not_there():
    (role, found), (other, _) = buckets.by_role(some())
    assert (role, other) == ("actor", "")
    assert found.returns.shape == (2, 3, 2)
    np.testing.assert_array_equal(found.credit["c3"][0], [0.25, -0.25, np.nan])
    np.testing.assert_array_equal(found.credit["other"][0], np.full(3, np.nan))
    replies = found.symbols["replies"]
    assert replies[0, 0, 1] == replies[0, 1, 0] == replies[0, 1, 1] != replies[0, 0, 0]
    assert (replies[1] == -1).all() and (found.symbols["answers"][0, 1] == -1).all()


def test_worth_is_the_return_beyond_that_of_other_samples_and_has_their_noise():
    (_, found), (_, without) = buckets.by_role(some())
    # Returns 1, 0 and extra samples 0, 1, 1, 1.
    assert found.worth[0, 0] == 0.5 - 0.75
    assert found.noise[0, 0] == pytest.approx(0.5 / 2 + 0.25 / 4)
    assert np.isnan(found.worth[0, 2]) and np.isnan(without.worth).all()
    assert without.noise is None
