import pytest

from c3jax.protocol import graph, topologies


def fields(**roles):
    return {
        name: {"instruction": "", "depends_on": deps, "answers": name == "actor"}
        for name, deps in roles.items()
    }


def test_roles_come_in_topological_order():
    roles = graph.team(fields(actor=("b", "a"), a=("root",), b=("root",), root=()))
    assert [role.name for role in roles] == ["root", "a", "b", "actor"]


def test_spans_are_all_ancestors_and_contexts_their_product():
    roles = graph.team(fields(actor=("b", "a"), a=("root",), b=("root",), root=()))
    protocol = graph.Protocol(roles, (2, 3, 4, 5))
    assert protocol.ancestors == ((), (0,), (0,), (0, 1, 2))
    assert [protocol.contexts(level) for level in range(4)] == [1, 2, 2, 24]
    assert protocol.leaves == 120
    assert protocol.chain(7).branching == (7, 1, 1, 1)


def test_a_role_that_reads_nothing_need_not_say_so_and_a_name_is_no_tuple():
    given = {"a": {"instruction": ""}, "b": {"depends_on": ("a",), "answers": True}}
    given["b"]["instruction"] = ""
    assert [role.depends_on for role in graph.team(given)] == [(), ("a",)]
    given["b"]["depends_on"] = "a"
    with pytest.raises(ValueError, match=r"='a': it must be .* \('a',\)"):
        graph.team(given)


def test_the_named_topologies_are_teams():
    assert len(graph.team(topologies.solo({"instruction": "x"}))) == 1
    duo = graph.team(topologies.duo({"instruction": "x"}, {"instruction": "y"}))
    assert [(role.name, role.answers) for role in duo] == [
        ("reasoner", False),
        ("actor", True),
    ]


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (fields(actor=("planner",)), "names 'planner', which is not a role"),
        (fields(actor=("a",), a=("actor",)), "a -> actor|actor -> a"),
        (fields(actor=("actor",)), "wait for each other"),
        (fields(actor=(), idle=()), "'idle'. never reach 'actor'"),
        (fields(a=()), "exactly one role answers, got none"),
        (
            {"actor": {"instruct": "", "answers": True}},
            "has .'instruct'., which no role",
        ),
        ({"actor": {"instruction": "", "max_tokens": 0}}, "max_tokens must be 1"),
    ],
)
def test_a_team_that_cannot_play_is_refused(roles, message):
    with pytest.raises(ValueError, match=message):
        graph.team(roles, "teams.mine")
