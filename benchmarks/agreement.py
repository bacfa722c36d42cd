"""Whether a peer computes what c3jax computes, before it is timed."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bench, peers
from c3jax.policy import decoder

TOLERANCE = 1e-3


def gaps(name: str, peer: peers.Peer) -> dict[str, float]:
    """How far a peer's numbers are from c3jax's, on random messages.

    Returns:
        logp_gap: the largest difference of log-probabilities, nats.
        gradient_gap: norm of the difference of gradients over that of c3jax's; absent
            where the peer shows none.

    Raises:
        ValueError: it has another number of parameters, or, in float32, a gap is not
            below `TOLERANCE`; its time would mean nothing.
    """
    case = peer.case
    wanted = sum(x.size for x in jax.tree.leaves(case.params))
    if peer.parameters != wanted:
        raise ValueError(
            f"{name} has {peer.parameters:,} parameters for this model where c3jax has "
            f"{wanted:,}; the two would not do the same work."
        )
    rng, size = np.random.default_rng(1), (peer.micro, case.completion)
    tokens = rng.integers(0, case.shape.vocab, size, np.int32)
    advantage = rng.standard_normal(peer.micro).astype(np.float32)
    fixed = (case.shape, case.sampling.temperature)
    rows = (case.prompts[: peer.micro], tokens)
    logp = np.asarray(_logp(case.params, *fixed, *rows))
    found = {"logp_gap": float(np.abs(peer.score(tokens) - logp).max())}
    theirs = peer.gradient(tokens, advantage)
    if theirs is not None:
        ours = _gradient(case.params, *fixed, peer.learned, *rows, advantage)
        found["gradient_gap"] = float(bench.difference(theirs, ours))
    off = {key: gap for key, gap in found.items() if not gap < TOLERANCE}
    if case.shape.dtype == "float32" and off:
        raise ValueError(
            f"{name} differs from c3jax with the same weights by {off}; the two would "
            "not do the same work. Gaps of log-probabilities are in nats, of the "
            "gradient relative."
        )
    return found


@functools.partial(jax.jit, static_argnums=(1, 2))
def _logp(params, shape, temperature, prompts, tokens):
    """[n, C], every row read as one block, by nothing but the decoder."""

    def one(row):
        prompt, message = row
        ids = jnp.concatenate([prompt, message])
        hidden, _ = decoder.forward(params, shape, ids[:-1])
        scores = decoder.logits(params, shape, hidden[-message.shape[0] :])
        logp = jax.nn.log_softmax(scores / temperature)
        return jnp.take_along_axis(logp, message[:, None], -1)[:, 0]

    return jax.lax.map(one, (prompts, tokens))


@functools.partial(jax.jit, static_argnums=(1, 2, 3))
def _gradient(params, shape, temperature, learned, prompts, tokens, advantage):
    """Of the negative mean of advantage times log-probability."""

    def loss(params):
        logp = _logp(params, shape, temperature, prompts, tokens)[:, :learned]
        return -(advantage[:, None] * logp).mean()

    return jax.grad(loss)(params)
