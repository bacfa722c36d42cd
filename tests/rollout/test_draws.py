import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3jax.rollout import draws

END = (1,)


@functools.cache
def logits(vocab=30, scale=2.0):
    return scale * jax.random.normal(jax.random.key(0), (vocab,))


@functools.partial(jax.jit, static_argnums=(1, 2))
def _many(scores, settings, n, t):
    keys = jax.random.split(jax.random.key(1), n)
    return jax.vmap(lambda key: draws.draw(scores, key, t, settings))(keys)


def many(scores, settings, n=4000, t=5):
    return _many(scores, settings, n, jnp.int32(t))


TRUNCATE = jax.jit(draws.truncate, static_argnums=2)
TOP_K = jax.jit(jax.vmap(draws.top_k, (0, None)), static_argnums=1)


@pytest.mark.parametrize(
    "settings",
    [
        draws.Sampling(END),
        draws.Sampling(END, temperature=0.7),
        draws.Sampling(END, temperature=0.7, top_k=10),
        draws.Sampling(END, temperature=1.3, top_k=10, top_p=0.8),
    ],
)
def test_tokens_are_drawn_with_the_probability_that_is_recorded(settings):
    drawn = many(logits(), settings)
    for token in np.unique(drawn.token):
        hit = np.asarray(drawn.token) == token
        p = float(np.exp(np.asarray(drawn.logp)[hit][0]))
        assert abs(hit.mean() - p) < 4 * (p * (1 - p) / len(hit)) ** 0.5 + 1e-3


def test_temperature_zero_takes_the_likeliest_token_with_probability_one():
    drawn = many(logits(), draws.Sampling(END, temperature=0.0), n=3)
    assert set(np.asarray(drawn.token).tolist()) == {int(logits().argmax())}
    np.testing.assert_array_equal(drawn.logp, 0.0)


def test_top_k_keeps_the_k_likeliest_and_top_p_their_head():
    scores = jnp.log(jnp.array([0.4, 0.02, 0.3, 0.2, 0.08]))
    drawn = many(scores, draws.Sampling(END, top_k=3))
    assert set(np.unique(drawn.token)) == {0, 2, 3}
    np.testing.assert_array_equal(drawn.support[0], [0, 2, 3])
    # The likeliest are kept while the mass before them is below top_p: .44, .78, 1.
    drawn = many(scores, draws.Sampling(END, top_k=3, top_p=0.5))
    assert set(np.unique(drawn.token)) == {0, 2}
    np.testing.assert_array_equal(drawn.support[0], [0, 2, -1])


def test_an_end_token_waits_for_the_minimum_length():
    scores = jnp.zeros(5).at[1].set(20.0)
    settings = draws.Sampling(END, min_tokens=3)
    assert 1 not in np.asarray(many(scores, settings, n=200, t=2).token)
    assert (np.asarray(many(scores, settings, n=200, t=3).token) == 1).all()


def test_end_tokens_that_have_to_wait_leave_their_places_to_others():
    scores = jnp.log(jnp.array([0.1, 0.4, 0.3, 0.15, 0.05]))
    settings = draws.Sampling((1, 2), top_k=2, min_tokens=3)
    for t, kept in ((2, [3, 0]), (3, [1, 2])):
        found, support, _ = TRUNCATE(scores, t, settings)
        np.testing.assert_array_equal(support, kept)
        assert np.isfinite(found).all()


def test_one_key_draws_different_noise_for_every_token_of_a_message():
    settings, key = draws.Sampling(END), jax.random.key(7)

    @jax.jit
    @jax.vmap
    def each(t):
        return draws.draw(jnp.zeros(1000), key, t, settings).token

    assert len(np.unique(each(jnp.arange(1, 51)))) > 40


def test_a_change_below_the_margin_does_not_change_the_token():
    settings = draws.Sampling(END, temperature=0.7, top_k=10, top_p=0.8)
    drawn = many(logits(), settings)
    noise = 1e-5 * jax.random.normal(jax.random.key(2), (30,))
    moved = many(logits() + noise, settings)
    sure = np.asarray(drawn.margin) > 1e-4
    assert sure.mean() > 0.99
    np.testing.assert_array_equal(
        np.asarray(drawn.token)[sure], np.asarray(moved.token)[sure]
    )


@pytest.mark.parametrize("vocab", [129, 5000, 6400])
@pytest.mark.parametrize("k", [1, 5, 21])
def test_two_stages_find_the_top_k_of_the_whole_vocabulary(vocab, k):
    rng = np.random.default_rng(vocab + k)
    scores = rng.standard_normal((20, vocab)).astype(np.float32)
    scores[10:] = scores[10:].round(1)  # ties, of which the smallest ids win
    found = TOP_K(scores, k)
    wanted = jax.lax.top_k(scores, k)
    jax.tree.map(np.testing.assert_array_equal, found, tuple(wanted))
