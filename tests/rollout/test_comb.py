"""A comb: what is sampled where, and what a role that nobody waits for does."""

import functools
import itertools

import jax
import numpy as np

from c3jax.core import keys
from c3jax.core.types import Role, Script
from c3jax.protocol.graph import Protocol
from c3jax.rollout import comb, tree
from tests import support

BATCH = 2
# Two solvers who read nothing, and one who reads both.
ROLES = (
    Role("solver_a", "", (), False, 4),
    Role("solver_b", "", (), False, 6),
    Role("integrator", "", ("solver_b", "solver_a"), True, 5),
)
SCRIPTS = (
    Script((), (), 2),
    Script((), (), 3),
    Script((1, 0), ((5,), (6, 7)), 2),
)


def team():
    protocol = Protocol(ROLES, (3, 2, 4), continuations=2)
    return support.team(ROLES, SCRIPTS).replace(protocol=protocol)


@functools.cache
def grown():
    questions = support.questions(BATCH, roles=3)
    found = comb.grow(support.params(), team(), questions, seed=0, step=5)
    (base, _), *teeth = jax.device_get([*found])
    return base, [turns for turns, _ in teeth]


def test_every_decision_has_its_alternatives_and_their_continuations():
    base, teeth = grown()
    assert [turn.length.shape for turn in base] == [(BATCH, 1, 1)] * 3
    assert not base[2].length.any()  # Nobody reads what the base would answer.
    assert [[turn.length.shape[1:] for turn in turns] for turns in teeth] == [
        # solver_b does not read solver_a, and goes on the same for all its messages.
        [(1, 3), (1, 2), (6, 1)],
        [(1, 1), (1, 2), (2, 2)],
        [(1, 1), (1, 1), (1, 4)],
    ]
    assert [tree.leaves for tree in team().protocol.trees] == [6, 4, 4]
    assert team().protocol.leaves == 6 + 4 + 4
    assert [team().protocol.contexts(level) for level in range(3)] == [1] * 3


def test_roles_before_a_decision_are_given_and_later_ones_are_not():
    base, teeth = grown()
    for level, turns in enumerate(teeth):
        for given, said in zip(base[:level], turns[:level], strict=True):
            jax.tree.map(np.testing.assert_array_equal, given, said)


def test_no_draw_is_made_twice():
    """Alternatives are independent of the base's message, and teeth of each other."""
    base, teeth = grown()
    # Margins, since short messages may be the same by chance.
    for level in range(2):
        mine, drawn = base[level].margin[:, :, 0], teeth[level][level].margin
        assert not (drawn == mine[:, :, None]).all(-1).any()
    after, alternatives = teeth[0][1].margin, teeth[1][1].margin
    for a, b in itertools.product(range(2), range(2)):
        assert not (after[:, 0, a] == alternatives[:, 0, b]).all(-1).any()
    found = [
        comb.address(seed, step, tooth)
        for seed, step, tooth in itertools.product((0, 1), (5, 6), (None, 0, 1))
    ]
    words = {tuple(jax.random.key_data(key).tolist()) for key in found}
    assert len(words) == len(found)
    step = jax.random.fold_in(keys.stream(0, "rollout"), 5)
    assert (comb.address(0, 5) == step).all()


def test_a_decision_is_scored_after_the_base_episode_alone():
    base, teeth = grown()
    questions = support.questions(BATCH, roles=3)
    alternatives = tuple(turns[level] for level, turns in enumerate(teeth))
    told, turns = comb.at(team(), 2, alternatives, base[:-1])
    assert turns[0] is base[0] and turns[2] is alternatives[2] and len(turns) == 3
    found = jax.jit(tree.logp, static_argnums=(1, 2))(
        support.params(), told, 2, questions, turns
    )
    support.assert_rounded(found, alternatives[2].logp)


def test_a_team_that_plays_a_tree_reads_its_own_turns():
    plain = support.team()
    assert comb.at(plain, 1, (1, 2), ()) == (plain, (1, 2))
    assert plain.protocol.trees == (plain.protocol,)
