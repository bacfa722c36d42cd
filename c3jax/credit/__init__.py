"""Credit: one pure function per estimator, and the table that names them."""

from c3jax.credit import plan as plan
from c3jax.credit.actor_critic import gae as gae
from c3jax.credit.actor_critic import mappo as mappo
from c3jax.credit.api import ESTIMATORS as ESTIMATORS
from c3jax.credit.baselines import c3 as c3
from c3jax.credit.baselines import c3_full_mean as c3_full_mean
from c3jax.credit.baselines import c3_no_replay as c3_no_replay
from c3jax.credit.baselines import c3_value_assisted as c3_value_assisted
from c3jax.credit.baselines import c3_value_only as c3_value_only
from c3jax.credit.baselines import c3_vine as c3_vine
from c3jax.credit.baselines import loo_advantage as loo_advantage
from c3jax.credit.baselines import magrpo as magrpo
from c3jax.credit.baselines import mean_advantage as mean_advantage
from c3jax.credit.baselines import rloo as rloo
from c3jax.credit.baselines import tree_value as tree_value
from c3jax.credit.dyad import ccpo as ccpo
from c3jax.credit.dyad import ccpo_v1 as ccpo_v1
from c3jax.credit.dyad import sepo as sepo
from c3jax.credit.removal import agent_removal as agent_removal
from c3jax.credit.removal import ccpo_vote as ccpo_vote
from c3jax.credit.removal import majority as majority
from c3jax.credit.shrunk import c3_shrunk as c3_shrunk
