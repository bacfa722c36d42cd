"""A long message does not hold the others up: messages are written at desks.

All messages of a level at once means that every step is paid for until the longest has
ended. Here only as many are written at a time as have room. A *desk* is a place where
the siblings of one context write, with the context's keys and values once. There are
two rooms:

    wide     K rows a desk, one for every sibling of a context;
    narrow   K / 4 rows a desk, for the last siblings of a context still writing.

When no more than K / 4 siblings at a wide desk go on, they move to a narrow desk and
the next context takes their place. So most rows write most of the time, and a context
is still computed once, and read once a step for all of its siblings at a desk.

The host decides who sits where; the devices only stop when a desk falls free. Which
token is drawn depends on a node's key and context alone, so the tree is that of
`tree.grow`, up to rounding and hence by the margin rule.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from c3jax.core import hosts, keys, signals
from c3jax.core import mesh as meshes
from c3jax.core.types import Questions, Segment, Turn
from c3jax.rollout import contexts, finish, loads, together, tree, writing
from c3jax.rollout.contexts import BATCH, Context, Team


@struct.dataclass
class Desk:
    """What is on one desk, or with a first axis of desks, in a room.

    Arrays of a room have the axis of desks where those of a tree have questions.

    Attributes:
        segments: the context behind what is told to all; [L, .., kv_heads, S, head_dim]
            keys and values.
        node: [.., R] keys.
        writing: R messages, with one clock a desk.
    """

    segments: tuple[Segment, ...]
    node: jax.Array
    writing: writing.Writing


# Tokens of a message between two questions whether to stop.
_STEPS = 16


class Seat(NamedTuple):
    """Whose messages a desk holds: a context and which of its siblings.

    Attributes:
        context: index among the B * N contexts of the level.
        siblings: per row, which sibling; K for an empty row.
    """

    context: int
    siblings: np.ndarray


def grow(
    params: dict,
    team: Team,
    questions: Questions,
    key: jax.Array,
    given: Mapping[int, Turn] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[tuple[Turn, ...], loads.Load]:
    """Samples the whole tree of B questions, `team.at_once` messages at a time.

    Args:
        params: the behaviour policies.
        team: static description; with `at_once` 0 the tree is that of `tree.grow`.
        questions: heads of B questions.
        key: the key of the step (see `core.keys`).
        given: levels that are not sampled, since their messages are these.
        stop: asked every few tokens, by all processes at the same places.

    Returns:
        One `Turn` a role, in topological order, and what it took.

    Raises:
        signals.Stopped: it was stopped.
    """
    turns, load = (), loads.Load()
    for level in range(len(team.protocol.roles)):
        if given and level in given:
            turns += (given[level],)
            continue
        if level in team.silenced:
            turns += (tree.silence(team, level, questions),)
            continue
        _ask(stop)
        args = params, team, level, questions, turns, key
        if team.at_once:
            turn, spent = _write(*args, stop)
        else:
            turn = together.write(*args, _STEPS, stop)
            spent = loads.at_once([turn])
        turns += (turn,)
        load += spent
    return turns, load


def _ask(stop: Callable[[], bool]) -> None:
    """Leaves if a stop is asked for."""
    if stop():
        raise signals.Stopped


def _write(params, team, level, questions, turns, key, stop) -> tuple[Turn, loads.Load]:
    """All messages of one level at desks, and what it took."""
    siblings, each = team.protocol.branching[level], team.protocol.contexts(level)
    count = questions.uid.shape[0] * each
    node = keys.nodes(key, questions.uid, level, each * siblings)
    node = node.reshape(count, siblings)
    written = writing.blank(team, level, node.shape)
    few, told = siblings // 4, _told(params, team, level)
    advance = functools.partial(_advance, params, team, level, told)
    wide = _Room(team, advance, team.at_once, siblings, few)
    # Half as many rows: the last siblings of a context are a small part of the work.
    narrow = _Room(team, advance, team.at_once // 2, few, 0)
    over = finish.over(team, level, turns)
    talks = np.ones(count, bool) if over is None else ~hosts.fetch(over).reshape(-1)
    arriving = _arrivals(params, team, level, told, questions, turns, node, talks)
    waiting, moving = int(talks.sum()), collections.deque()
    while waiting or moving or wide.taken or narrow.taken:
        while waiting and wide.has_space:
            wide.seat(*next(arriving))
            waiting -= 1
            # To read contexts may take as long as to write.
            jax.block_until_ready(wide.desks.node)
            _ask(stop)
        while moving and narrow.has_space:
            narrow.seat(*moving.popleft())
        room = wide if wide.taken and (narrow.has_space or not narrow.taken) else narrow
        other = narrow if room is wide else wide
        _ask(stop)
        for at, seat, alive in room.work(bool(waiting or moving or other.taken)):
            written = _keep(written, room.desks, at, seat.context, seat.siblings)
            if alive.any():
                moving.append(_move(team, room.desks, at, seat, alive, few))
    load = wide.load + narrow.load
    written = tree.fold(written, 2, (questions.uid.shape[0], each, siblings))
    return written, dataclasses.replace(load, tokens=int(written.length.sum()))


def _arrivals(params, team, level, told, questions, turns, node, talks):
    """Every context of a level that talks, with its siblings about to begin."""
    each = team.protocol.contexts(level)
    siblings = np.arange(node.shape[1])
    for question in range(questions.uid.shape[0]):
        places = np.flatnonzero(talks[question * each :][:each]).tolist()
        if not places:
            continue
        segments = _read(params, team, level, told, questions, turns, question)
        for n in places:
            context = question * each + n
            desk = _begin(team, level, segments, n, node[context])
            yield Seat(context, siblings), desk


@functools.partial(jax.jit, static_argnums=(1, 2))
def _told(params, team, level) -> tuple[Segment, ...]:
    """What all contexts of a level begin with."""
    return contexts.told(params, team, level).segments


@functools.partial(jax.jit, static_argnums=(1, 2))
def _read(params, team, level, told, questions, turns, question):
    """The segments of all contexts of one question, behind what is told to all."""
    one = jax.tree.map(
        lambda x: jax.lax.dynamic_slice_in_dim(x, question, 1), (questions, turns)
    )
    told = Context(told, ((),) * len(told))
    found = contexts.read(params, team, level, *one, told=told)
    return found.segments[len(told.spans) :]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _begin(team, level, segments, n, node) -> Desk:
    """Context n of a question, nothing written yet."""
    axes = team.protocol.spans[level]
    spans = contexts.spans(team, level)[-len(segments) :]
    place = dict(
        zip(axes, jnp.unravel_index(n, contexts.sizes(team, axes, 1)), strict=True)
    )
    place[BATCH] = 0

    def pick(x, span, axis):
        for name in span:  # Each pick brings the next axis to the same place.
            x = jax.lax.dynamic_index_in_dim(x, place[name], axis, keepdims=False)
        return x

    return Desk(
        segments=tuple(
            Segment(pick(s.k, span, 1), pick(s.v, span, 1), pick(s.length, span, 0))
            for s, span in zip(segments, spans, strict=True)
        ),
        node=node,
        writing=writing.begin(team, level, node.shape),
    )


def _move(team: Team, desks: Desk, at: int, seat: Seat, alive: np.ndarray, rows: int):
    """The seat and the desk, of `rows` rows, of those who go on."""
    place = np.flatnonzero(alive)
    empty = rows - len(place)
    siblings = np.pad(seat.siblings[place], (0, empty), constant_values=len(alive))
    desk = _leave(team, desks, at, np.pad(place, (0, empty)), len(place))
    return Seat(seat.context, siblings), desk


class _Room:
    """Some desks of one width, and who sits where.

    Attributes:
        desks: on the devices; None before the first is taken.
        taken: how many desks are.
        load: what was spent here.
    """

    def __init__(
        self, team: Team, advance: Callable, messages: int, rows: int, few: int
    ):
        parts = meshes.batch_size(team.mesh) if team.mesh else 1
        # Every device has the same number of desks.
        width = parts * max(1, messages // (parts * max(rows, 1)))
        self._team, self._advance = team, advance
        self._shape, self._few = (width, rows), few
        self._seats: list[Seat | None] = [None] * width
        self.desks: Desk | None = None
        self.load = loads.Load()

    @property
    def taken(self) -> int:
        return sum(seat is not None for seat in self._seats)

    @property
    def has_space(self) -> bool:
        return None in self._seats

    def seat(self, seat: Seat, desk: Desk) -> None:
        at = self._seats.index(None)
        self._seats[at] = seat
        if self.desks is None:
            self.desks = _furnish(self._team, desk, len(self._seats))
        else:
            self.desks = _sit(self._team, self.desks, desk, at)

    def work(self, waited: bool) -> list[tuple[int, Seat, np.ndarray]]:
        """Writes some tokens, fewer if a desk is free, or, unless `waited`, if all are.

        Returns:
            Per free desk its place, its seat, and [R] bool, which rows go on elsewhere.
        """
        taken = np.array([seat is not None for seat in self._seats])
        wanted = 1 if waited else taken.sum()
        self.desks, steps, alive = self._advance(self.desks, taken, self._few, wanted)
        # All processes read the same, and so seat the same.
        steps, alive = hosts.fetch((steps, alive))
        width, rows = self._shape
        self.load += loads.Load(
            int(steps), 0, int(steps) * width * rows, int(steps) * width
        )
        free = np.flatnonzero(taken & (alive.sum(-1) <= self._few))
        found = [(int(at), self._seats[at], alive[at]) for at in free]
        for at in free:
            self._seats[at] = None
        return found


def _axes(desk: Desk) -> Desk:
    """Where the axis of desks is: behind that of layers, where there is one."""
    return Desk(
        segments=tuple(Segment(k=1, v=1, length=0) for _ in desk.segments),
        node=0,
        writing=desk.writing.replace(
            t=0,
            token=0,
            turn=jax.tree.map(lambda _: 0, desk.writing.turn),
            cache=(1, 1),
        ),
    )


def _spread(team: Team, desks: Desk) -> Desk:
    """The desks of a room, divided among the devices."""
    if team.mesh is None:
        return desks

    def place(axis, x):
        # Only keys and values have layers in front of the desks.
        where = meshes.memory(team.mesh, x.ndim) if axis else meshes.batch(team.mesh)
        return jax.lax.with_sharding_constraint(x, where)

    return jax.tree.map(place, _axes(desks), desks)


@functools.partial(jax.jit, static_argnums=(0, 2))
def _furnish(team: Team, desk: Desk, width: int) -> Desk:
    """A room in which every desk is like this one."""

    def repeat(axis, x):
        return jnp.repeat(jnp.expand_dims(x, axis), width, axis)

    return _spread(team, jax.tree.map(repeat, _axes(desk), desk))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _sit(team: Team, desks: Desk, desk: Desk, at: jax.Array) -> Desk:
    """The room with one desk replaced."""

    def put(axis, all_, one):
        return jax.lax.dynamic_update_index_in_dim(all_, one, at, axis)

    return _spread(team, jax.tree.map(put, _axes(desk), desks, desk))


@functools.partial(jax.jit, static_argnums=0)
def _leave(team: Team, desks: Desk, at, rows: jax.Array, count: jax.Array) -> Desk:
    """One desk with some of its rows; of these the first `count` go on."""

    def pick(axis, x):
        if team.mesh is not None and axis:
            return meshes.remembered(team.mesh, x, at)
        return jax.lax.dynamic_index_in_dim(x, at, axis, keepdims=False)

    desk = jax.tree.map(pick, _axes(desks), desks)
    now = desk.writing
    turn = jax.tree.map(lambda x: x[rows], now.turn)
    idle = jnp.arange(rows.shape[0]) >= count
    return desk.replace(
        node=desk.node[rows],
        writing=now.replace(
            token=now.token[rows],
            turn=turn.replace(ended=turn.ended | idle),
            cache=tuple(x[:, rows] for x in now.cache),
        ),
    )


@functools.partial(jax.jit, donate_argnums=0)
def _keep(written: Turn, desks: Desk, at, context, siblings) -> Turn:
    """The messages with those of one desk; what goes on is kept again later."""

    def put(all_, one):
        return all_.at[context, siblings].set(one[at], mode="drop")

    return jax.tree.map(put, written, desks.writing.turn)


@functools.partial(jax.jit, static_argnums=(1, 2), donate_argnums=4)
def _advance(params, team, level, told, desks: Desk, taken, few, wanted):
    """Writes until `wanted` of the desks taken have no more than `few` rows alive.

    But no more than `_STEPS` tokens, after which the host is heard.

    Returns:
        The room, the steps taken, and [width, R] bool, the rows alive.
    """
    context = Context(
        (*told, *desks.segments),
        ((),) * len(told) + ((BATCH,),) * len(desks.segments),
    )

    def free(now):
        return taken & (now.alive.sum(-1) <= few)

    def step(carry):
        steps, now = carry
        axes = (BATCH, 0)
        now = writing.write(params, team, level, context, desks.node, axes, now)
        return steps + 1, now

    steps, now = jax.lax.while_loop(
        lambda carry: (free(carry[1]).sum() < wanted) & (carry[0] < _STEPS),
        step,
        (jnp.int32(0), desks.writing),
    )
    desks = _spread(team, desks.replace(writing=now))
    return desks, steps, now.alive & taken[:, None]
