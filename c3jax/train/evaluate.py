"""How good a team is on questions it never trained on."""

import dataclasses

import jax
import numpy as np

from c3jax.reward import math
from c3jax.rollout import tree
from c3jax.train.setup import Setup


@dataclasses.dataclass(frozen=True)
class Graded:
    """Rewards of a grown batch of trees.

    Attributes:
        reward: [B, k_1, .., k_R] float32 in [0, 1], one axis per role.
        malformed: fraction of answers without a box.
        truncated: fraction of messages, of all roles, cut at their limit.
    """

    reward: np.ndarray
    malformed: float
    truncated: float


def grade(setup: Setup, team: tree.Team, items: list, turns: tuple) -> Graded:
    """Scores every answer of a batch of trees against its question's gold answer."""
    texts = setup.texts(turns[-1])
    each = len(texts) // len(items)
    gold = [item.answer for item in items for _ in range(each)]
    reward = [
        math.score(text, answer) for text, answer in zip(texts, gold, strict=True)
    ]
    cut = [~np.asarray(turn.ended).reshape(-1) for turn in turns]
    return Graded(
        reward=np.array(reward, np.float32).reshape(
            len(items), *team.protocol.branching
        ),
        malformed=float(np.mean([math.extract(text) is None for text in texts])),
        truncated=float(np.concatenate(cut).mean()),
    )


def accuracy(params: dict, setup: Setup, key: jax.Array) -> dict[str, float]:
    """Greedy and sampled accuracy on the test questions, in [0, 1].

    Returns:
        "greedy"; "sampled", the mean over `evaluate.samples` episodes a question; and
        for each role that does not answer, "without <role>", sampled while its message
        is empty: what is left when the others are on their own.
    """
    c = setup.config.evaluate
    chain = setup.team.protocol.chain()
    teams = {
        "greedy": setup.team.replace(
            protocol=chain, sampling=setup.team.sampling.greedy()
        ),
        "sampled": setup.team.replace(protocol=chain.chain(c.samples)),
    }
    for level, role in enumerate(chain.roles):
        if not role.answers:
            teams[f"without {role.name}"] = teams["sampled"].replace(silenced=(level,))
    test = setup.task.split("test")
    items = [test[index] for index in range(c.questions)]
    return {
        name: float(np.mean(_rewards(params, setup, team, items, key)))
        for name, team in teams.items()
    }


def _rewards(params, setup, team, items, key) -> np.ndarray:
    """[questions, episodes] rewards, a batch at a time."""
    size = setup.config.evaluate.batch_size
    rewards = []
    for begin in range(0, len(items), size):
        part = items[begin : begin + size]
        # The last batch is filled up, so that one shape is compiled.
        filled = part + [part[-1]] * (size - len(part))
        turns = tree.grow(params, team, setup.questions(filled), key)
        graded = grade(setup, team, filled, turns)
        rewards.append(graded.reward.reshape(size, -1)[: len(part)])
    return np.concatenate(rewards)


def named(accuracies: dict[str, float]) -> dict[str, float]:
    """Accuracies as fields of the log."""
    return {f"evaluate/{name}": value for name, value in accuracies.items()}


def shown(accuracies: dict[str, float]) -> str:
    """Accuracies for a person."""
    return "  ".join(f"{name} {value:.1%}" for name, value in accuracies.items())
