import random
import re

import pytest

from c3jax.core import types
from c3jax.data import arithmetic, problems, stories
from c3jax.reward import math

FIRST_TEST = "One bag holds 4 apples. How many apples does Ana need to fill 6 bags?"
CAREFUL = problems.Carelessness(0, 0, 0, 0, 0)
CARELESS = problems.Carelessness(0.3, 0.5, 0.2, 0.2, 0.2)
LAST = types.Rules(fallback=("last_number",))


def some(split, level="", n=400):
    source = arithmetic.Arithmetic(split, (level,) if level else ())
    return [source[index] for index in range(n)]


def facts(split, n):
    found = some(split, n=n)
    return {arithmetic.fact(step) for problem in found for step in problem.steps}


def test_no_sum_of_a_split_occurs_in_another():
    train, test = facts("train", 6000), facts("test", 512)
    validation = facts("validation", 512)
    assert not train & test
    assert not train & validation
    assert not test & validation
    assert arithmetic.fact(stories.Step("+", 5, 3)) == "3 + 5"
    assert arithmetic.fact(stories.Step("-", 5, 3)) == "5 - 3"


def test_demonstrations_write_training_sums_only():
    rng = random.Random(0)
    for problem in some("train", n=1000):
        plan = arithmetic.demonstrate(problem, rng, CARELESS).plan
        for left, op, right, result in re.findall(r"(\d+) (.) (\d+) = (\d+)", plan):
            step = stories.Step(op, int(left), int(right))
            assert arithmetic.split_of([step]) == "train"
            assert int(result) >= 0


def test_a_problem_is_a_function_of_its_address():
    assert some("test", n=20) == some("test", n=20)
    # Pinned: the test set must not move under anybody's results.
    assert arithmetic.Arithmetic("test")[0].text == FIRST_TEST


def test_levels_take_turns_and_addresses_go_on():
    mixed = arithmetic.Arithmetic("train", ("one_step", "two_digits"), first=100)
    alone = arithmetic.Arithmetic("train", ("two_digits",))
    assert [mixed[i].id for i in (1, 3)] == [alone[i].id for i in (0, 1)]
    assert mixed[3].text == alone[1].text
    assert [mixed[i].uid for i in range(4)] == [100, 101, 102, 103]


@pytest.mark.parametrize("level", [*arithmetic.LEVELS, ""])
def test_no_text_of_the_test_split_repeats(level):
    texts = [problem.text for problem in some("test", level, 512)]
    assert len({*texts}) == 512


@pytest.mark.parametrize("level", arithmetic.LEVELS)
def test_the_text_tells_the_numbers_and_the_answer_follows_from_them(level):
    for problem in some("train", level):
        first, *others = problem.steps
        told = [first.left, first.right, *(step.right for step in others)]
        told += [problem.aside] if level == "distractors" else []
        assert sorted(map(int, re.findall(r"\d+", problem.text))) == sorted(told)
        assert max(told) < 100
        assert problem.answer == str(problem.steps[-1].result)
        assert problem.steps[-1].result > 0
        assert len(problem.steps) == 1 + (level == "two_steps")
        for earlier, later in zip(problem.steps, problem.steps[1:], strict=False):
            assert later.left == earlier.result


def test_texts_are_grammatical():
    for problem in some("train", n=2000):
        text = problem.text
        assert not re.search(rf"\b1 {problem.thing}s\b", text), text
        assert not re.search(rf"\b(?!1\b)\d+ {problem.thing}\b", text), text
        assert not re.search(r"\bare 1\b|\b1 are\b|\d\d is\b|[02-9] is\b", text), text
        assert not re.search(r"(^|[.?] )[a-z]|[{}]|  ", text), text
        assert re.search(r"[.?]$", text)
        assert text.count("?") + text.count("Find out") == 1


def test_there_are_many_ways_to_tell_a_sum():
    names, things = "|".join(stories.NAMES), "|".join(stories.THINGS)
    words = rf"\b({names}|she|he|her|him|his|({things})s?|is|are|\d+)\b"
    said = {re.sub(words, "_", p.text, flags=re.I) for p in some("train", n=2000)}
    assert len(said) >= 100
    assert sum(map(len, stories.WHOLE.values())) >= 30


def test_a_careful_demonstration_is_right_and_ends_on_the_result():
    rng = random.Random(0)
    for problem in some("train"):
        shown = arithmetic.demonstrate(problem, rng, CAREFUL)
        assert math.score(shown.answer, problem.answer, LAST) == 1.0
        assert math.any_number(shown.plan, problem.answer)
        assert shown.plan.endswith(f"= {problem.answer}")
        assert len(shown.plan.split(";")) == len(problem.steps)


@pytest.mark.parametrize("field", ["misread", "distracted", "early", "slip", "unboxed"])
def test_each_kind_of_carelessness_makes_some_answers_wrong(field):
    careless = problems.Carelessness(**{**vars(CAREFUL), field: 1.0})
    rng = random.Random(0)
    shown = [
        (arithmetic.demonstrate(each, rng, careless).answer, each.answer)
        for each in some("train", n=100)
    ]
    right = [math.score(said, answer, LAST) for said, answer in shown]
    assert sum(right) < 90
    if field == "unboxed":  # The number is there, only not at the end.
        assert not any(right)
        assert all(math.any_number(said, answer) for said, answer in shown)


@pytest.mark.parametrize(
    ("split", "index", "error"),
    [("dev", 0, ValueError), ("test", 512, IndexError), ("test", -1, IndexError)],
)
def test_what_is_not_there_is_refused(split, index, error):
    with pytest.raises(error, match="not"):
        arithmetic.Arithmetic(split)[index]
