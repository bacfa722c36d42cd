import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3jax.core import keys, metrics

PINNED = [18790132, 3405254433]


def test_every_node_of_every_question_and_level_has_its_own_key():
    key = keys.stream(0, "rollout")
    uid = jnp.arange(5, dtype=jnp.uint32)
    found = [keys.nodes(key, uid, level, 8) for level in (0, 1)]
    data = np.concatenate([jax.random.key_data(k).reshape(-1, 2) for k in found])
    assert len(np.unique(data, axis=0)) == 80


def test_a_node_alone_has_the_key_it_has_among_others():
    key = keys.stream(0, "rollout")
    uid = jnp.array([9, 4], jnp.uint32)
    among = keys.nodes(key, uid, 1, 6)[1, 3]
    alone = keys.node(key, np.uint32(4), 1, np.uint32(3))
    assert jax.random.key_data(among).tolist() == jax.random.key_data(alone).tolist()


def test_keys_are_pinned():
    # A change here changes every run that was ever recorded.
    key = keys.node(keys.stream(1, "rollout"), np.uint32(2), 3, np.uint32(4))
    assert jax.random.key_data(key).tolist() == PINNED


def test_streams_differ_and_have_names():
    data = [jax.random.key_data(keys.stream(0, s)).tolist() for s in keys.STREAMS]
    assert len({tuple(d) for d in data}) == len(keys.STREAMS)
    with pytest.raises(ValueError, match="not in"):
        keys.stream(0, "nowhere")


def test_a_clock_reads_like_a_clock():
    assert metrics.clock(59.4) == "0:59"
    assert metrics.clock(3600 + 61) == "1:01:01"
