"""An update in pieces of similar length, each padded no further than it needs.

`update.update` is one program over arrays padded to their limits. Here the questions of
a minibatch are sorted by length and cut into `objective.accumulate` pieces; each piece
is cropped to the smallest of a few sizes, its gradient computed by the program of that
size, and the sum applied. The gradient is the same: padding never had a part in it.

Where a batch comes in groups that are scored one after the other, a minibatch is some
whole groups, and the pieces of a group are computed as soon as it is scored.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from c3jax.core import hosts, signals
from c3jax.core import mesh as meshes
from c3jax.data import buckets
from c3jax.train import scored, update


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What arrays may be padded to.

    Attributes:
        heads: ascending slots of a question's head.
        messages: per role, ascending slots of a message; one rung counts for all roles.
    """

    heads: tuple[int, ...]
    messages: tuple[tuple[int, ...], ...]

    @property
    def programs(self) -> int:
        """How many may be compiled."""
        return len(self.heads) * max(len(ladder) for ladder in self.messages)

    def rungs(self, heads: np.ndarray, messages: list[np.ndarray]) -> np.ndarray:
        """[B, 2] int, the size that each question needs, counted from the largest.

        Args:
            heads: [B], longest head of any role.
            messages: per role, [B], longest message.
        """
        head = [self._rung(self.heads, n) for n in heads]
        message = [
            [self._rung(ladder, n) for n in longest]
            for ladder, longest in zip(self.messages, messages, strict=True)
            if ladder[-1]  # Who counts writes nothing.
        ]
        return np.stack([head, np.min(message, 0)], -1)

    def at(self, head: int, message: int) -> tuple[int, tuple[int, ...]]:
        """Slots of heads and of each role's messages at some rungs."""
        ladders = self.messages
        rows = (max(0, len(ladder) - 1 - message) for ladder in ladders)
        return self.heads[len(self.heads) - 1 - head], tuple(
            ladder[row] for ladder, row in zip(ladders, rows, strict=True)
        )

    @staticmethod
    def _rung(sizes: tuple[int, ...], length: int) -> int:
        return len(sizes) - 1 - sizes.index(buckets.fit(length, sizes))


class Programs(NamedTuple):
    """What an update in pieces runs on the devices.

    Attributes:
        nothing: (params) -> a gradient of zeros, of what learns.
        add: (total, params, batch, chosen, whole, size) -> (total, statistics), with
            the gradient of the chosen questions; the total is donated.
        apply: (what learns, its optimiser state, total) -> (both of them, norm of
            the total); both are donated.
    """

    nothing: Callable
    add: Callable
    apply: Callable


def programs(
    mesh: jax.sharding.Mesh | None,
    objective: update.Objective,
    optimise: optax.GradientTransformation,
    state: update.TrainState,
) -> Programs:
    """The programs of `compiled`, which see."""
    places = jax.tree.map(lambda leaf: leaf.sharding, state)
    gradients = update.learned(places.params, objective.learners)

    @functools.partial(
        jax.jit,
        static_argnums=5,
        donate_argnums=0,
        out_shardings=(gradients, None),
    )
    def add(total, params, batch, chosen, whole, size):
        piece = _crop(jax.tree.map(lambda x: x[chosen], batch), *size)
        if mesh is not None:
            piece = jax.lax.with_sharding_constraint(piece, meshes.batch(mesh))
        found, stats = update.slope(params, objective, piece, whole)
        return jax.tree.map(jnp.add, total, found), stats

    @functools.partial(jax.jit, out_shardings=gradients)
    def nothing(params):
        return jax.tree.map(jnp.zeros_like, update.learned(params, objective.learners))

    # What does not learn stays out of it, since the groups that are scored later still
    # read it as it is.
    states = {name: places.opt_state[name] for name in objective.learners}

    @functools.partial(
        jax.jit, donate_argnums=(0, 1), out_shardings=(gradients, states, None)
    )
    def apply(part, opt_state, total):
        part, opt_state = update.descend(optimise, total, part, opt_state)
        return part, opt_state, optax.tree.norm(total)

    return Programs(nothing, add, apply)


def compiled(
    mesh: jax.sharding.Mesh | None,
    objective: update.Objective,
    optimise: optax.GradientTransformation,
    sizes: Sizes,
    state: update.TrainState,
) -> Callable:
    """(state, groups, batches, stop) -> (state, statistics); see `update.update`.

    `groups` have questions and trees, `batches` brings each of them as `update.Batch`,
    and may take its time. `stop` is asked before every piece, by all
    processes alike; if it says so, `signals.Stopped` is raised, and the state that was
    given is whole up to the first optimiser step: see `update.is_whole`.

    Args:
        mesh: the devices, if there are several.
        objective: static; `accumulate` pieces a minibatch.
        optimise: the optimiser.
        sizes: what arrays may be padded to.
        state: from `update.abstract_state`.
    """
    nothing, add, apply = programs(mesh, objective, optimise, state)

    def step(state, groups, batches, stop=lambda: False):
        cuts, spoken = _cut(groups, objective, sizes)
        seen, here, batches = [], [], iter(batches)
        kl = update.weight(state, objective)
        for minibatch in cuts * objective.epochs:
            if objective.flat == "drop":  # What the mean is over is known at the end.
                last = max(group for group, *_ in minibatch)
                more = itertools.islice(batches, max(0, last + 1 - len(here)))
                here += [_widened(group, sizes.heads[-1]) for group in more]
            whole = update.Whole(_counts(minibatch, spoken, here), kl)
            total, found = nothing(state.params), []
            for group, chosen, size in minibatch:
                if group == len(here):
                    here.append(_widened(next(batches), sizes.heads[-1]))
                batch = here[group]
                jax.block_until_ready(found[-1:])
                if stop():
                    raise signals.Stopped
                total, stats = add(total, state.params, batch, chosen, whole, size)
                found.append(stats)
            part, changed, norm = apply(
                update.learned(state.params, objective.learners),
                {name: state.opt_state[name] for name in objective.learners},
                total,
            )
            state = state.replace(
                params=update.relearned(state.params, part),
                opt_state={**state.opt_state, **changed},
            )
            seen.append({**update.combined(_stacked(found)), "grad_norm": norm})
        stats = _stacked(seen)
        shown = {name: value.mean() for name, value in stats.items()}
        shown["logp_gap"] = stats["logp_gap"][0]
        return update.steered(state.replace(step=state.step + 1), shown, objective)

    return step


