import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3jax.policy import decoder, rotary, segments
from tests import support

SHAPE = support.SHAPE
FORWARD = jax.jit(decoder.forward, static_argnums=1)
LOGITS = jax.jit(decoder.logits, static_argnums=1)


def ids(size, seed=0):
    return jnp.array(np.random.default_rng(seed).integers(0, 40, size), jnp.int32)


def reference_attention(q, k, v, mask):
    """Softmax attention with repeated KV heads, one query and head at a time."""
    out = np.zeros(q.shape)
    for t in range(q.shape[0]):
        for h in range(q.shape[1]):
            for g in range(q.shape[2]):
                score = k[mask[t], h] @ q[t, h, g] / np.sqrt(q.shape[-1])
                weight = np.exp(score - score.max())
                out[t, h, g] = weight @ v[mask[t], h] / weight.sum()
    return out


def test_attention_over_blocks_is_one_softmax_over_their_union():
    rng = np.random.default_rng(0)
    q = rng.normal(size=(3, 2, 2, 8))
    k, v = rng.normal(size=(2, 9, 2, 8))
    mask = rng.random((3, 9)) < 0.6
    mask[:, 4] = True
    blocks = [
        (
            jnp.array(k[a:b].swapaxes(0, 1), jnp.float32),
            jnp.array(v[a:b].swapaxes(0, 1), jnp.float32),
            jnp.array(mask[:, a:b]),
        )
        for a, b in ((0, 4), (4, 5), (5, 9))
    ]
    found = jax.jit(segments.attend)(
        jnp.array(np.moveaxis(q, 0, 2), jnp.float32), blocks
    )
    expected = reference_attention(q, k, v, mask)
    np.testing.assert_allclose(np.moveaxis(found, 2, 0), expected, atol=1e-5)


@pytest.mark.parametrize("cut", [[5, 7], [1, 1, 1, 9], [3, 1, 8]])
def test_reading_in_blocks_equals_reading_at_once(cut):
    params, tokens = support.params()["shared"], ids(12)
    whole, _ = FORWARD(params, SHAPE, tokens)
    context, parts, at = (), [], 0
    for size in cut:
        hidden, segment = FORWARD(params, SHAPE, tokens[at : at + size], context)
        parts.append(hidden)
        context += (segment,)
        at += size
    support.assert_rounded(jnp.concatenate(parts), whole)


def test_padding_behind_a_prefix_changes_nothing():
    params, tokens, rest = support.params()["shared"], ids(6), ids(4, seed=1)
    _, exact = FORWARD(params, SHAPE, tokens)
    _, padded = FORWARD(params, SHAPE, jnp.pad(tokens, (0, 5)))
    one, _ = FORWARD(params, SHAPE, rest, (exact,))
    other, _ = FORWARD(params, SHAPE, rest, (padded.replace(length=6),))
    support.assert_rounded(one, other)


def test_a_token_does_not_see_the_future():
    params, tokens = support.params()["shared"], ids(10)
    before, _ = FORWARD(params, SHAPE, tokens)
    after, _ = FORWARD(params, SHAPE, tokens.at[7].add(1))
    np.testing.assert_allclose(before[:7], after[:7], atol=1e-6)
    assert abs(before[7:] - after[7:]).max() > 1e-2


def test_positions_are_relative():
    q, k = (jax.random.normal(jax.random.key(i), (1, 1, 8)) for i in (0, 1))

    @jax.jit
    def score(i, j):
        at = [
            rotary.rotate(x, rotary.waves(jnp.array([p]), 8, 1e4))
            for x, p in ((q, i), (k, j))
        ]
        return (at[0] * at[1]).sum()

    here = float(score(5, 3))
    assert here == pytest.approx(float(score(105, 103)), abs=1e-4)
    assert here != pytest.approx(float(score(5, 4)), abs=1e-2)


@pytest.mark.parametrize(
    "change", [{"remat": "layer"}, {"remat": "products"}, {"unroll": 2}]
)
def test_how_layers_are_run_does_not_change_what_they_compute(change):
    params, tokens = support.params()["shared"], ids(9)
    other = dataclasses.replace(SHAPE, **change)

    @functools.partial(jax.jit, static_argnums=1)
    @jax.grad
    def grads(params, shape):
        return decoder.forward(params, shape, tokens)[0].std()

    one, two = grads(params, SHAPE), grads(params, other)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), one, two)


def test_logits_of_chosen_ids_are_those_of_all_ids():
    hidden = jax.random.normal(jax.random.key(0), (5, SHAPE.width))
    chosen = jnp.array([[3, 1], [0, 39], [7, 7], [2, 5], [4, 4]])
    for tied in (True, False):
        shape = dataclasses.replace(SHAPE, tied=tied)
        everything = LOGITS(support.params()["shared"], shape, hidden)
        at = jax.jit(decoder.logits_at, static_argnums=1)
        some = at(support.params()["shared"], shape, hidden, chosen)
        expected = jnp.take_along_axis(everything, chosen, -1)
        support.assert_rounded(some, expected)


@pytest.mark.parametrize("tied", [True, False])
def test_an_id_without_a_row_is_nan_and_not_another_ids_row(tied):
    shape = dataclasses.replace(SHAPE, tied=tied)
    params, hidden = support.params()["shared"], jnp.ones((3, SHAPE.width))
    tokens = jnp.array([SHAPE.vocab - 1, SHAPE.vocab, -1])
    known = [True, False, False]
    rows = jax.jit(decoder.embedded, static_argnums=1)(params, shape, tokens)
    assert np.isfinite(rows).all(1).tolist() == known
    assert np.isnan(rows).all(1).tolist() == [not one for one in known]
    at = jax.jit(decoder.logits_at, static_argnums=1)
    found = at(params, shape, hidden, tokens[:, None])[:, 0]
    assert np.isfinite(found).tolist() == known


def test_every_parameter_is_declared_with_an_axis_name_per_axis():
    declared = jax.tree.leaves(
        decoder.declare(SHAPE), is_leaf=lambda x: isinstance(x, decoder.Param)
    )
    assert all(len(p.shape) == len(p.axes) for p in declared)
    shapes = [x.shape for x in jax.tree.leaves(support.params()["shared"])]
    assert shapes == [p.shape for p in declared]


def test_bfloat16_stays_close_to_float32():
    params, tokens = support.params()["shared"], ids(12)
    shape = dataclasses.replace(SHAPE, dtype="bfloat16")
    exact = LOGITS(params, SHAPE, FORWARD(params, SHAPE, tokens)[0])
    rough = LOGITS(params, shape, FORWARD(params, shape, tokens)[0])
    assert rough.dtype == jnp.float32
    np.testing.assert_allclose(exact, rough, atol=0.1)
