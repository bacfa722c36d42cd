"""Samples the tree of a protocol, replays one of its nodes, scores its tokens again."""

import functools
from collections.abc import Callable, Mapping

import chex
import jax
import jax.numpy as jnp
from flax import struct

from c3jax.core import keys
from c3jax.core.types import Questions, Segment, Turn
from c3jax.policy import decoder
from c3jax.rollout import contexts, decode, draws, finish, vmaps
from c3jax.rollout.contexts import BATCH, Context, Team


@struct.dataclass
class Tree:
    """A nested tree that was sampled, and the roles whose messages it compares.

    Attributes:
        team: the team that sampled it, with its branching.
        credited: indices of the roles whose messages get credit from its rewards; ()
            for a tree that only leads to the contexts of others.
        given: indices of the roles whose messages were there before.
    """

    turns: tuple[Turn, ...]
    team: Team = struct.field(pytree_node=False)
    credited: tuple[int, ...] = struct.field(pytree_node=False)
    given: tuple[int, ...] = struct.field(pytree_node=False, default=())

    @property
    def trimmed(self) -> "Tree":
        """The tree without the turns after the last one that it compares."""
        return self.replace(turns=self.turns[: max(self.credited) + 1])


@functools.partial(jax.jit, static_argnums=1)
def sample(
    params: dict,
    team: Team,
    questions: Questions,
    key: jax.Array,
    given: Mapping[int, Turn] | None = None,
) -> tuple[Turn, ...]:
    """Samples the whole tree of B questions without returning to the host.

    Args:
        key: the key of the step (see `core.keys`).
        given: the messages of levels that are not sampled, by level.

    Returns:
        One `Turn` a role, in topological order. Where a dialogue is over, messages are
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
    return decode.blank(team, level, _flat(team, level, questions.uid.shape[0]))


def begin(
    params: dict,
    team: Team,
    level: int,
    questions: Questions,
    turns: tuple[Turn, ...],
    key: jax.Array,
    steps: int | None = None,
) -> tuple[tuple[Segment, ...], jax.Array, decode.DecodeState]:
    """Reads the contexts of a level and writes after them, all messages at once.

    Args:
        turns: those of the levels before.
        steps: tokens to write at most; None for whole messages.

    Returns:
        The contexts' segments, the messages' keys and the messages so far: the
        arguments of `resume`.
    """
    chex.assert_rank([questions.uid, key], [1, 0])
    batch = questions.uid.shape[0]
    sizes = contexts.sizes(team, _axes(team, level), batch)
    _, number, siblings = _flat(team, level, batch)
    node = keys.nodes(key, questions.uid, level, number * siblings).reshape(sizes)
    over = finish.over(team, level, turns)
    begun = decode.begin(team, level, sizes, over=over)
    segments = contexts.read(params, team, level, questions, turns).segments
    return resume(params, team, level, segments, node, begun, steps)


def resume(
    params: dict,
    team: Team,
    level: int,
    segments: tuple[Segment, ...],
    node: jax.Array,
    now: decode.DecodeState,
    steps: int | None = None,
) -> tuple[tuple[Segment, ...], jax.Array, decode.DecodeState]:
    """Writes more tokens of messages that `begin` began; see there."""
    context = Context(segments, contexts.segment_axes(team, level))
    place = params, team, level, context, node, _axes(team, level)
    return segments, node, decode.resume(*place, now, steps)


@functools.partial(jax.jit, static_argnums=(0, 1))
def finished(team: Team, level: int, now: decode.DecodeState) -> Turn:
    """The messages of a level as [B, N, K, ..]."""
    axes, batch = _axes(team, level), now.token.shape[0]
    return fold(decode.finished(now), len(axes), _flat(team, level, batch))


def _axes(team: Team, level: int) -> tuple[int, ...]:
    """The tree axes of a level's messages."""
    return (BATCH, *team.protocol.ancestors[level], level)


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
) -> tuple[draws.Draw, jax.Array]:
    """Draws every token of one node again, alone, from its rebuilt context.

    All tokens are drawn in one pass, each after the context and the recorded tokens
    before it: the draws are the message if, and only if, sampling would write it again.

    Args:
        ids: [P] int32, the node's whole context without its last id, padded.
        length: valid ids.
        tokens: [T] int32, its message, padded.

    Returns:
        Draws with arrays [T], and the largest score in play at each place, [T] float32
        nats: a logit over the temperature, or a log-probability.
    """
    chex.assert_rank([ids, tokens, key], [1, 1, 0])
    policy, shape = team.policy(params, level)
    segment = decoder.forward(policy, shape, ids)[1].replace(length=length)
    first = jnp.array([team.templates[level].first_token])
    inputs = jnp.concatenate([first, tokens[:-1]])
    hidden, _ = decoder.forward(policy, shape, inputs, (segment,))

    def draw(place):
        hidden, t = place
        logits = decoder.logits(policy, shape, hidden)[: team.sampling.vocab or None]
        largest = jnp.abs(logits).max() / (team.sampling.temperature or 1.0)
        drawn = draws.draw(logits, key, t, team.sampling)
        return drawn._replace(support=None), jnp.maximum(largest, -drawn.logp)

    places = (hidden, jnp.arange(tokens.shape[0]))
    return jax.lax.map(draw, places, batch_size=_AT_ONCE)


