"""Rollout trees on disk: text and numbers for a reader, addresses for a replay."""

import json
import pathlib
from collections.abc import Callable, Iterable

import jax
import numpy as np

from c3jax.core import environment, files, hosts
from c3jax.core.types import Questions
from c3jax.credit import baselines
from c3jax.train import growth
from c3jax.train.setup import Setup


def save(
    workdir: pathlib.Path,
    setup: Setup,
    step: int,
    items: list,
    rollout: growth.Rollout,
    advantages: Iterable[growth.Advantage],
) -> None:
    """Writes some of a step's trees to `trees/<step>.jsonl`, one a line.

    A line holds the address (seed, step, uid) of every draw, each role's head, and
    for each message its ids, text, log-probabilities, margins, value and advantage,
    nested [N][K]: all that a replay needs beside the policy of that step. A role's N
    contexts are the alternatives of the roles it names as "over", row-major. Of a comb,
    every tooth of a question is a tree, with the role of its decision as "tooth"; the
    roles before it have the messages of the base episode. "computed" says in which
    shapes it was sampled, and where.

    Args:
        workdir: of the run.
        setup: of the run; `evaluate.trees` says how many questions.
        step: which step they were grown in, with the policy of that checkpoint.
        items: the questions, at least the first of them.
        rollout: of the step.
        advantages: of its groups.
    """
    if not setup.config.evaluate.trees:
        return
    questions, found = hosts.fetch(growth.joined(rollout))
    advantage = jax.tree.map(lambda *parts: np.concatenate(parts), *advantages)
    graded = growth.score(rollout)
    told = [
        _told(setup, questions, *tree)
        for tree in zip(found, advantage, graded, strict=True)
    ]
    computed = {
        "batch": rollout[0].questions.uid.shape[0],
        "heads": [head.shape[-1] for head in questions.heads],
        "rounding": environment.rounding(setup.mesh),
    }
    lines = [
        {
            "step": step,
            "seed": setup.config.seed,
            "uid": item.uid,
            "question": item.text,
            "answer": item.answer,
            "computed": computed,
            **tell(row),
        }
        for row, item in enumerate(items[: setup.config.evaluate.trees])
        for tell in told
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    hosts.by_first(_write, path(workdir, step), text)


def _told(setup: Setup, questions: Questions, tree, advantage, graded) -> Callable:
    """(question's row) -> what its line says of the tree, all of it on the host."""
    spans, roles = setup.team.protocol.spans, setup.team.protocol.roles
    turns, advantage = tree.turns, dict(zip(tree.credited, advantage, strict=True))
    texts = [
        np.array(setup.texts(turn, level), object).reshape(turn.length.shape)
        for level, turn in enumerate(turns)
    ]
    values = [
        baselines.tree_value(graded.reward, span, level)
        for level, span in enumerate(spans)
    ]

    def message(level, at):
        turn = turns[level]
        size = int(turn.length[at])
        return {
            "text": texts[level][at],
            "value": float(values[level][at]),
            "advantage": float(advantage[level][at]) if level in advantage else 0.0,
            "ended": bool(turn.ended[at]),
            "tokens": turn.tokens[at][:size].tolist(),
            "logp": turn.logp[at][:size].tolist(),
            "margin": turn.margin[at][:size].tolist(),
        }

    def said(level, row):
        _, n, k = turns[level].length.shape
        head = questions.heads[level][row, : questions.lengths[level][row]]
        return {
            "role": roles[level].name,
            "over": [roles[axis].name for axis in spans[level]],
            "head": head.tolist(),
            "messages": [
                [message(level, (row, i, j)) for j in range(k)] for i in range(n)
            ],
        }

    def line(row):
        tooth = {}
        if setup.team.protocol.continuations:
            (decides,) = tree.credited
            tooth = {"tooth": roles[decides].name}
        return {
            **tooth,
            "reward": graded.reward[row].tolist(),
            "roles": [said(level, row) for level in range(len(roles))],
        }

    return line


def path(workdir: pathlib.Path, step: int) -> pathlib.Path:
    """Where the trees of a step are, if they are saved."""
    return workdir / "trees" / f"{step:08d}.jsonl"


def _write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    files.write(path, text)


def branching(line: dict) -> tuple[int, ...]:
    """Alternatives per role in a saved tree."""
    return np.shape(line["reward"])


def saved(workdir: pathlib.Path) -> list[pathlib.Path]:
    """The files of trees of a run, oldest first."""
    return sorted((workdir / "trees").glob("*.jsonl"))


def load(path: pathlib.Path) -> list[dict]:
    """The lines of a file of trees."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
