"""A critic: a decoder that reads the contexts of policies and predicts their value.

A head is a row of weights for the hidden state of one token. Beside its heads a critic
has the parameters of a decoder without the output table, so the code that reads
contexts with a policy reads them with a critic.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from c3jax.policy import decoder

# Parameters of a policy that a critic does not start from: it has no output table, and
# all of it is trained.
_LEFT = ("unembed", "adapters")


def over_params(
    fn: Callable[[decoder.Param], object], s: decoder.Shape, heads: tuple[str, ...]
) -> dict:
    """The tree of `fn(param)` for a critic; see `decoder.over_params`.

    Args:
        fn: a function of one parameter's shape, logical axes and initial deviation.
        heads: names of the values that it predicts.
    """
    # Too small to be spread: every device holds a head whole.
    head = decoder.Param((s.width,), (None,), 0.0)
    return _headed(decoder.over_params(fn, s), {name: fn(head) for name in heads})


def begin(params: dict, s: decoder.Shape, heads: tuple[str, ...]) -> dict:
    """A critic that reads as a policy does and predicts 0 everywhere.

    Args:
        params: the policy's, which the critic's are copied from.
        heads: names of the values to predict.

    Returns:
        float32 parameters.
    """
    copies = jax.tree.map(lambda x: jnp.array(x, jnp.float32, copy=True), params)
    blank = {name: jnp.zeros(s.width, jnp.float32) for name in heads}
    return _headed(copies, blank)


def _headed(params: dict, heads: dict) -> dict:
    return {name: part for name, part in params.items() if name not in _LEFT} | heads


def predict(params: dict, head: str, hidden: jax.Array) -> jax.Array:
    """A head's value at each token: [.., width] hidden states to [..] float32."""
    return hidden.astype(jnp.float32) @ params[head]
