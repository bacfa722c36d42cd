"""Training along base episodes: what is sampled, counted, learned and replayed."""

import contextlib
import functools
import itertools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from c3jax.audit import certificate
from c3jax.collect import rollouts
from c3jax.core import checkpoint, keys
from c3jax.credit import baselines
from c3jax.data import pipeline
from c3jax.learn import training, warm_start
from c3jax.report import explorer
from c3jax.rollout import tree
from c3jax.train import loop, saved_trees
from tests import support

SMALL = {
    "credit__name": "c3_vine",
    "train__batch_size": 4,
    "warm_start__steps": 0,
    "policy__width": 32,
    "policy__hidden": 48,
    "policy__layers": 1,
}
TRIO = {"protocol__name": "trio", "protocol__budget": 10}


def steps(setup, count=1):
    """(parameters, vines, statistics) of some training steps, and the last state."""
    state = training.initial_state(setup, warm_start.initial_params(setup))
    update_step = training.compiled_update(setup)
    source = pipeline.order(setup.task.split("train"), setup.config.seed)
    found = []
    for step in range(count):
        items = [source[4 * step + i] for i in range(4)]
        grown, before = (
            support.Step(setup, state, step, items),
            jax.device_get(state.params),
        )
        args = setup.objective, state, grown.rollout, grown.batches()
        state, stats = update_step(*args)
        assert float(stats["grad_norm"]) > 0 and float(stats["logp_gap"]) < 1e-5
        found.append((before, grown, stats))
    return found, state


@functools.cache
def duo():
    setup = support.math_setup(**SMALL)
    return setup, *steps(setup, 2)


@functools.cache
def trio():
    setup = support.math_setup(**SMALL, **TRIO)
    return setup, *steps(setup, 2)


def test_every_answer_of_the_budget_is_scored_and_every_message_counted():
    setup, found, _ = duo()
    assert setup.team.protocol.branching == (2, 4)
    for _, grown, _ in found:
        first, last = (scores.reward for scores in grown.all_graded)
        assert (first.shape, last.shape) == ((4, 2, 2), (4, 1, 4))
        mine, other = grown.advantage
        np.testing.assert_array_equal(
            mine[:, 0], baselines.loo_advantage(first.mean(-1))
        )
        np.testing.assert_array_equal(other, baselines.loo_advantage(last))
        spent = rollouts.spent(grown.all_graded)
        assert spent.evaluator_calls == 4 * 8
        # The base's reasoner; two more, each followed twice; four answers to the base.
        assert spent.messages == 4 * (1 + 2 + 4 + 4)
        one, two = grown.trees
        said = [*one.turns, *two.turns]
        assert spent.generated_tokens == sum(int(turn.length.sum()) for turn in said)
        learned = sum(int(turn.length.sum()) for turn in grown.turns)
        trained = rollouts.trained(setup.objective, setup.team, grown.rollout)
        assert trained == learned < spent.generated_tokens


@pytest.mark.slow
def test_a_role_in_the_middle_learns_between_given_and_new_messages():
    setup, found, _ = trio()
    assert setup.team.protocol.branching == (2, 2, 2)
    for _, grown, _ in found:
        assert [turn.length.shape for turn in grown.turns] == [(4, 1, 2)] * 3
        spent = rollouts.spent(grown.all_graded)
        assert spent.evaluator_calls == 4 * 10
        assert spent.messages == 4 * (2 + 2 + 4 + 4 + 2 + 4 + 2)


def test_the_gradient_is_that_of_the_teeth_one_by_one_over_one_count_of_tokens():
    _, [(params, grown, stats), _], _ = duo()

    def decision(part, level):
        one = grown.trees[level]
        turn = one.turns[level]
        logp = tree.logp(part, one.team, level, grown.questions, one.turns)
        return -jnp.where(turn.mask, logp * grown.advantage[level][..., None], 0).sum()

    def loss(part):
        return sum(decision(part, level) for level in range(2))

    wanted = jax.jit(jax.grad(loss))(params)
    tokens = sum(int(turn.length.sum()) for turn in grown.turns)
    norm = optax.tree.norm(wanted) / tokens
    np.testing.assert_allclose(stats["grad_norm"], norm, rtol=1e-4)


def test_a_comb_that_is_stopped_goes_on_bit_equal_and_is_replayed(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        loop.scorers,
        "started",
        lambda setup: contextlib.nullcontext(support.MadeUp()),
    )
    setup = support.math_setup(
        **SMALL,
        train__grad_accumulation=2,
        train__buckets=1,
        train__steps=2,
        train__checkpoint_every=1,
        evaluate__every=2,
        evaluate__questions=2,
        evaluate__batch_size=2,
        evaluate__samples=1,
        evaluate__k=(1,),
        evaluate__trees=2,
    )
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    whole.mkdir()
    parted.mkdir()
    loop.run(setup, whole)
    # For a base episode and two decisions, thrice in the evaluation, once after it;
    # so this is between the next base episode and its first decision.
    asked = itertools.count(1)
    loop.run(setup, parted, stop=lambda: next(asked) == 9)
    assert next(asked) == 10
    assert not (parted / "summary.json").exists()
    loop.run(setup, parted)
    ends = []
    for workdir in (whole, parted):
        with checkpoint.Store(workdir / "checkpoints") as store:
            ends.append(store.restore(training.abstract_state(setup), 2)[0])
    jax.tree.map(np.testing.assert_array_equal, *jax.device_get(ends))
    jax.tree.map(  # In pieces, what `duo` did at once.
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
        *jax.device_get((ends[0].params, duo()[2].params)),
    )
    assert json.loads((whole / "summary.json").read_text())["evaluator_calls"] == 64
    first, last = (path / "trees" / "00000002.jsonl" for path in (whole, parted))
    assert first.read_text() == last.read_text()
    found = certificate.certify(setup, whole)
    # Each question: the base's reasoner, a decision of 2 + 4 messages and one of 4.
    assert str(found).startswith("PASS: 22 messages"), found

    lines = saved_trees.load(first)
    assert [line["decision"] for line in lines] == ["reasoner", "actor"] * 2
    assert lines[0]["uid"] == lines[1]["uid"] != lines[2]["uid"]
    assert np.shape(lines[0]["reward"]) == (2, 2)
    credit = [m["advantage"] for m in lines[1]["roles"][0]["messages"][0]]
    assert credit == [0.0]  # The base's own message is compared with nothing.
    page, _, _, _ = explorer.of_trees(lines)
    assert page["about"][1] == "alternatives of reasoner"
    assert len(page["groups"][0]["messages"]) == 2

    lines[3]["roles"][1]["messages"][0][2]["tokens"][0] ^= 1
    first.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = certificate.certify(setup, whole)
    assert len(found.failures) == 1 and "actor [0, 2]" in found.failures[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(protocol__name="trio"), "try 10, or protocol.continuations=1 with 6"),
        (dict(protocol__name="vote"), "ballots are combined without another answer"),
        (dict(protocol__branching=(4, 4)), "scores 12 answers a question"),
        (dict(credit__name="c3", protocol__continuations=2), "read by nobody"),
    ],
)
def test_a_comb_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        support.math_setup(**{**SMALL, **changes})


def test_a_plain_tree_is_neither_moved_nor_keyed_by_there_being_combs():
    assert keys.STREAMS[:5] == ("init", "rollout", "evaluate", "adapters", "evidence")
    protocol = support.math_setup().team.protocol
    assert protocol.continuations == 0 and protocol.trees == (protocol,)
    assert protocol.leaves == 8 and protocol.contexts(1) == 4
