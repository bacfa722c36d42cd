"""A vine: the messages of each tree, and a role that no other reads."""

import functools
import itertools

import jax
import numpy as np

from c3jax.core import keys
from c3jax.core.types import ContextTemplate, Role
from c3jax.protocol.graph import Protocol
from c3jax.rollout import sampler, tree
from tests import support

BATCH = 2
# Two solvers that read nothing, and one that reads both.
ROLES = (
    Role("solver_a", "", (), False, 4),
    Role("solver_b", "", (), False, 6),
    Role("integrator", "", ("solver_b", "solver_a"), True, 5),
)
SCRIPTS = (
    ContextTemplate((), (), 2),
    ContextTemplate((), (), 3),
    ContextTemplate((1, 0), ((5,), (6, 7)), 2),
)


def team():
    protocol = Protocol(ROLES, (3, 2, 4), continuations=2)
    return support.team(ROLES, SCRIPTS).replace(protocol=protocol)


@functools.cache
def grown():
    questions = support.questions(BATCH, roles=3)
    found = sampler.trees(support.params(), team(), questions, seed=0, step=5)
    base, *decisions = jax.device_get([one for one, _ in found])
    assert base.credited == () and [one.credited for one in decisions] == [
        (0,),
        (1,),
        (2,),
    ]
    assert [one.given for one in decisions] == [(), (0,), (0, 1)]
    return base.turns, [one.turns for one in decisions]


def test_every_decision_has_its_alternatives_and_their_continuations():
    base, decisions = grown()
    assert [turn.length.shape for turn in base] == [(BATCH, 1, 1)] * 3
    assert not base[2].length.any()  # Nobody reads what the base would answer.
    assert [[turn.length.shape[1:] for turn in turns] for turns in decisions] == [
        # solver_b does not read solver_a, and goes on the same for all its messages.
        [(1, 3), (1, 2), (6, 1)],
        [(1, 1), (1, 2), (2, 2)],
        [(1, 1), (1, 1), (1, 4)],
    ]
    assert [tree.leaves for tree in team().protocol.trees] == [6, 4, 4]
    assert team().protocol.leaves == 6 + 4 + 4
    assert [team().protocol.contexts(level) for level in range(3)] == [1] * 3


def test_roles_before_a_decision_are_given_and_later_ones_are_not():
    base, decisions = grown()
    for level, turns in enumerate(decisions):
        for given, said in zip(base[:level], turns[:level], strict=True):
            jax.tree.map(np.testing.assert_array_equal, given, said)


def test_no_draw_is_made_twice():
    """Alternatives are independent of the base's message, and trees of each other."""
    base, decisions = grown()
    # Margins, since short messages may be the same by chance.
    for level in range(2):
        mine, drawn = base[level].margin[:, :, 0], decisions[level][level].margin
        assert not (drawn == mine[:, :, None]).all(-1).any()
    after, alternatives = decisions[0][1].margin, decisions[1][1].margin
    for a, b in itertools.product(range(2), range(2)):
        assert not (after[:, 0, a] == alternatives[:, 0, b]).all(-1).any()
    found = [
        sampler.address(seed, step, decision)
        for seed, step, decision in itertools.product((0, 1), (5, 6), (None, 0, 1))
    ]
    words = {tuple(jax.random.key_data(key).tolist()) for key in found}
    assert len(words) == len(found)
    step = jax.random.fold_in(keys.stream(0, "rollout"), 5)
    assert (sampler.address(0, 5) == step).all()


def test_a_decision_is_scored_after_the_base_episode_alone():
    base, decisions = grown()
    questions = support.questions(BATCH, roles=3)
    turns = (*base[:2], decisions[2][2])
    found = jax.jit(tree.logp, static_argnums=(1, 2))(
        support.params(), sampler.decisions(team())[2], 2, questions, turns
    )
    support.assert_rounded(found, turns[2].logp)


def test_a_tree_ends_where_its_credit_does():
    plain = support.team()
    assert plain.protocol.trees == (plain.protocol,)
    whole = sampler.whole(plain, ("first", "second"))
    assert whole.credited == (0, 1) and whole.trimmed == whole
    decision = tree.Tree(("first", "second"), plain, (0,))
    assert decision.trimmed.turns == ("first",)
