from c3jax.train import evaluate, scoring, warm_start
from tests import support

SMALL = {
    "evaluate__questions": 6,
    "evaluate__samples": 3,
    "evaluate__k": (2, 3),
    "policy__width": 32,
    "policy__hidden": 48,
    "protocol__name": "solo",
}


def measured(batch_size, **options):
    setup = support.math_setup(evaluate__batch_size=batch_size, **SMALL)
    params = warm_start.initial_params(setup)
    with scoring.started(setup) as scorer:
        return evaluate.measure(params, setup, scorer, **options)


def test_an_evaluation_does_not_depend_on_how_questions_are_batched():
    whole, pieces = measured(6), measured(4)
    assert list(whole.figures) == ["greedy", "pass_at_1", "pass_at_2", "pass_at_3"]
    assert whole == pieces
    # One greedy answer a question, and three sampled.
    assert whole.spent.evaluator_calls == whole.spent.messages == 6 * 4


def test_an_evaluation_that_is_stopped_has_no_result():
    assert measured(4, stop=lambda: True) is None
