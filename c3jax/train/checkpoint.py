"""What a run leaves on disk to be continued, replayed or audited: state and trees."""

import json
import pathlib

import jax
import numpy as np
import orbax.checkpoint as ocp

from c3jax.core.types import Turn
from c3jax.credit import baselines
from c3jax.train import evaluate
from c3jax.train.setup import Setup


def save(workdir: pathlib.Path, step: int, state) -> None:
    """Writes `checkpoints/<step>`, whole or not at all."""
    with ocp.CheckpointManager((workdir / "checkpoints").absolute()) as manager:
        manager.save(step, args=ocp.args.StandardSave(state))


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


def save_trees(
    workdir: pathlib.Path,
    setup: Setup,
    step: int,
    items: list,
    turns: tuple[Turn, ...],
    graded: evaluate.Graded,
    advantage: tuple,
) -> pathlib.Path:
    """Writes grown trees to `trees/<step>.jsonl`, one question a line.

    A line holds the address (seed, step, uid) of every draw, each role's head, and
    for each message its ids, text, log-probabilities, margins, value and advantage,
    nested [N][K]: all that `rollout.replay` needs beside the policy of that step.
    """
    path = workdir / "trees" / f"{step:08d}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    questions = jax.device_get(setup.questions(items))
    turns, advantage = jax.device_get((turns, advantage))
    texts = [setup.texts(turn) for turn in turns]
    spans = setup.team.protocol.spans
    with path.open("w", encoding="utf-8") as file:
        for row, item in enumerate(items):
            roles = []
            for level, role in enumerate(setup.team.protocol.roles):
                turn = turns[level]
                value = baselines.tree_value(graded.reward, spans[level], level)
                b, n, k, _ = turn.tokens.shape
                text = np.array(texts[level], object).reshape(b, n, k)
                head = questions.heads[level][row, : questions.lengths[level][row]]
                roles.append(
                    {
                        "role": role.name,
                        "head": head.tolist(),
                        "messages": [
                            [
                                _message(turn, text, value, advantage[level], (row, i, j))
                                for j in range(k)
                            ]
                            for i in range(n)
                        ],
                    }
                )
            line = {
                "step": step,
                "seed": setup.config.seed,
                "uid": item.uid,
                "question": item.text,
                "answer": item.answer,
                "reward": graded.reward[row].tolist(),
                "roles": roles,
            }
            file.write(json.dumps(line) + "\n")
    return path


def load_trees(path: pathlib.Path) -> list[dict]:
    """The lines of a file of trees."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _message(turn, text, value, advantage, at) -> dict:
    size = int(turn.length[at])
    fields = {
        "text": text[at],
        "value": float(value[at]),
        "advantage": float(advantage[at]),
        "ended": bool(turn.ended[at]),
        "tokens": turn.tokens[at][:size].tolist(),
        "logp": turn.logp[at][:size].tolist(),
        "margin": turn.margin[at][:size].tolist(),
    }
    return fields
