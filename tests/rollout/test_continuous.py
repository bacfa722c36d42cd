import dataclasses
import functools
import itertools

import jax
import numpy as np
import pytest

from c3jax.core import keys, sharding, signals
from c3jax.rollout import continuous, replay, tree
from tests import support

KEY = keys.stream(0, "rollout")


def teams(**changes):
    first, second = support.DUO_SCRIPTS
    templates = (first, dataclasses.replace(second, instruction=support.INSTRUCTION))
    return support.team(templates=templates, branching=(8, 2), top_k=5, **changes)


@functools.cache
def at_once():
    """Trees of eight questions, all messages of a level at once."""
    return jax.device_get(tree.sample(support.params(), teams(), questions(), KEY))


def questions():
    return support.questions(8)


def record(turn, at):
    size = int(turn.length[at])
    return {
        name: getattr(turn, name)[at][:size].tolist()
        for name in ("tokens", "logp", "margin")
    }


def disagreements(turns, others):
    found = []
    for turn, other in zip(turns, jax.device_get(others), strict=True):
        for at in np.ndindex(*turn.length.shape):
            agreement = replay.compare(record(turn, at), record(other, at))
            assert agreement.agrees, agreement
            if agreement.near_tie is not None:
                found.append((at, agreement))
            else:
                assert turn.ended[at] == other.ended[at]
    return found


def test_messages_written_in_slots_are_those_written_at_once():
    team = teams().replace(max_concurrent=16)
    turns, load = continuous.sample(support.params(), team, questions(), KEY)
    assert disagreements(at_once(), turns) == []
    assert load.tokens == sum(int(turn.length.sum()) for turn in at_once())
    _, together = continuous.sample(support.params(), teams(), questions(), KEY)
    assert load.utilisation > 0.5 and load.rows >= load.tokens
    assert together.rows == sum(t.length.size * t.length.max() for t in at_once())


def test_a_stop_is_heard_while_messages_are_written(monkeypatch):
    # Another number at once, as programs know how many tokens they write.
    team, asked = teams().replace(max_concurrent=24), itertools.count()
    monkeypatch.setattr(continuous, "STEPS", 2)
    args = (support.params(), team, questions(), KEY, None)
    turns, load = continuous.sample(*args, lambda: next(asked) < 0)
    assert disagreements(at_once(), turns) == []
    # At every context that is read, and every other token.
    times = next(asked)
    assert times > 8 + 8 * 8 + load.steps / 2
    again = itertools.count()
    with pytest.raises(signals.Stopped):
        continuous.sample(*args, lambda: next(again) == times // 2)
    assert next(again) == times // 2 + 1


@pytest.mark.parametrize(
    ("mesh", "slots"),
    [
        pytest.param((8, 1, 1), 64, marks=pytest.mark.slow),
        ((2, 2, 2), 64),
        ((4, 2, 1), 0),
    ],
    ids=str,
)
def test_messages_spread_over_devices_are_the_same(mesh, slots):
    mesh = sharding.make(*mesh)
    params, team = support.spread(teams().replace(max_concurrent=slots), mesh)
    placed = jax.device_put(questions(), sharding.batch(mesh))
    turns, _ = continuous.sample(params, team, placed, KEY)
    assert len(disagreements(at_once(), turns)) <= 1


def test_a_context_is_in_a_slot_once_however_many_siblings_it_has():
    params, team = support.params(), teams()
    instruction = continuous.instruction_of(params, team, 1)
    args = params, team, 1, instruction, questions(), at_once(), 0
    segments = continuous.read_question(*args)
    node = keys.nodes(KEY, questions().uid[:1], 1, 2)[0]
    slot = continuous.insertable(team, 1, segments, 3, node)
    assert len(slot.segments) == 2
    for segment in (*instruction, *slot.segments):
        assert segment.k.shape[0] == support.SHAPE.layers
        assert segment.k.ndim == 4
    assert slot.state.token.shape == (2,)


def test_silenced_roles_write_nothing_in_slots():
    team = dataclasses.replace(teams(), silenced=(0,), max_concurrent=16)
    turns, _ = continuous.sample(support.params(), team, questions(), KEY)
    assert int(turns[0].length.sum()) == 0
    assert int(turns[1].length.min()) > 0


@pytest.mark.parametrize("stopped", [None, 1, 3])
def test_a_stop_is_heard_while_all_messages_are_written_at_once(monkeypatch, stopped):
    monkeypatch.setattr(continuous, "STEPS", 3)
    asked = itertools.count()
    args = (support.params(), teams(), questions(), KEY, None)
    if stopped is None:
        turns, _ = continuous.sample(*args, lambda: next(asked) < 0)
        assert disagreements(at_once(), turns) == []
        # Before a level, and every three tokens.
        assert next(asked) == sum(-(-turn.length.max() // 3) for turn in at_once())
        return
    with pytest.raises(signals.Stopped):
        continuous.sample(*args, lambda: next(asked) == stopped)
    assert next(asked) == stopped + 1
