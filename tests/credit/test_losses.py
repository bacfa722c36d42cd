import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3jax.credit import losses

SHAPES = ((2, 1, 4, 5), (2, 4, 2, 7))


def made_up():
    """Per role: new and old log-probabilities, masks, and an advantage a message.

    Messages are of all lengths, one has no tokens, and padding holds rubbish.
    """
    rng, found = np.random.default_rng(0), []
    for shape in SHAPES:
        length = rng.integers(1, shape[-1] + 1, shape[:-1])
        length[0, 0, 0] = 0
        mask = np.arange(shape[-1]) < length[..., None]
        old = -rng.random(shape)
        new = old + 0.4 * rng.standard_normal(shape)
        found.append((new, old, mask, rng.standard_normal(shape[:-1])))
    return [*zip(*found, strict=True)]


def messages(*arrays):
    """What each array holds of every message, cut to its length; the mask is last."""
    *arrays, mask = arrays
    for at in np.ndindex(*mask.shape[:-1]):
        size = int(mask[at].sum())
        yield tuple(a[at][:size] if np.ndim(a[at]) else a[at] for a in arrays)


def naive_ratio(kind, new, old):
    if kind == "token":
        return np.exp(new - old)
    if kind == "sequence":
        return np.full(len(new), np.prod(np.exp(new - old)) ** (1 / len(new)))
    return np.full(len(new), np.sum(np.exp(new - old)) / len(new))


def naive_clipped(ratio, advantage, low, high, dual):
    found = []
    for r in ratio:
        best = min(r * advantage, min(max(r, 1 - low), 1 + high) * advantage)
        if dual is not None and advantage < 0:
            best = max(best, dual * advantage)
        found.append(-best)
    return np.array(found)


def naive_mean(kind, roles):
    """Of per role a list of messages, each an array of values."""
    roles = [[each for each in role if len(each)] for role in roles]
    if kind == "token":
        return np.concatenate([each for role in roles for each in role]).mean()
    means = [[each.mean() for each in role] for role in roles]
    if kind == "sequence":
        return np.concatenate(means).mean()
    return np.mean([np.mean(role) for role in means])


@pytest.mark.parametrize("dual", [None, 1.5])
@pytest.mark.parametrize("mean", losses.MEANS)
@pytest.mark.parametrize("kind", losses.RATIOS)
def test_every_ratio_under_every_mean_is_what_it_is_token_by_token(kind, mean, dual):
    new, old, masks, advantages = made_up()
    wanted = naive_mean(
        mean,
        [
            [
                naive_clipped(naive_ratio(kind, n, o), a, 0.1, 0.3, dual)
                for n, o, a in messages(*role)
                if len(n)
            ]
            for role in zip(new, old, advantages, masks, strict=True)
        ],
    )
    found = [
        losses.clipped(losses.RATIOS[kind].fn(n, o, m), a[..., None], 0.1, 0.3, dual)
        for n, o, m, a in zip(new, old, masks, advantages, strict=True)
    ]
    value = losses.mean(tuple(found), tuple(masks), mean)
    np.testing.assert_allclose(value, wanted, rtol=1e-5, atol=1e-6)


def test_the_clipped_loss_by_hand():
    ratio = jnp.array([1.5, 0.5, 1.5, 0.5, 1.1, 9.0])
    advantage = jnp.array([1.0, 1.0, -1.0, -1.0, 2.0, -1.0])
    wanted = [-1.2, -0.5, 1.5, 0.8, -2.2, 9.0]
    found = losses.clipped(ratio, advantage, 0.2, 0.2)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    found = losses.clipped(ratio, advantage, 0.2, 0.4, dual=3.0)
    np.testing.assert_allclose(found, [-1.4, *wanted[1:-1], 3.0], rtol=1e-6)


def test_ratios_of_a_message_by_hand():
    new, old = jnp.log(jnp.array([2.0, 0.5, 4.0, 9.0])), jnp.zeros(4)
    mask = jnp.array([True, True, True, False])
    np.testing.assert_allclose(
        losses.sequence_ratio(new, old, mask), [4 ** (1 / 3)], rtol=1e-6
    )
    np.testing.assert_allclose(losses.turn_ratio(new, old, mask), [6.5 / 3], rtol=1e-6)
    nothing = jnp.zeros(4, bool)
    np.testing.assert_array_equal(losses.sequence_ratio(new, old, nothing), [1])


