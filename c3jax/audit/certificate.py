"""The exactness certificate: every node of saved trees, sampled again.

From disk alone (config, checkpoint, trees) each node's context is rebuilt as flat token
ids and its message drawn again at its address. If c3jax restores contexts exactly, the
same tokens come out, up to what rounding explains. Where the messages above end the
dialogue, there must be none.

With fewer bits than float32, rounding explains much. So on the device and program that
sampled, all messages of a role are sampled together, in the shapes they were sampled
in, and must be the same bit for bit.
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from c3jax.core import checkpoint, environment, files, hosts
from c3jax.learn import training
from c3jax.rollout import contexts, finish, replay, sampler
from c3jax.setup.experiment import Setup
from c3jax.train import saved_trees

CERTIFICATE = "certificate.json"
# Prompts are padded to a multiple of this many tokens.
_MULTIPLE = 32


@dataclasses.dataclass
class Certificate:
    """The result of replaying a file of trees.

    Attributes:
        step: optimiser steps of the policy that sampled the trees.
        nodes: number of messages replayed.
        near_ties: messages that differ at a draw closer than the margin, in words.
        failures: messages that differ otherwise, in words.
        logp_gap: largest difference of a log-probability, in nats; of a message's root
            mean square, if `dtype` has fewer bits than float32.
        dtype: dtype of the activations, the one with the fewest bits.
        largest: largest absolute score that a token was drawn by, in nats.
        tolerance: largest difference that rounding explains, in nats.
        margin: largest lead within which another token may be drawn, in nats.
        exact: number of `nodes` sampled in the same shapes by the same program, for
            which rounding explains nothing.
    """

    step: int
    nodes: int = 0
    near_ties: list[str] = dataclasses.field(default_factory=list)
    failures: list[str] = dataclasses.field(default_factory=list)
    logp_gap: float = 0.0
    # The defaults hold for certificates without these fields.
    dtype: str = "float32"
    largest: float = 0.0
    tolerance: float = replay.SMALL.logp
    margin: float = replay.SMALL.margin
    exact: int = 0

    def __str__(self) -> str:
        verdict = "FAIL" if self.failures else "PASS"
        ties = f", {len(self.near_ties)} near ties" if self.near_ties else ""
        head = f"{verdict}: {self.nodes} messages replayed from disk{ties}; {self.how}"
        return "\n  ".join([head, *self.failures, *self.near_ties])

    @property
    def how(self) -> str:
        """How closely log-probabilities agree, and what that certifies, in words."""
        if self.exact == self.nodes and not self.failures:
            return "log-probabilities bit for bit, in the shapes they were sampled in"
        within = f"log-probabilities within {self.logp_gap:.1e} nats"
        if self.exact == self.nodes:
            return f"{within} where not a bit may differ"
        within += f" ({self.tolerance:.1e} is rounding)"
        if self.dtype == "float32":
            return within
        return (
            f"{within}, root mean square of a message: no more is certified in "
            f"{self.dtype} away from the device and the program that sampled"
        )

    def note(self, name: str, found: replay.Agreement) -> None:
        """Counts a message, named in words, by its agreement with the replay."""
        self.nodes += 1
        self.logp_gap = max(self.logp_gap, found.logp_gap)
        if not found.agrees:
            self.failures.append(f"{name}, {found.where}")
        elif found.near_tie is not None:
            self.near_ties.append(f"{name}, {found.where}")

    def allow(self, dtype: str, largest: float) -> replay.Tolerance:
        """The tolerance and margin of a message, which are noted."""
        tolerance = replay.tolerance(dtype, largest)
        self.largest = max(self.largest, largest)
        self.tolerance = max(self.tolerance, tolerance.logp)
        self.margin = max(self.margin, tolerance.margin)
        return tolerance


def certified(workdir: pathlib.Path) -> Certificate | None:
    """The last certificate of a run; None if there is none."""
    path = workdir / CERTIFICATE
    return Certificate(**json.loads(path.read_text())) if path.exists() else None


def certify(setup: Setup, workdir: pathlib.Path) -> Certificate:
    """Replays every node of the newest trees of a run, and keeps the certificate.

    Raises:
        ValueError: the run has no trees, or no checkpoint of the policy that sampled
            them.
    """
    # The newest trees and the policy that sampled them, from disk alone.
    paths = saved_trees.saved(workdir)
    if not paths:
        raise ValueError(f"{workdir}/trees holds no trees; train there first.")
    lines = saved_trees.load(paths[-1])
    with checkpoint.Store(workdir / "checkpoints") as store:
        state, _ = store.restore(training.abstract_state(setup), lines[0]["step"])

    # Trees of one decision have one shape.
    certificate = _begun(setup, lines[0]["step"])
    lines = sorted(lines, key=lambda line: line.get("decision", ""))
    for _, group in itertools.groupby(lines, key=lambda line: line.get("decision")):
        trees = [*group]
        team, sampled = _sampled(setup, trees[0])
        for level, key in sampled.items():
            if level not in team.silenced:
                role = _Role(setup, team, state.params, level, key)
                _replay_level(role, trees, certificate)
    text = json.dumps(dataclasses.asdict(certificate), indent=2) + "\n"
    hosts.by_first(files.write, workdir / CERTIFICATE, text)
    return certificate


def _sampled(setup: Setup, line: dict) -> tuple[contexts.Team, dict[int, jax.Array]]:
    """The team that sampled a saved tree, and the key of the step per level of it.

    Each decision of a vine holds the base episode as far as it needs it, the last one
    holds all of it; there it is replayed.
    """
    team, seed, step = setup.team, line["seed"], line["step"]
    levels = range(len(team.templates))
    if "decision" not in line:
        team = setup.branched(saved_trees.branching(line)).team
        return team, dict.fromkeys(levels, sampler.address(seed, step))
    decision = [role.name for role in team.protocol.roles].index(line["decision"])
    sampled = dict.fromkeys(levels[decision:], sampler.address(seed, step, decision))
    if decision == levels[-1]:
        sampled |= dict.fromkeys(levels[:decision], sampler.address(seed, step))
    return sampler.decisions(team)[decision], sampled


class _Role(NamedTuple):
    """One role of saved trees: its team and parameters, and the key of the step."""

    setup: Setup
    team: contexts.Team
    params: dict
    level: int
    key: jax.Array

    @property
    def dtype(self) -> str:
        return self.team.policies[self.level].shape.dtype


def _begun(setup: Setup, step: int) -> Certificate:
    """A certificate of no messages yet."""
    dtypes = {shape.dtype for shape in setup.team.shapes.values()}
    fewest = min(dtypes, key=lambda dtype: jnp.finfo(dtype).nmant)
    return Certificate(step, dtype=fewest, tolerance=0.0, margin=0.0)


def _replay_level(role: _Role, lines: list[dict], certificate) -> None:
    """Replays every message of one role in trees of one shape."""
    team, level = role.team, role.level
    own = team.protocol.roles[level].name
    # Contexts in which the dialogue had ended hold no message.
    turns = replay.said(team, lines)
    over = finish.over(team, level, turns)
    over = None if over is None else hosts.fetch(over).reshape(len(lines), -1)

    as_sampled = role.dtype != "float32" and _is_same(role.setup, lines)
    compare = (_together if as_sampled else _alone)(role, lines, certificate)
    for b, line in enumerate(lines):
        for n, siblings in enumerate(line["roles"][level]["messages"]):
            for k, message in enumerate(siblings):
                name = f"question {line['uid']}, {own} [{n}, {k}]"
                if over is None or not over[b, n]:
                    certificate.note(name, compare(b, n, k, message))
                    certificate.exact += as_sampled
                elif message["tokens"]:
                    certificate.failures.append(f"{name}, the dialogue was over")


def _is_same(setup: Setup, lines: list[dict]) -> bool:
    """Whether trees were sampled by this program, here. Kernels are chosen by their
    speed on some platforms, and so may round differently the next time."""
    sampled_on = {line.get("computed", {}).get("rounding") for line in lines}
    is_cpu = setup.mesh.devices.flat[0].platform == "cpu"
    alone = jax.process_count() == 1
    return is_cpu and alone and sampled_on == {environment.rounding(setup.mesh)}


def _together(role: _Role, lines: list[dict], _) -> Callable:
    """Samples all messages of a role again, in the shapes they were sampled in."""
    setup, team, params, level, key = role
    computed, turns = lines[0]["computed"], []
    # A slot pool has the same shape for any number of questions.
    batch = len(lines) if team.max_concurrent and not team.mesh else computed["batch"]
    for begin in range(0, len(lines), batch):
        trees = lines[begin : begin + batch]
        trees += trees[:1] * (batch - len(trees))
        questions = setup.place(replay.prompts(team, trees, computed["heads"]))
        turn = replay.together(params, team, trees, level, key, questions)
        turns.append(hosts.fetch(turn))

    def compare(b, n, k, message):
        turn, at = turns[b // batch], (b % batch, n, k)
        length = int(turn.length[at])
        again = {
            "tokens": turn.tokens[at][:length].tolist(),
            "logp": turn.logp[at][:length].tolist(),
        }
        return replay.compare(message, again, replay.NOTHING)

    return compare


def _alone(role: _Role, lines: list[dict], certificate: Certificate) -> Callable:
    """Samples every message again by itself."""
    _, team, params, level, key = role
    # All are padded alike, so that one program replays them.
    longest = max(len(line["roles"][level]["head"]) for line in lines)
    size = -(-longest // _MULTIPLE) * _MULTIPLE

    def compare(b, n, k, message):
        if not replay.is_whole(team, level, message):
            return replay.Agreement(False, None, 0.0, "is not a whole message")
        at = (level, n, k)
        again, largest = replay.alone(params, team, lines[b], at, key, size)
        allowed = certificate.allow(role.dtype, largest)
        return replay.compare(message, again, allowed, follows_record=True)

    return compare
