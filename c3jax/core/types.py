"""Records that every layer shares, with their axes.

Axis letters, used in all docstrings:

    B  questions              N  contexts of a role, per question
    K  alternatives (siblings) sampled from one context
    T  tokens of a message    S  slots of a KV segment
    V  vocabulary             L  decoder layers

A *tree axis* is one role's alternatives; its size is that role's branching. A role's
N contexts are the product of the tree axes of its ancestors, row-major in topological
order, so [B, N, K] reshapes to [B, k_a, k_b, .., K] without moving data.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct


@dataclasses.dataclass(frozen=True)
class Role:
    """One agent of the team, as declared in a config.

    Attributes:
        name: its name in configs, metrics and contexts.
        instruction: its task in words, read before the question.
        depends_on: names of the roles whose messages it reads, in reading order.
        answers: whether its message is the one that is scored.
        max_tokens: limit of a message, end token included; 0 if the role counts.
        title: the heading of its message in other roles' contexts; "" for its name.
        solves: whether its message, too, holds a whole answer to the question, which
            demonstrations then show. It is scored if the dialogue ends before another.
        counts: it writes nothing; the majority answer of the roles it reads is scored.
        agent: the agent that writes in this role, if one agent has several; "" for the
            role's name.
        finishes: a mark that ends the dialogue if the message holds it: roles that read
            the message, directly or indirectly, write nothing; "" for no mark.
    """

    name: str
    instruction: str
    depends_on: tuple[str, ...] = ()
    answers: bool = False
    max_tokens: int = 64
    title: str = ""
    solves: bool = False
    counts: bool = False
    agent: str = ""
    finishes: str = ""

    @property
    def policy_name(self) -> str:
        """The name of its policy where every agent has its own."""
        return self.agent or self.name


@dataclasses.dataclass(frozen=True)
class ContextTemplate:
    """The token ids of a role's context around the messages it reads.

    The context is prompt + message_1 + separator_1 + message_2 + separator_2 + .. +
    first_token. The prompt (instruction and question) differs between questions and
    lives in `Questions`.

    Attributes:
        reads: for each message read, the index of the role that wrote it.
        separators: the ids that follow each of those messages.
        first_token: the last id of the context. It is the first *input* of the message,
            so a prefix never needs logits.
        finish: [V, M] uint8, row-major, how its message comes to hold a mark of M
            characters that ends the dialogue (see `protocol.marks`); empty for no mark.
        instruction: ids that every prompt begins with, computed once for all questions;
            () where they are too few to be worth it.
    """

    reads: tuple[int, ...]
    separators: tuple[tuple[int, ...], ...]
    first_token: int
    finish: bytes = b""
    instruction: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rules:
    """Answers that a dataset allows besides those equal to its gold answer.

    Attributes:
        tolerance: how far a number may be from the gold one, as a fraction of it. 0 is
            exact: 0.333 is not 1/3.
        percent: whether a percent sign may be left out or added, 64 for 64%. Equal
            values pass anyhow: 0.64 is 64%.
        chinese: whether numerals and units may be Chinese: 一百二十, 三分之二, 3小时.
        fallback: places of the answer, the first one that has any wins: "boxed", the
            box that begins last of those that are closed; "hash", the last line that
            begins with ####; "answer_is", the text after the last "answer is",
            "Answer:" or "答案是"; "tag", the last <answer>..</answer>; "last_number",
            the last number of the text.
        lowest_terms: whether a fraction must be in lowest terms if the gold one is, so
            that 84/144 is not 7/12.
        ordered: whether the parts of a list must be in the order of the gold answer,
            for questions that ask for one: 1, 3, 2 is not 1, 2, 3.
    """

    tolerance: float = 0.0
    percent: bool = False
    chinese: bool = False
    fallback: tuple[str, ...] = ("boxed",)
    lowest_terms: bool = False
    ordered: bool = False


# For datasets that allow nothing beyond equal answers.
EXACT = Rules()


@struct.dataclass
class Questions:
    """B questions as each role's prompt.

    Attributes:
        uid: [B] uint32, the question's address in its split; random keys use it.
        prompts: per role, [B, P] int32, padded on the right.
        lengths: per role, [B] int32, valid ids of each prompt.
    """

    uid: jax.Array
    prompts: tuple[jax.Array, ...]
    lengths: tuple[jax.Array, ...]


@struct.dataclass
class Segment:
    """Keys and values of consecutive tokens, kept at the tree level they belong to.

    Attributes:
        k, v: [L, .., kv_heads, S, head_dim], rotary positions applied to k.
        length: [..] int32, slots in use; the rest is padding on the right.
    """

    k: jax.Array
    v: jax.Array
    length: jax.Array


@struct.dataclass
class Turn:
    """All messages of one role in a batch of trees.

    Attributes:
        tokens: [B, N, K, T] int32, zero-padded on the right.
        length: [B, N, K] int32, tokens of the message, its end token included.
        ended: [B, N, K] bool, False where the message was cut at T.
        logp: [B, N, K, T] float32 nats, under the distribution sampled from.
        margin: [B, N, K, T] float32 nats, how far another token was from being drawn.
        support: [B, N, K, T, M] int32, the ids that top-k and top-p kept, -1 where
            dropped; None when nothing was truncated.
    """

    tokens: jax.Array
    length: jax.Array
    ended: jax.Array
    logp: jax.Array
    margin: jax.Array
    support: jax.Array | None = None

    @property
    def mask(self) -> jax.Array:
        """[B, N, K, T] bool, from lengths: a padding id may also be a sampled id."""
        return jnp.arange(self.tokens.shape[-1]) < self.length[..., None]

    def bare(self) -> "Turn":
        """The messages alone: without logp, margin and support."""
        return self.replace(logp=None, margin=None, support=None)


@struct.dataclass
class Evidence:
    """The rewards of B trees, and further evidence that some estimators need.

    A field that was not gathered is None. `n` is the number of episodes where a team
    samples episodes only: branching (n, 1, .., 1).

    Attributes:
        reward: [B, k_1, .., k_R] float32, leaf rewards, one axis per role.
        ancestors: per role, the tree axes (role indices, ascending) of its contexts.
        value: per role, [B, N] float, a critic's value of each context.
        q: per role, [B, N, K] float, a critic's value of each message.
        without: per role, [B, k_1, .., k_R] float, leaf rewards with that role
            silenced; size 1 on axes that they do not depend on.
        solo: [B, n] float, rewards of the last role's answers with the others silenced.
        finished: [B, k_1, .., k_R] bool, False where an episode broke off; None if no
            episode did.
        ballots: per voter, [B, K] int32, a number for its answer, equal for equal
            answers; -1 abstains.
        correct: per voter, [B, K] float, the reward of that answer.
        ratings: [B, n, 2, 2] float in [0, 1], the share that each of two roles (axis 2)
            gives to each (axis 3); .5 for an invalid rating.
    """

    reward: jax.Array
    ancestors: tuple[tuple[int, ...], ...] = struct.field(pytree_node=False)
    value: tuple[jax.Array, ...] | None = None
    q: tuple[jax.Array, ...] | None = None
    without: tuple[jax.Array, ...] | None = None
    solo: jax.Array | None = None
    finished: jax.Array | None = None
    ballots: tuple[jax.Array, ...] | None = None
    correct: tuple[jax.Array, ...] | None = None
    ratings: jax.Array | None = None
