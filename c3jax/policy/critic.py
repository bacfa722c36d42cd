"""A critic: a decoder that reads what policies read, and says one number of it.

A head is a row of weights for the hidden state of one token. Beside its heads a critic
has the parameters of a decoder without the output table, so what runs policies over
contexts runs a critic over them.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from c3jax.policy import decoder

# What a critic never reads of a policy that it starts from: it has no output, and
# learns as a whole.
_LEFT = ("unembed", "adapters")


def over_params(
    fn: Callable[[decoder.Param], object], s: decoder.Shape, heads: tuple[str, ...]
) -> dict:
    """The tree of `fn(param)` of a critic; see `decoder.over_params`.

    Args:
        fn: of one parameter's shape, logical axes and initial deviation.
        s: sizes of the decoder.
        heads: names of what it guesses.
    """
    # Too small to be spread: every device holds a head whole.
    head = decoder.Param((s.width,), (None,), 0.0)
    return _headed(decoder.over_params(fn, s), {name: fn(head) for name in heads})


def begin(params: dict, s: decoder.Shape, heads: tuple[str, ...]) -> dict:
    """A critic that reads as a policy does and guesses 0 of everything.

    Args:
        params: of the policy, which stays what it is: the critic's are copies.
        s: its sizes.
        heads: names of what is to be guessed.

    Returns:
        float32 parameters.
    """
    copies = jax.tree.map(lambda x: jnp.array(x, jnp.float32, copy=True), params)
    blank = {name: jnp.zeros(s.width, jnp.float32) for name in heads}
    return _headed(copies, blank)


def _headed(params: dict, heads: dict) -> dict:
    return {name: part for name, part in params.items() if name not in _LEFT} | heads


def guess(params: dict, head: str, hidden: jax.Array) -> jax.Array:
    """What a head says at each token: [.., width] hidden states to [..] float32."""
    return hidden.astype(jnp.float32) @ params[head]
