"""What each role of a team is shown."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from c3jax.data import problems
from c3jax.learn import warm_start
from c3jax.setup import identity
from tests import support

SHOWN = problems.Demonstration(plan="3 +4", answer=r"3 +4 7 \boxed{ 7 }")


@pytest.mark.parametrize(
    ("name", "budget", "said"),
    [
        ("solo", 8, ["answer"]),
        ("duo", 8, ["plan", "answer"]),
        ("trio", 8, ["plan", "answer", "answer"]),
        ("branch", 16, ["plan", "answer", "answer", "answer"]),
        ("vote", 8, ["answer", "answer", "answer", ""]),
        ("debate", 32, ["answer"] * 5),
    ],
)
def test_roles_that_solve_are_shown_answers_and_the_others_plans(name, budget, said):
    setup = support.math_setup(protocol__name=name, protocol__budget=budget)
    turns = warm_start.demonstrated(setup, [[SHOWN]])
    texts = [setup.texts(turn, level)[0] for level, turn in enumerate(turns)]
    assert texts == [getattr(SHOWN, each) if each else "" for each in said]
    assert [bool(turn.ended[0, 0, 0]) for turn in turns] == [
        bool(each) for each in said
    ]


OWN = {"reasoner": "3 +4", "actor": r"3 +4 7 \boxed{ 7 }"}


def with_own(tmp_path, messages, question="ana has 3 pens . buys 4 .", **changes):
    row = {"question": question, "answer": "7", "messages": messages}
    (tmp_path / "own.jsonl").write_text(json.dumps(row) + "\n")
    path = str(tmp_path / "own.jsonl")
    return support.math_setup(warm_start__demonstrations=path, **changes)


def test_demonstrations_of_ones_own_give_every_role_its_message(tmp_path):
    setup = with_own(tmp_path, OWN)
    turns = warm_start.own(setup, setup.task.demonstrations)
    assert [setup.texts(turn, level) for level, turn in enumerate(turns)] == [
        [OWN["reasoner"]],
        [OWN["actor"]],
    ]
    assert all(turn.ended.all() for turn in turns)


@pytest.mark.parametrize(
    ("messages", "changes", "told"),
    [
        ({**OWN, "reasoner": "3 +4 " * 3}, {}, "line 1: .*'reasoner' takes 7 tokens"),
        ({**OWN, "actor": "seven"}, {}, "line 1: .*'actor' has words that the"),
        (OWN, {"question": "ana has 3 pens . " * 9}, "line 1: .*data.prompt_tokens=32"),
        (OWN, {"warm_start__steps": 0}, "read by nobody while warm_start.steps=0"),
        (OWN, {"protocol__name": "solo"}, "line 1: .*has a role 'reasoner'"),
    ],
)
def test_those_that_cannot_be_learnt_are_refused(tmp_path, messages, changes, told):
    with pytest.raises(ValueError, match=told):
        with_own(tmp_path, messages, **changes)


def test_a_starting_policy_is_known_by_what_its_demonstrations_say(tmp_path):
    before = identity.warm_start(with_own(tmp_path, OWN))
    assert before == identity.warm_start(with_own(tmp_path, OWN))
    other = {**OWN, "reasoner": "4 +3"}
    assert before != identity.warm_start(with_own(tmp_path, other))


def test_it_is_known_by_what_is_in_a_model_and_in_data_of_ones_own(tmp_path):
    model, rows = tmp_path / "model.gguf", tmp_path / "own.jsonl"
    setup = support.math_setup()
    policies = {
        n: dataclasses.replace(p, model=model) for n, p in setup.policies.items()
    }
    task = dataclasses.replace(setup.task, files=(rows,))
    setup = dataclasses.replace(setup, policies=policies, task=task)
    for path in (model, rows):
        path.write_text("one")
    first = identity.warm_start(setup)
    assert identity.warm_start(setup) == first
    for path in (model, rows):
        path.write_text("another")
        assert identity.warm_start(setup) != first
        path.write_text("one")


def test_files_of_one_name_are_each_known_by_their_content(tmp_path):
    rows = [tmp_path / name / "own.jsonl" for name in ("a", "b")]
    setup = support.math_setup()
    task = dataclasses.replace(setup.task, files=tuple(rows))
    setup = dataclasses.replace(setup, task=task)
    for path in rows:
        path.parent.mkdir()
        path.write_text("one")
    first = identity.contents(setup)
    for path in rows:
        path.write_text("another")
        assert identity.contents(setup) != first
        path.write_text("one")
    assert identity.contents(setup) == first


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        (dict(seed=1), False),
        (dict(warm_start__seed=0), True),
        (dict(seed=1, warm_start__seed=0), True),
        (dict(warm_start__steps=9), False),
        (dict(train__steps=9), True),
        (dict(policy__width=32), False),
    ],
)
def test_a_starting_policy_is_shared_by_runs_that_make_the_same_one(changes, is_same):
    before = identity.warm_start(support.math_setup())
    assert (identity.warm_start(support.math_setup(**changes)) == before) == is_same


def test_a_kept_one_is_the_one_that_was_made_and_a_damaged_one_is_made_again(
    tmp_path, capsys
):
    setup = support.math_setup(
        **dict(protocol__name="solo", warm_start__steps=2, warm_start__batch_size=2),
        **dict(policy__width=32, policy__hidden=48, policy__layers=1),
    )
    cache, found = tmp_path / "cache", []
    for name, told in [("made", ""), ("kept", "from"), ("again", "is damaged; it is")]:
        found.append(warm_start.run(setup, tmp_path / name, cache))
        said = capsys.readouterr().out
        assert told in said and ("warm start from" in said) == (name == "kept")
        [kept] = (cache / "warm_start").iterdir()
        if name == "kept":
            record = kept / "2" / "record.json"
            record.write_text(record.read_text() + " ")
    for other in found[1:]:
        jax.tree.map(np.testing.assert_array_equal, found[0].params, other.params)
        assert (other.nll, other.spent) == (found[0].nll, found[0].spent)
