"""What is held out of the training questions."""

import pytest

from c3jax.data import rows, splits

NEAR = {"action": "drop", "ngram": 13, "share": 0.5}


def part(*texts):
    return [rows.Item(n, f"own/{n}", text, "1") for n, text in enumerate(texts)]


def numbered(first, count):
    return part(*(f"How much is {n} and {n}?" for n in range(first, first + count)))


def test_a_tenth_of_all_parts_is_held_out_in_their_order():
    parts = [numbered(0, 60), numbered(100, 140)]
    held, kept, told = splits.held_out(parts, 500, NEAR)
    assert told == "20 of the training questions"
    assert len(held) == 20 and [*map(len, kept)] != [60, 140]
    texts = [item.text for item in held]
    every = [item.text for one in parts for item in one]
    assert texts == sorted(texts, key=every.index)
    rest = [item.text for one in kept for item in one]
    assert sorted(texts + rest) == sorted(every)
    # The same again, and another number of them begins alike.
    assert [x.text for x in splits.held_out(parts, 500, NEAR)[0]] == texts
    assert {x.text for x in splits.held_out(parts, 7, NEAR)[0]} < {*texts}


def test_what_is_like_a_question_that_is_held_out_is_left_out():
    twice = [*numbered(0, 40), *numbered(0, 40)]
    held, [kept], told = splits.held_out([twice], 500, NEAR)
    texts = {item.text for item in held}
    assert not texts & {item.text for item in kept}
    assert f"8 of the training questions, {72 - len(kept)} more like these" in told
    _, [kept], told = splits.held_out([twice], 500, NEAR | {"action": "keep"})
    assert len(kept) == 72 and told == "8 of the training questions"
    with pytest.raises(ValueError, match="='refuse': 8 .* held out .* 'own/.*'drop'"):
        splits.held_out([twice], 500, NEAR | {"action": "refuse"})
    whole = [numbered(0, 40)]
    refused = splits.held_out(whole, 500, NEAR | {"action": "refuse"})
    assert refused[2] == "4 of the training questions"


def test_too_few_questions_are_refused_with_the_way_on():
    held, [kept], _ = splits.held_out([numbered(0, 4)], 500, NEAR)
    assert (len(held), len(kept)) == (2, 2)
    with pytest.raises(ValueError, match="3 training questions are too few .* None"):
        splits.held_out([numbered(0, 3)], 500, NEAR)
    with pytest.raises(ValueError, match="nothing is left to train on"):
        splits.held_out([part(*["the same"] * 8)], 500, NEAR)
