"""All messages of a level at once, with checks for a stop every few tokens."""

import functools
from collections.abc import Callable

import jax

from c3jax.core import hosts, sharding, signals
from c3jax.core.types import Questions, Segment, Turn
from c3jax.rollout import tree
from c3jax.rollout.contexts import Team


def sample(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
    key: jax.Array,
    steps: int,
    stop: Callable[[], bool],
) -> Turn:
    """The messages of one level, as `tree.sample` has them.

    Args:
        turns: those of the levels before.
        steps: tokens of a message between two checks for a stop.
        stop: whether to stop; asked by all processes at the same places.

    Raises:
        signals.Stopped: `stop` was true.
    """
    segments, node, now = begin(params, team, level, questions, turns, key, steps)
    for _ in range(steps, team.protocol.roles[level].max_tokens, steps):
        if not hosts.fetch(now.alive).any():
            break
        if stop():
            raise signals.Stopped
        now = _resume(params, team, level, segments, node, now, steps)
    return jax.block_until_ready(tree.finished(team, level, now))


@functools.partial(jax.jit, static_argnums=(1, 2, 6))
def begin(params, team, level, questions, turns, key, steps):
    """`tree.begin`, with a question's arrays on the device that has its prompt."""
    segments, node, now = tree.begin(params, team, level, questions, turns, key, steps)
    if team.mesh is None:
        return segments, node, now

    def place(x, where):
        return jax.lax.with_sharding_constraint(x, where)

    def place_kv(x):
        return place(x, sharding.kv(team.mesh, x.ndim))

    # Keys and values have layers in front of the questions. An instruction that all
    # questions share has none of them, and is whole everywhere.
    own = sharding.batch(team.mesh)
    segments = tuple(
        Segment(place_kv(s.k), place_kv(s.v), place(s.length, own))
        if s.length.ndim
        else s
        for s in segments
    )
    token, turn = place((now.token, now.turn), own)
    cache = tuple(map(place_kv, now.cache))
    return segments, place(node, own), now.replace(token=token, turn=turn, cache=cache)


@functools.partial(jax.jit, static_argnums=(1, 2, 6), donate_argnums=5)
def _resume(params, team, level, segments, node, now, steps):
    """`tree.resume`, in place."""
    return tree.resume(params, team, level, segments, node, now, steps)[-1]
