"""Buckets of a run: what is in them, and credit that is what training would assign."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from c3jax.audit import buckets, methods, run_buckets
from c3jax.learn import training, warm_start
from c3jax.rollout import continuous, decode, loads
from tests import support

FIELDS = dict(
    questions=4,
    batch_size=2,
    candidates=4,
    continuations=3,
    extra=5,
    fit=1,
    methods="",
    buckets="",
)
SMALL = dict(
    train__batch_size=2,
    policy__width=32,
    policy__hidden=48,
    policy__layers=1,
)


@functools.cache
def run(team="duo", name="c3"):
    fields = dict(protocol__name=team, credit__name=name, **SMALL)
    setup = support.math_setup(protocol__budget=8 if team == "vote" else 4, **fields)
    return setup, training.initial_state(setup, warm_start.initial_params(setup))


def plan(setup, **changes):
    return methods.plan({**FIELDS, **changes}, setup)


@functools.cache
def collected(directory, team, names, **changes):
    setup, state = run(team)
    asked = plan(setup, methods=names, **changes)
    return run_buckets.collect(setup, state, asked, directory, support.MadeUp())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("parts")


@pytest.fixture(scope="module")
def duo(place):
    (place / "duo").mkdir(exist_ok=True)
    return collected(place / "duo", "duo", "[c3, 'magrpo',mappo]")


def test_a_bucket_holds_a_context_and_what_became_of_it(duo):
    found, spent = duo
    assert [bucket.role for bucket in found] == ["reasoner"] * 4 + ["actor"] * 4
    reasoner, actor = found[0], found[4]
    for bucket in (reasoner, actor):
        assert [len(each.returns) for each in bucket.candidates] == [3] * 4
        assert len(bucket.extra) == 5
        assert {*bucket.candidates[0].credit} == {"c3", "magrpo", "mappo"}
        assert all(each.logp < 0 for each in bucket.candidates)
    assert reasoner.id.endswith("/reasoner") and "reasoner:" not in reasoner.context
    assert actor.context.startswith(reasoner.context + "\nreasoner: ")
    # The reward is of the answer, which somebody else gives.
    for each in reasoner.candidates:
        scores = [support.MadeUp._hash(reply) % 2 for reply in each.replies]
        assert scores == [*each.returns]
    for each in actor.candidates:
        assert not each.replies
        assert {*each.returns} == {support.MadeUp._hash(each.text) % 2}
    # 8 contexts x (4 candidates, 3 times or once, and 5 more).
    assert spent["buckets"].evaluator_calls == 4 * (4 * 3 + 5) + 4 * (4 + 5)
    # Around each: (2, 2) trees for 2 messages each; (4, 1) for 4, and then for 1.
    assert spent["c3"].evaluator_calls == 2 * 4 * 2 * 4
    assert spent["magrpo"].evaluator_calls == 4 * 4 + 4 * 4 * 4
    assert spent["mappo"].critic_tokens > 0


def test_credit_is_what_its_rewards_make_it(duo):
    """Rewards of trees around a context are not kept, but what they can come to is."""
    found, _ = duo
    for bucket in found:
        credit = {n: [c.credit[n] for c in bucket.candidates] for n in ("c3", "magrpo")}
        pairs = np.reshape(credit["c3"], (2, 2))
        np.testing.assert_allclose(pairs.sum(1), 0, atol=1e-6)
        assert {abs(x) for x in credit["c3"]} <= {0.0, 0.5, 1.0}
        if bucket.role == "actor":
            # Both candidates of a tree are scored there; nothing comes after.
            own = np.reshape([c.returns[0] for c in bucket.candidates], (2, 2))
            np.testing.assert_allclose(pairs[:, 0], own[:, 0] - own[:, 1], atol=1e-6)
    reasoner = found[0]
    whole = [c.credit["magrpo"] for c in reasoner.candidates]
    np.testing.assert_allclose(sum(whole), 0, atol=1e-6)  # one group of four


def test_credit_is_made_of_draws_that_what_it_is_held_against_has_not_seen(
    monkeypatch,
):
    """Nothing is written here: that two draws have one address shows without it."""
    drawn = []

    def sample(params, team, questions, key, given=None, stop=None):
        turns = []
        for level, alternatives in enumerate(team.protocol.branching):
            size = len(questions.uid), team.protocol.contexts(level), alternatives
            if given and level in given:
                turns.append(given[level])
                continue
            turns.append(decode.blank(team, level, size))
            if level not in team.silenced:
                own = jax.random.key_data(key).tolist()
                drawn.extend((*own, int(uid), level) for uid in questions.uid)
        return tuple(turns), loads.Load()

    monkeypatch.setattr(continuous, "sample", sample)
    setup, state = run()
    asked, test = plan(setup), setup.task.split("test")
    method = methods.Method(setup, state)
    for level in range(2):
        for begin in asked.batches:
            items = [test[begin + row] for row in range(asked.batch_size)]
            args = (setup, state, asked, level, begin, items, support.MadeUp())
            run_buckets.ContextBatch(*args, lambda: False).credit(method)
    assert drawn and len({*drawn}) == len(drawn)


def test_what_was_collected_is_read_and_a_rest_is_the_same(duo, place):
    found, spent = duo
    parts = sorted((place / "duo").glob("*.json"))
    assert len(parts) == 4
    kept = parts[2].read_text()
    parts[2].unlink()
    collected.cache_clear()
    again, cost = collected(place / "duo", "duo", "[c3, 'magrpo',mappo]")
    assert again == found and cost == spent and parts[2].read_text() == kept
    setup, state = run()
    args = (setup, state, plan(setup), place / "none", support.MadeUp())
    assert run_buckets.collect(*args, stop=lambda: True) is None


@pytest.mark.slow
def test_a_team_whose_members_do_not_hear_each_other(tmp_path):
    found, _ = collected(tmp_path, "vote", "c3", questions=4, continuations=2)
    names = [f"voter_{n}" for n in (1, 2, 3) for _ in range(4)]
    assert [bucket.role for bucket in found] == names
    for bucket in found:
        assert all(len(each.returns) == 2 for each in bucket.candidates)


def test_the_lines_of_a_run_are_those_that_are_read(duo, tmp_path):
    buckets.write(tmp_path / "some.jsonl", duo[0])
    again, wrong = buckets.read(tmp_path / "some.jsonl")
    assert (again, wrong) == (duo[0], [])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(questions=5), "audit.questions=5 and audit.batch_size=2: the first must"),
        (dict(questions=2), "audit.questions=2: it must be 4 or more"),
        (dict(questions=10**6), "but there are"),
        (dict(candidates=1), r"audit.candidates=1.*2 or more"),
        (dict(extra=-1), r"audit.extra=-1.*0 or more"),
    ],
)
def test_plans_that_cannot_be_carried_out(changes, message):
    with pytest.raises(ValueError, match=message):
        plan(run()[0], **changes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cc", "audit.methods.*'cc'"),
        ("c3_vine", "samples them along one episode, .*audit 'c3'"),
        ("ccpo_vote", "audit.methods: no 'ccpo_vote' here: "),
        ("rloo", "'rloo' compares messages of reasoner 4 at a time"),
    ],
)
def test_methods_that_cannot_be_asked(name, message):
    with pytest.raises(ValueError, match=message):
        methods.method(run()[0], name, candidates=6)


def test_without_a_list_it_is_the_run_s_own_method_and_two_more():
    assert plan(run("duo", "magrpo")[0]).methods == ("magrpo", "c3")
    assert plan(run()[0]).methods == ("c3", "magrpo")
    # Episodes of voters, who read nothing, are not independent.
    assert plan(run("vote", "ccpo_vote")[0]).methods == ("ccpo_vote", "c3")


def test_the_run_s_own_method_goes_on_from_what_it_remembers():
    setup, state = run("duo", "c3_shrunk")
    remembered = dataclasses.replace(state, memory="remembered")
    asked = plan(setup)
    own = methods.method(setup, "c3_shrunk", 4)
    found = methods.learned(own, setup, remembered, asked, support.MadeUp())
    assert found.state.memory == "remembered" and found.setup is setup


def test_credit_divided_by_a_deviation_is_marked_and_no_other():
    def mark(name, **options):
        options = {f"credit__{key}": value for key, value in options.items()}
        return methods.scaled(support.math_setup(credit__name=name, **options))

    plain = ("c3", "c3_shrunk", "magrpo", "rloo", "ccpo")
    assert not any(map(mark, plain))
    assert "not comparable" in mark("ccpo_v1")
    assert mark("mappo") and mark("magrpo", std=True)
