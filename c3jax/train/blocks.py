"""The blocks of tokens that a role's messages are computed from, and their bytes."""

import math
from typing import NamedTuple

import jax.numpy as jnp

from c3jax.policy import decoder
from c3jax.rollout import contexts, sampler
from c3jax.setup.experiment import Setup


class Block(NamedTuple):
    """Tokens that a policy reads in one forward pass.

    Attributes:
        count: sequences, side by side.
        tokens: per sequence.
        slots: that each token attends to, before the block and in it.
    """

    count: int
    tokens: int
    slots: int


def blocks(setup: Setup, team: contexts.Team, level: int, questions: int):
    """The blocks of a role's contexts, and last that of its messages."""
    team = sampler.decisions(team)[level] if team.protocol.continuations else team
    protocol, template = team.protocol, team.templates[level]

    # The instruction, once for all questions, and the rest of the prompt.
    past, shared = setup.prompt_lengths.sizes[-1], len(template.instruction)
    parts = [Block(1, shared, shared)] if shared else []
    parts.append(Block(questions, past - shared, past))

    # Messages that the role reads, once per context of theirs.
    axes = contexts.segment_axes(team, level)[len(parts) :]
    read = zip(template.reads, template.separators, axes, strict=True)
    for index, separator, above in read:
        size = protocol.roles[index].max_tokens + len(separator)
        past += size
        count = math.prod(contexts.sizes(team, above, questions))
        parts.append(Block(count, size, past))

    # Its own messages.
    limit = protocol.roles[level].max_tokens
    count = questions * protocol.contexts(level) * protocol.branching[level]
    return [*parts, Block(count, limit, past + limit)]


def kv(s: decoder.Shape) -> int:
    """Bytes of one token's keys and values."""
    return 2 * s.layers * s.kv_heads * s.head_dim * jnp.dtype(s.dtype).itemsize


def cached(setup: Setup, team: contexts.Team, level: int, questions: int) -> int:
    """Bytes of keys and values of a role's contexts and messages."""
    read = blocks(setup, team, level, questions)
    tokens = sum(block.count * block.tokens for block in read)
    return tokens * kv(team.policies[level].shape)


def slot(setup: Setup, team: contexts.Team, level: int, rows: int) -> int:
    """Bytes of keys and values in a decode slot: a context, and `rows` messages."""
    read = blocks(setup, team, level, 1)
    tokens = read[-1].slots + (rows - 1) * read[-1].tokens
    return tokens * kv(team.policies[level].shape)


def passing(s: decoder.Shape, read: list[Block]) -> int:
    """Bytes of a layer while blocks are read, of one device as the rows of a matrix."""
    tokens = [block.count * block.tokens for block in read]
    rows = sum(tokens) if s.mesh is None else max(tokens)
    size = jnp.dtype(s.dtype).itemsize
    attention = 2 * (s.heads + s.kv_heads) * s.head_dim * rows * size
    attention += 2 * max(scores(s, block) for block in read)
    # Its inputs stay for the residual sum, beside the normed ones.
    inputs = (sum(tokens) + rows) * s.width * size
    return inputs + max(attention, 2 * s.hidden * rows * size)


def scores(s: decoder.Shape, block: Block) -> int:
    """Bytes of a layer's attention weights, 0 where a kernel keeps none."""
    if s.attention != "plain":
        return 0
    return 4 * s.heads * block.count * block.tokens * block.slots


def kept(setup: Setup, team: contexts.Team, level: int, questions: int) -> int:
    """Bytes of saved activations for a role's tokens; each context counts once."""
    s = team.policies[level].shape
    read = blocks(setup, team, level, questions)
    tokens = sum(block.count * block.tokens for block in read)
    weights = sum(scores(s, block) for block in read)
    inside = (2 * s.heads + 2 * s.kv_heads) * s.head_dim + 3 * s.hidden + 4 * s.width
    size = jnp.dtype(s.dtype).itemsize
    if s.remat == "none":
        # The inputs of norms, rotations and the gate are saved, too.
        steps = (s.heads + 2 * s.kv_heads) * s.head_dim + 2 * s.hidden + 4 * s.width
        numbers, weights = s.layers * (inside + steps), s.layers * weights
    else:  # What all layers keep, and one layer that is computed again.
        each = s.width
        if s.remat == "products":
            each += 2 * (s.heads + s.kv_heads) * s.head_dim + 2 * (s.hidden + s.width)
        numbers = s.layers * each + inside
    return tokens * (numbers * size + kv(s)) + weights


def logits(setup: Setup, team: contexts.Team, level: int, questions: int) -> int:
    """Bytes of the logits of a role's messages that exist at once.

    After top-k only the kept ids have logits, each with its row of the output table.
    """
    s, block = team.policies[level].shape, blocks(setup, team, level, questions)[-1]
    chunk = min(s.logits_chunk or block.tokens, block.tokens)
    kept_ids = min(team.sampling.top_k, s.vocab)
    per_token = 4 * s.vocab
    if kept_ids:
        per_token = kept_ids * (4 + s.width * jnp.dtype(s.dtype).itemsize)
    return block.count * chunk * per_token
