"""Evidence beside the rewards: gathered, counted, and trained on."""

import functools
import types

import jax
import ml_collections
import numpy as np
import pytest

from c3jax.collect import critics, evidence, scoring
from c3jax.core import checkpoint
from c3jax.credit import actor_critic
from c3jax.learn import critic_update, training, warm_start
from c3jax.rollout import continuous
from c3jax.train import device_memory
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
    return training.compiled_update(support.math_setup(credit__name="magrpo", **SMALL))


def steps(setup):
    """The trees of two training steps from random parameters."""
    state = training.initial_state(setup, warm_start.initial_params(setup))
    found = []
    for step in range(2):
        grown = sample(setup, state, step)
        found.append(grown)
        state = updated(setup, state, grown)
    return found


def sample(setup, state, step):
    """The trees of a step, on questions of its own."""
    source = setup.task.split("train")
    items = [source[4 * step + i] for i in range(4)]
    return support.Step(setup, state, step, items)


def updated(setup, state, grown):
    """The policy after a step, and the critic as it was."""
    policy = state.replace(critic=())
    args = setup.objective, policy, grown.rollout, grown.batches(policy.params)
    after, stats = update_step()(*args)
    assert np.isfinite(float(stats["loss"])) and float(stats["grad_norm"]) > 0
    return after.replace(critic=state.critic)


def tokens(grown):
    """Those of the tree alone."""
    return sum(int(turn.length.sum()) for turn in jax.device_get(grown.turns))


def test_agent_removal_trains_on_what_the_team_earns_without_a_role():
    found = steps(support.math_setup(credit__name="agent_removal", **SMALL))
    for grown in found:
        scores = grown.scores
        without = scores.evidence["without"]
        assert [each.shape for each in without] == [(4, 4, 1), (4, 1, 1)]
        # Leaves of the tree, of the actor alone, and one empty answer a question.
        assert scores.spent.evaluator_calls == 16 + 16 + 4
        assert scores.spent.messages == 32 + 16
        assert scores.spent.generated_tokens > tokens(grown)
        first, last = grown.advantage
        reward = scores.reward
        np.testing.assert_allclose(first[:, 0], (reward - without[0])[..., 0])
        np.testing.assert_allclose(last, reward - without[1])
    assert np.any(found[0].scores.evidence["without"][0] != found[0].scores.reward)


def test_extra_runs_have_draws_of_their_own_at_every_step(monkeypatch):
    drawn = []

    def sample(params, team, questions, key, *_):
        drawn.append(tuple(jax.random.key_data(key).tolist()))
        return (), None

    monkeypatch.setattr(continuous, "sample", sample)
    monkeypatch.setattr(scoring, "submit", lambda *args, **options: None)
    setup = support.math_setup(credit__name="agent_removal", **SMALL)
    state = types.SimpleNamespace(params=None, critic=())
    for step in range(2):
        evidence.gather(setup, state, step, None, [], (None, None), None, None)
    assert len({*drawn}) == len(drawn) == 4  # each step without one role and the other


def test_ccpo_trains_on_answers_without_a_thought():
    for grown in steps(support.math_setup(credit__name="ccpo", **SMALL)):
        assert grown.scores.evidence["solo"].shape == (4, 4)
        assert grown.scores.spent.evaluator_calls == 16 + 16
        assert grown.scores.spent.messages == 32 + 16
        assert [each.shape for each in grown.advantage] == [(4, 1, 4), (4, 4, 1)]


def grown(**changes):
    """The trees of a step from random parameters."""
    setup = support.math_setup(**SMALL, **changes)
    state = training.initial_state(setup, warm_start.initial_params(setup))
    return sample(setup, state, 3)


def test_sepo_has_every_episode_rated_by_both_and_counts_what_is_invalid():
    once = grown(credit__name="sepo")
    plain, scores = grown(credit__name="magrpo").scores, once.scores
    np.testing.assert_array_equal(scores.reward, plain.reward)
    # The embedded team cannot write JSON.
    np.testing.assert_array_equal(
        scores.evidence["ratings"], np.full((4, 4, 2, 2), 0.5)
    )
    assert scores.spent.invalid_ratings == 32
    assert scores.spent.evaluator_calls == plain.spent.evaluator_calls
    assert scores.spent.messages == plain.spent.messages + 32
    assert scores.spent.prefilled_tokens > plain.spent.prefilled_tokens
    assert [each.shape for each in once.advantage] == [(4, 1, 4), (4, 4, 1)]


def test_ccpo_v1_remembers_what_it_saw():
    once = grown(credit__name="ccpo_v1")
    joint, solo = once.scores.reward[..., 0], once.scores.evidence["solo"]
    assert int(once.memory.steps) == 1
    mean = [(joint - solo).mean(), joint.mean(), solo.mean()]
    np.testing.assert_allclose(once.memory.mean, mean, rtol=1e-6)


