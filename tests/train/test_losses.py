import jax.numpy as jnp
import numpy as np

from c3jax.train import losses


def test_the_clipped_loss_by_hand():
    logp = jnp.log(jnp.array([1.5, 0.5, 1.5, 0.5, 1.1]))
    advantage = jnp.array([1.0, 1.0, -1.0, -1.0, 2.0])
    found = losses.clipped(logp, jnp.zeros(5), advantage, 0.2)
    np.testing.assert_allclose(found, [-1.2, -0.5, 1.5, 0.8, -2.2], rtol=1e-6)


def test_the_kl_estimate_is_zero_at_equality_and_positive_elsewhere():
    logp = jnp.linspace(-3, 0, 7)
    np.testing.assert_array_equal(losses.kl_k3(logp, logp), 0)
    assert (losses.kl_k3(logp, logp - 0.3) > 0).all()
    assert (losses.kl_k3(logp, logp + 0.3) > 0).all()
    np.testing.assert_allclose(
        losses.kl_k3(jnp.array(0.0), jnp.array(-0.5)), np.exp(-0.5) + 0.5 - 1, rtol=1e-6
    )


def test_every_token_of_every_role_counts_once():
    values = (jnp.array([[1.0, 2.0, 9.0]]), jnp.array([[4.0, 9.0]]))
    masks = (jnp.array([[True, True, False]]), jnp.array([[True, False]]))
    np.testing.assert_allclose(losses.masked_mean(values, masks), 7 / 3, rtol=1e-6)
