"""A finished comparison that nobody ran, and trees that nobody grew."""

import math

import numpy as np

LABELS = ("c3", "ccpo", "magrpo")


def record(label, seed, *, speed=1.0, cost=8, last=12, crossed=True):
    """A run that evaluates every fourth step and where it crosses 60 calls."""
    budget = math.ceil(60 / cost)
    rng = np.random.default_rng([seed, *label.encode()])

    def at(step):
        value = (
            0.9 - 0.5 * math.exp(-speed * step / 6) + rng.normal(0, 0.01) * (step > 0)
        )
        found = {"step": step, "evaluator_calls": cost * step}
        found |= {"generated_tokens": 100 * step + 3 * seed, "seconds": 2.0 * step}
        for name, figure in (("pass_at_1", value), ("greedy", value + 0.05)):
            found |= {name: figure, f"{name}_low": figure - 0.02}
            found |= {f"{name}_high": figure + 0.02}
        return found

    steps = sorted({*range(0, last + 1, 4), budget, last})
    place = {"step": budget} if crossed else {"step": None}
    return {
        "cell": f"{label}-{seed}",
        "label": label,
        "seed": seed,
        "versions": {"c3jax": "0", "jax": "0"},
        "device": "cpu",
        "warm_start_nll": 1.25,
        "budgets": {"evaluator_calls": {"amount": 60, **place}},
        "seconds_by_phase": {"rollout": 30.0, "update": 2.0},
        "evaluations": [at(step) for step in steps],
        "config": {"protocol": {"name": "duo"}, "evaluate": {"questions": 512}},
    }


def records(seeds=3):
    """Runs of every label; those of "ccpo" cost twice as much, "c3" learns faster."""
    found = {}
    for seed in range(seeds):
        for label in LABELS:
            speed, cost = 1 + (label == "c3"), 16 if label == "ccpo" else 8
            run = record(label, seed, speed=speed, cost=cost)
            found[run["cell"]] = run
    return found


def config(seeds=3):
    """The page of that comparison."""
    return {
        "name": "made_up",
        "methods": {label: {"credit": {"name": label}} for label in LABELS},
        "reference": "magrpo",
        "seeds": list(range(seeds)),
        "budgets": {"evaluator_calls": 60, "generated_tokens": None, "seconds": None},
    }


def message(text, value, advantage, ended=True):
    logp = [-0.5] * len(text.split())
    return {
        "text": text,
        "value": value,
        "advantage": advantage,
        "ended": ended,
        "tokens": [7] * len(logp),
        "logp": logp,
        "margin": [0.25] * len(logp),
    }


def said(role, over, messages):
    return {"role": role, "over": over, "head": [1], "messages": messages}


DUO = [
    said("reasoner", [], [[message("plan a", 0.5, 0.5), message("plan b", 0.0, -0.5)]]),
    said(
        "actor",
        ["reasoner"],
        [
            [message("a says 7", 1.0, 1.0), message("a says 8", 0.0, -1.0)],
            [message("b says 1", 0.0, 0.0), message("b says 2", 0.0, 0.0)],
        ],
    ),
]


def saved_tree(step, roles=DUO, reward=((1.0, 0.0), (0.0, 0.0)), **changes):
    """A line of a file of trees."""
    line = {"step": step, "seed": 0, "uid": 3, "question": "how many <b> ?"}
    return {**line, "answer": "7", "reward": reward, "roles": roles, **changes}
