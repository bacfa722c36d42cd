import random

import pytest

from c3jax.data import programs, tokenizer


def passes(program: str, tests: str) -> bool:
    """Whether a program that this project generated passes its tests."""
    space = {}
    try:
        exec(program, space)
        exec(tests, space)
    except Exception:
        return False
    return True


@pytest.mark.parametrize("split", programs.SPLITS)
def test_the_program_of_a_question_passes_its_tests(split):
    source = programs.Programs(split)
    for index in range(100):
        question = source[index]
        assert passes(question.recipe.program(), question.answer)
        assert question.answer.count("assert ") == 4


def test_another_program_does_not():
    rng, source = random.Random(0), programs.Programs("train")
    wrong = 0
    for index in range(200):
        question = source[index]
        read = programs.as_number(
            question.recipe, rng, programs.Carelessness(misread=1)
        )
        if read.plan() != question.recipe.plan():
            wrong += passes(read.program(), question.answer)
    assert wrong == 0


def test_no_recipe_is_in_two_splits():
    plans = {
        split: {source[i].recipe.plan() for i in range(256)}
        for split, source in ((s, programs.Programs(s)) for s in programs.SPLITS)
    }
    assert not plans["test"] & plans["train"]
    assert not plans["test"] & plans["validation"]
    assert not plans["validation"] & plans["train"]


def test_demonstrations_stay_in_the_training_split_and_are_often_wrong():
    rng, source = random.Random(0), programs.Programs("train")
    test = {programs.Programs("test")[i].recipe.program() for i in range(256)}
    right = 0
    for index in range(300):
        shown = programs.demonstrate(source[index], rng, programs.Carelessness())
        assert shown.answer not in test
        right += passes(shown.answer, source[index].answer)
    assert 0.2 < right / 300 < 0.8


def test_every_text_survives_the_round_trip():
    words = tokenizer.load("program_words")
    rng, source = random.Random(0), programs.Programs("train")
    for index in range(200):
        shown = programs.demonstrate(source[index], rng, programs.Carelessness())
        for text in (source[index].text, shown.plan, shown.answer):
            assert words.decode(words.encode(text)) == text


def test_an_item_is_a_function_of_split_and_index():
    first, second = programs.Programs("test"), programs.Programs("test")
    assert [first[i] for i in (3, 1)] == [second[3], second[1]]
    with pytest.raises(IndexError, match="256 questions, not 256"):
        first[256]
    with pytest.raises(ValueError, match="split='dev'"):
        programs.Programs("dev")
