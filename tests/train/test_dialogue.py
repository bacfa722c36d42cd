"""A dialogue whose thinker may end it: what is scored, learnt, saved and replayed."""

import functools
import json

import jax
import numpy as np
import pytest

from c3jax.audit import certificate
from c3jax.collect import answers, batching
from c3jax.core import checkpoint
from c3jax.data import problems
from c3jax.learn import training, warm_start
from c3jax.train import saved_trees
from tests import support

# Many words of a random policy hold the digit that ends a talk here.
SMALL = {
    "protocol__name": "dialogue",
    "teams__dialogue__thinker_1__finishes": "1",
    "teams__dialogue__thinker_2__finishes": "1",
    "train__batch_size": 4,
    "policy__width": 32,
    "policy__hidden": 48,
    "policy__layers": 1,
    "warm_start__steps": 0,
    "evaluate__trees": 2,
}
BUDGET = {"c3": 16}


class Counted(support.MadeUp):
    """Grades by the text, and which texts were asked for."""

    def __init__(self):
        self.texts = []

    def submit(self, texts, items):
        self.texts += [
            (item.uid, text) for text, item in zip(texts, items, strict=True)
        ]
        return super().submit(texts, items)


@functools.cache
def two_steps(name):
    """The setup, and of each of two steps the state before, trees, scorer, figures."""
    setup = support.math_setup(
        credit__name=name, protocol__budget=BUDGET[name], **SMALL
    )
    params = warm_start.initial_params(setup)
    state = training.initial_state(setup, params)
    update, found = training.compiled_update(setup), []
    source = setup.task.split("train")
    for step in range(2):
        items, scorer = [source[4 * step + i] for i in range(4)], Counted()
        grown = support.Step(setup, state, step, items, scorer)
        credit = [*grown.batches()]
        before = jax.tree.map(np.array, state)
        # Whatever was credited to messages that were not written: it makes no change.
        odd = [
            group.replace(
                advantage=(
                    tuple(
                        a + 9.0 * (turn.length == 0)
                        for a, turn in zip(*group.advantage, grown.turns, strict=True)
                    ),
                )
            )
            for group in credit
        ]
        _, shown = update(
            setup.objective, jax.tree.map(jax.numpy.array, state), (), odd
        )
        state, stats = update(setup.objective, state, grown.rollout, credit)
        found.append((before, items, grown, scorer, jax.device_get((stats, shown))))
    return setup, found


def answer(setup, line):
    """By hand from a saved tree: per leaf, (role, n, k) of its answer, or None."""
    roles, said = setup.team.protocol.branching, line["roles"]
    found = []
    for leaf in np.ndindex(*roles):
        last = None
        for level in (1, 3):
            n = np.ravel_multi_index(leaf[:level], roles[:level])
            if said[level]["messages"][n][leaf[level]]["tokens"]:
                last = level, int(n), leaf[level]
        found.append(last)
    return found


@pytest.mark.parametrize("name", BUDGET)
def test_a_finished_talk_is_scored_once_at_its_last_answer(name, tmp_path):
    setup, ((_, items, grown, scorer, _), _) = two_steps(name)
    saved_trees.save(tmp_path, setup, 0, items, grown.rollout, grown.advantages)
    lines, asked = saved_trees.load(saved_trees.saved(tmp_path)[0]), scorer.texts
    for line in lines:
        where = answer(setup, line)
        reward = np.ravel(line["reward"])
        wanted = []
        for place, earned in zip(where, reward, strict=True):
            if place is None:
                assert earned == 0
                continue
            level, n, k = place
            text = line["roles"][level]["messages"][n][k]["text"]
            assert earned == support.MadeUp._hash(text) % 2
            wanted.append((line["uid"], text))
        distinct = {place for place in where if place is not None}
        mine = [each for each in asked if each[0] == line["uid"]]
        assert len(mine) == len(distinct) and {*mine} == {*wanted}
    assert grown.scores.spent.evaluator_calls == len(asked)
    lengths = [turn.length for turn in jax.device_get(grown.turns)]
    assert grown.scores.spent.messages == sum(int((n > 0).sum()) for n in lengths)
    assert 0 < (lengths[3] == 0).sum() < lengths[3].size


