"""Rollout trees on disk: text and numbers to read, addresses for a replay."""

import json
import pathlib
from collections.abc import Callable, Iterable

import jax
import numpy as np

from c3jax.collect import rollouts
from c3jax.core import environment, files, hosts
from c3jax.core.types import Questions
from c3jax.credit import baselines
from c3jax.setup.experiment import Setup


def save(
    workdir: pathlib.Path,
    setup: Setup,
    step: int,
    items: list,
    rollout: rollouts.Rollout,
    advantages: Iterable[rollouts.Advantage],
) -> None:
    """Writes some of a step's trees to `trees/<step>.jsonl`, one a line.

    A line holds the address (seed, step, uid) of every draw, each role's prompt, and
    for each message its ids, text, log-probabilities, margins, value and advantage,
    nested [N][K]: all that a replay needs beside the policy of that step. A role's N
    contexts are the alternatives of the roles under "over", row-major. In a vine,
    every decision on a question is a tree with the role of its "decision"; the roles
    before it have the messages of the base episode. "computed" holds the shapes and
    the machine of the sampling.

    Args:
        setup: `evaluate.trees` says how many questions.
        step: of the checkpoint whose policy sampled them.
        items: the questions, at least the first of them.
        rollout: the groups of the step.
        advantages: per group.
    """
    if not setup.config.evaluate.trees:
        return
    # All groups of the step, on the host.
    questions, trees = hosts.fetch(rollouts.joined(rollout))
    advantage = jax.tree.map(lambda *parts: np.concatenate(parts), *advantages)
    credited = zip(trees, advantage, rollouts.score(rollout), strict=True)
    writers = [_told(setup, questions, *tree) for tree in credited]

    # A line per question and tree.
    computed = {
        "batch": rollout[0].questions.uid.shape[0],
        "heads": [prompt.shape[-1] for prompt in questions.prompts],
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
            **writer(row),
        }
        for row, item in enumerate(items[: setup.config.evaluate.trees])
        for writer in writers
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    hosts.by_first(_write, path(workdir, step), text)


def _told(setup: Setup, questions: Questions, tree, advantage, scores) -> Callable:
    """(question's row) -> the fields of its line about a tree on the host."""
    # Arrays [B, N, K], one a role.
    ancestors, roles = setup.team.protocol.ancestors, setup.team.protocol.roles
    turns, advantage = tree.turns, dict(zip(tree.credited, advantage, strict=True))
    texts = [
        np.array(setup.texts(turn, level), object).reshape(turn.length.shape)
        for level, turn in enumerate(turns)
    ]
    values = [
        baselines.tree_value(scores.reward, above, level)
        for level, above in enumerate(ancestors)
    ]

    # One message, one role, one question.
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

    def messages(level, row):
        _, n, k = turns[level].length.shape
        prompt = questions.prompts[level][row, : questions.lengths[level][row]]
        return {
            "role": roles[level].name,
            "over": [roles[axis].name for axis in ancestors[level]],
            "head": prompt.tolist(),
            "messages": [
                [message(level, (row, i, j)) for j in range(k)] for i in range(n)
            ],
        }

    def line(row):
        decision = {}
        if setup.team.protocol.continuations:
            (level,) = tree.credited
            decision = {"decision": roles[level].name}
        return {
            **decision,
            "reward": scores.reward[row].tolist(),
            "roles": [messages(level, row) for level in range(len(roles))],
        }

    return line


def path(workdir: pathlib.Path, step: int) -> pathlib.Path:
    """The file of a step's trees, which exists if they were saved."""
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
        lines = [json.loads(line) for line in file]
    for line in lines:
        if "tooth" in line:  # As before the decisions of a vine had that name.
            line["decision"] = line.pop("tooth")
    return lines
