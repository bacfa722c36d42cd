"""What a run leaves on disk to be continued, replayed or audited: state and trees."""

import json
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from c3jax.credit import baselines
from c3jax.train.setup import Setup


def save(workdir: pathlib.Path, step: int, state) -> None:
    """Writes `checkpoints/<step>`, whole or not at all.

    Raises:
        ValueError: there is such a checkpoint already.
    """
    directory = workdir / "checkpoints"
    with ocp.CheckpointManager(directory.absolute()) as manager:
        if not manager.save(step, args=ocp.args.StandardSave(state)):
            raise ValueError(f"{directory} holds step {step} already.")


def restore(workdir: pathlib.Path, step: int | None, target):
    """Reads a checkpoint back.

    Args:
        workdir: of the run.
        step: which one; None for the newest.
        target: a tree of arrays or `jax.ShapeDtypeStruct` with shardings: what to read
            and where to put it.

    Raises:
        ValueError: there is no such checkpoint.
    """
    directory = workdir / "checkpoints"
    if not directory.exists():
        raise ValueError(f"{directory} does not exist; train there first.")
    with ocp.CheckpointManager(directory.absolute()) as manager:
        steps = manager.all_steps()
        step = manager.latest_step() if step is None else step
        if step not in steps:
            raise ValueError(f"{directory} has steps {sorted(steps)}, not {step}.")
        return manager.restore(step, args=ocp.args.StandardRestore(target))


def save_trees(workdir: pathlib.Path, setup: Setup, step: int, items: list, grown):
    """Writes some of a step's trees to `trees/<step>.jsonl`, one question a line.

    A line holds the address (seed, step, uid) of every draw, each role's head, and
    for each message its ids, text, log-probabilities, margins, value and advantage,
    nested [N][K]: all that a replay needs beside the policy of that step.

    Args:
        workdir: of the run.
        setup: of the run; `evaluate.trees` says how many questions.
        step: which step they were grown in, with the policy of that checkpoint.
        items: the questions.
        grown: a `loop.Grown`.
    """
    path = workdir / "trees" / f"{step:08d}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    team = setup.team
    spans, roles = team.protocol.spans, team.protocol.roles
    questions, turns, advantage = jax.device_get(
        (grown.questions, grown.turns, grown.advantage)
    )
    texts = [
        np.array(setup.texts(turn), object).reshape(turn.length.shape) for turn in turns
    ]
    values = [
        baselines.tree_value(grown.graded.reward, span, level)
        for level, span in enumerate(spans)
    ]

    def message(level, at):
        turn = turns[level]
        size = int(turn.length[at])
        return {
            "text": texts[level][at],
            "value": float(values[level][at]),
            "advantage": float(advantage[level][at]),
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
            "head": head.tolist(),
            "messages": [
                [message(level, (row, i, j)) for j in range(k)] for i in range(n)
            ],
        }

    with path.open("w", encoding="utf-8") as file:
        for row, item in enumerate(items[: setup.config.evaluate.trees]):
            line = {
                "step": step,
                "seed": setup.config.seed,
                "uid": item.uid,
                "question": item.text,
                "answer": item.answer,
                "reward": grown.graded.reward[row].tolist(),
                "roles": [said(level, row) for level in range(len(roles))],
            }
            file.write(json.dumps(line) + "\n")


def load_trees(path: pathlib.Path) -> list[dict]:
    """The lines of a file of trees."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
