"""Randomness has an address: every draw's key is folded from where it happens.

    seed -> stream -> step -> question -> level -> node -> token

Two draws share a key only if they share the whole address. A resumed run, a replayed
node and a run on another mesh therefore draw what the first run drew.
"""

import jax
import jax.numpy as jnp

# Pinned: another default implementation would silently change every run.
IMPLEMENTATION = "threefry2x32"

# New ones go to the end: a stream is known by its place.
STREAMS = (
    *("init", "rollout", "evaluate", "adapters", "evidence", "vine", "audit"),
    "validate",
)


def stream(seed: int, name: str) -> jax.Array:
    """The root key of one purpose; `name` is one of `STREAMS`."""
    return jax.random.fold_in(
        jax.random.key(seed, impl=IMPLEMENTATION), STREAMS.index(name)
    )


def node(key: jax.Array, uid: jax.Array, level: int, index: jax.Array) -> jax.Array:
    """The key of one node; `jax.random.fold_in(key, t)` is that of its token t.

    Args:
        uid: scalar uint32, address of the question.
        index: scalar, n * K + k.
    """
    at_question = jax.random.fold_in(key, uid)
    return jax.random.fold_in(jax.random.fold_in(at_question, level), index)


def nodes(key: jax.Array, uid: jax.Array, level: int, count: int) -> jax.Array:
    """Keys of every node of one level.

    Args:
        uid: [B] uint32 addresses of the questions.
        count: nodes per question at this level, N * K.

    Returns:
        [B, count] keys.
    """
    index = jnp.arange(count, dtype=jnp.uint32)
    of_question = jax.vmap(node, (None, None, None, 0))
    return jax.vmap(of_question, (None, 0, None, None))(key, uid, level, index)
