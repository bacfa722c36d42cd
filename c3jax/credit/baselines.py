"""Credit from rewards alone: a message against its siblings, or an episode against all.

Every function takes NumPy or JAX arrays, works under jit, vmap and grad, and is called
with the same arguments by training, audit and notebooks.
"""

import chex
import jax

from c3jax.core.types import Evidence
from c3jax.credit import arrays

EPS = 1e-6


def loo_advantage(value: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """Scores each alternative against the mean of its siblings.

    For alternatives 1..K sampled from one frozen context, with weights c_j (all equal
    unless given, say the number of continuations behind each value),

        A_k = v_k - (sum_j c_j v_j - c_k v_k) / (sum_j c_j - c_k).

    Source: C3, arXiv:2603.06859, leave-one-out baseline.

    Args:
        value: [.., K] float, mean leaf reward below each alternative.
        weight: [.., K] float >= 0 or None. An alternative whose siblings weigh nothing
            has no baseline and gets advantage 0.

    Returns:
        [.., K] float in reward units; with equal weights it sums to zero over K.

    Raises:
        ValueError: K < 2, since an only child has no baseline, or weight and value
            differ in shape.
    """
    xp, value = arrays.as_float(value)
    if value.ndim == 0 or value.shape[-1] < 2:
        raise ValueError(
            f"value needs K >= 2 siblings on its last axis, got {value.shape}."
        )
    if weight is None:
        siblings = value.sum(-1, keepdims=True) - value
        return value - siblings / (value.shape[-1] - 1)
    _, weight = arrays.as_float(weight)
    if weight.shape != value.shape:
        raise ValueError(
            f"weight needs the shape of value {value.shape}, got {weight.shape}."
        )

    # Others are summed one by one: total - own would leave rounding where nothing is.
    others = 1.0 - xp.eye(value.shape[-1], dtype=value.dtype)
    mass = weight @ others
    baseline = (weight * value) @ others / xp.where(mass > 0, mass, 1)
    return xp.where(mass > 0, value - baseline, 0)


def mean_advantage(value: jax.Array) -> jax.Array:
    """Scores each alternative against the mean of all, itself included.

        A_k = v_k - mean_j v_j,

    which is (K - 1) / K times `loo_advantage`. Source: the full-mean ablation of C3,
    arXiv:2603.06859; over episodes, MAGRPO.

    Args:
        value: [.., K] float.

    Returns:
        [.., K] float in reward units; sums to zero over K.
    """
    _, value = arrays.as_float(value)
    chex.assert_shape(value, (..., None))
    return value - value.mean(-1, keepdims=True)


def standardise(advantage: jax.Array) -> jax.Array:
    """Divides each group by the root mean square of its centred advantages.

    A group whose rewards are all equal stays at zero. With K = 2 this leaves +-1
    whatever the margin was, which is why it is an option and not the default.

    Args:
        advantage: [.., K] float.

    Returns:
        [.., K] float without unit.
    """
    _, advantage = arrays.as_float(advantage)
    chex.assert_shape(advantage, (..., None))
    return advantage / (advantage.std(-1, keepdims=True) + EPS)


def whiten(*advantages: jax.Array) -> tuple[jax.Array, ...]:
    """Centres and scales advantages by the mean and deviation over all of them.

    Args:
        advantages: arrays of any shape, every entry of every one counting once.

    Returns:
        The same arrays without unit; all zero where all were equal.
    """
    xp, _ = arrays.as_float(advantages[0])
    joined = xp.concatenate([xp.ravel(advantage) for advantage in advantages])
    centre, scale = joined.mean(), joined.std() + EPS
    return tuple((advantage - centre) / scale for advantage in advantages)


def tree_value(reward: jax.Array, ancestors: tuple[int, ...], level: int) -> jax.Array:
    """Mean leaf reward below every message of one role.

    Args:
        reward: [B, k_1, .., k_R] float, leaf rewards.
        ancestors: tree axes of the role's contexts, ascending.
        level: the role's own tree axis.

    Returns:
        [B, N, K] float: fixed-continuation replay value of each message.
    """
    _, reward = arrays.as_float(reward)
    # Every role has its axis, and stands after the roles that it reads.
    chex.assert_axis_dimension_gt(reward, 1 + level, 0)
    above = {axis for axis in ancestors if axis < level}
    chex.assert_equal(tuple(ancestors), tuple(sorted(above)))
    kept = (*ancestors, level)
    below = tuple(1 + axis for axis in range(reward.ndim - 1) if axis not in kept)
    value = reward.mean(below)
    # The axes left are ascending, so K is last.
    return value.reshape(value.shape[0], -1, value.shape[-1])


def c3(evidence: Evidence, *, std: bool = False) -> tuple[jax.Array, ...]:
    """Leave-one-out over true siblings at every level of the tree.

    Source: C3, arXiv:2603.06859, reward-only form. The multi-turn trees of CoMLRL
    (github.com/OpenMLRL/CoMLRL, 2025) have the same estimator for joint actions of all
    agents. Returns [B, N, K] a role.
    """
    return _by_level(evidence, loo_advantage, std)


def c3_full_mean(evidence: Evidence, *, std: bool = False) -> tuple[jax.Array, ...]:
    """The ablation of C3 whose baseline includes the message itself."""
    return _by_level(evidence, mean_advantage, std)


def c3_no_replay(evidence: Evidence, *, std: bool = False) -> tuple[jax.Array, ...]:
    """The ablation of C3 that compares a role's messages whatever their contexts.

    Leave-one-out over all N * K messages of a role in a question. With one alternative
    a context, as its branching (B, 1, .., 1) has it, this is `rloo`.

    Source: the no-replay ablation of C3, arXiv:2603.06859. Returns [B, N, K] a role.
    """
    advantages = []
    for level, ancestors in enumerate(evidence.ancestors):
        value = tree_value(evidence.reward, ancestors, level)
        # One group a question: all messages of the role, across contexts.
        advantage = loo_advantage(value.reshape(value.shape[0], -1))
        advantage = standardise(advantage) if std else advantage
        advantages.append(advantage.reshape(value.shape))
    return tuple(advantages)


def c3_value_only(evidence: Evidence, *, std: bool = False) -> tuple[jax.Array, ...]:
    """Leave-one-out over a critic's values of siblings; no reward is read.

    A_k = q_k - mean_{j != k} q_j. Source: an option of C3's reference code, v0.1.0.
    Needs `q`. Returns [B, N, K] a role.
    """
    (predicted,) = arrays.given(evidence, "q")
    advantages = tuple(loo_advantage(q) for q in predicted)
    return tuple(map(standardise, advantages)) if std else advantages


def c3_value_assisted(
    evidence: Evidence, *, alpha: float = 1.0, std: bool = False
) -> tuple[jax.Array, ...]:
    """Leave-one-out over siblings with a baseline that is partly a critic's.

        A_k = v_k - (1 - alpha) mean_{j != k} v_j - alpha mean_{j != k} q_j.

    At alpha = 0 it is `c3`. Unbiased for any critic that was not fitted to these very
    trees, since no baseline depends on the message it is subtracted from.

    Source: the shipped option of C3's reference code, v0.1.0. Needs `q`.

    Args:
        evidence: rewards, and the critic's values of messages.
        alpha: the critic's share of the baseline.
        std: whether each group is divided by its deviation.

    Returns:
        [B, N, K] a role, in reward units.
    """
    (predicted,) = arrays.given(evidence, "q")
    advantages, roles = [], zip(evidence.ancestors, predicted, strict=True)
    for level, (ancestors, q) in enumerate(roles):
        value = tree_value(evidence.reward, ancestors, level)
        # The critic's mean over siblings is q less its own leave-one-out advantage.
        assisted = value - (q - loo_advantage(q))
        advantage = (1 - alpha) * loo_advantage(value) + alpha * assisted
        advantages.append(standardise(advantage) if std else advantage)
    return tuple(advantages)


def c3_vine(evidence: Evidence, *, std: bool = False) -> tuple[jax.Array, ...]:
    """C3 on one tree of a vine: at one decision K messages, continued M times each.

    With v_k the mean over the M continuations,

        A_k = v_k - mean_{j != k} v_j.

    A vine costs sum over roles of K * M evaluator calls; a nested tree scores prod k_r
    leaves for all roles at once. Roles with one message in each context have no
    baseline, and get 0. Returns [B, N, K] a role.

    Source: C3, arXiv:2603.06859, its general form; vines along one trajectory are those
    of TRPO, arXiv:1502.05477, section 5.2.
    """

    def baseline(value):
        return loo_advantage(value) if value.shape[-1] > 1 else 0 * value

    return _by_level(evidence, baseline, std)


def rloo(evidence: Evidence, *, std: bool = False) -> tuple[jax.Array, ...]:
    """Leave-one-out over independent episodes, the same for all their messages.

    Source: RLOO, arXiv:2402.14740, applied to a team.
    """
    return _by_episode(evidence, loo_advantage, std)


def magrpo(evidence: Evidence, *, std: bool = False) -> tuple[jax.Array, ...]:
    """Group mean over independent episodes, the same for all their messages.

    Source: MAGRPO, arXiv:2508.04652.
    """
    return _by_episode(evidence, mean_advantage, std)


def _by_level(evidence, baseline, std):
    """The advantage of each message in its own context, role by role."""
    advantages = []
    for level, ancestors in enumerate(evidence.ancestors):
        advantage = baseline(tree_value(evidence.reward, ancestors, level))
        advantages.append(standardise(advantage) if std else advantage)
    return tuple(advantages)


def _by_episode(evidence, baseline, std):
    """The advantage of each episode in its question, handed to all of its messages."""
    reward = evidence.reward
    advantage = baseline(reward.reshape(reward.shape[0], -1))
    if std:
        advantage = standardise(advantage)
    advantage = advantage.reshape(reward.shape)
    return tuple(
        tree_value(advantage, ancestors, level)
        for level, ancestors in enumerate(evidence.ancestors)
    )
