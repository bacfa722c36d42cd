"""Extra runs against rollouts made by hand, from random policies."""

import functools

import jax
import numpy as np
import pytest

from c3jax.core import keys
from c3jax.core.types import ContextTemplate, Role
from c3jax.rollout import contexts, decode, extra_runs, prefill, tree
from tests import support

KEY = keys.stream(0, "rollout")
OWN = keys.stream(0, "evidence")
TRIO = (
    Role("reasoner", "", (), False, 5),
    Role("actor", "", ("reasoner",), False, 6),
    Role("verifier", "", ("reasoner", "actor"), True, 4),
)
TRIO_SCRIPTS = (
    ContextTemplate((), (), 2),
    ContextTemplate((0,), ((5, 6),), 3),
    ContextTemplate((0, 1), ((5,), (7,)), 2),
)


def trio():
    return support.team(TRIO, TRIO_SCRIPTS, (3, 1, 1))


@functools.cache
def grown():
    return tree.sample(support.params(), trio(), support.questions(2, roles=3), KEY)


def played(run):
    questions = support.questions(2, roles=3)
    return run.sample(support.params(), questions, grown(), OWN)[0]


def test_the_last_role_alone_is_a_silenced_rollout():
    run = extra_runs.alone(trio())
    assert run.team.silenced == (0, 1) and run.team.protocol.branching == (1, 1, 3)
    by_hand = trio().replace(silenced=(0, 1))
    wanted = tree.sample(support.params(), by_hand, support.questions(2, roles=3), OWN)[
        -1
    ]
    found = played(run)[-1]
    assert found.tokens.shape == (2, 1, 3, 4)
    np.testing.assert_array_equal(found.tokens[:, 0], wanted.tokens[:, :, 0])


def test_a_silent_role_leaves_what_was_said_before_and_later_roles_speak_again():
    run = extra_runs.removed(trio(), 1)
    assert run.given == (0,) and run.team.silenced == (1,)
    first, silent, last = played(run)
    jax.tree.map(np.testing.assert_array_equal, first, grown()[0])
    assert int(silent.length.sum()) == 0 and silent.length.shape == (2, 3, 1)
    node = keys.nodes(OWN, support.questions(2, roles=3).uid, 2, 3).reshape(2, 3, 1, 1)

    @jax.jit
    def by_hand(params, first, node):
        turns = first, decode.blank(trio(), 1, (2, 3, 1))
        questions = support.questions(2, roles=3)
        segments = contexts.read(params, trio(), 2, questions, turns)
        axes = contexts.BATCH, 0, 1, 2
        return decode.generate(params, trio(), 2, segments, node, axes).tokens

    wanted = by_hand(support.params(), first, node)
    np.testing.assert_array_equal(last.tokens.reshape(wanted.shape), wanted)


def test_what_is_given_is_not_paid_for_again():
    run = extra_runs.removed(trio(), 1)
    turns, questions = played(run), support.questions(2, roles=3)
    paid = prefill.tokens(run.team, questions, turns, run.given)
    heads = int(questions.lengths[2].sum())
    # The verifier's: its prompt, three thoughts and separators, three separators alone.
    kept = turns[0].length - turns[0].ended
    assert paid == heads + int((kept + 1).sum()) + 2 * 3
    both = prefill.tokens(run.team, questions, turns)
    assert both == paid + int(questions.lengths[0].sum())


def test_a_silent_answer_is_one_a_question_and_costs_nothing():
    run = extra_runs.removed(trio(), 2)
    turns = played(run)
    assert [turn.length.shape for turn in turns] == [(2, 1, 1)] * 3
    assert sum(int(turn.length.sum()) for turn in turns) == 0
    assert prefill.tokens(run.team, support.questions(2, roles=3), turns) == 0


@pytest.mark.parametrize(
    ("level", "given"), [(0, ()), (1, (0, 2)), (2, (0, 1)), (3, ())]
)
def test_only_those_who_could_have_read_a_role_speak_again(level, given):
    team = support.team(support.DIAMOND, support.DIAMOND_SCRIPTS, (2, 2, 2, 2))
    assert extra_runs.removed(team, level).given == given
