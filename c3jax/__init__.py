"""c3jax: multi-agent reinforcement learning of language models with exact credit."""

from c3jax import credit as credit

__version__ = "0.1.0"