@pytest.mark.parametrize("name", BUDGET)
def test_what_was_not_written_is_not_learnt_from(name):
    setup, steps = two_steps(name)
    assert (
        setup.team.protocol.branching == {"c3": (2,) * 4, "magrpo": (4, 1, 1, 1)}[name]
    )
    for *_, (stats, shown) in steps:
        assert stats["logp_gap"] < 1e-5 and stats["grad_norm"] > 0
        assert stats["loss"] == shown["loss"]
        assert stats["grad_norm"] == shown["grad_norm"]
    moved = jax.tree.leaves(
        jax.tree.map(
            lambda a, b: np.any(a != b), steps[0][0].params, steps[1][0].params
        )
    )
    assert any(moved)


def test_siblings_after_the_end_get_no_credit():
    _, ((_, _, grown, _, _), _) = two_steps("c3")
    for turn, advantage in zip(grown.turns, grown.advantage, strict=True):
        assert not np.any(advantage[np.asarray(turn.length) == 0])


def test_a_dialogue_is_replayed_from_disk(tmp_path):
    setup, (_, (state, items, grown, _, _)) = two_steps("c3")
    with checkpoint.Store(tmp_path / "checkpoints") as store:
        store.save(1, state, {})
        store.wait()
    saved_trees.save(tmp_path, setup, 1, items, grown.rollout, grown.advantages)
    path = saved_trees.saved(tmp_path)[0]
    lines = saved_trees.load(path)
    messages = [
        message
        for line in lines
        for role in line["roles"]
        for siblings in role["messages"]
        for message in siblings
    ]
    said = [message for message in messages if message["tokens"]]
    assert len(said) < len(messages)
    found = certificate.certify(setup, tmp_path)
    assert f"PASS: {len(said)} messages" in str(found)
    silent = next(message for message in messages if not message["tokens"])
    silent["tokens"] = [7]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "the dialogue was over" in str(certificate.certify(setup, tmp_path))


def test_whitening_is_over_what_was_written():
    credit = [((np.array([[[1.0, 3.0, 9.0]]], np.float32),),)]
    written = [[[np.array([[[True, True, False]]])]]]
    objective = support.math_setup(train__whiten=True).objective
    learned = [batching.CreditedRole(0, 0, 0)]
    (((found,),),), _ = batching.shaped(objective, credit, learned, written)
    np.testing.assert_allclose(found, [[[-1, 1, 0]]], rtol=1e-6)


def test_answers_are_those_that_were_given_last():
    found = np.array([[[0, 0], [2, 3]]])
    np.testing.assert_array_equal(answers.used(found, 4), [[True, False, True, True]])
    np.testing.assert_array_equal(answers.used(0 * found - 1, 2), [[False, False]])


def test_an_agent_of_several_roles_has_one_policy():
    setup = support.math_setup(protocol__policies="own", protocol__budget=16, **SMALL)
    names = [part.name for part in setup.team.policies]
    assert names == ["thinker", "reasoner"] * 2
    assert [*setup.policies] == ["thinker", "reasoner"]


def test_demonstrations_go_on_or_end_with_the_mark():
    setup = support.math_setup(protocol__name="dialogue", protocol__budget=16)
    one = problems.Demonstration(plan="3 +4", answer=r"3 +4 7 \boxed{ 7 }")
    two = problems.Demonstration(plan="3 -4", answer=r"3 -4 0 \boxed{ 0 }")
    turns = warm_start.demonstrated(setup, [[one], [one, two], [one, two, two]])
    said = [setup.texts(turn, level) for level, turn in enumerate(turns)]
    rows = [list(row) for row in zip(*said, strict=True)]
    assert rows[0] == [one.plan, one.answer, ".", ""]
    assert rows[1] == rows[2] == [one.plan, one.answer, two.plan, two.answer]
    assert turns[3].length[:, 0, 0].tolist()[0] == 0 and not turns[3].ended[0]
