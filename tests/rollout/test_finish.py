"""Talks that end early: nothing is drawn after a mark, and all else is as it was."""

import dataclasses
import functools

import jax
import numpy as np

from c3jax.core import keys
from c3jax.core.types import Turn
from c3jax.rollout import continuous, finish, prefill, tree
from tests import support

KEY = keys.stream(0, "rollout")
# Any of five tokens of the forty is the mark.
TABLE = bytes(10 <= i < 15 for i in range(40))
ENDING = dataclasses.replace(support.DUO[0], finishes="!")
SCRIPTS = (
    dataclasses.replace(support.DUO_SCRIPTS[0], finish=TABLE),
    support.DUO_SCRIPTS[1],
)


def teams(roles=(ENDING, support.DUO[1]), templates=SCRIPTS):
    return support.team(roles, templates)


@functools.cache
def grown():
    """A dialogue that may finish, and the same where the mark means nothing."""
    params, questions = support.params(), support.questions(4)
    both = teams(), teams(support.DUO, support.DUO_SCRIPTS)
    found = [tree.sample(params, team, questions, KEY) for team in both]
    return jax.device_get(found)


def ends():
    """[B, N, K], by NumPy: which of the first role's messages hold the mark."""
    first = grown()[0][0]
    held = (first.tokens >= 10) & (first.tokens < 15) & first.mask
    return held.any(-1)


def test_a_mark_is_found_within_a_message_and_not_behind_it():
    # The mark is "ab": token 1 is "a", 2 is "b", 3 "xa" and 4 "ab".
    table = np.array([[0, 0], [1, 1], [0, 2], [1, 1], [2, 2], [0, 0]], np.uint8)
    tokens = [
        [1, 2, 0],
        [1, 1, 2],
        [3, 2, 5],
        [1, 0, 2],
        [0, 1, 2],
        [4, 5, 5],
        [1, 9, 2],
    ]
    length = np.array([3, 3, 3, 3, 2, 1, 3])
    turn = Turn(
        tokens=np.array(tokens)[None, None],
        length=length[None, None],
        ended=None,
        logp=None,
        margin=None,
    )
    found = finish.marked("ab", table.tobytes(), turn)[0, 0]
    assert found.tolist() == [True, True, True, False, False, True, False]


def test_a_dialogue_is_cut_where_it_ends_and_else_as_if_no_role_could_end_it():
    (first, last), (other, rest) = grown()
    jax.tree.map(np.testing.assert_array_equal, first, other)
    over = ends().reshape(4, 4)
    assert 4 <= over.sum() <= 12
    for name in ("tokens", "length", "ended", "logp", "margin"):
        found, whole = getattr(last, name), getattr(rest, name)
        assert not found[over].any()
        np.testing.assert_array_equal(found[~over], whole[~over])
    assert last.length[~over].min() > 0


def test_slots_write_the_same_and_leave_out_roles_that_are_silent():
    team = teams().replace(max_concurrent=8)
    found, load = continuous.sample(support.params(), team, support.questions(4), KEY)
    for turn, other in zip(found, grown()[0], strict=True):
        np.testing.assert_array_equal(turn.tokens, other.tokens)
        np.testing.assert_array_equal(turn.ended, other.ended)
    assert load.tokens == sum(int(turn.length.sum()) for turn in grown()[0])


def test_what_nobody_wrote_after_is_not_counted_as_read():
    questions, turns = jax.device_get((support.questions(4), grown()[0]))
    over = ends().reshape(4, 4)
    lengths = (turns[0].length - turns[0].ended + 2).reshape(4, 4)
    heads = questions.lengths[0].sum() + questions.lengths[1][~over.all(1)].sum()
    wanted = heads + lengths[~over].sum()
    assert prefill.tokens(teams(), questions, turns) == wanted
