"""The policy: a decoder without mutable state, and attention over KV segments."""

from c3jax.policy.decoder import Shape as Shape
from c3jax.policy.decoder import forward as forward
from c3jax.policy.decoder import init as init
from c3jax.policy.pretrained import Policy as Policy
from c3jax.policy.pretrained import load as load
