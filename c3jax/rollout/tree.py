"""Grow the tree of a protocol, replay one of its nodes, score its tokens again."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import struct

from c3jax.core import keys
from c3jax.core.types import Questions, Segment, Turn
from c3jax.policy import decoder
from c3jax.rollout import contexts, finish, sample, writing
from c3jax.rollout.contexts import BATCH, Context, Lane, Team


@struct.dataclass
class Tree:
    """A nested tree that was sampled, and whose messages it compares.

    Attributes:
        turns: one a role.
        team: who sampled it; static.
        credited: indices of the roles whose messages get credit from its rewards;
            static. () for one that only leads to the contexts of others.
        given: indices of the roles whose messages were there before; static.
    """

    turns: tuple[Turn, ...]
    team: Team = struct.field(pytree_node=False)
    credited: tuple[int, ...] = struct.field(pytree_node=False)
    given: tuple[int, ...] = struct.field(pytree_node=False, default=())

    @property
    def trimmed(self) -> "Tree":
        """Without what was said after the messages that it compares."""
        return self.replace(turns=self.turns[: max(self.credited) + 1])


@functools.partial(jax.jit, static_argnums=1)
def grow(
    params: dict,
    team: Team,
    questions: Questions,
    key: jax.Array,
    given: Mapping[int, Turn] | None = None,
) -> tuple[Turn, ...]:
    """Samples the whole tree of B questions without returning to the host.

    Args:
        params: the behaviour policies.
        team: static description.
        questions: heads of B questions.
        key: the key of the step (see `core.keys`).
        given: levels that are not sampled, since their messages are these.

    Returns:
        One `Turn` a role, in topological order. Where a talk is over, messages are
        empty.
    """
    turns: tuple[Turn, ...] = ()
    for level in range(len(team.protocol.roles)):
        if given and level in given:
            turns += (given[level],)
        elif level in team.silenced:
            turns += (silence(team, level, questions),)
        else:
            args = params, team, level, questions, turns, key
            turns += (finished(team, level, begin(*args)[-1]),)
    return turns


def silence(team: Team, level: int, questions: Questions) -> Turn:
    """The empty messages of a role, [B, N, K, ..]."""
    return writing.blank(team, level, _flat(team, level, questions.uid.shape[0]))


def begin(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
    key: jax.Array,
    steps: int | None = None,
) -> tuple[tuple[Segment, ...], jax.Array, writing.Writing]:
    """Reads the contexts of a level and writes after them, all messages at once.

    Args:
        params: the behaviour policies.
        team: static description.
        level: index of the role.
        questions: heads of B questions.
        turns: those of the levels before.
        key: the key of the step.
        steps: tokens at most; None for whole messages.

    Returns:
        What `go_on` goes on with: the contexts' segments, the messages' keys and the
        messages so far.
    """
    batch = questions.uid.shape[0]
    sizes = contexts.sizes(team, _axes(team, level), batch)
    _, number, siblings = _flat(team, level, batch)
    node = keys.nodes(key, questions.uid, level, number * siblings).reshape(sizes)
    over = finish.over(team, level, turns)
    begun = writing.begin(team, level, sizes, over=over)
    segments = contexts.read(params, team, level, questions, turns).segments
    return go_on(params, team, level, segments, node, begun, steps)


def go_on(
    params: dict,
    team: Team,
    level: int,
    segments: tuple[Segment, ...],
    node: jax.Array,
    now: writing.Writing,
    steps: int | None = None,
) -> tuple[tuple[Segment, ...], jax.Array, writing.Writing]:
    """Writes some more tokens of messages that `begin` began; see there."""
    context = Context(segments, contexts.spans(team, level))
    place = params, team, level, context, node, _axes(team, level)
    return segments, node, writing.go_on(*place, now, steps)


@functools.partial(jax.jit, static_argnums=(0, 1))
def finished(team: Team, level: int, now: writing.Writing) -> Turn:
    """The messages of a level as [B, N, K, ..]."""
    axes, batch = _axes(team, level), now.token.shape[0]
    return fold(writing.finished(now), len(axes), _flat(team, level, batch))


def _axes(team: Team, level: int) -> tuple[int, ...]:
    """The tree axes of a level's messages."""
    return (BATCH, *team.protocol.spans[level], level)


def _flat(team: Team, level: int, batch: int) -> tuple[int, int, int]:
    """B, N and K of a level."""
    protocol = team.protocol
    return batch, protocol.contexts(level), protocol.branching[level]


