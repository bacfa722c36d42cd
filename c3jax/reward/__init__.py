"""Terminal rewards: a text and a gold answer to a number in [0, 1]."""

from c3jax.reward import code as code
from c3jax.reward import math as math
