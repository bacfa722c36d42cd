"""All messages of a level at once, and a stop is heard while they are written."""

import functools
from collections.abc import Callable

import jax

from c3jax.core import hosts, signals
from c3jax.core import mesh as meshes
from c3jax.core.types import Questions, Segment, Turn
from c3jax.rollout import tree
from c3jax.rollout.contexts import Team


def write(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
    key: jax.Array,
    steps: int,
    stop: Callable[[], bool],
) -> Turn:
    """The messages of one level, as `tree.grow` has them.

    Args:
        params: the behaviour policies.
        team: static description.
        level: index of the role.
        questions: heads of B questions.
        turns: those of the levels before.
        key: the key of the step.
        steps: tokens of a message between two questions whether to stop.
        stop: asked by all processes at the same places.

    Raises:
        signals.Stopped: it was stopped.
    """
    *read, now = _begin(params, team, level, questions, turns, key, steps)
    for _ in range(steps, team.protocol.roles[level].max_tokens, steps):
        if not hosts.fetch(now.alive).any():
            break
        if stop():
            raise signals.Stopped
        now = _go_on(params, team, level, *read, now, steps)
    return jax.block_until_ready(tree.finished(team, level, now))


@functools.partial(jax.jit, static_argnums=(1, 2, 6))
def _begin(params, team, level, questions, turns, key, steps):
    """`tree.begin`; of every question what it came to stays where its head is."""
    read, node, now = tree.begin(params, team, level, questions, turns, key, steps)
    if team.mesh is None:
        return read, node, now

    def place(x, where):
        return jax.lax.with_sharding_constraint(x, where)

    def remember(x):
        return place(x, meshes.memory(team.mesh, x.ndim))

    own = meshes.batch(team.mesh)
    read = tuple(
        Segment(remember(s.k), remember(s.v), place(s.length, own)) for s in read
    )
    token, turn = place((now.token, now.turn), own)
    cache = tuple(map(remember, now.cache))
    return read, place(node, own), now.replace(token=token, turn=turn, cache=cache)


@functools.partial(jax.jit, static_argnums=(1, 2, 6), donate_argnums=5)
def _go_on(params, team, level, read, node, now, steps):
    """`tree.go_on`, in place."""
    return tree.go_on(params, team, level, read, node, now, steps)[-1]
