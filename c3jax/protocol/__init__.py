"""The protocol: a checked graph of roles, and what each role reads."""

from c3jax.protocol.graph import Protocol as Protocol
from c3jax.protocol.graph import team as team
