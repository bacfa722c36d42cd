import random
import re

import numpy as np
import pytest

from c3jax.data import problems
from c3jax.reward import math

FIRST_TEST = "ian has 26 books . lends 7 . waits 7 days . lends 4 . how many now ?"
CAREFUL = problems.Carelessness(0, 0, 0, 0, 0)


def some(split, n=400):
    source = problems.Problems(split)
    return [source[index] for index in range(min(n, len(source)))]


def program(problem):
    amounts = [e.sign * e.amount for e in problem.events if e.sign]
    return problems.written(problem.start, amounts)


def test_splits_share_no_program_and_demonstrations_write_training_ones_only():
    programs = {split: set(map(program, some(split))) for split in problems.SPLITS}
    held_out = programs["validation"] | programs["test"]
    assert not programs["train"] & held_out
    assert not programs["validation"] & programs["test"]
    rng = random.Random(0)
    for problem in some("train"):
        plan = problems.demonstrate(problem, rng, problems.Carelessness()).plan
        start, *amounts = map(int, plan.split())
        assert problems.split_of(start, amounts) == "train"


def test_a_problem_is_a_function_of_its_address():
    assert problems.Problems("test")[17] == problems.Problems("test")[17]
    # Pinned: the test set must not move under anybody's results.
    assert problems.Problems("test")[0].text == FIRST_TEST
    assert len(problems.Problems("test")) == 512


def test_the_text_tells_the_program_and_the_answer_follows_from_it():
    for problem in some("train"):
        told = [int(n) for n in re.findall(r"\d+", problem.text)]
        assert told == [problem.start, *(event.amount for event in problem.events)]
        total = problem.start
        for event in problem.events:
            total += event.sign * event.amount
            assert 0 <= total <= 99
        assert problem.answer == str(total)
        assert 2 <= sum(event.sign != 0 for event in problem.events) <= 3


def test_a_careful_demonstration_is_right():
    rng = random.Random(0)
    for problem in some("train"):
        shown = problems.demonstrate(problem, rng, CAREFUL)
        assert math.score(shown.answer, problem.answer) == 1.0
        assert shown.plan == program(problem)


def test_careless_demonstrations_are_right_about_half_the_time():
    rng = random.Random(0)
    right = [
        math.score(
            problems.demonstrate(p, rng, problems.Carelessness()).answer, p.answer
        )
        for p in some("train", 2000)
    ]
    assert 0.4 < np.mean(right) < 0.6


def test_numbers_that_differ_have_different_features():
    waves = problems.number_features(32)
    assert waves.shape == (100, 32)
    np.testing.assert_allclose((waves**2).mean(), 1, atol=0.05)
    gaps = np.linalg.norm(waves[:, None] - waves[None], axis=-1)
    assert gaps[~np.eye(100, dtype=bool)].min() > 1


@pytest.mark.parametrize(
    ("split", "index", "error"),
    [("dev", 0, ValueError), ("test", 512, IndexError), ("test", -1, IndexError)],
)
def test_what_is_not_there_is_refused(split, index, error):
    with pytest.raises(error, match="not"):
        problems.Problems(split)[index]
