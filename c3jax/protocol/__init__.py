"""The protocol: a checked graph of roles, and the contexts that they read."""

from c3jax.protocol.graph import Protocol as Protocol
from c3jax.protocol.graph import team as team
