"""Frozen contexts: their readers, the continuations, the places of given messages."""

import functools

import jax
import numpy as np
import pytest

from c3jax.core import keys
from c3jax.core.types import ContextTemplate, Role
from c3jax.protocol import graph
from c3jax.protocol.graph import Protocol
from c3jax.rollout import continuous, frozen, tree
from tests import support

BATCH = 2
# Two roles that do not read each other, and one that reads both.
ROLES = (
    Role("solver_a", "", (), False, 3),
    Role("solver_b", "", (), False, 3),
    Role("integrator", "", ("solver_a", "solver_b"), True, 3),
)
SCRIPTS = (
    ContextTemplate((), (), 3),
    ContextTemplate((), (), 3),
    ContextTemplate((0, 1), ((5,), (6, 7)), 2),
)
KEY = keys.stream(0, "audit")
LOGP = jax.jit(tree.logp, static_argnums=(1, 2))


def duo():
    return support.team(branching=(3, 2))


def apart():
    return support.team(ROLES, SCRIPTS, (2, 2, 1))


def written_as_read(team, questions, turns):
    """Whether all messages were sampled from the contexts that the tree says."""
    for level, turn in enumerate(turns):
        logp = LOGP(support.params(), team, level, questions, turns)
        support.assert_rounded(logp, turn.logp)


@functools.cache
def said(team):
    """An episode of a team, and other messages that one of its roles might write."""
    questions = support.questions(BATCH, roles=len(team.protocol.roles))
    return questions, frozen.chain(support.params(), team, questions, KEY)[1]


def sampled(team, level, count):
    questions, base = said(team)
    given = {n: base[n] for n in team.protocol.ancestors[level]}
    key = jax.random.fold_in(KEY, level)
    args = (level, questions, given, count, key)
    return given, frozen.sampled(support.params(), team, *args)[1][level]


def test_candidates_are_of_one_context():
    given, turn = sampled(duo(), 1, 5)
    assert turn.length.shape == (BATCH, 1, 5)
    questions, _ = said(duo())
    team = duo().replace(protocol=duo().protocol.branched((1, 5)))
    written_as_read(team, questions, (given[0], turn))


@pytest.mark.parametrize(("make", "level"), [(duo, 0), (duo, 1), (apart, 1)])
def test_a_tree_around_a_context_holds_it_first_and_goes_on_from_it(make, level):
    team = make()
    given, turn = sampled(team, level, team.protocol.branching[level])
    questions, _ = said(team)
    turns = frozen.around(
        support.params(), team, questions, {**given, level: turn}, KEY
    )
    for n, first in {**given, level: turn}.items():
        count = first.length.shape[2]
        found = jax.tree.map(lambda x, count=count: x[:, :1, :count], turns[n])
        jax.tree.map(np.testing.assert_array_equal, found, first)
    written_as_read(team, questions, turns)


def test_a_tree_around_nothing_new_is_the_tree():
    team, (questions, _) = duo(), said(duo())
    grown, _ = continuous.sample(support.params(), team, questions, KEY)
    given = {0: jax.tree.map(lambda x: x[:, :, :2], grown[0])}
    again = frozen.around(support.params(), team, questions, given, KEY)
    for one, other in zip(grown, again, strict=True):
        np.testing.assert_array_equal(one.tokens, other.tokens)


def team_of(name):
    roles = graph.team(support.page_config("math").teams[name])
    return duo().replace(protocol=Protocol(roles, (1,) * len(roles)))


@pytest.mark.parametrize(
    ("name", "level", "branching", "copies"),
    [
        ("duo", 0, (5, 3), 1),
        ("duo", 1, (1, 5), 1),
        ("trio", 0, (5, 3, 1), 1),
        ("trio", 1, (1, 5, 3), 1),
        # Two hear the planner at once; and a solver does not hear the other.
        ("branch", 0, (5, 1, 1, 1), 3),
        ("branch", 1, (1, 5, 1, 1), 3),
        ("branch", 3, (1, 1, 1, 5), 1),
    ],
)
def test_who_goes_on_and_how_often(name, level, branching, copies):
    team, found = frozen.continued(team_of(name), level, 5, 3)
    assert (team.protocol.branching, found) == (branching, copies)


def test_leaves_are_told_by_message_however_they_were_grown():
    wanted = np.arange(2 * 5 * 3).reshape(2, 5, 3)  # [B, J, M]
    shared = frozen.leaves(wanted.reshape(2, -1), 1, 5)
    np.testing.assert_array_equal(shared, wanted)
    copied = frozen.leaves(np.moveaxis(wanted, 2, 0).reshape(6, 5), 3, 5)
    np.testing.assert_array_equal(copied, wanted)


def test_rows_of_a_question_have_addresses_of_their_own():
    questions = support.questions(BATCH)
    rows = frozen.repeated(questions, 3, 100)
    assert rows.uid.tolist() == [100, 101, 102, 103, 104, 105]
    np.testing.assert_array_equal(rows.prompts[0][2:4], questions.prompts[0])


def test_groups_keep_the_order_of_messages():
    _, turn = sampled(duo(), 1, 4)
    cut = frozen.groups(turn, 2)
    assert cut.length.shape == (2 * BATCH, 1, 2)
    np.testing.assert_array_equal(cut.tokens[:BATCH, 0], turn.tokens[:, 0, :2])
    np.testing.assert_array_equal(cut.tokens[BATCH:, 0], turn.tokens[:, 0, 2:])
