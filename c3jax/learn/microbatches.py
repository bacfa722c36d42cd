"""An update in microbatches of similar length, each padded no further than it needs.

`update.update` is one program over arrays padded to their limits. Here the questions of
a minibatch are sorted by length and cut into `grad_accumulation` microbatches; each is
cropped to the smallest of a few sizes, its gradient computed by the program of that
size, and the sum applied. The gradient is the same: padding has no part in it.

If a batch comes in groups that are scored one after the other, a minibatch is some
whole groups, and a group's microbatches are computed as soon as it is scored.
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

from c3jax.collect import batching
from c3jax.core import hosts, sharding, signals
from c3jax.data import padding
from c3jax.learn import policy_loss, update
from c3jax.setup import objectives, train_state


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Sizes that arrays may be padded to.

    Attributes:
        prompts: ascending slots of a question's prompt.
        messages: per role, ascending slots of a message; one rung counts for all roles.
    """

    prompts: tuple[int, ...]
    messages: tuple[tuple[int, ...], ...]

    @property
    def programs(self) -> int:
        """How many programs may be compiled."""
        return len(self.prompts) * max(len(ladder) for ladder in self.messages)

    def rungs(self, prompts: np.ndarray, messages: list[np.ndarray]) -> np.ndarray:
        """[B, 2] int, the size that each question needs, counted from the largest.

        Args:
            prompts: [B], longest prompt of any role.
            messages: per role, [B], longest message.
        """
        prompt = [self._rung(self.prompts, n) for n in prompts]
        message = [
            [self._rung(ladder, n) for n in longest]
            for ladder, longest in zip(self.messages, messages, strict=True)
            if ladder[-1]  # Vote counters write nothing.
        ]
        return np.stack([prompt, np.min(message, 0)], -1)

    def at(self, prompt: int, message: int) -> tuple[int, tuple[int, ...]]:
        """Slots of prompts and of each role's messages at some rungs."""
        ladders = self.messages
        rows = (max(0, len(ladder) - 1 - message) for ladder in ladders)
        return self.prompts[len(self.prompts) - 1 - prompt], tuple(
            ladder[row] for ladder, row in zip(ladders, rows, strict=True)
        )

    @staticmethod
    def _rung(sizes: tuple[int, ...], length: int) -> int:
        return len(sizes) - 1 - sizes.index(padding.fit(length, sizes))


class Programs(NamedTuple):
    """The programs of an update in microbatches.

    Attributes:
        nothing: (params) -> a gradient of zeros, by the trainable parameters.
        add: (total, params, batch, chosen, whole, size) -> (total, statistics), with
            the gradient of the chosen questions; the total is donated.
        apply: (trainable parameters, their optimiser state, total, loss) -> (both of
            them, statistics of the total); both are donated.
    """

    nothing: Callable
    add: Callable
    apply: Callable


def programs(
    mesh: jax.sharding.Mesh | None,
    objective: objectives.Objective,
    optimise: optax.GradientTransformation,
    state: train_state.TrainState,
) -> Programs:
    """The jitted programs that `compiled` runs."""
    places = jax.tree.map(lambda leaf: leaf.sharding, state)
    gradients = train_state.trainable(places.params, objective.learners)

    @functools.partial(
        jax.jit,
        static_argnums=5,
        donate_argnums=0,
        out_shardings=(gradients, None),
    )
    def add(total, params, batch, chosen, whole, size):
        part = cropped(jax.tree.map(lambda x: x[chosen], batch), *size)
        if mesh is not None:
            part = jax.lax.with_sharding_constraint(part, sharding.batch(mesh))
        grads, stats = update.grad(params, objective, part, whole)
        return jax.tree.map(jnp.add, total, grads), stats

    @functools.partial(jax.jit, out_shardings=gradients)
    def nothing(params):
        return jax.tree.map(
            jnp.zeros_like, train_state.trainable(params, objective.learners)
        )

    # Frozen parameters are not donated: groups that are scored later still read them.
    states = {name: places.opt_state[name] for name in objective.learners}

    @functools.partial(
        jax.jit, donate_argnums=(0, 1), out_shardings=(gradients, states, None)
    )
    def apply(part, opt_state, total, loss):
        given = (optimise, total, part, opt_state, loss)
        (part, opt_state), stats = update.apply_gradients(*given)
        return part, opt_state, stats

    return Programs(nothing, add, apply)


