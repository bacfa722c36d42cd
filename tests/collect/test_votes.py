"""A team that votes: what is scored, what is counted, what is learnt."""

import numpy as np
import pytest

from c3jax.collect import votes
from c3jax.core.types import ContextTemplate, Role
from c3jax.learn import training, warm_start
from c3jax.train import saved_trees
from tests import support

SMALL = {
    "protocol__name": "vote",
    "train__batch_size": 4,
    "policy__width": 32,
    "policy__hidden": 48,
    "policy__layers": 1,
}
VOTERS = ("voter_1", "voter_2")
TEAM = support.team(
    (
        Role("voter_1", "", solves=True),
        Role("voter_2", "", solves=True),
        Role("vote", "", VOTERS, answers=True, counts=True, max_tokens=0),
    ),
    (
        ContextTemplate((), (), 2),
        ContextTemplate((), (), 2),
        ContextTemplate((0, 1), ((), ()), 0),
    ),
    (2, 3, 1),
)


def test_every_combination_of_ballots_is_counted_and_a_tie_is_drawn_fairly():
    ballots = np.array([[[0, 1]]]), np.array([[[0, 2, -1]]])
    correct = np.array([[[1.0, 0.0]]]), np.array([[[1.0, 0.0, 0.0]]])
    found = votes.counted(TEAM, ballots, correct)
    # Agreed; a tie of right and wrong; one abstains. Then the same with a wrong first.
    np.testing.assert_allclose(found[..., 0], [[[1, 0.5, 1], [0.5, 0, 0]]])


@pytest.mark.parametrize("name", ["ccpo_vote", "c3"])
def test_voters_learn_from_counted_votes(name):
    setup = support.math_setup(credit__name=name, **SMALL)
    assert setup.team.protocol.branching == (2, 2, 2, 1)
    state = training.initial_state(setup, warm_start.initial_params(setup))
    items = [setup.task.split("train")[i] for i in range(4)]
    grown = support.Step(setup, state, 0, items)
    scores = grown.scores
    assert scores.reward.shape == (4, 2, 2, 2, 1)
    # Six texts a question are scored, though eight votes are counted.
    assert scores.spent.evaluator_calls == 24
    assert scores.spent.messages == 24
    assert [each.shape for each in scores.evidence["ballots"]] == [(4, 2)] * 3
    shapes = [each.shape for each in grown.advantage]
    assert shapes == [(4, 1, 2)] * 3  # Who counts is not credited.
    assert grown.advantage[0].any()
    if name == "c3":
        step = training.compiled_update(setup)
        _, stats = step(setup.objective, state, grown.rollout, grown.batches())
        assert float(stats["logp_gap"]) < 1e-5 and float(stats["grad_norm"]) > 0


def test_a_saved_tree_of_a_vote_has_an_empty_message_of_who_counts(tmp_path):
    setup = support.math_setup(credit__name="c3", **SMALL)
    state = training.initial_state(setup, warm_start.initial_params(setup))
    items = [setup.task.split("train")[i] for i in range(4)]
    grown = support.Step(setup, state, 0, items)
    saved_trees.save(tmp_path, setup, 0, items, grown.rollout, grown.advantages)
    line = saved_trees.load(saved_trees.saved(tmp_path)[0])[0]
    said = [message for context in line["roles"][3]["messages"] for message in context]
    assert [message["text"] for message in said] == [""] * 8
    assert [message["value"] for message in said] == np.ravel(line["reward"]).tolist()


def test_who_counts_has_one_alternative_and_compares_no_programs():
    with pytest.raises(
        ValueError, match="the last entry, for the role that counts, must be 1"
    ):
        support.math_setup(protocol__branching=(2, 2, 1, 2), **SMALL)
    with pytest.raises(ValueError, match="independent episodes"):
        support.math_setup(credit__name="magrpo", **SMALL)
    with pytest.raises(ValueError, match="data.task='programs' the answers are prog"):
        support.math_setup(
            data__task="programs",
            data__tokenizer="program_words",
            data__prompt_tokens=64,
            evaluate__questions=256,
            **{f"teams__vote__voter_{n}__instruction": "write ." for n in (1, 2, 3)},
            **SMALL,
        )
