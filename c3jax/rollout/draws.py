"""The distribution that tokens are drawn from, and its log-probabilities.

One place defines it, for sampling and for training: temperature, minimum length, top-k,
then top-p on the k kept. A truncated draw records its *support*, the ids that were
kept; training renormalises over that frozen support, so the ratio of two policies is
taken between two distributions over the same tokens.
"""

import dataclasses
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The rule by which tokens are drawn.

    Attributes:
        end: ids that end a message.
        temperature: divides the logits; 0 takes the likeliest token.
        top_k: keep this many tokens; 0 keeps all.
        top_p: keep the likeliest of those until their mass reaches top_p.
        min_tokens: an end token cannot be drawn before this many others.
        vocab: ids from here on are never drawn; 0 for no such limit.
    """

    end: tuple[int, ...]
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_tokens: int = 1
    vocab: int = 0

    def greedy(self) -> "Sampling":
        """The same message limits, without randomness."""
        return dataclasses.replace(self, temperature=0.0, top_k=0, top_p=1.0)


class Draw(NamedTuple):
    """One sampled token: id, log-probability, margin and support (see `Turn`)."""

    token: jax.Array
    logp: jax.Array
    margin: jax.Array
    support: jax.Array | None


def draw(logits: jax.Array, key: jax.Array, t: jax.Array, s: Sampling) -> Draw:
    """Draws token t of one message by the Gumbel-max rule.

    Noise belongs to a token's id, not to its rank, and `margin` is the smallest change
    of the scores that could alter the outcome: the lead of the winner, or the gap at
    the edge of the support. Two computations of the same logits up to rounding thus
    agree wherever the margin exceeds that rounding.

    Args:
        logits: [V] float32.
        key: the node's key; token t's is folded from it.
        t: scalar int, tokens written before this one.
        s: how tokens are drawn; static.
    """
    chex.assert_rank([logits, key], [1, 0])
    logits = logits[: s.vocab or None]
    if s.temperature == 0:
        token, margin = _best(shape_logits(logits, jnp.arange(logits.shape[0]), t, s))
        # A point mass: the token had probability one.
        return Draw(token, _or_nan(jnp.float32(0), logits), margin, None)
    key = jax.random.fold_in(key, t)
    if s.top_k == 0:
        scores = shape_logits(logits, jnp.arange(logits.shape[0]), t, s)
        logp = jax.nn.log_softmax(scores)
        token, margin = _best(logp + jax.random.gumbel(key, logp.shape))
        return Draw(token, logp[token], margin, None)

    # Noise of each kept id has a key of its own.
    scores, support, edge = truncate(logits, t, s)
    logp = jax.nn.log_softmax(scores)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, support)
    noise = jax.vmap(jax.random.gumbel)(keys)
    place, margin = _best(logp + noise)
    kept = jnp.where(jnp.isfinite(scores), support, -1)
    # `top_k` puts a NaN last, where it would not be seen.
    found = _or_nan(logp[place], logits)
    return Draw(support[place], found, jnp.minimum(margin, edge), kept)


def _or_nan(logp: jax.Array, logits: jax.Array) -> jax.Array:
    """The log-probability, or NaN where a logit is NaN."""
    return jnp.where(jnp.isnan(logits).any(), jnp.nan, logp)


def shape_logits(
    logits: jax.Array, ids: jax.Array, t: jax.Array, s: Sampling
) -> jax.Array:
    """Applies temperature and minimum length.

    Args:
        logits: [M] float32, of the tokens `ids`.
        ids: [M] int.
        t, s: as in `draw`.

    Returns:
        [M] float32 nats up to a constant, -inf where an end token comes too early.
    """
    chex.assert_equal_shape([logits, ids])
    scores = logits / s.temperature if s.temperature else logits
    early = (t < s.min_tokens) & jnp.isin(ids, jnp.array(s.end))
    return jnp.where(early, -jnp.inf, scores)


def entropy(logp: jax.Array) -> jax.Array:
    """Entropy of a distribution, -sum_i p_i log p_i, over ids with any probability.

    Args:
        logp: [.., M] nats, -inf for ids that cannot be drawn.

    Returns:
        [..] nats.
    """
    # Avoids 0 * -inf, whose value and gradient are NaN.
    possible = jnp.isfinite(logp)
    finite = jnp.where(possible, logp, 0)
    return -jnp.where(possible, jnp.exp(finite) * finite, 0).sum(-1)


def truncate(
    logits: jax.Array, t: jax.Array, s: Sampling
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Top-k, then top-p on the k kept; the vocabulary is never sorted.

    The likeliest tokens are kept while the mass before them is below top_p, so at least
    one is. Temperature and minimum length are applied to these candidates alone, never
    to the whole vocabulary; a few spare ones replace end tokens that come too early.

    Args:
        logits, t, s: as in `draw`.

    Returns:
        [k] scores in nats up to a constant, -inf where top-p dropped, [k] ids, and the
        scalar gap in nats (in mass, for top-p) by which the last kept and the first
        dropped token are apart.
    """
    chex.assert_rank(logits, 1)
    vocab = logits.shape[-1]
    keep = min(s.top_k, vocab)

    # The k + 1 best: the last one says how far the edge of the support is.
    spare = len(s.end) if s.min_tokens else 0
    candidates, ids = top_k(logits, min(keep + 1 + spare, vocab))
    scores = shape_logits(candidates, ids, t, s)
    top, order = _whole_top_k(scores, min(keep + 1, vocab))
    ids = ids[order]
    edge = top[keep - 1] - top[keep] if keep < vocab else jnp.float32(jnp.inf)

    # Top-p among the k.
    top, ids = top[:keep], ids[:keep]
    mass = jax.nn.softmax(top)
    before = jnp.cumsum(mass) - mass
    if s.top_p < 1:
        edge = jnp.minimum(edge, jnp.abs(before[1:] - s.top_p).min(initial=jnp.inf))
        top = jnp.where(before < s.top_p, top, -jnp.inf)
    return top, ids, edge