def replay(
    params: dict,
    team: Team,
    level: int,
    ids: jax.Array,
    length: int,
    key: jax.Array,
    tokens: jax.Array,
) -> tuple[sample.Draw, jax.Array]:
    """Draws every token of one node again, alone, from its rebuilt context.

    Each is drawn after the context and the tokens before it, all of them at once: what
    comes out is the message if, and only if, sampling it again would write it.

    Args:
        params: the policies the tree was grown with.
        team: static description.
        level: index of the role.
        ids: [P] int32, the node's whole context without its opener, padded.
        length: valid ids.
        key: the node's key.
        tokens: [T] int32, its message, padded.

    Returns:
        Draws with arrays [T], and the largest number that a token was drawn by at each
        place, [T] float32 nats: a logit over the temperature, or a log-probability.
    """
    policy, shape = team.policy(params, level)
    segment = decoder.forward(policy, shape, ids)[1].replace(length=length)
    inputs = jnp.concatenate([jnp.array([team.scripts[level].opener]), tokens[:-1]])
    hidden, _ = decoder.forward(policy, shape, inputs, (segment,))

    def draw(place):
        hidden, t = place
        logits = decoder.logits(policy, shape, hidden)[: team.sampling.vocab or None]
        largest = jnp.abs(logits).max() / (team.sampling.temperature or 1.0)
        drawn = sample.draw(logits, key, t, team.sampling)
        return drawn._replace(support=None), jnp.maximum(largest, -drawn.logp)

    places = (hidden, jnp.arange(tokens.shape[0]))
    return jax.lax.map(draw, places, batch_size=_AT_ONCE)


# Tokens of a message whose logits exist at once in a replay.
_AT_ONCE = 64


def logp(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
) -> jax.Array:
    """Log-probability of every token of one role's messages, differentiable.

    The contexts are computed here, once each, so the gradient reaches the policy
    through them too and equals that of the repeated-prompt computation.

    Returns:
        [B, N, K, T] float32 nats under the sampled distribution, 0 beyond a message.
    """
    return _scored(
        lambda logp, place: logp[place], params, team, level, questions, turns
    )


def logp_and_entropy(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
) -> tuple[jax.Array, jax.Array]:
    """`logp`, and the entropy of the distribution each token was one draw from.

    That is over the tokens which could be drawn: where top-k and top-p truncated, over
    the support recorded while sampling, never the whole vocabulary; at the sampling
    temperature.

    Returns:
        Both [B, N, K, T] float32 nats, 0 beyond a message.
    """

    def read(logp, place):
        return logp[place], sample.entropy(logp)

    return _scored(read, params, team, level, questions, turns)


def _scored(read: Callable, params, team, level, questions, turns):
    """`read` of (log-probabilities of what could be drawn, place of what was)."""
    turn, opener = turns[level], team.scripts[level].opener
    policy, shape = team.policy(params, level)
    axes = (BATCH, *team.protocol.spans[level], level)
    sizes = contexts.sizes(team, axes, turn.tokens.shape[0])

    def score(token, support, hidden, t):
        if support is None:
            scores = decoder.logits(policy, shape, hidden)
            scores = scores[: team.sampling.vocab or None]
            ids = jnp.arange(scores.shape[0])
            scores, place = sample.shape_logits(scores, ids, t, team.sampling), token
        else:
            ids = jnp.maximum(support, 0)
            scores = decoder.logits_at(policy, shape, hidden, ids)
            scores = jnp.where(
                support < 0, -jnp.inf, scores / team.sampling.temperature
            )
            place = jnp.argmax(support == token)
        return read(jax.nn.log_softmax(scores), place)

    def one(tokens, support, hidden):
        return _in_chunks(
            score,
            (tokens, support, hidden, jnp.arange(tokens.shape[0])),
            shape.logits_chunk,
        )

    unfold = lambda x: x.reshape(*sizes, *x.shape[3:])  # noqa: E731
    tokens = unfold(turn.tokens)
    inputs = contexts.after(tokens[..., :-1], opener)
    hidden = contexts.hidden(params, team, level, questions, turns, inputs, axes)
    values = contexts.lift(one, axes, (Lane(axes),) * 3)(
        tokens, None if turn.support is None else unfold(turn.support), hidden
    )
    return jax.tree.map(
        lambda x: jnp.where(turn.mask, x.reshape(turn.tokens.shape), 0), values
    )


def _in_chunks(fn: Callable, args: tuple, size: int):
    """`fn` over the first axis of its arguments, at most `size` at a time.

    What a chunk computes on the way is not kept for the backward pass but computed
    again: for a large vocabulary, its logits are most of a training step's memory.
    """
    if not size:
        return jax.vmap(fn)(*args)
    return jax.lax.map(jax.checkpoint(lambda x: fn(*x)), args, batch_size=size)


def fold(turn: Turn, depth: int, flat: tuple[int, ...]) -> Turn:
    """Replaces the first `depth` axes by `flat`."""
    return jax.tree.map(lambda x: x.reshape(*flat, *x.shape[depth:]), turn)
