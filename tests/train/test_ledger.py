import json

import jax
import numpy as np
import pytest

from c3jax.core import keys
from c3jax.rollout import tree
from c3jax.train.ledger import Ledger, Spent
from tests import support


@pytest.mark.parametrize(
    ("roles", "scripts", "branching"),
    [
        (support.DUO, support.DUO_SCRIPTS, (4, 2)),
        (support.DIAMOND, support.DIAMOND_SCRIPTS, (2, 2, 3, 2)),
    ],
)
def test_prefilled_tokens_are_those_of_the_segments_that_are_computed(
    roles, scripts, branching
):
    team = support.team(roles, scripts, branching)
    questions = support.questions(roles=len(roles))
    key = keys.stream(0, "rollout")
    turns = tree.grow(support.params(), team, questions, key)
    computed = 0
    for level in range(len(roles)):
        context = tree.context(support.params(), team, level, questions, turns)
        sizes = dict(enumerate(branching)) | {tree.BATCH: 3}
        for segment, span in zip(context.segments, context.spans, strict=True):
            shape = tuple(sizes[axis] for axis in span)
            assert segment.k.shape[1 : 1 + len(span)] == shape
            computed += int(np.broadcast_to(segment.length, shape).sum())
    assert tree.prefilled(team, questions, jax.device_get(turns)) == computed


def test_a_silenced_role_prefills_nothing():
    team, questions = support.team(), support.questions()
    key = keys.stream(0, "rollout")
    silenced = team.replace(silenced=(0,))
    turns = tree.grow(support.params(), silenced, questions, key)
    heads = int(questions.lengths[1].sum())
    glue = 4 * 3 * len(support.DUO_SCRIPTS[1].glue[0])
    assert tree.prefilled(silenced, questions, turns) == heads + glue


def test_counts_and_seconds_add_up_by_part():
    first = Spent(evaluator_calls=8, malformed=2, messages=12, truncated=3)
    second = Spent(evaluator_calls=8, messages=12, generated_tokens=50)
    ledger = Ledger().add("train", first, {"rollout": 1.0, "update": 2.0})
    ledger = ledger.add("train", second, {"rollout": 0.5})
    ledger = ledger.add("evaluate", second, {"evaluate": 4.0})
    figures = ledger.figures()
    assert figures["total/evaluator_calls"] == 16
    assert figures["total/evaluate/evaluator_calls"] == 8
    assert figures["total/generated_tokens"] == 50
    assert figures["total/malformed_frac"] == 2 / 16
    assert figures["total/truncated_frac"] == 3 / 24
    assert figures["total/seconds/rollout"] == 1.5
    assert figures["total/seconds"] == 7.5


def test_a_ledger_comes_back_from_json():
    ledger = Ledger().add("train", Spent(messages=3), {"rollout": 0.1})
    assert Ledger.from_json(json.loads(json.dumps(ledger.to_json()))) == ledger