def test_the_gradient_of_a_sequence_is_shared_by_its_tokens():
    """GSPO: -A s / |message| at each token, and none where the ratio is clipped."""
    gap = jnp.array([[0.3, -0.2995, 0.0002, 9.0], [0.01, 0.02, 9.0, 9.0]])
    mask = jnp.array([[True, True, True, False], [True, True, False, False]])
    old = jnp.full(gap.shape, -1.0)

    def value(new, advantage):
        ratio = losses.sequence_ratio(new, old, mask)
        found = losses.clipped(ratio, advantage[:, None], 3e-4, 4e-4)
        return losses.mean((found,), (mask,), "sequence")

    inside = np.exp(0.0007 / 3)
    for advantage, wanted in [
        ([2.0, 1.0], [-2.0 * inside / 3, 0.0]),
        ([0.0, -1.0], [0.0, np.exp(0.015) / 2]),
    ]:
        grads = jax.grad(value)(old + gap, jnp.array(advantage))
        each = np.where(mask, np.array(wanted)[:, None] / 2, 0)
        np.testing.assert_allclose(grads, each, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", losses.RATIOS)
def test_at_the_sampling_policy_every_ratio_has_the_gradient_of_reinforce(kind):
    logp, _, mask, advantage = (each[1] for each in made_up())
    logp, fn = jnp.float32(logp), losses.RATIOS[kind].fn
    sampled = logp

    def clipped(logp):
        found = losses.clipped(fn(logp, sampled, mask), advantage[..., None], 0.2, 0.2)
        return losses.mean((found,), (mask,))

    def plain(logp):
        return losses.mean((losses.reinforce(logp, advantage[..., None]),), (mask,))

    wanted = np.where(mask, -advantage[..., None], 0) / mask.sum()
    np.testing.assert_allclose(jax.grad(plain)(logp), wanted, rtol=1e-5)
    np.testing.assert_allclose(jax.grad(clipped)(logp), wanted, rtol=1e-4, atol=1e-8)


def test_the_kl_estimate_is_zero_at_equality_and_positive_elsewhere():
    logp = jnp.linspace(-3, 0, 7)
    np.testing.assert_array_equal(losses.kl_k3(logp, logp), 0)
    assert (losses.kl_k3(logp, logp - 0.3) > 0).all()
    assert (losses.kl_k3(logp, logp + 0.3) > 0).all()
    np.testing.assert_allclose(
        losses.kl_k3(jnp.array(0.0), jnp.array(-0.5)), np.exp(-0.5) + 0.5 - 1, rtol=1e-6
    )


@pytest.mark.parametrize("name", losses.KL)
def test_both_estimates_have_the_divergence_as_their_mean(name):
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.2, 0.6])
    found = (p * losses.KL[name](jnp.log(p), jnp.log(q))).sum()
    np.testing.assert_allclose(found, (p * np.log(p / q)).sum(), rtol=1e-5)


def test_in_a_loss_the_gradient_of_k1_is_zero_in_the_mean_and_that_of_k3_is_not():
    q = jnp.array([0.2, 0.2, 0.6])

    def value(scores, name):
        logp = jax.nn.log_softmax(scores)
        sampled = jax.lax.stop_gradient(jnp.exp(logp))
        return (sampled * losses.KL[name](logp, jnp.log(q))).sum()

    scores = jnp.array([0.5, 0.1, -0.3])
    np.testing.assert_allclose(jax.grad(value)(scores, "k1"), 0, atol=1e-6)
    # It is the gradient of KL(reference || policy).
    wanted = jax.nn.softmax(scores) - q
    np.testing.assert_allclose(jax.grad(value)(scores, "k3"), wanted, rtol=1e-4)


def test_the_weight_of_the_kl_follows_its_target():
    for found, wanted in [
        (0.10, 0.01),
        (0.11, 0.0101),
        (0.09, 0.0099),
        (0.50, 0.0102),
        (0.00, 0.0098),
        (-0.1, 0.0098),
    ]:
        weight = losses.adapted(jnp.float32(0.01), jnp.float32(found), 0.1)
        assert weight.dtype == jnp.float32
        np.testing.assert_allclose(weight, wanted, rtol=1e-5)


def test_every_token_of_every_role_counts_once():
    values = (jnp.array([[1.0, 2.0, 9.0]]), jnp.array([[4.0, 9.0]]))
    masks = (jnp.array([[True, True, False]]), jnp.array([[True, False]]))
    np.testing.assert_allclose(losses.mean(values, masks), 7 / 3, rtol=1e-6)


@pytest.mark.parametrize("kind", losses.MEANS)
def test_means_of_pieces_add_up_to_that_of_the_whole(kind):
    values, _, masks, _ = made_up()
    counts = losses.units(masks, kind)
    pieces = [
        losses.mean(
            tuple(v[i : i + 1] for v in values),
            tuple(m[i : i + 1] for m in masks),
            kind,
            counts,
        )
        for i in range(2)
    ]
    np.testing.assert_allclose(sum(pieces), losses.mean(values, masks, kind), rtol=1e-5)


@pytest.mark.parametrize("kind", losses.MEANS)
def test_the_mean_of_nothing_is_zero(kind):
    values, _, masks, _ = made_up()
    nothing = tuple(np.zeros_like(mask) for mask in masks)
    assert losses.mean(values, nothing, kind) == 0


def test_the_loss_of_a_critic_by_hand():
    predicted = jnp.array([0.2, 0.9, 0.9, -0.7])
    old = jnp.array([0.1, 0.1, 0.1, 0.1])
    target = jnp.array([1.0, 1.0, 0.0, 1.0])
    # Within the clip; too far towards the target; too far away from it, twice.
    wanted = jnp.array([0.8**2, 0.4**2, 0.9**2, 1.7**2]) / 2
    found = losses.value(predicted, old, target, 0.5)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    grads = jax.grad(lambda x: losses.value(x, old, target, 0.5).sum())(predicted)
    np.testing.assert_allclose(grads, [-0.8, 0.0, 0.9, -1.7], rtol=1e-6)
