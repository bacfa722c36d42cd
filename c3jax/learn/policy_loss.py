"""The loss of a batch: the policy gradient, with KL and entropy if asked for."""

import chex
import jax
import jax.numpy as jnp
from flax import struct

from c3jax.collect import batching
from c3jax.credit import baselines, losses
from c3jax.rollout import tree
from c3jax.setup.objectives import PLAIN, Objective


@struct.dataclass
class LossScale:
    """Quantities of the whole batch that the loss of a microbatch needs.

    Attributes:
        counts: per `credited_roles`, the denominators of its means (`losses.units`);
            None if the microbatch is all there is.
        kl: scalar, the KL's weight, where it is adapted; None for the objective's.
    """

    counts: tuple[jax.Array, ...] | None = None
    kl: jax.Array | None = None


UNSCALED = LossScale()


def credit(
    objective: Objective,
    batch: batching.Batch,
    each: batching.CreditedRole,
    weight: float | jax.Array,
) -> jax.Array:
    """The advantages of one role's messages in one tree, as the loss takes them.

    Where the KL is a part of the reward, a message pays for its own: with D_k the sum
    of the estimate over its tokens, under the policy that sampled it,

        A_k - weight (D_k - mean_{j != k} D_j),

    the mean over its siblings, or, if it has none, over its role's other messages for
    the question. With k1 the gradient is that of the divergence; with k3 it lacks a
    part. The weight means what it means in the loss, under the mean over tokens.

    Args:
        objective: the KL's options and `truncated` are read.
        each: the role, and its tree.
        weight: the KL's.

    Returns:
        [B, N, K] float32.
    """
    turn, advantage = each.turn(batch.trees), each.of(batch.advantage)
    if objective.truncated == "zero":
        advantage = jnp.where(turn.ended, advantage, 0)
    if not objective.kl or objective.kl_in != "reward":
        return advantage

    # The divergence of each message, then against its siblings.
    estimate = losses.KL[objective.kl_estimator]
    divergence = estimate(turn.logp, each.of(batch.ref_logp))
    divergence = jnp.where(turn.mask, divergence, 0).sum(-1)
    if divergence.shape[-1] < 2:
        divergence = divergence.reshape(divergence.shape[0], 1, -1)
    if divergence.shape[-1] > 1:
        divergence = baselines.loo_advantage(divergence)
    return advantage - weight * divergence.reshape(advantage.shape)


def loss(
    params: dict,
    objective: Objective,
    batch: batching.Batch,
    whole: LossScale = UNSCALED,
) -> tuple[jax.Array, dict]:
    """The policy-gradient loss of learners' messages, with KL and entropy if asked for.

    Each context is computed once, inside the differentiated function, so the gradient
    is that of the repeated-prompt computation.

    Args:
        objective: ratio, means, KL and entropy.
        whole: of the batch that they are a microbatch of.

    Returns:
        The scalar loss and statistics, each of them the same mean, apart from
        `logp_gap`, the largest difference to sampling in nats, and `messages_out`, how
        many messages teach nothing as they were cut or their question is flat.
    """
    learned = batching.credited_roles(objective, batch.trees)
    chex.assert_rank([role.of(batch.advantage) for role in learned], 3)
    chex.assert_rank([role.turn(batch.trees).tokens for role in learned], 4)

    # Log-probabilities then and now, and the credit for them.
    masks = batching.counted(objective, batch)
    old = tuple(role.turn(batch.trees).logp for role in learned)
    new, entropy = _scores(params, objective, batch, learned)
    weight = objective.kl if whole.kl is None else whole.kl
    advantage = [credit(objective, batch, role, weight)[..., None] for role in learned]

    def mean(values):
        return losses.mean(tuple(values), masks, objective.mean, whole.counts)

    # The surrogate.
    stats = {}
    if objective.ratio == PLAIN:
        policy = map(losses.reinforce, new, advantage)
    else:
        low, high = objective.trusted
        ratios = [*map(losses.RATIOS[objective.ratio].fn, new, old, masks)]
        policy = [
            losses.clipped(ratio, a, low, high, objective.dual_clip)
            for ratio, a in zip(ratios, advantage, strict=True)
        ]
        stats["clip_frac"] = mean((r < 1 - low) | (r > 1 + high) for r in ratios)
    stats["policy_loss"] = total = mean(policy)
    gaps = [abs(n - o).max() for n, o in zip(new, old, strict=True)]
    stats["logp_gap"] = jnp.max(jnp.array(gaps))

    # Regularisers.
    if objective.kl:
        starting = [role.of(batch.ref_logp) for role in learned]
        stats["kl"] = mean(map(losses.KL[objective.kl_estimator], new, starting))
        if objective.kl_in == "loss":
            total = total + weight * stats["kl"]
    if objective.entropy is not None:
        stats["entropy"] = mean(entropy)
        total = total - objective.entropy * stats["entropy"]
    if objective.filters:
        stats["messages_out"] = _out(objective, batch, learned)
    return total, {**stats, "loss": total}


def _scores(params, objective, batch, learned):
    """Log-probabilities of learners' messages, and entropies if they are asked for."""

    def score(fn, role):
        sampled = batch.trees[role.tree]
        return fn(params, sampled.team, role.level, batch.questions, sampled.turns)

    if objective.entropy is None:
        return tuple(score(tree.logp, role) for role in learned), None
    pairs = [score(tree.logp_and_entropy, role) for role in learned]
    return tuple(zip(*pairs, strict=True))


def _out(objective, batch, learned) -> jax.Array:
    """How many messages of learners have credit that is not used."""
    total = jnp.int32(0)
    for role in learned:
        turn = role.turn(batch.trees)
        out = jnp.zeros_like(turn.ended)
        if objective.truncated != "keep":
            out |= ~turn.ended
        if batch.counted is not None:
            out |= ~batch.counted[:, None, None]
        total += (out & (turn.length > 0)).sum()
    return total
