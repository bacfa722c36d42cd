"""Logs that nobody's agents wrote."""

import numpy as np

from c3jax.audit.buckets import Bucket, Candidate


def contexts(
    count=40,
    role="writer",
    noise=(("good", 0.1), ("poor", 1.0)),
    returns=8,
    extra=8,
    heard=0.8,
    seed=0,
):
    """Contexts with 4 candidates, whose credit is what they are worth and noise.

    Args:
        count: contexts.
        role: whose they are.
        noise: of each method's credit.
        returns: of each candidate.
        extra: samples from each context.
        heard: how often a reply is the candidate's own, and not any of 4.
        seed: of everything.
    """
    rng, found = np.random.default_rng(seed), []
    for number in range(count):
        worth = rng.normal(size=4)
        said = []
        for j in range(4):
            own = np.where(rng.random(returns) < heard, j, rng.integers(0, 4, returns))
            said.append(
                Candidate(
                    returns=tuple(worth[j] + rng.normal(size=returns)),
                    text=f"message {j}",
                    credit={n: worth[j] + s * rng.normal() for n, s in noise},
                    replies=tuple(f"reply {n}" for n in own),
                )
            )
        more = tuple(rng.normal(size=extra) * 1.4)
        found.append(Bucket(tuple(said), more, role, id=f"{role}/{number}"))
    return found
