"""The exactness certificate: every node of saved trees, sampled again, alone.

From disk alone (config, checkpoint, trees) each node's context is rebuilt as flat token
ids and its message drawn again at its address. If c3jax restores contexts exactly, the
same tokens come out. Where the messages above say that the talk is over, there must be
none.
"""

import dataclasses
import json
import pathlib

import jax
import numpy as np

from c3jax.core import files, hosts, keys
from c3jax.rollout import comb, contexts, finish, replay
from c3jax.train import checkpoint, loop, trees
from c3jax.train.setup import Setup

CERTIFICATE = "certificate.json"


@dataclasses.dataclass
class Certificate:
    """What came of replaying a file of trees.

    Attributes:
        step: of the policy that grew them.
        nodes: messages replayed.
        near_ties: those that differ at a draw closer than the margin, in words.
        failures: those that differ otherwise, in words.
        logp_gap: largest difference of a log-probability, in nats.
    """

    step: int
    nodes: int = 0
    near_ties: list[str] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)
    logp_gap: float = 0.0

    def __str__(self) -> str:
        verdict = "FAIL" if self.failures else "PASS"
        ties = f", {len(self.near_ties)} near ties" if self.near_ties else ""
        head = (
            f"{verdict}: {self.nodes} messages replayed from disk{ties}; "
            f"log-probabilities within {self.logp_gap:.1e} nats"
        )
        return "\n  ".join([head, *self.failures, *self.near_ties])


def certified(workdir: pathlib.Path) -> Certificate | None:
    """The last certificate of a run; None if there is none."""
    path = workdir / CERTIFICATE
    return Certificate(**json.loads(path.read_text())) if path.exists() else None


def certify(setup: Setup, workdir: pathlib.Path) -> Certificate:
    """Replays every node of the newest trees of a run, and keeps what came of it.

    Raises:
        ValueError: the run has no trees, or no checkpoint of the policy that grew them.
    """
    saved = trees.saved(workdir)
    if not saved:
        raise ValueError(f"{workdir}/trees holds no trees; train there first.")
    lines = trees.load(saved[-1])
    with checkpoint.Store(workdir / "checkpoints") as store:
        state, _ = store.restore(loop.abstract_state(setup), lines[0]["step"])
    certificate = Certificate(lines[0]["step"])
    for line in lines:
        team, sampled = _played(setup, line)
        for level, key in sampled.items():
            if level not in team.silenced:
                _replay_level(setup, team, state.params, line, level, key, certificate)
    text = json.dumps(dataclasses.asdict(certificate), indent=2) + "\n"
    hosts.by_first(files.write, workdir / CERTIFICATE, text)
    return certificate


def _played(setup: Setup, line: dict) -> tuple[contexts.Team, dict[int, jax.Array]]:
    """The team that grew a saved tree, and the key of the step per level of it.

    The base episode of a comb stands in its teeth as far as each needs it, whole in the
    last one, and is replayed there.
    """
    team, seed, step = setup.team, line["seed"], line["step"]
    levels = range(len(team.scripts))
    if "tooth" not in line:
        team = setup.branched(trees.branching(line)).team
        return team, dict.fromkeys(levels, comb.address(seed, step))
    tooth = [role.name for role in team.protocol.roles].index(line["tooth"])
    sampled = dict.fromkeys(levels[tooth:], comb.address(seed, step, tooth))
    if tooth == levels[-1]:
        sampled |= dict.fromkeys(levels[:tooth], comb.address(seed, step))
    return comb.teeth(team)[tooth], sampled


def _replay_level(setup, team, params, line, level, step_key, certificate) -> None:
    role = team.protocol.roles[level]
    size = setup.heads.size(len(line["roles"][level]["head"])) + sum(
        team.protocol.roles[index].max_tokens + len(glue)
        for index, glue in zip(
            team.scripts[level].reads, team.scripts[level].glue, strict=True
        )
    )
    messages = line["roles"][level]["messages"]
    over = finish.over(team, level, replay.said(team, line))
    over = np.zeros(len(messages), bool) if over is None else hosts.fetch(over).ravel()
    for n, siblings in enumerate(messages):
        if over[n]:
            certificate.failures.extend(
                f"question {line['uid']}, {role.name} [{n}, {k}], the talk was over"
                for k, message in enumerate(siblings)
                if message["tokens"]
            )
            continue
        ids = replay.context_ids(team, line, level, n)
        padded = np.zeros(size, np.int32)
        padded[: len(ids)] = ids
        for k, message in enumerate(siblings):
            index = n * len(siblings) + k
            key = keys.node(step_key, np.uint32(line["uid"]), level, np.uint32(index))
            turn = hosts.fetch(
                replay.node(params, team, level, padded, np.int32(len(ids)), key)
            )
            length = int(turn.length)
            again = {
                "tokens": turn.tokens[:length].tolist(),
                "logp": turn.logp[:length].tolist(),
            }
            found = replay.compare(message, again)
            name = f"question {line['uid']}, {role.name} [{n}, {k}], {found.where}"
            certificate.nodes += 1
            certificate.logp_gap = max(certificate.logp_gap, found.logp_gap)
            if not found.agrees:
                certificate.failures.append(name)
            elif found.near_tie is not None:
                certificate.near_ties.append(name)