def test_evidence_does_not_change_the_tree_and_groups_gather_the_same():
    plain = grown(credit__name="magrpo")
    whole = grown(credit__name="agent_removal")
    parts = grown(credit__name="agent_removal", train__groups=2)
    for one, two in zip(plain.turns, whole.turns, strict=True):
        np.testing.assert_array_equal(one.tokens, two.tokens)
    assert len(parts.rollout) == 2
    assert parts.scores.spent == whole.scores.spent
    jax.tree.map(
        np.testing.assert_array_equal, parts.scores.evidence, whole.scores.evidence
    )
    assert plain.scores.evidence == {}


def test_mappo_trains_with_a_critic_that_is_saved_and_goes_on_bit_equal(tmp_path):
    setup = support.math_setup(credit__name="mappo", critic__epochs=2, **SMALL)
    critic_step = critic_update.compiled(setup)
    state = training.initial_state(setup, warm_start.initial_params(setup))
    # It starts from the policy, but for a head that says 0.
    mine, policy = state.critic.params["critic"], state.params["shared"]
    assert {*mine} - {*policy} == {"value"} and not mine["value"].any()
    np.testing.assert_array_equal(mine["embed"], policy["embed"])

    def step(state, number):
        grown = sample(setup, state, number)
        state = updated(setup, state, grown)
        critic, stats = critic_step(state.critic, grown.rollout, grown.evidence)
        return state.replace(critic=critic), grown, stats

    state, grown, stats = step(state, 0)
    reward, spent = grown.scores.reward, grown.scores.spent
    assert not any(each.any() for each in grown.scores.evidence["value"])
    first, last = (reward.mean((1, 2)) ** 2).mean() / 2, (reward**2).mean() / 2
    np.testing.assert_allclose(stats["critic_loss"], (first + last) / 2, rtol=1e-5)
    # One pass over all contexts, and an opener of each.
    assert spent.critic_tokens == spent.prefilled_tokens + 4 * (1 + 4)
    assert spent.evaluator_calls == 16
    with checkpoint.Store(tmp_path) as store:
        store.save(1, state, {})
        store.wait()
        restored, _ = store.restore(training.abstract_state(setup))
    one, grown, stats = step(state, 1)
    two, _, again = step(restored, 1)
    jax.tree.map(np.testing.assert_array_equal, one, two)
    assert float(stats["explained_variance"]) == float(again["explained_variance"])
    value = grown.scores.evidence["value"]
    assert [each.shape for each in value] == [(4, 1), (4, 4)] and value[1].any()
    plain = functools.partial(actor_critic.mappo, grown.evidence, normalise=False)
    np.testing.assert_allclose(plain()[0][:, 0], grown.scores.reward[..., 0] - value[0])


@pytest.mark.slow
def test_c3_with_values_of_messages_trains_a_trio_and_its_critic():
    sizes = {**SMALL, "protocol__budget": 8, "protocol__name": "trio"}
    sizes["train__batch_size"] = 2
    own = support.page_config().policy.to_dict()
    own |= {"width": 16, "layers": 1, "unroll": 1}
    setup = support.math_setup(
        credit__name="c3_value_assisted",
        critic__policy=ml_collections.ConfigDict(own),
        **sizes,
    )
    state = training.initial_state(setup, warm_start.initial_params(setup))
    assert state.critic.params["critic"]["embed"].shape[1] == 16
    assert device_memory.training(setup)["update"]["critic"] > 0
    items = [setup.task.split("train")[i] for i in range(2)]
    grown = support.Step(setup, state, 0, items)
    before = grown.scores.evidence["q"]
    assert [each.shape for each in before] == [(2, 1, 2), (2, 2, 2), (2, 4, 2)]
    spent = grown.scores.spent
    read = spent.prefilled_tokens + spent.generated_tokens + spent.messages
    assert spent.critic_tokens == read
    # While it guesses 0 there is no baseline.
    np.testing.assert_allclose(grown.advantage[2].ravel(), grown.scores.reward.ravel())
    step = critic_update.compiled(setup)
    critic, _ = step(state.critic, grown.rollout, grown.evidence)
    after = critics.predict(setup, critic, grown.questions, grown.turns)["q"]
    assert all(np.asarray(each).any() for each in after)


def test_a_run_without_a_critic_has_none_in_its_state():
    setup = support.math_setup(**SMALL)
    assert setup.critic is None and training.abstract_state(setup).critic == ()
    assert device_memory.training(setup)["update"]["critic"] == 0


def test_a_critic_that_cannot_be_is_refused():
    own = support.page_config().policy.to_dict()
    own["adapters"] = {**own["adapters"], "rank": 2}
    with pytest.raises(ValueError, match="critic.policy.adapters.rank=2: a critic le"):
        support.math_setup(
            credit__name="mappo", critic__policy=ml_collections.ConfigDict(own)
        )


def test_evidence_that_nobody_gathers_is_refused():
    with pytest.raises(ValueError, match=r"computed from \['ballots', 'correct'\]"):
        votes = {f"teams__vote__vote__{k}": v for k, v in ANSWERS.items()}
        support.math_setup(credit__name="ccpo_vote", protocol__name="vote", **votes)
