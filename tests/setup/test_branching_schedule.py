"""Trees that a run chooses: by what, when, and the same ones if it is resumed."""

import contextlib
import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from c3jax.audit import certificate
from c3jax.collect import scorers
from c3jax.core import checkpoint, metrics
from c3jax.learn import training, warm_start
from c3jax.setup import branching_schedule
from c3jax.train import device_memory, loop, saved_trees
from c3jax.train.record import Record
from tests import support

DUO = ((), (0,))
NAMES = ("reasoner", "actor")
AUTO = {"protocol__branching": "auto", "credit__name": "c3_shrunk"}


def chooses(**changes):
    """A choice for a duo with eight answers."""
    given = dict(budget=8, every=5, blend=True, learns=(True, True))
    return branching_schedule.BranchingSchedule(
        NAMES, DUO, (4, 2), **{**given, **changes}
    )


def rewards(branching, between, within, count=2000, seed=0):
    """Rewards in which messages of the first and of the second role differ so much."""
    rng = np.random.default_rng(seed)
    first = rng.normal(0, between**0.5, (count, branching[0], 1))
    return first + rng.normal(0, within**0.5, (count, *branching))


def played(chosen, between, within, steps, tokens=(1.0, 1.0)):
    """The trees of some steps, and what is seen after them."""
    seen, trees = branching_schedule.BranchingStats(), []
    for step in range(steps):
        trees.append(chosen.at(seen, step))
        reward = rewards(trees[-1], between, within, seed=step)
        seen = chosen.after(seen, step, reward, tokens)
    return trees, seen


def test_trees_show_where_rewards_vary_and_then_follow_it():
    trees, seen = played(chooses(), 1.0, 0.1, 12)
    # Plans differ: many of them. What answers add is hidden then, and shown anew.
    assert trees == [(4, 2)] * 6 + [(8, 1)] * 4 + [(4, 2), (8, 1)]
    np.testing.assert_allclose(seen.components, (1.0, 0.1), rtol=0.1)
    # A tree that shows it all need not give way to the first.
    one = chooses(learns=(False, True), blend=False)
    trees, seen = played(one, 0.1, 1.0, 12)
    assert trees == [(4, 2)] * 6 + [(2, 4)] * 6
    np.testing.assert_allclose(seen.components, (0.1, 1.0), rtol=0.1, atol=0.02)


def test_a_tree_is_kept_unless_another_is_clearly_better():
    # (8, 1) would save 8%.
    trees, _ = played(chooses(), 0.0, 1.0, 8)
    assert trees == [(4, 2)] * 8
    trees, _ = played(chooses(budget=0), 1.0, 0.1, 8)
    assert trees == [(4, 2)] * 8


def test_the_unit_of_cost_and_the_length_of_messages_count():
    one = chooses(blend=False)
    asked = {}
    for cost in branching_schedule.COSTS:
        for sums in (True, False):
            found = dataclasses.replace(one, cost=cost, sums=sums)
            _, seen = played(found, 0.3, 1.0, 6, tokens=(1.0, 30.0))
            asked[cost, sums] = seen.chosen
    # Short messages have small scores if these are sums, large ones if they are means.
    assert asked["evaluator_calls", True] == (2, 4)
    assert asked["evaluator_calls", False] == (4, 2)
    assert asked["generated_tokens", False] == (4, 2)


def test_what_was_seen_is_a_mean_that_forgets_and_survives_json():
    seen = branching_schedule.BranchingStats()
    chosen, shown = chooses(), []
    for step in range(2):
        reward = rewards((4, 2), 1.0, 0.5, 10, seed=step)
        tokens = (2.0 + step, 4.0)
        shown.append(
            chosen.after(
                branching_schedule.BranchingStats(), 0, reward, tokens
            ).components
        )
        seen = chosen.after(seen, step, reward, tokens)
    kept = branching_schedule.DECAY
    weights = np.array([kept, 1.0]) / (kept + 1)
    np.testing.assert_allclose(seen.components, weights @ np.array(shown))
    np.testing.assert_allclose(seen.tokens, (weights @ [2.0, 3.0], 4.0))
    assert seen.weight == pytest.approx(10 * (kept + 1))
    page = json.loads(json.dumps(dataclasses.asdict(seen)))
    assert branching_schedule.BranchingStats.from_json(page) == seen


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"credit__name": "magrpo"}, "'magrpo' compares independent episodes, so"),
        ({"protocol__name": "vote"}, "'auto' .* a team that votes"),
        ({"protocol__branching": "best"}, r"'best': .* say \(4, 2\), 'auto', or None"),
        ({"protocol__branching": 8}, r"protocol.branching=8: .* say \(4, 2\)"),
        ({"protocol__auto__every": 1}, "protocol.auto.every=1: it must be 2 or more"),
        ({"protocol__auto__cost": "tokens"}, "'tokens'.* 'generated_tokens'"),
        ({"protocol__auto__most": 1}, "protocol.auto.most is read by nobody"),
        ({"protocol__budget": 7}, "protocol.budget=7 cannot give 2 roles two or more"),
    ],
)
def test_a_choice_that_cannot_be_made_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        support.math_setup(**{**AUTO, **changes})


