"""The named teams as graphs, and as the config pages fill them in."""

import pytest

from c3jax.protocol import graph, topologies
from tests import support

ROLE = {"instruction": "x", "max_tokens": 8}


def read(fields):
    """Per role in topological order, whom it reads."""
    roles = graph.team(fields)
    return {role.name: role.depends_on for role in roles}


def test_a_trio_is_a_chain_whose_last_role_reads_both():
    trio = topologies.trio(ROLE, ROLE, ROLE)
    assert read(trio) == {
        "reasoner": (),
        "actor": ("reasoner",),
        "verifier": ("reasoner", "actor"),
    }


def test_solvers_of_a_branch_do_not_read_each_other():
    roles = graph.team(topologies.branch(ROLE, ROLE, ROLE, ROLE))
    assert [role.name for role in roles] == [
        *("planner", "solver_a", "solver_b", "integrator")
    ]
    assert graph.ancestors(roles) == ((), (0,), (0,), (0, 1, 2))
    assert roles[-1].depends_on == ("solver_a", "solver_b")


def test_voters_read_nothing_and_who_counts_writes_nothing():
    roles = graph.team(topologies.vote(ROLE, voters=4))
    assert graph.ancestors(roles) == ((), (), (), (), (0, 1, 2, 3))
    assert [role.solves for role in roles] == [True] * 4 + [False]
    assert roles[-1].counts and roles[-1].answers and roles[-1].max_tokens == 0


def test_in_a_debate_a_round_reads_the_round_before():
    found = read(topologies.debate([ROLE, ROLE, ROLE], ROLE, rounds=3))
    assert len(found) == 10
    assert found["agent_2_1"] == ()
    assert found["agent_2_3"] == ("agent_1_2", "agent_2_2", "agent_3_2")
    assert found["judge"] == ("agent_1_3", "agent_2_3", "agent_3_3")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_tokens": 5}, "set teams.mine.vote.max_tokens=0"),
        ({"depends_on": ()}, "teams.mine.vote counts the answers of others"),
        ({"counts": False}, "teams.mine.vote.max_tokens must be 1 or more"),
    ],
)
def test_a_counting_role_reads_others_and_writes_nothing(change, message):
    fields = topologies.vote(ROLE)
    fields["vote"].update(change)
    with pytest.raises(ValueError, match=message):
        graph.team(fields, "teams.mine")


@pytest.mark.parametrize("page", ["math", "code"])
@pytest.mark.parametrize("name", ["trio", "branch", "debate"])
def test_embedded_teams_are_told_in_words_that_their_tokenizer_knows(page, name):
    budget = {"trio": 8, "branch": 16, "debate": 32}[name]
    changes = {"protocol__name": name, "protocol__budget": budget}
    setup = support.setup(page, **changes)
    assert setup.team.protocol.leaves == budget
    ids = [i for p in setup.prompts for i in (*p.before, *p.after)]
    ids += [
        i
        for p in setup.prompts
        for separator in p.template.separators
        for i in separator
    ]
    assert setup.prompts[0].tokenizer.unk_token_id not in ids


@pytest.mark.parametrize("page", ["math:qwen3_4b", "code:qwen2_5_coder_3b"])
def test_published_policies_are_told_what_to_do_in_every_team(page):
    teams = support.page_config(page).teams
    for name in {*teams} - {"vote"}:
        assert all(role.instruction for role in graph.team(teams[name], name))
    assert [len(teams[name]) for name in ("trio", "branch", "debate")] == [3, 4, 5]


def test_a_word_that_the_tokenizer_does_not_know_is_refused():
    with pytest.raises(ValueError, match=r"know .'calculate'. in .* 'actor'"):
        support.math_setup(teams__duo__actor__instruction="calculate it .")
    with pytest.raises(ValueError, match=r"of 'solver_a': .* reads, .'planner'"):
        support.math_setup(
            protocol__name="branch",
            protocol__budget=16,
            teams__branch__planner__title="planner",
        )
