import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3jax.core.ledger import Ledger, Spent
from c3jax.core.types import Turn
from c3jax.rollout import contexts, prefill
from tests import support


@pytest.mark.parametrize(
    ("roles", "templates", "branching"),
    [
        (support.DUO, support.DUO_SCRIPTS, (4, 2)),
        (support.DIAMOND, support.DIAMOND_SCRIPTS, (2, 2, 3, 2)),
    ],
)
def test_prefilled_tokens_and_slots_are_those_of_the_segments_that_are_computed(
    roles, templates, branching
):
    team = support.team(roles, templates, branching)
    questions, turns = support.questions(roles=len(roles)), said(team)
    sizes = dict(enumerate(branching)) | {contexts.BATCH: 3}
    params, computed, slots = support.params(), 0, []
    for level in range(len(roles)):

        def lengths(level=level):
            context = contexts.read(params, team, level, questions, turns)
            assert context.axes == contexts.segment_axes(team, level)
            shapes = [segment.k.shape[1:-3] for segment in context.segments]
            assert shapes == [tuple(sizes[a] for a in axes) for axes in context.axes]
            slots.extend(
                math.prod(shape) * segment.k.shape[-2]
                for segment, shape in zip(context.segments, shapes, strict=True)
            )
            return tuple(
                jnp.broadcast_to(segment.length, shape)
                for segment, shape in zip(context.segments, shapes, strict=True)
            )

        computed += sum(int(length.sum()) for length in jax.jit(lengths)())
    assert prefill.tokens(team, questions, turns) == computed
    assert prefill.slots(team, questions, turns) == sum(slots)


def said(team):
    """Messages of random lengths, some of them cut at their limit."""
    rng, turns = np.random.default_rng(0), []
    for level, role in enumerate(team.protocol.roles):
        shape = (3, team.protocol.contexts(level), team.protocol.branching[level])
        length = rng.integers(1, role.max_tokens + 1, shape).astype(np.int32)
        blank = np.zeros((*shape, role.max_tokens), np.float32)
        ended = length < role.max_tokens
        turns.append(Turn(blank.astype(np.int32), length, ended, blank, blank))
    return tuple(turns)


def test_a_silenced_role_prefills_nothing():
    team, questions = support.team().replace(silenced=(0,)), support.questions()
    empty = said(team)[0]
    empty = empty.replace(length=0 * empty.length, ended=np.zeros_like(empty.ended))
    heads = int(questions.lengths[1].sum())
    separator = 4 * 3 * len(support.DUO_SCRIPTS[1].separators[0])
    turns = (empty, said(team)[1])
    assert prefill.tokens(team, questions, turns) == heads + separator


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
    assert (
        Ledger.from_json(json.loads(json.dumps(dataclasses.asdict(ledger)))) == ledger
    )