def top_k(scores: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    """The k largest scores and their ids, exactly as `jax.lax.top_k` finds them.

    A large vocabulary is searched in two stages: the k blocks with the largest maxima
    hold the k largest scores, so only they are searched. Blocks stay in order, so among
    equal scores the one with the smallest id comes first.

    Args:
        scores: [V] float32.
        k: at most V.

    Returns:
        [k] scores, descending, and [k] int32 ids.
    """
    chex.assert_rank(scores, 1)
    blocks = -(-scores.shape[-1] // _BLOCK)
    if blocks <= 2 * k:
        return _whole_top_k(scores, k)
    padding = blocks * _BLOCK - scores.shape[-1]
    padded = jnp.pad(scores, (0, padding), constant_values=-jnp.inf)
    padded = padded.reshape(blocks, _BLOCK)
    chosen = jnp.sort(_whole_top_k(padded.max(-1), k)[1])
    top, place = _whole_top_k(padded[chosen].reshape(-1), k)
    return top, chosen[place // _BLOCK] * _BLOCK + place % _BLOCK


_BLOCK = 128


def _whole_top_k(scores: jax.Array, k: int) -> tuple[jax.Array, jax.Array]:
    # Without the barriers, XLA merges a later slice of the result with the one inside,
    # no longer recognises a top-k and sorts everything: 20 times slower on a CPU. One
    # barrier for both results would end its compiler.
    top, ids = jax.lax.top_k(scores, k)
    return jax.lax.optimization_barrier(top), jax.lax.optimization_barrier(ids)


def _best(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The index of the largest score and its lead over the runner-up."""
    best = jnp.argmax(scores)
    others = jnp.where(jnp.arange(scores.shape[0]) == best, -jnp.inf, scores)
    return best.astype(jnp.int32), scores[best] - others.max()
