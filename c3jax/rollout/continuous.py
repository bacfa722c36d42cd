"""Continuous batching of messages: a long one does not hold the others up.

With all messages of a level at once, every step costs the whole batch until the longest
message has ended. Here only as many are sampled at a time as there are decode slots
for. A *slot* holds one context, its keys and values once, and the siblings that are
sampled after it. There are two pools of slots:

    wide     K rows a slot, one for every sibling of a context;
    narrow   K / 4 rows a slot, for the last unfinished siblings of a context.

When no more than K / 4 siblings in a wide slot go on, they move to a narrow slot and
the next context takes their place. So most rows are busy most of the time, and a
context is still computed once, and read once a step for all of its siblings in a slot.

The host decides which context goes where; the devices only stop when a slot falls free.
A token depends on its node's key and context alone, so the tree is that of
`tree.sample`, up to rounding and hence by the margin rule.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np

from c3jax.core import hosts, keys, sharding, signals
from c3jax.core.types import Questions, Segment, Turn
from c3jax.rollout import contexts, decode, finish, loads, slots, together, tree
from c3jax.rollout.contexts import BATCH, Context, Team
from c3jax.rollout.slots import DecodeSlot

# Tokens of a message between two checks whether to stop.
STEPS = 16


class Request(NamedTuple):
    """The messages of a slot: a context and which of its siblings.

    Attributes:
        context: index among the B * N contexts of the level.
        siblings: per row, which sibling; K for an empty row.
    """

    context: int
    siblings: np.ndarray


def sample(
    params: dict,
    team: Team,
    questions: Questions,
    key: jax.Array,
    given: Mapping[int, Turn] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[tuple[Turn, ...], loads.Load]:
    """Samples the whole tree of B questions, `team.max_concurrent` messages at a time.

    Args:
        team: the team; without `max_concurrent` every level is sampled at
            once, as `tree.sample` does.
        key: the key of the step (see `core.keys`).
        given: the messages of levels that are not sampled, by level.
        stop: whether to stop; asked every few tokens, by all processes alike.

    Returns:
        One `Turn` a role, in topological order, and the load of sampling them.

    Raises:
        signals.Stopped: `stop` was true.
    """
    chex.assert_rank([questions.uid, key], [1, 0])
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
        if team.max_concurrent:
            turn, level_load = _sample_level(*args, stop)
        else:
            turn = together.sample(*args, STEPS, stop)
            level_load = loads.at_once([turn])
        turns += (turn,)
        load += level_load
    return turns, load


def _ask(stop: Callable[[], bool]) -> None:
    """Abandons the work if a stop was requested."""
    if stop():
        raise signals.Stopped


def _sample_level(
    params, team, level, questions, turns, key, stop
) -> tuple[Turn, loads.Load]:
    """All messages of one level, by way of slots, and the load of sampling them."""
    # A key for every sibling of every context, and room for its message.
    siblings, number = team.protocol.branching[level], team.protocol.contexts(level)
    count = questions.uid.shape[0] * number
    node = keys.nodes(key, questions.uid, level, number * siblings)
    node = node.reshape(count, siblings)
    written = decode.blank(team, level, node.shape)

    # The two pools.
    few, instruction = siblings // 4, instruction_of(params, team, level)
    advance = functools.partial(advance_slots, params, team, level, instruction)
    wide = _SlotPool(team, advance, team.max_concurrent, siblings, few)
    # Half as many rows: the last siblings of a context are a small part of the work.
    narrow = _SlotPool(team, advance, team.max_concurrent // 2, few, 0)

    # The requests: contexts in which the dialogue is not over.
    over = finish.over(team, level, turns)
    is_open = np.ones(count, bool) if over is None else ~hosts.fetch(over).reshape(-1)
    arriving = _arrivals(
        params, team, level, instruction, questions, turns, node, is_open
    )
    waiting, moving = int(is_open.sum()), collections.deque()

    while waiting or moving or wide.occupied or narrow.occupied:
        # Fill free slots.
        while waiting and wide.has_space:
            wide.insert(*next(arriving))
            waiting -= 1
            # Reading contexts may take as long as writing messages.
            jax.block_until_ready(wide.slots.node)
            _ask(stop)
        while moving and narrow.has_space:
            narrow.insert(*moving.popleft())

        # A full narrow pool goes first: migrants wait for its slots.
        takes_wide = wide.occupied and (narrow.has_space or not narrow.occupied)
        pool, other = (wide, narrow) if takes_wide else (narrow, wide)
        _ask(stop)
        for at, request, alive in pool.step(bool(waiting or moving or other.occupied)):
            written = slots.write_back(
                written, pool.slots, at, request.context, request.siblings
            )
            if alive.any():
                moving.append(_migrated(team, pool.slots, at, request, alive, few))

    load = wide.load + narrow.load
    written = tree.fold(written, 2, (questions.uid.shape[0], number, siblings))
    return written, dataclasses.replace(load, tokens=int(written.length.sum()))


def _arrivals(params, team, level, instruction, questions, turns, node, is_open):
    """Yields every open context of a level: its request, and its slot to insert."""
    number = team.protocol.contexts(level)
    siblings = np.arange(node.shape[1])
    for question in range(questions.uid.shape[0]):
        places = np.flatnonzero(is_open[question * number :][:number]).tolist()
        if not places:
            continue
        segments = read_question(
            params, team, level, instruction, questions, turns, question
        )
        for n in places:
            context = question * number + n
            slot = insertable(team, level, segments, n, node[context])
            yield Request(context, siblings), slot


@functools.partial(jax.jit, static_argnums=(1, 2))
def instruction_of(params, team, level) -> tuple[Segment, ...]:
    """The instruction of a role."""
    return contexts.instruction(params, team, level).segments


@functools.partial(jax.jit, static_argnums=(1, 2))
def read_question(params, team, level, instruction, questions, turns, question):
    """The segments of all contexts of one question, behind the instruction."""
    one = jax.tree.map(
        lambda x: jax.lax.dynamic_slice_in_dim(x, question, 1), (questions, turns)
    )
    instruction = Context(instruction, ((),) * len(instruction))
    context = contexts.read(params, team, level, *one, instruction=instruction)
    return context.segments[len(instruction.axes) :]


@functools.partial(jax.jit, static_argnums=(0, 1))
def insertable(team, level, segments, n, node) -> DecodeSlot:
    """A slot for context n of a question, nothing written yet."""
    axes = team.protocol.ancestors[level]
    ancestors = contexts.segment_axes(team, level)[-len(segments) :]
    place = dict(
        zip(axes, jnp.unravel_index(n, contexts.sizes(team, axes, 1)), strict=True)
    )
    place[BATCH] = 0

    def pick(x, above, axis):
        for name in above:  # Each pick brings the next axis to the same place.
            x = jax.lax.dynamic_index_in_dim(x, place[name], axis, keepdims=False)
        return x

    return DecodeSlot(
        segments=tuple(
            Segment(pick(s.k, above, 1), pick(s.v, above, 1), pick(s.length, above, 0))
            for s, above in zip(segments, ancestors, strict=True)
        ),
        node=node,
        state=decode.begin(team, level, node.shape),
    )


def _migrated(team, pool: DecodeSlot, at: int, request: Request, alive, rows: int):
    """The request and the slot, of `rows` rows, of the siblings that go on."""
    place = np.flatnonzero(alive)
    empty = rows - len(place)
    siblings = np.pad(request.siblings[place], (0, empty), constant_values=len(alive))
    slot = slots.evict(team, pool, at, np.pad(place, (0, empty)), len(place))
    return Request(request.context, siblings), slot


class _SlotPool:
    """Slots of one width, and the request of each.

    Attributes:
        slots: on the devices; None before the first request.
        occupied: the number of slots with a request.
    """

    def __init__(
        self, team: Team, advance: Callable, messages: int, rows: int, few: int
    ):
        """An empty pool.

        Args:
            advance: `advance_slots`, but for its last arguments.
            messages: how many to write at a time, about.
            rows: R, siblings a slot has room for.
            few: unfinished rows with which a slot is free.
        """
        parts = sharding.batch_size(team.mesh) if team.mesh else 1
        # Every device has the same number of slots.
        width = parts * max(1, messages // (parts * max(rows, 1)))
        self._team, self._advance = team, advance
        self._shape, self._few = (width, rows), few
        self._requests: list[Request | None] = [None] * width
        self.slots: DecodeSlot | None = None
        self.load = loads.Load()

    @property
    def occupied(self) -> int:
        return sum(request is not None for request in self._requests)

    @property
    def has_space(self) -> bool:
        return None in self._requests

    def insert(self, request: Request, slot: DecodeSlot) -> None:
        at = self._requests.index(None)
        self._requests[at] = request
        if self.slots is None:
            self.slots = slots.allocate(self._team, slot, len(self._requests))
        else:
            self.slots = slots.insert(self._team, self.slots, slot, at)

    def step(self, waited: bool) -> list[tuple[int, Request, np.ndarray]]:
        """Writes some tokens, and frees the slots that have few rows left.

        Args:
            waited: whether anything waits for a slot: then the first free slot ends
                the step, otherwise the last one does.

        Returns:
            Per freed slot its place, its request, and [R] bool, which rows go on.
        """
        occupied = np.array([request is not None for request in self._requests])
        wanted = 1 if waited else occupied.sum()
        self.slots, steps, alive = self._advance(
            self.slots, occupied, self._few, wanted
        )
        # All processes read the same, and so insert the same.
        steps, alive = hosts.fetch((steps, alive))
        width, rows = self._shape
        reads = int(steps) * width
        self.load += loads.Load(int(steps), 0, reads * rows, reads)

        free = np.flatnonzero(occupied & (alive.sum(-1) <= self._few))
        freed = [(int(at), self._requests[at], alive[at]) for at in free]
        for at in free:
            self._requests[at] = None
        return freed


@functools.partial(jax.jit, static_argnums=(1, 2), donate_argnums=4)
def advance_slots(
    params, team, level, instruction, pool: DecodeSlot, occupied, few, wanted
):
    """Writes until `wanted` of the occupied slots have no more than `few` rows alive.

    It writes at most `STEPS` tokens, so that the host can check for a stop.

    Returns:
        The pool, the steps taken, and [width, R] bool, the rows alive.
    """
    context = Context(
        (*instruction, *pool.segments),
        ((),) * len(instruction) + ((BATCH,),) * len(pool.segments),
    )

    def goes_on(carry):
        steps, state = carry
        free = occupied & (state.alive.sum(-1) <= few)
        return (free.sum() < wanted) & (steps < STEPS)

    def step(carry):
        steps, state = carry
        place = params, team, level, context, pool.node, (BATCH, 0)
        return steps + 1, decode.step(*place, state)

    begun = jnp.int32(0), pool.state
    steps, state = jax.lax.while_loop(goes_on, step, begun)
    pool = slots.spread(team, pool.replace(state=state))
    return pool, steps, state.alive & occupied[:, None]
