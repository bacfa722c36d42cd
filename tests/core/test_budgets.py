import pytest

from c3jax.core import budgets
from c3jax.core.ledger import Ledger, Spent
from tests import support

PHASES = {"rollout": 2.0, "update": 1.0, "warm_start": 50.0, "evaluate": 9.0}
UNTIL = {"evaluator_calls": 16, "generated_tokens": 100, "seconds": None}


def ledger(steps, phases=PHASES):
    """Eight calls and 30 tokens a step."""
    spent = Spent(evaluator_calls=8 * steps, generated_tokens=30 * steps)
    return Ledger(train=spent, seconds=phases)


def test_only_training_counts():
    found = budgets.spent(ledger(2, {**PHASES, "checkpoint": 4.0, "other": 0.5}))
    assert found == {"evaluator_calls": 16, "generated_tokens": 60, "seconds": 3.5}


def test_a_line_of_the_log_says_what_the_ledger_says():
    assert budgets.spent_by(ledger(3).figures()) == budgets.spent(ledger(3))
    assert set(budgets.spent_by({}).values()) == {0}


def test_a_budget_is_crossed_once_at_the_first_step_that_holds_it():
    crossed, at = {}, []
    for step in range(6):
        crossed = budgets.crossed(UNTIL, crossed, step, ledger(step))
        at.append((set(crossed), budgets.is_over(UNTIL, crossed)))
    assert at[1] == (set(), False)
    assert at[2] == at[3] == ({"evaluator_calls"}, False)
    assert at[4] == at[5] == ({"evaluator_calls", "generated_tokens"}, True)
    assert crossed["evaluator_calls"]["step"] == 2
    assert crossed["generated_tokens"] == {
        "step": 4,
        "evaluator_calls": 32,
        "generated_tokens": 120,
        "seconds": 3.0,
    }


def test_without_a_budget_a_run_is_never_over():
    nothing = dict.fromkeys(budgets.NAMES)
    assert budgets.crossed(nothing, {}, 9, ledger(9)) == {}
    assert not budgets.is_over(nothing, {})
    assert budgets.told(nothing, {}) == {}


def test_a_budget_that_was_not_crossed_is_told():
    crossed = budgets.crossed(UNTIL, {}, 2, ledger(2))
    told = budgets.told(UNTIL, crossed)
    assert told["evaluator_calls"] == {"amount": 16, **crossed["evaluator_calls"]}
    assert told["generated_tokens"] == {"amount": 100, "step": None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train__until__seconds": 0.0}, "train.until.seconds=0.0: it must be above 0"),
        ({"train__until__calls": 9}, "train.until.calls is read by nobody"),
        ({"train__final_lr": 1.5}, "train.final_lr=1.5: it must be between 0 and 1"),
    ],
)
def test_what_is_no_budget_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        support.math_setup(**changes)