# Tokens of a message whose logits exist at once in a replay.
_AT_ONCE = 64


def logp(
    params: dict, team: Team, level: int, questions: Questions, turns: tuple[Turn, ...]
) -> jax.Array:
    """Log-probability of every token of one role's messages, differentiable.

    The contexts are computed here, once each, so the gradient reaches the policy
    through them, too, and equals that of the repeated-prompt computation.

    Returns:
        [B, N, K, T] float32 nats under the sampled distribution, 0 beyond a message.
    """
    return _scored(
        lambda logp, place: logp[place], params, team, level, questions, turns
    )


def logp_and_entropy(
    params: dict, team: Team, level: int, questions: Questions, turns: tuple[Turn, ...]
) -> tuple[jax.Array, jax.Array]:
    """`logp`, and the entropy of the distribution that each token was drawn from.

    The entropy is at the sampling temperature and over the tokens that could be drawn:
    the support recorded while sampling, where top-k and top-p truncated.

    Returns:
        Both [B, N, K, T] float32 nats, 0 beyond a message.
    """

    def read(logp, place):
        return logp[place], draws.entropy(logp)

    return _scored(read, params, team, level, questions, turns)


def _scored(read: Callable, params, team, level, questions, turns):
    """`read` of every token's (log-probabilities of possible tokens, its place there).

    The result of `read` has a number a token; it is 0 beyond a message.
    """
    turn, first_token = turns[level], team.templates[level].first_token
    chex.assert_rank([turn.tokens, turn.length], [4, 3])
    policy, shape = team.policy(params, level)
    axes = _axes(team, level)
    sizes = contexts.sizes(team, axes, turn.tokens.shape[0])

    # One token, among the whole vocabulary or its recorded support.
    def score(token, support, hidden, t):
        if support is None:
            scores = decoder.logits(policy, shape, hidden)
            scores = scores[: team.sampling.vocab or None]
            ids = jnp.arange(scores.shape[0])
            scores, place = draws.shape_logits(scores, ids, t, team.sampling), token
        else:
            ids = jnp.maximum(support, 0)
            scores = decoder.logits_at(policy, shape, hidden, ids)
            scores = jnp.where(
                support < 0, -jnp.inf, scores / team.sampling.temperature
            )
            place = jnp.argmax(support == token)
        return read(jax.nn.log_softmax(scores), place)

    def one(tokens, support, hidden):
        args = tokens, support, hidden, jnp.arange(tokens.shape[0])
        return _in_chunks(score, args, shape.logits_chunk)

    # All messages, along the axes of the tree and back to [B, N, K, T].
    def unfold(x):
        return x.reshape(*sizes, *x.shape[3:])

    tokens, support = jax.tree.map(unfold, (turn.tokens, turn.support))
    inputs = contexts.after(tokens[..., :-1], first_token)
    hidden = contexts.hidden(params, team, level, questions, turns, inputs, axes)
    in_axes = (vmaps.InAxes(axes),) * 3
    values = vmaps.nested_vmap(one, axes, in_axes)(tokens, support, hidden)
    return jax.tree.map(
        lambda x: jnp.where(turn.mask, x.reshape(turn.tokens.shape), 0), values
    )


def _in_chunks(fn: Callable, args: tuple, size: int):
    """`fn` over the first axis of its arguments, at most `size` at a time.

    A chunk's intermediate results are not kept for the backward pass but computed
    again: for a large vocabulary, logits are most of a training step's memory.
    """
    if not size:
        return jax.vmap(fn)(*args)
    return jax.lax.map(jax.checkpoint(lambda x: fn(*x)), args, batch_size=size)


def fold(turn: Turn, depth: int, flat: tuple[int, ...]) -> Turn:
    """Replaces the first `depth` axes by `flat`."""
    return jax.tree.map(lambda x: x.reshape(*flat, *x.shape[depth:]), turn)
