"""c3jax: multi-agent reinforcement learning of language models with exact credit."""

from c3jax import credit as credit
from c3jax.modes import run as run

__version__ = "0.1.0"