def compiled(
    mesh: jax.sharding.Mesh | None,
    objective: objectives.Objective,
    optimise: optax.GradientTransformation,
    sizes: Sizes,
    state: train_state.TrainState,
) -> Callable:
    """(state, groups, batches, stop) -> (state, statistics); see `update.update`.

    `groups` have questions and trees, `batches` yields each of them as
    `batching.Batch`, and may block. All processes ask `stop` before every microbatch;
    on True `signals.Stopped` is raised. Up to the first optimiser step the given state
    is then whole: see `train_state.is_whole`.

    Args:
        mesh: the devices, if there are several.
        objective: the loss, and how a minibatch is cut.
        sizes: sizes that arrays may be padded to.
        state: from `train_state.abstract_state`.
    """
    nothing, add, apply = programs(mesh, objective, optimise, state)

    def step(state, groups, batches, stop=lambda: False):
        # Lengths are known before rewards: all microbatches are planned at once.
        cuts, spoken = planned(groups, objective, sizes)
        per_step, ready, batches = [], [], iter(batches)
        kl = update.weight(state, objective)
        for minibatch in cuts * objective.epochs:
            # Dropped questions leave the mean: its rewards must all be known.
            if objective.zero_advantage == "drop":
                last = max(group for group, *_ in minibatch)
                more = itertools.islice(batches, max(0, last + 1 - len(ready)))
                ready += [_widened(group, sizes.prompts[-1]) for group in more]
            whole = policy_loss.LossScale(loss_counts(minibatch, spoken, ready), kl)

            # The gradient, one microbatch after the other.
            total, stats = nothing(state.params), []
            for group, chosen, size in minibatch:
                if group == len(ready):
                    ready.append(_widened(next(batches), sizes.prompts[-1]))
                batch = ready[group]
                jax.block_until_ready(stats[-1:])
                if stop():
                    raise signals.Stopped
                total, fresh = add(total, state.params, batch, chosen, whole, size)
                stats.append(fresh)

            # The optimiser step.
            stats = update.combined(_stacked(stats))
            part, changed, norms = apply(
                train_state.trainable(state.params, objective.learners),
                {name: state.opt_state[name] for name in objective.learners},
                total,
                stats["loss"],
            )
            state = state.replace(
                params=train_state.with_trainable(state.params, part),
                opt_state={**state.opt_state, **changed},
            )
            per_step.append(stats | norms)
        means, state = (
            update.averaged(_stacked(per_step)),
            state.replace(step=state.step + 1),
        )
        return update.update_kl_weight(state, means, objective)

    return step


def _stacked(stats: list[dict]) -> dict:
    return jax.tree.map(lambda *values: jnp.stack(values), *stats)


