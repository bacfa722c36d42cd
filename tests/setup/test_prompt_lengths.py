"""What questions are padded to, on which nothing depends but the time it takes."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from c3jax.learn import training, warm_start
from c3jax.setup import prompt_lengths
from tests import support

SMALL = {
    "data__prompt_tokens": 64,
    "train__batch_size": 4,
    "policy__width": 32,
    "policy__hidden": 48,
    "policy__layers": 1,
}


def of(train, test, limit, batch_size=4):
    task = dataclasses.replace(
        support.math_setup().task, lengths={"train": train, "test": test}
    )
    return prompt_lengths.of(
        task, len, {"train": batch_size, "test": batch_size}, limit
    )


def test_sizes_are_few_and_hold_every_question_and_hardly_more():
    drawn = 90 * np.exp(0.5 * np.random.default_rng(0).standard_normal(400))
    lengths = drawn.astype(int).tolist()
    found = of(lengths, lengths[:50], 2560)
    assert 1 < len(found.sizes) <= 3
    assert found.longest == max(lengths) <= found.sizes[-1] < max(lengths) + 64
    # The longest of a batch, which is mostly longer than a question is.
    assert found.sizes[0] > found.median
    assert found.size(found.sizes[0]) == found.sizes[0]
    assert found.size(found.sizes[0] + 1) == found.sizes[1]
    assert "2560" in str(found)


def test_without_a_limit_the_longest_question_is_it_up_to_512_tokens():
    found = of([57, 67, 60], [60], 0)
    assert (found.limit, found.sizes) == (72, (72,))
    assert of([57, 67], [513], 0).limit == 512
    # Of questions that are generated not all were counted.
    assert support.math_setup(data__prompt_tokens=0).prompt_lengths.limit == 512


def test_short_prompts_and_generated_ones_have_one_size():
    assert of([20, 31], [19], limit=32).sizes == (32,)
    assert of([150, 151], [149], limit=160).sizes == (160,)
    # Some batches would fit into 64, which is not worth compiling everything once more.
    assert of([60, 61, 70, 62] * 9, [70], limit=80, batch_size=1).sizes == (80,)
    assert of([60, 61, 90, 62] * 9, [90], limit=96, batch_size=1).sizes == (64, 96)
    assert support.math_setup().prompt_lengths.sizes == (32,)


@functools.cache
def grown(sizes, at_once=0):
    setup = support.math_setup(
        sampling__max_concurrent=at_once, train__groups=2, **SMALL
    )
    setup = dataclasses.replace(
        setup, prompt_lengths=dataclasses.replace(setup.prompt_lengths, sizes=sizes)
    )
    state = training.initial_state(setup, warm_start.initial_params(setup))
    items = [setup.task.split("train")[i] for i in range(4)]
    found = support.Step(setup, state, 0, items)
    longest = max(int(each.max()) for each in found.questions.lengths)
    assert found.questions.prompts[0].shape == (
        4,
        next(n for n in sizes if n >= longest),
    )
    return jax.device_get(found.turns), found.scores


@pytest.mark.parametrize("at_once", [0, 8])
def test_messages_and_rewards_are_the_same_whatever_questions_are_padded_to(at_once):
    (turns, scores), (others, wide) = (
        grown(sizes, at_once) for sizes in ((8, 32, 64), (64,))
    )
    for turn, other in zip(turns, others, strict=True):
        np.testing.assert_array_equal(turn.tokens, other.tokens)
        support.assert_rounded(turn.logp, other.logp)
    np.testing.assert_array_equal(scores.reward, wide.reward)
    assert scores.spent.prefilled_tokens == wide.spent.prefilled_tokens
    assert scores.spent.prefilled_slots < wide.spent.prefilled_slots
