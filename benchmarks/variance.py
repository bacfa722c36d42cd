"""How noisy each estimator's gradient is, on teams that can be enumerated.

    python -m benchmarks.variance [--questions 32] [--batches 600] [--json=FILE]

Small teams with random policies and rewards (`tests/tabular.py`), whose exact gradient
is a sum over all outcomes. Every estimator scores 8 answers a question, in batches of
`--questions`; one that remembers has seen 20 batches before. Shown are means over teams
of each kind: the mean squared error of the gradient of one question, summed over
coordinates, of all roles and of each, with its 95% interval over batches; the ratio to
`c3_shrunk` on trees of the same branching, with a paired interval; messages generated;
and the variance times messages, which counts where generation is what costs. "auto" is
`c3_shrunk` on the tree that `credit.plan.best` asks for, with a cost of one an answer
or one a message.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bench
from c3jax.core.types import Evidence
from c3jax.credit import api, baselines, branchings, plan
from tests import tabular

# Per team, how much each role's message matters by itself.
TEAMS = {
    2: {"both": (1, 1), "first": (2, 0.5), "last": (0.5, 2)},
    3: {"all": (1, 1, 1), "first": (2, 0.7, 0.5), "last": (0.5, 0.7, 2)},
}
SPANS = {2: tabular.CHAIN2, 3: tabular.CHAIN3}
AUTO = {"auto, by answers": (None, 1.0), "auto, by messages": (1.0, 0.0)}
SIDES = {
    2: [
        *((name, tree) for tree in ((4, 2), (2, 4)) for name in ("c3", "c3_shrunk")),
        *((name, (8, 1)) for name in ("rloo", "magrpo", "c3_shrunk")),
        ("vine", ((2, 4), (2, 1))),
        *((name, None) for name in AUTO),
    ],
    3: [
        *((name, (2, 2, 2)) for name in ("c3", "c3_shrunk")),
        ("c3_shrunk", (4, 2, 1)),
        *((name, (8, 1, 1)) for name in ("rloo", "magrpo", "c3_shrunk")),
        ("vine", ((2, 2, 4), (1, 1, 1))),
        *((name, None) for name in AUTO),
    ],
}
EARLIER = 20


def remembered(estimator, team, branching):
    """What the estimator knows after some batches."""
    memory = estimator.memory(team.ancestors)
    if not jax.tree.leaves(memory):
        return memory
    _, reward = tabular.sample(team, branching, EARLIER, np.random.default_rng(1))
    for some in reward:
        _, memory = estimator.fn(Evidence(some, team.ancestors), memory)
    return memory


def by_tree(name, branching, team, batches):
    """Per role, gradients [batches, *shape of its logits] from trees."""
    estimator = api.ESTIMATORS[name]
    memory = remembered(estimator, team, branching)

    def fn(reward):
        return estimator.fn(Evidence(reward, team.ancestors), memory)[0]

    said, reward = tabular.sample(team, branching, batches, np.random.default_rng(2))
    found = jax.jit(jax.vmap(fn))(jnp.asarray(reward))
    # MAGRPO's mean includes the message, which shortens the gradient; undo it.
    scale = branching[0] / (branching[0] - 1) if name == "magrpo" else 1.0
    advantages = (np.asarray(each, np.float64) * scale for each in found)
    return tabular.slopes(team, said, advantages)


def by_comb(team, alternatives, continuations, batches):
    """The same from a vine along base episodes."""
    said, rewards = tabular.comb(
        team, alternatives, continuations, batches, np.random.default_rng(2)
    )
    found = []
    for level, reward in enumerate(rewards):
        value = reward.reshape(-1, *reward.shape[2:]).mean(-1)[:, None]
        advantage = baselines.loo_advantage(value)
        found.append(tabular.grads(team, level, said[level], advantage))
    return tuple(found)


def chosen(team, token, answer, budget=8):
    """The branching that the spread of some earlier trees asks for."""
    roles = len(team.ancestors)
    tree = branchings.default_branching(roles, budget)
    _, reward = tabular.sample(team, tree, EARLIER, np.random.default_rng(3))
    spread = plan.variance_components(
        Evidence(reward.reshape(-1, *tree), team.ancestors)
    )
    tokens = token and (token,) * roles
    return plan.best(
        spread, team.ancestors, budget, tokens=tokens, answer=answer, blend=True
    )


def messages(name, branching, team):
    """How many are generated for one question."""
    roles = len(team.ancestors)
    if name != "vine":
        return plan.cost(branching, team.ancestors, (1.0,) * roles, 0.0)
    later = range(roles - 1, -1, -1)
    tails = sum(k * m * n for k, m, n in zip(*branching, later, strict=True))
    return roles - 1 + sum(branching[0]) + tails


def measured(name, branching, team, batches):
    """Per batch and role the squared error of the gradient; messages; the branching."""
    if name in AUTO:
        name, branching = "c3_shrunk", chosen(team, *AUTO[name])
    if name == "vine":
        found = by_comb(team, *branching, batches)
    else:
        found = by_tree(name, branching, team, batches)
    error = [
        ((each - grads) ** 2).reshape(batches, -1).sum(1) / len(team.reward)
        for each, grads in zip(found, team.gradient(), strict=True)
    ]
    return np.stack(error, 1), messages(name, branching, team), branching


def half(values):
    """Half the width of a 95% interval of the mean."""
    return 1.96 * values.std(ddof=1) / np.sqrt(len(values))


def rows(roles, args):
    """The table of teams with so many roles."""
    teams = {
        label: [
            tabular.team(
                SPANS[roles],
                questions=args.questions,
                weight=weight,
                seed=seed,
                binary=args.binary,
            )
            for seed in range(args.seeds)
        ]
        for label, weight in TEAMS[roles].items()
    }
    for label, some in teams.items():
        found = {}
        for side in SIDES[roles]:
            error, made, trees = zip(
                *(measured(*side, team, args.batches) for team in some), strict=True
            )
            found[side] = np.mean(error, 0), np.mean(made), sorted(set(trees))
        for (name, tree), (error, made, trees) in found.items():
            total = error.sum(1)
            line = {
                "matters": label,
                "side": name,
                "branching": " ".join(map(str, trees)),
                "variance": float(total.mean()),
                "±": float(half(total)),
            }
            for level in range(roles):
                line[f"role {level}"] = float(error[:, level].mean())
            line["/ c3_shrunk"] = "-"
            if name not in ("c3_shrunk", *AUTO) and ("c3_shrunk", tree) in found:
                other = found["c3_shrunk", tree][0].sum(1)
                ratio = total.mean() / other.mean()
                # The interval of a ratio of means, to first order.
                error = half((total - ratio * other) / other.mean())
                line["/ c3_shrunk"] = f"{ratio:.3f} ± {error:.3f}"
            line["messages"] = float(made)
            line["variance * messages"] = float(total.mean() * made)
            yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--questions", type=int, default=32, help="in a batch")
    parser.add_argument("--batches", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3, help="teams of each kind")
    parser.add_argument("--binary", action="store_true", help="rewards of 0 and 1")
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    args = parser.parse_args()
    for roles in SIDES:
        bench.finish(
            args, f"variance, {roles} roles", list(rows(roles, args)), roles=roles
        )


if __name__ == "__main__":
    main()
