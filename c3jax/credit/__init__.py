"""Credit: one pure function per estimator, and the table that names them."""

from c3jax.credit.api import ESTIMATORS as ESTIMATORS
from c3jax.credit.baselines import c3 as c3
from c3jax.credit.baselines import loo_advantage as loo_advantage
from c3jax.credit.baselines import magrpo as magrpo
from c3jax.credit.baselines import mean_advantage as mean_advantage
from c3jax.credit.baselines import rloo as rloo
from c3jax.credit.baselines import tree_value as tree_value