def planned(groups, objective: objectives.Objective, sizes: Sizes):
    """Per minibatch, [(group, indices in it, size)], one a microbatch.

    And per group, [B, R] shares of its questions in the counts of the R
    `batching.credited_roles`.
    """
    cuts, counts = [[] for _ in range(objective.minibatches)], []
    # A minibatch is some groups, or every n-th question of the only group.
    per_minibatch = max(1, len(groups) // objective.minibatches)
    per_group = max(1, objective.grad_accumulation // per_minibatch)
    for number, group in enumerate(groups):
        rungs, spoken = lengths(group, objective, sizes)
        counts.append(spoken)
        parts = objective.minibatches if len(groups) == 1 else 1
        for first in range(parts):
            rows = np.arange(first, len(rungs), parts)
            # The largest sizes first: a lack of memory shows at once.
            order = rows[np.lexsort((rungs[rows, 0], rungs[rows, 1]))]
            cuts[number // per_minibatch + first] += [
                (number, chosen, sizes.at(*rungs[chosen].min(0)))
                for chosen in order.reshape(per_group, -1)
            ]
    return cuts, counts


def loss_counts(minibatch, spoken: list[np.ndarray], ready: list) -> tuple[int, ...]:
    """Per `batching.credited_roles`, the denominator of a minibatch's means.

    Args:
        minibatch: microbatches, and `spoken`: counts of groups, both from `planned`.
        ready: the groups that are scored, all of the minibatch if some questions leave.
    """
    total = 0
    for group, chosen, _ in minibatch:
        units = spoken[group][chosen]
        if group < len(ready) and ready[group].counted is not None:
            units = units * hosts.fetch(ready[group].counted)[chosen, None]
        total += units.sum(0)
    return tuple(int(count) for count in total)


def lengths(
    group, objective: objectives.Objective, sizes: Sizes
) -> tuple[np.ndarray, np.ndarray]:
    """[B, 2] rungs of a group's questions, and [B, R] counts; see `planned`."""
    trees = [tree.trimmed for tree in group.trees]
    lengths = [[(turn.length, turn.ended) for turn in tree.turns] for tree in trees]
    prompts, messages = hosts.fetch((group.questions.lengths, lengths))

    # The longest message of any tree decides.
    longest = [np.zeros(len(prompts[0]), int) for _ in sizes.messages]
    for tree in messages:
        for level, (length, _) in enumerate(tree):
            most = length.reshape(len(length), -1).max(-1)
            longest[level] = np.maximum(longest[level], most)
    rungs = sizes.rungs(np.max(prompts, 0), longest)
    learned = batching.credited_roles(objective, trees)
    turns = [messages[number][level] for number, _, level in learned]
    return rungs, np.stack([batching.spoken(objective, *turn) for turn in turns], -1)


def _widened(batch: batching.Batch, size: int) -> batching.Batch:
    """The batch with prompts of one width, however wide they were at sampling.

    So they are cropped by the same few programs in every step.
    """
    if batch.questions.prompts[0].shape[1] == size:
        return batch
    prompts = _padded(batch.questions.prompts, size)
    return batch.replace(questions=batch.questions.replace(prompts=prompts))


@functools.partial(jax.jit, static_argnums=1)
def _padded(prompts: tuple[jax.Array, ...], size: int) -> tuple[jax.Array, ...]:
    return tuple(jnp.pad(x, [(0, 0), (0, size - x.shape[1])]) for x in prompts)


def cropped(
    batch: batching.Batch, prompt: int, messages: tuple[int, ...]
) -> batching.Batch:
    """The batch without slots that are padding in all of it."""
    questions, ref_logp = batch.questions, batch.ref_logp

    def crop(turn, size):
        return turn.replace(
            tokens=turn.tokens[..., :size],
            logp=turn.logp[..., :size],
            margin=turn.margin[..., :size],
            support=None if turn.support is None else turn.support[..., :size, :],
        )

    # Messages, and what was recorded of their tokens.
    trees = tuple(
        tree.replace(turns=tuple(map(crop, tree.turns, messages)))
        for tree in batch.trees
    )
    if ref_logp is not None:
        ref_logp = tuple(
            tuple(
                logp[..., : messages[level]]
                for logp, level in zip(part, tree.credited, strict=True)
            )
            for part, tree in zip(ref_logp, trees, strict=True)
        )

    # Prompts.
    prompts = tuple(x[:, :prompt] for x in questions.prompts)
    questions = questions.replace(prompts=prompts)
    return batch.replace(questions=questions, trees=trees, ref_logp=ref_logp)
