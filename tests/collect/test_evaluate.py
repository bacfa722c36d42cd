import dataclasses
import itertools

import jax
import pytest

from c3jax.collect import evaluate, scorers, scoring
from c3jax.core import parts
from c3jax.data import pipeline, problems
from c3jax.learn import warm_start
from c3jax.reward import math
from tests import support

SMALL = {
    "evaluate__questions": 6,
    "evaluate__samples": 3,
    "evaluate__k": (2, 3),
    "policy__width": 32,
    "policy__hidden": 48,
    "protocol__name": "solo",
}


def measured(batch_size, reading="", **options):
    setup = support.math_setup(evaluate__batch_size=batch_size, **SMALL)
    task = dataclasses.replace(setup.task, reading=reading)
    setup = dataclasses.replace(setup, task=task)
    params = warm_start.initial_params(setup)
    with scorers.started(setup) as scorer:
        return evaluate.measure(params, setup, scorer, **options)


def test_an_evaluation_does_not_depend_on_how_questions_are_batched():
    whole, pieces = measured(6), measured(4, "any_number")
    assert list(whole.figures) == ["greedy", "pass_at_1", "pass_at_2", "pass_at_3"]
    # A second reading is a figure more, and costs nothing.
    assert "evaluate/any_number_low" in pieces.fields()
    again = pieces.figures.pop("any_number")
    assert again.mean >= pieces.figures["pass_at_1"].mean
    # The last batch is filled up with two questions that nobody asks for.
    filled = dataclasses.replace(
        whole.spent, prefilled_slots=pieces.spent.prefilled_slots
    )
    assert 6 * filled.prefilled_slots == 8 * whole.spent.prefilled_slots
    assert whole._replace(spent=filled) == pieces
    # Of 18 sampled messages and, in `spent`, of 6 greedy ones.
    cut, spent = whole.cut * 18, whole.spent.truncated
    assert cut == round(cut) and 0 <= spent - cut <= 6
    # One greedy answer a question, and three sampled.
    assert whole.spent.evaluator_calls == whole.spent.messages == 6 * 4


def test_validation_has_questions_draws_and_names_of_its_own():
    setup = support.math_setup(evaluate__batch_size=6, **SMALL)
    params = warm_start.initial_params(setup)
    few = pipeline.Selected(setup.task.split("test"), range(5))
    both = dataclasses.replace(
        setup.task, splits=setup.task.splits | {"validation": few}
    )
    setup = dataclasses.replace(setup, task=both)
    with scorers.started(setup) as scorer:
        test = evaluate.measure(params, setup, scorer)
        found = evaluate.measure(params, setup, scorer, "validation")
    # No more than there are, and no copy of the test's samples.
    assert (test.questions, found.questions) == (6, 5)
    assert found.spent.evaluator_calls == 5 * 4
    assert found.spent.generated_tokens != test.spent.generated_tokens * 5 / 6
    assert str(found).startswith("validation  greedy ")
    assert {name.partition("/")[0] for name in found.fields()} == {"validation"}
    assert {name.partition("/")[0] for name in test.fields()} == {"evaluate"}


def test_a_second_reading_tells_arithmetic_from_form():
    setup = support.math_setup(protocol__name="solo")
    items = [setup.task.split("test")[index] for index in range(3)]
    said = [rf"\boxed{{ {items[0].answer} }}", items[1].answer, "stamps"]
    team = setup.team.replace(protocol=setup.team.protocol.chain())
    shown = [[problems.Demonstration("", text)] for text in said]
    turns = warm_start.demonstrated(setup, shown)
    with scorers.started(setup) as scorer:
        scores = scoring.submit(
            *(setup, team, setup.questions(items), items, turns, scorer),
            says=math.any_number,
        )()
    assert scores.reward.tolist() == [[1], [0], [0]]
    assert scores.said.tolist() == [[True], [True], [False]]


def test_a_message_that_does_not_end_leaves_less_of_the_reward():
    setup = support.math_setup(reward__cut=0.5, protocol__budget=4)
    items = [setup.task.split("test")[0]]
    answer = rf"\boxed{{ {items[0].answer} }}"
    role = setup.team.protocol.roles
    limits = role[0].max_tokens, role[1].max_tokens
    tokenizer = setup.prompts[0].tokenizer
    said = (["so", "so " * limits[0]], [answer, f"{answer} {'so ' * limits[1]}"] * 2)

    def turn(texts, limit, contexts):
        made = warm_start.message(tokenizer, texts, limit)
        shape = (1, contexts, 2)
        return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[3:]), made)

    turns = [turn(*each) for each in zip(said, limits, (1, 2), strict=True)]
    assert [each.ended.tolist() for each in turns] == [
        [[[True, False]]],
        [[[True, False], [True, False]]],
    ]
    with scorers.started(setup) as scorer:
        scores = scoring.submit(
            setup, setup.team, setup.questions(items), items, turns, scorer
        )()
    assert scores.reward.tolist() == [[[1, 0.5], [0.5, 0.25]]]
    assert scores.solved.all()


@pytest.mark.parametrize("name", ["duo", "vote"])
def test_every_episode_of_a_question_has_draws_of_its_own(name):
    """Siblings have, and whoever would speak once for all has another key."""
    options = {"protocol__name": name, "protocol__budget": 8}
    setup = support.math_setup(**{**SMALL, **options})
    team, each = evaluate.episodic_team(setup)
    addresses = {tuple(jax.random.key_data(key).tolist()) for key in each}
    assert team.protocol.leaves * len(addresses) == 3


def test_an_evaluation_that_is_stopped_has_no_result():
    assert measured(4, stop=lambda: True) is None


class Counting(support.MadeUp):
    """How many answers were handed over."""

    scored = 0

    def submit(self, texts, items):
        self.scored += len(texts)
        return super().submit(texts, items)


def test_an_evaluation_that_was_stopped_goes_on_and_scores_no_batch_twice(tmp_path):
    setup = support.math_setup(evaluate__batch_size=2, **SMALL)
    params, scorers = warm_start.initial_params(setup), (Counting(), Counting())
    whole = evaluate.measure(params, setup, scorers[0])
    found, attempts = None, 0
    while found is None:
        asked, attempts = itertools.count(), attempts + 1
        found = evaluate.measure(
            *(params, setup, scorers[1], "test"),
            lambda: next(asked) == 2,  # noqa: B023
            parts.Parts(tmp_path / "evaluation", [0]),
        )
    assert attempts == 3 and found == whole
    assert scorers[0].scored == scorers[1].scored
    assert parts.Parts(tmp_path / "evaluation", [0]).get("test-0-0-00000000")
    # Those of another step are none of this one's.
    assert parts.Parts(tmp_path / "evaluation", [1]).get("test-0-0-00000000") is None
    assert not (tmp_path / "evaluation").exists()
