"""Evidence beside the rewards: gathered, counted, and trained on."""

import functools

import jax
import numpy as np
import pytest

from c3jax.core import metrics
from c3jax.train import growth, loop, warm_start
from tests import support

SMALL = {
    "train__batch_size": 4,
    "protocol__budget": 4,
    "policy__width": 32,
    "policy__hidden": 48,
    "policy__layers": 1,
}


ANSWERS = {"counts": False, "max_tokens": 14, "instruction": "work it out ."}


@functools.cache
def update_step():
    """For all estimators that remember nothing."""
    return loop.compiled_update(support.math_setup(credit__name="magrpo", **SMALL))


def steps(setup):
    """The trees of two training steps from random parameters."""
    state = loop.initial_state(setup, warm_start.initial_params(setup))
    source = setup.task.split("train")
    watch, found = metrics.Stopwatch(), []
    for step in range(2):
        items = [source[4 * step + i] for i in range(4)]
        grown = growth.grow(setup, state, step, items, support.MadeUp(), watch)
        found.append(grown)
        scored = growth.credited(setup, grown, state.params, None, watch)
        state, stats = update_step()(setup.objective, state, grown.groups, scored)
        assert np.isfinite(float(stats["loss"])) and float(stats["grad_norm"]) > 0
    return found


def tokens(grown):
    """Those of the tree alone."""
    return sum(int(turn.length.sum()) for turn in jax.device_get(grown.turns))


def test_agent_removal_trains_on_what_the_team_earns_without_a_role():
    found = steps(support.math_setup(credit__name="agent_removal", **SMALL))
    for grown in found:
        graded = grown.graded
        without = graded.evidence["without"]
        assert [each.shape for each in without] == [(4, 4, 1), (4, 1, 1)]
        # Leaves of the tree, of the actor alone, and one empty answer a question.
        assert graded.spent.evaluator_calls == 16 + 16 + 4
        assert graded.spent.messages == 32 + 16
        assert graded.spent.generated_tokens > tokens(grown)
        first, last = grown.advantage
        reward = graded.reward
        np.testing.assert_allclose(first[:, 0], (reward - without[0])[..., 0])
        np.testing.assert_allclose(last, reward - without[1])
    assert np.any(found[0].graded.evidence["without"][0] != found[0].graded.reward)


def test_ccpo_trains_on_answers_without_a_thought():
    for grown in steps(support.math_setup(credit__name="ccpo", **SMALL)):
        assert grown.graded.evidence["solo"].shape == (4, 4)
        assert grown.graded.spent.evaluator_calls == 16 + 16
        assert grown.graded.spent.messages == 32 + 16
        assert [each.shape for each in grown.advantage] == [(4, 1, 4), (4, 4, 1)]


def grown(**changes):
    """The trees of a step from random parameters."""
    setup = support.math_setup(**SMALL, **changes)
    state = loop.initial_state(setup, warm_start.initial_params(setup))
    items = [setup.task.split("train")[i] for i in range(4)]
    return growth.grow(setup, state, 3, items, support.MadeUp(), metrics.Stopwatch())


def test_sepo_has_every_episode_rated_by_both_and_counts_what_is_invalid():
    once = grown(credit__name="sepo")
    plain, graded = grown(credit__name="magrpo").graded, once.graded
    np.testing.assert_array_equal(graded.reward, plain.reward)
    # The embedded team cannot write JSON.
    np.testing.assert_array_equal(
        graded.evidence["ratings"], np.full((4, 4, 2, 2), 0.5)
    )
    assert graded.spent.invalid_ratings == 32
    assert graded.spent.evaluator_calls == plain.spent.evaluator_calls
    assert graded.spent.messages == plain.spent.messages + 32
    assert graded.spent.prefilled_tokens > plain.spent.prefilled_tokens
    assert [each.shape for each in once.advantage] == [(4, 1, 4), (4, 4, 1)]


def test_ccpo_v1_remembers_what_it_saw():
    once = grown(credit__name="ccpo_v1")
    joint, solo = once.graded.reward[..., 0], once.graded.evidence["solo"]
    assert int(once.memory.steps) == 1
    mean = [(joint - solo).mean(), joint.mean(), solo.mean()]
    np.testing.assert_allclose(once.memory.mean, mean, rtol=1e-6)


def test_evidence_does_not_change_the_tree_and_groups_gather_the_same():
    plain = grown(credit__name="magrpo")
    whole = grown(credit__name="agent_removal")
    parts = grown(credit__name="agent_removal", train__groups=2)
    for one, two in zip(plain.turns, whole.turns, strict=True):
        np.testing.assert_array_equal(one.tokens, two.tokens)
    assert len(parts.groups) == 2
    assert parts.graded.spent == whole.graded.spent
    jax.tree.map(
        np.testing.assert_array_equal, parts.graded.evidence, whole.graded.evidence
    )
    assert plain.graded.evidence == {}


def test_evidence_that_nobody_gathers_is_refused():
    with pytest.raises(ValueError, match=r"computed from \['ballots', 'correct'\]"):
        votes = {f"teams__vote__vote__{k}": v for k, v in ANSWERS.items()}
        support.math_setup(credit__name="ccpo_vote", protocol__name="vote", **votes)
    with pytest.raises(ValueError, match=r"computed from \['q'\]"):
        support.math_setup(credit__name="c3_value_only")
