"""Verifiers beside the devices: what they are handed, and what they say."""

import concurrent.futures
import dataclasses

import numpy as np
import pytest

from c3jax.collect import rollouts, scorers, scoring
from c3jax.core.ledger import Spent
from c3jax.core.types import EXACT, Rules
from c3jax.credit import api
from c3jax.reward import algebra, math, pool
from c3jax.rollout import sampler
from tests import support


@dataclasses.dataclass(frozen=True)
class Item:
    answer: str
    rules: Rules = EXACT
    entry_point: str = ""
    uid: int = 0


def scores(setup, texts, items):
    with scorers.started(setup) as scorer:
        return scorer.submit(texts, items)()


def test_a_maths_answer_is_graded_by_the_rules_of_its_question():
    items = [Item("64"), Item("64", Rules(percent=True)), Item("7"), Item("7")]
    texts = [r"\boxed{64\%}", r"\boxed{64\%}", r"\boxed{7}", "7"]
    found = scores(support.math_setup(), texts, items)
    assert [grade.reward for grade in found] == [0, 1, 1, 0]
    assert [grade.malformed for grade in found] == [False, False, False, True]


@pytest.mark.parametrize("error", [pool.Died("gone"), pool.Faulty("a fault")])
def test_a_verifier_that_breaks_down_is_not_the_fault_of_an_answer(monkeypatch, error):
    broken = concurrent.futures.Future()
    broken.set_exception(error)
    monkeypatch.setattr(math.Verifier, "submit", lambda *_: broken)
    found = scores(support.math_setup(), [r"\boxed{y+x}"], [Item("x+y")])
    assert found == [scorers.Grade(0.0, failed=True)]


def test_a_judge_without_memory_ends_and_its_own_faults_are_raised(monkeypatch):
    def broken(error):
        def same(*_):
            raise error

        return same

    for error in (MemoryError, IndexError):
        monkeypatch.setattr(algebra.matching, "same", broken(error))
        with pytest.raises(error):
            algebra.answer({"gold": "7", "said": "7", "rules": {}})


def test_the_config_says_where_an_answer_may_stand():
    setup = support.math_setup(reward__fallback=("boxed", "last_number"))
    assert scores(setup, ["so 7"], [Item("7")])[0].reward == 1
    with (
        pytest.raises(ValueError, match=r"reward.fallback='last' is not known"),
        scorers.started(support.math_setup(reward__fallback=("last",))),
    ):
        pass


def test_answers_to_one_question_are_compared_with_each_other():
    items = [Item("7")] * 3 + [Item("8", uid=1)] * 2
    texts = [r"\boxed{7}", r"\boxed{14/2}", "7", r"\boxed{9}", r"\boxed{7}"]
    with scorers.started(support.math_setup()) as scorer:
        assert scorer.compare(texts, items)() == [0, 0, -1, 0, 1]


def test_a_program_is_graded_by_its_tests():
    setup = support.code_setup(reward__timeout_s=1.0)
    item = Item("assert f(1) == 1\nassert f(2) == 2", entry_point="f")
    texts = ["f = lambda x : x", "f = lambda x : 1", "while True: pass", ""]
    found = scores(setup, texts, [item] * 4)
    assert [grade.reward for grade in found] == [1, 0.5, 0, 0]
    assert [grade.timed_out for grade in found] == [False, False, True, False]
    assert [grade.malformed for grade in found] == [False, False, False, True]


@pytest.mark.parametrize("per_question", [True, False])
def test_credit_waits_for_no_more_rewards_than_it_needs(per_question):
    setup = support.math_setup()
    estimator = api.ESTIMATORS["c3"]
    setup = dataclasses.replace(
        setup, estimator=dataclasses.replace(estimator, per_question=per_question)
    )
    rewards = np.random.default_rng(0).random((4, 4, 2)).astype(np.float32)
    asked, groups = [], []
    for number in range(2):
        some = rewards[2 * number : 2 * number + 2]

        def score(number=number, some=some):
            asked.append(number)
            return (scoring.ScoredAnswers(some, Spent(evaluator_calls=16)),)

        questions = support.questions(2, roles=2)
        trees = (sampler.whole(setup.team, (None, None)),)
        groups.append(rollouts.Group(questions, trees, None, score))
    advantages = iter(rollouts.credit(setup.estimator, setup.ancestors, groups, ())[0])
    first = next(advantages)
    assert asked == ([0] if per_question else [0, 1])
    parts, (scores,) = [first, next(advantages)], rollouts.score(groups)
    wanted, _ = estimator.fn(rollouts.seen(setup.ancestors, scores), ())
    for level, whole in enumerate(wanted):
        joined = np.concatenate([part[0][level] for part in parts])
        np.testing.assert_allclose(joined, whole, rtol=1e-6)
    assert rollouts.spent((scores,)).evaluator_calls == 32
