"""The comb: alternatives along one base episode, instead of a tree over all of them."""

import jax

from c3jax.credit import baselines


def comb(reward: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    """Leave-one-out over the alternatives at each decision of one base episode.

    At the context that the base episode reached, K messages are sampled and each is
    continued M times; with v_k the mean over the M,

        A_k = v_k - mean_{j != k} v_j.

    The K messages are independent of the base episode's own at that decision, which
    only leads to the next context. It costs sum over roles of K * M evaluator calls,
    where a nested tree scores prod k_r leaves for all roles at once.

    Source: C3, arXiv:2603.06859, its general form.

    Args:
        reward: per role, [B, K, M] float; K and M may differ between roles.

    Returns:
        Per role, [B, 1, K] float in reward units: N = 1 context a question.

    Raises:
        ValueError: K < 2.
    """
    return tuple(baselines.loo_advantage(each.mean(-1))[:, None] for each in reward)
