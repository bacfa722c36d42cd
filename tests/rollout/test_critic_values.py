"""A critic reads the tree as it would read each context alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3jax.core.types import Turn
from c3jax.policy import decoder, value_head
from c3jax.rollout import critic_values
from tests import support
from tests.rollout.test_tree import flat_context

TEAMS = {
    "duo": support.team(branching=(3, 2)),
    "diamond": support.team(support.DIAMOND, support.DIAMOND_SCRIPTS, (2, 1, 2, 2)),
}


def mind():
    """A critic with random heads."""
    made = value_head.begin(support.params()["shared"], support.SHAPE, ("value", "q"))
    rng = np.random.default_rng(0)
    for head in ("value", "q"):
        made[head] = jnp.float32(rng.standard_normal(support.SHAPE.width))
    return made


def said(team, batch):
    """Random messages; some end, some were cut, and one has no tokens."""
    rng, turns = np.random.default_rng(1), []
    for level, role in enumerate(team.protocol.roles):
        shape = (batch, team.protocol.contexts(level), team.protocol.branching[level])
        length = rng.integers(1, role.max_tokens + 1, shape).astype(np.int32)
        length[0, 0, 0] = 0
        tokens = rng.integers(8, 40, (*shape, role.max_tokens)).astype(np.int32)
        ended = (length > 0) & (length < role.max_tokens)
        last = np.arange(role.max_tokens) == length[..., None] - 1
        tokens = np.where(last & ended[..., None], support.END, tokens)
        tokens[np.arange(role.max_tokens) >= length[..., None]] = 0
        blank = np.zeros(tokens.shape, np.float32)
        turns.append(Turn(tokens, length, ended, blank, blank))
    return tuple(turns)


def alone(params, rows):
    """Hidden states of the last token of each row of ids."""
    width = max(map(len, rows))
    ids = np.array([row + [0] * (width - len(row)) for row in rows], np.int32)
    ends = np.array([len(row) - 1 for row in rows])

    def one(row, end):
        return decoder.forward(params, support.SHAPE, row)[0][end]

    return jax.jit(jax.vmap(one))(ids, ends)


@pytest.mark.parametrize("name", TEAMS)
def test_a_guess_in_the_tree_is_that_of_the_flat_tokens(name):
    team = critic_values.critic_team(TEAMS[name], support.SHAPE)
    level, params, batch = len(team.policies) - 1, mind(), 2
    questions = support.questions(batch, roles=len(team.policies))
    turns = said(team, batch)
    given = {critic_values.NAME: params}, team, level, questions, turns
    of_contexts, of_messages = (
        jax.jit(fn, static_argnums=(1, 2))(*given)
        for fn in (critic_values.of_contexts, critic_values.of_messages)
    )
    questions, turn = jax.device_get(questions), turns[level]
    opened, whole = [], []
    for b, n in np.ndindex(turn.length.shape[:2]):
        ids = flat_context(team, questions, turns, level, b, n)
        opened.append([*ids, team.templates[level].first_token])
        for tokens, length in zip(turn.tokens[b, n], turn.length[b, n], strict=True):
            whole.append([*opened[-1], *tokens[:length].tolist()])
    wanted = alone(params, opened) @ params["value"]
    assert of_contexts.shape == turn.length.shape[:2]
    np.testing.assert_allclose(of_contexts.ravel(), wanted, rtol=1e-4, atol=1e-4)
    wanted = alone(params, whole) @ params["q"]
    assert of_messages.shape == turn.length.shape
    np.testing.assert_allclose(of_messages.ravel(), wanted, rtol=1e-4, atol=1e-4)
    assert np.std(wanted) > 0.1


def test_a_critic_has_the_heads_it_is_asked_for_and_no_output():
    declared = value_head.over_params(lambda p: p.shape, support.SHAPE, ("q",))
    policy = support.params()["shared"]
    made = value_head.begin({**policy, "adapters": {}}, support.SHAPE, ("q",))
    assert jax.tree.map(jnp.shape, made) == declared
    assert {*policy} - {*made} == {"unembed"} and {*made} - {*policy} == {"q"}
    assert not made["q"].any()
    np.testing.assert_array_equal(made["embed"], policy["embed"])
