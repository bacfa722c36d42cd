"""What the messages of a role are computed from, block by block, and its bytes."""

import math
from typing import NamedTuple

import jax.numpy as jnp

from c3jax.policy import decoder
from c3jax.rollout import contexts, sampler
from c3jax.train.setup import Setup


class Block(NamedTuple):
    """Tokens that a policy reads in one go.

    Attributes:
        count: of such sequences, side by side.
        tokens: of each.
        slots: that each token looks at, in what precedes and in the block itself.
    """

    count: int
    tokens: int
    slots: int


def blocks(setup: Setup, team: contexts.Team, level: int, questions: int):
    """What is read for a role's messages, these last, each a `Block`."""
    team = sampler.teeth(team)[level] if team.protocol.continuations else team
    protocol, script = team.protocol, team.scripts[level]
    past, told = setup.heads.sizes[-1], len(script.told)
    found = [Block(1, told, told)] if told else []
    found.append(Block(questions, past - told, past))
    spans = contexts.spans(team, level)[len(found) :]
    for index, glue, span in zip(script.reads, script.glue, spans, strict=True):
        size = protocol.roles[index].max_tokens + len(glue)
        past += size
        count = math.prod(contexts.sizes(team, span, questions))
        found.append(Block(count, size, past))
    limit = protocol.roles[level].max_tokens
    count = questions * protocol.contexts(level) * protocol.branching[level]
    return [*found, Block(count, limit, past + limit)]


def kv(s: decoder.Shape) -> int:
    """Bytes of one token's keys and values."""
    return 2 * s.layers * s.kv_heads * s.head_dim * jnp.dtype(s.dtype).itemsize


def cached(setup: Setup, team: contexts.Team, level: int, questions: int) -> int:
    """Bytes of keys and values of a role's contexts and messages."""
    read = blocks(setup, team, level, questions)
    tokens = sum(block.count * block.tokens for block in read)
    return tokens * kv(team.cast[level].shape)


def desk(setup: Setup, team: contexts.Team, level: int, rows: int) -> int:
    """Bytes of keys and values at a desk: a context, and `rows` messages."""
    read = blocks(setup, team, level, 1)
    tokens = read[-1].slots + (rows - 1) * read[-1].tokens
    return tokens * kv(team.cast[level].shape)


def passing(s: decoder.Shape, read: list[Block]) -> int:
    """Bytes of a layer while blocks are read, of one device as the rows of a matrix."""
    tokens = [block.count * block.tokens for block in read]
    rows = sum(tokens) if s.mesh is None else max(tokens)
    size = jnp.dtype(s.dtype).itemsize
    attention = 2 * (s.heads + s.kv_heads) * s.head_dim * rows * size
    attention += 2 * max(scores(s, block) for block in read)
    # Its inputs stay for what is added to them, normed ones are computed with.
    inputs = (sum(tokens) + rows) * s.width * size
    return inputs + max(attention, 2 * s.hidden * rows * size)


def scores(s: decoder.Shape, block: Block) -> int:
    """Bytes of a layer's attention weights, where they are written down."""
    if s.attention != "plain":
        return 0
    return 4 * s.heads * block.count * block.tokens * block.slots


def kept(setup: Setup, team: contexts.Team, level: int, questions: int) -> int:
    """Bytes that the backward pass finds of a role's tokens, each context's once."""
    s = team.cast[level].shape
    read = blocks(setup, team, level, questions)
    tokens = sum(block.count * block.tokens for block in read)
    weights = sum(scores(s, block) for block in read)
    inside = (2 * s.heads + 2 * s.kv_heads) * s.head_dim + 3 * s.hidden + 4 * s.width
    size = jnp.dtype(s.dtype).itemsize
    if s.remat == "none":
        # Also what norms, rotations and the gate's curve are computed from.
        steps = (s.heads + 2 * s.kv_heads) * s.head_dim + 2 * s.hidden + 4 * s.width
        numbers, weights = s.layers * (inside + steps), s.layers * weights
    else:  # The inputs of all layers, and of one what is computed again.
        numbers = s.layers * s.width + inside
    return tokens * (numbers * size + kv(s)) + weights


def logits(setup: Setup, team: contexts.Team, level: int, questions: int) -> int:
    """Bytes of the logits of a role's messages that exist at once.

    Where top-k has cut, those are of the ids that were kept, with a row of the table
    for each.
    """
    s, block = team.cast[level].shape, blocks(setup, team, level, questions)[-1]
    chunk = min(s.logits_chunk or block.tokens, block.tokens)
    few = min(team.sampling.top_k, s.vocab)
    each = 4 * s.vocab
    if few:
        each = few * (4 + s.width * jnp.dtype(s.dtype).itemsize)
    return block.count * chunk * each