def _stacked(stats: list[dict]) -> dict:
    return jax.tree.map(lambda *values: jnp.stack(values), *stats)


def _cut(groups, objective: update.Objective, sizes: Sizes):
    """Per minibatch, [(group, indices in it, size of a piece)].

    And per group, [B, R] what its questions add to the counts of `scored.learning`.
    """
    cuts, counts = [[] for _ in range(objective.minibatches)], []
    # A minibatch is some groups, or of one group every n-th question.
    each = max(1, len(groups) // objective.minibatches)
    pieces = max(1, objective.accumulate // each)
    for number, group in enumerate(groups):
        rungs, spoken = _lengths(group, objective, sizes)
        counts.append(spoken)
        parts = objective.minibatches if len(groups) == 1 else 1
        for first in range(parts):
            whole = np.arange(first, len(rungs), parts)
            # The largest sizes first: what does not fit in memory is seen at once.
            order = whole[np.lexsort((rungs[whole, 0], rungs[whole, 1]))]
            cuts[number // each + first] += [
                (number, piece, sizes.at(*rungs[piece].min(0)))
                for piece in order.reshape(pieces, -1)
            ]
    return cuts, counts


def _counts(minibatch, spoken: list[np.ndarray], here: list) -> tuple[int, ...]:
    """Per `scored.learning`, what the loss of a minibatch is a mean over.

    Args:
        minibatch: pieces, and `spoken`: counts of groups, both of `_cut`.
        here: the groups that are scored, all of the minibatch if some questions leave.
    """
    total = 0
    for group, chosen, _ in minibatch:
        found = spoken[group][chosen]
        if group < len(here) and here[group].counted is not None:
            found = found * hosts.fetch(here[group].counted)[chosen, None]
        total += found.sum(0)
    return tuple(int(count) for count in total)


def _lengths(
    group, objective: update.Objective, sizes: Sizes
) -> tuple[np.ndarray, np.ndarray]:
    """[B, 2] rungs of a group's questions, and [B, R] counts of `scored.learning`."""
    trees = [one.trimmed for one in group.trees]
    heads, said = hosts.fetch(
        (
            group.questions.lengths,
            [[(turn.length, turn.ended) for turn in one.turns] for one in trees],
        )
    )
    longest = [np.zeros(len(heads[0]), int) for _ in sizes.messages]
    for turns in said:
        for level, (length, _) in enumerate(turns):
            most = length.reshape(len(length), -1).max(-1)
            longest[level] = np.maximum(longest[level], most)
    rungs = sizes.rungs(np.max(heads, 0), longest)
    learned = [said[n][level] for n, _, level in scored.learning(objective, trees)]
    return rungs, np.stack([scored.spoken(objective, *t) for t in learned], -1)


def _widened(batch: update.Batch, size: int) -> update.Batch:
    """The batch with heads of one width, however wide they were grown.

    So they are cropped by the same few programs in every step.
    """
    if batch.questions.heads[0].shape[1] == size:
        return batch
    heads = _padded(batch.questions.heads, size)
    return batch.replace(questions=batch.questions.replace(heads=heads))


@functools.partial(jax.jit, static_argnums=1)
def _padded(heads: tuple[jax.Array, ...], size: int) -> tuple[jax.Array, ...]:
    return tuple(jnp.pad(x, [(0, 0), (0, size - x.shape[1])]) for x in heads)


def _crop(batch: update.Batch, head: int, messages: tuple[int, ...]) -> update.Batch:
    """The batch without slots that are padding in all of it."""
    questions, ref_logp = batch.questions, batch.ref_logp

    def crop(turn, size):
        return turn.replace(
            tokens=turn.tokens[..., :size],
            logp=turn.logp[..., :size],
            margin=turn.margin[..., :size],
            support=None if turn.support is None else turn.support[..., :size, :],
        )

    trees = tuple(
        one.replace(turns=tuple(map(crop, one.turns, messages))) for one in batch.trees
    )
    if ref_logp is not None:
        ref_logp = tuple(
            tuple(
                logp[..., : messages[level]]
                for logp, level in zip(part, one.credited, strict=True)
            )
            for part, one in zip(ref_logp, trees, strict=True)
        )
    return batch.replace(
        questions=questions.replace(heads=tuple(x[:, :head] for x in questions.heads)),
        trees=trees,
        ref_logp=ref_logp,
    )
