"""Compares methods from one starting policy at equal cost.

    python -m c3jax.main --config=compare --workdir=runs/compare
    python -m c3jax.main --config=compare:trio
    python -m c3jax.main --config=compare:smollm2
    python -m c3jax.main --config=compare --config.seeds="(0,1,2)"

Every run trains until it has spent the last of the budgets, and is evaluated where it
crossed each. A run needs and takes as much as one of configs/math.py. Scores are in
docs/results.md.
"""

import ml_collections

from c3jax.configs import math
from c3jax.setup import defaults

C3 = dict(credit=dict(name="c3"))
SHRUNK = dict(credit=dict(name="c3_shrunk"), protocol=dict(branching="auto"))
MAGRPO = dict(credit=dict(name="magrpo"))
SOLO = dict(protocol=dict(name="solo"), credit=dict(name="rloo"))
# The team of a page of configs/math.py, the methods compared on it, their seeds, and
# the budgets of each run.
GRIDS = {
    "duo": dict(
        methods=dict(
            c3=C3,
            c3_shrunk=SHRUNK,
            magrpo=MAGRPO,
            mappo=dict(credit=dict(name="mappo")),
            ccpo=dict(credit=dict(name="ccpo")),
        ),
        seeds=(0, 1, 2, 3, 4),
    ),
    "trio": dict(
        team="trio",
        methods=dict(c3=C3, c3_shrunk=SHRUNK, magrpo=MAGRPO),
        seeds=(0, 1, 2),
    ),
    # A published model; solo is its Actor alone.
    "smollm2": dict(
        model="smollm2",
        methods=dict(c3=C3, magrpo=MAGRPO, solo=SOLO),
        seeds=(0, 1, 2),
        budgets=dict(generated_tokens=20_000),
    ),
}
# The cost of 240 steps of C3 on the embedded duo.
EMBEDDED = dict(evaluator_calls=46_080, generated_tokens=560_000)


def get_config(arg: str | None = None) -> ml_collections.ConfigDict:
    """The comparison; `arg`, after the file's name and a colon, picks the grid."""
    name = arg or "duo"
    if name not in GRIDS:
        raise ValueError(
            f"configs/compare.py:{name} is not known; pick one of {sorted(GRIDS)}."
        )
    grid = GRIDS[name]
    c = defaults.comparison()
    c.name = "compare" if name == "duo" else f"compare_{name}"

    # The base of all runs; any field of it is a flag, --config.base.KEY=VALUE.
    c.base = math.get_config(grid.get("model"))
    with c.base.unlocked():
        c.base.protocol.name = grid.get("team", "duo")
        c.base.warm_start.seed = 0  # one policy, whatever the run's seed
        # More than any method needs to cross its budgets.
        c.base.train.steps = 600
        # A schedule that ends elsewhere for each method would favour some of them.
        c.base.train.final_lr = 1.0

    c.methods = grid["methods"]  # label: changes to the base
    c.reference = "magrpo"
    c.seeds = grid["seeds"]
    c.budgets.update(grid.get("budgets", EMBEDDED))
    return c.lock()