def test_a_run_needs_the_memory_of_its_largest_tree():
    def needed(**changes):
        found = device_memory.training(support.math_setup(**changes))
        return {phase: sum(parts.values()) for phase, parts in found.items()}

    auto = needed(**AUTO)
    for tree in ((4, 2), (8, 1)):
        fixed = needed(**{**AUTO, "protocol__branching": tree})
        assert all(fixed[name] <= auto[name] for name in auto)
    assert fixed == auto


SMALL = {
    **AUTO,
    # Rewards that have nothing to do with plans: (4, 1) saves a fifth against (2, 2).
    "protocol__budget": 4,
    "protocol__auto__every": 2,
    "train__batch_size": 4,
    "warm_start__steps": 0,
    "evaluate__questions": 2,
    "policy__width": 32,
    "policy__hidden": 48,
    "policy__layers": 1,
}


@pytest.fixture
def cheap(monkeypatch):
    """Grades of answers by the text alone; an update is compiled once for all runs."""

    @contextlib.contextmanager
    def started(setup):
        yield support.MadeUp()

    compiled, once = training.compiled_update, {}

    def update(setup):
        branching = setup.team.protocol.branching
        if branching not in once:
            once[branching] = compiled(setup)
        return once[branching]

    monkeypatch.setattr(scorers, "started", started)
    monkeypatch.setattr(training, "compiled_update", update)


def run(setup, workdir, *lengths):
    """A run that is begun and not evaluated, stopped when it has asked so often."""
    state = training.initial_state(setup, warm_start.initial_params(setup))
    begun = Record(seed=setup.config.seed, evaluated=0)
    with checkpoint.Store(workdir / "checkpoints") as store:
        store.save(0, state, dataclasses.asdict(begun))
    for length in lengths:
        asked = itertools.count()
        loop.run(setup, workdir, stop=lambda n=length, a=asked: next(a) >= n)
    with checkpoint.Store(workdir / "checkpoints") as store:
        state, record = store.restore(training.abstract_state(setup))
    log = [
        {k: v for k, v in line.items() if not metrics.is_wall_clock(k)}
        for line in metrics.read(workdir)
    ]
    return state, record, log


def test_a_run_that_goes_on_chooses_the_same_trees(cheap, tmp_path):
    setup = support.math_setup(**SMALL)
    # Asked before each role writes, and after that.
    state, record, log = run(setup, tmp_path / "whole", 5 * 3)
    grown = [[line[f"branching/{name}"] for name in NAMES] for line in log]
    assert grown == [[2, 2], [2, 2], [2, 2], [4, 1], [2, 2]]
    assert [line["evaluator_calls"] for line in log] == [16] * 5
    # What a tree hides it does not change.
    spread = [[line[f"spread/{name}"] for name in NAMES] for line in log]
    assert spread[3] == spread[2] != spread[4]
    other, again, found = run(setup, tmp_path / "parts", 3 * 3, 2 * 3)
    assert (again["seen"], found) == (record["seen"], log)
    jax.tree.map(np.testing.assert_array_equal, *jax.device_get((state, other)))


def test_trees_of_another_shape_than_the_first_are_saved_and_replayed(tmp_path):
    setup = support.math_setup(**SMALL)
    state, _, _ = run(setup, tmp_path)
    items = [setup.task.split("train")[i] for i in range(4)]
    here = setup.branched((4, 1))
    grown = support.Step(here, state, 0, items)
    saved_trees.save(tmp_path, here, 0, items[:1], grown.rollout, grown.advantages)
    found = certificate.certify(setup, tmp_path)
    assert found.nodes == 8 and not found.failures
