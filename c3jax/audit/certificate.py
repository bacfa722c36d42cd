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

from c3jax.core import environment, files, hosts
from c3jax.rollout import contexts, finish, replay, sampler
from c3jax.train import checkpoint, loop, trees
from c3jax.train.setup import Setup

CERTIFICATE = "certificate.json"
# Of what a head is padded to.
_MULTIPLE = 32


@dataclasses.dataclass
class Certificate:
    """The result of replaying a file of trees.

    Attributes:
        step: optimiser steps of the policy that grew the trees.
        nodes: messages replayed.
        near_ties: those that differ at a draw closer than the margin, in words.
        failures: those that differ otherwise, in words.
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
        """Counts a message."""
        self.nodes += 1
        self.logp_gap = max(self.logp_gap, found.logp_gap)
        if not found.agrees:
            self.failures.append(f"{name}, {found.where}")
        elif found.near_tie is not None:
            self.near_ties.append(f"{name}, {found.where}")

    def allow(self, dtype: str, largest: float) -> replay.Tolerance:
        """The tolerance and margin of a message, which are noted."""
        found = replay.tolerance(dtype, largest)
        self.largest = max(self.largest, largest)
        self.tolerance = max(self.tolerance, found.logp)
        self.margin = max(self.margin, found.margin)
        return found


def certified(workdir: pathlib.Path) -> Certificate | None:
    """The last certificate of a run; None if there is none."""
    path = workdir / CERTIFICATE
    return Certificate(**json.loads(path.read_text())) if path.exists() else None


def certify(setup: Setup, workdir: pathlib.Path) -> Certificate:
    """Replays every node of the newest trees of a run, and keeps the certificate.

    Raises:
        ValueError: the run has no trees, or no checkpoint of the policy that grew them.
    """
    saved = trees.saved(workdir)
    if not saved:
        raise ValueError(f"{workdir}/trees holds no trees; train there first.")
    lines = trees.load(saved[-1])
    with checkpoint.Store(workdir / "checkpoints") as store:
        state, _ = store.restore(loop.abstract_state(setup), lines[0]["step"])
    certificate = _begun(setup, lines[0]["step"])
    for _, group in itertools.groupby(
        sorted(lines, key=lambda line: line.get("tooth", "")),
        key=lambda line: line.get("tooth"),
    ):
        some = [*group]
        team, sampled = _played(setup, some[0])
        for level, key in sampled.items():
            if level not in team.silenced:
                played = _Played(setup, team, state.params, level, key)
                _replay_level(played, some, certificate)
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
        return team, dict.fromkeys(levels, sampler.address(seed, step))
    tooth = [role.name for role in team.protocol.roles].index(line["tooth"])
    sampled = dict.fromkeys(levels[tooth:], sampler.address(seed, step, tooth))
    if tooth == levels[-1]:
        sampled |= dict.fromkeys(levels[:tooth], sampler.address(seed, step))
    return sampler.teeth(team)[tooth], sampled


class _Played(NamedTuple):
    """One role of saved trees: who played it, and the key of the step."""

    setup: Setup
    team: contexts.Team
    params: dict
    level: int
    key: jax.Array

    @property
    def dtype(self) -> str:
        return self.team.cast[self.level].shape.dtype


def _begun(setup: Setup, step: int) -> Certificate:
    dtypes = {shape.dtype for shape in setup.team.shapes.values()}
    fewest = min(dtypes, key=lambda dtype: jnp.finfo(dtype).nmant)
    return Certificate(step, dtype=fewest, tolerance=0.0, margin=0.0)


def _replay_level(played: _Played, lines: list[dict], certificate) -> None:
    """Every message of one role in trees of one shape."""
    team, level = played.team, played.level
    role = team.protocol.roles[level]
    turns = replay.said(team, lines)
    over = finish.over(team, level, turns)
    over = None if over is None else hosts.fetch(over).reshape(len(lines), -1)
    as_sampled = played.dtype != "float32" and _is_same(played.setup, lines)
    compare = (_together if as_sampled else _alone)(played, lines, certificate)
    for b, line in enumerate(lines):
        for n, siblings in enumerate(line["roles"][level]["messages"]):
            for k, message in enumerate(siblings):
                name = f"question {line['uid']}, {role.name} [{n}, {k}]"
                if over is None or not over[b, n]:
                    certificate.note(name, compare(b, n, k, message))
                    certificate.exact += as_sampled
                elif message["tokens"]:
                    certificate.failures.append(f"{name}, the talk was over")


def _is_same(setup: Setup, lines: list[dict]) -> bool:
    """Whether trees were sampled by this program, here. Kernels are chosen by their
    speed on some platforms, and so may round differently the next time."""
    where = {line.get("computed", {}).get("rounding") for line in lines}
    is_cpu = setup.mesh.devices.flat[0].platform == "cpu"
    alone = jax.process_count() == 1
    return is_cpu and alone and where == {environment.rounding(setup.mesh)}


def _together(played: _Played, lines: list[dict], _) -> Callable:
    """All messages of a role again, in the shapes they were sampled in."""
    setup, team, params, level, key = played
    computed, found = lines[0]["computed"], []
    # A desk has the same shape however many questions there are.
    batch = len(lines) if team.at_once and not team.mesh else computed["batch"]
    for begin in range(0, len(lines), batch):
        some = lines[begin : begin + batch]
        some += some[:1] * (batch - len(some))
        questions = setup.place(replay.heads(team, some, computed["heads"]))
        turn = replay.together(params, team, some, level, key, questions)
        found.append(hosts.fetch(turn))

    def compare(b, n, k, message):
        turn, at = found[b // batch], (b % batch, n, k)
        length = int(turn.length[at])
        again = {
            "tokens": turn.tokens[at][:length].tolist(),
            "logp": turn.logp[at][:length].tolist(),
        }
        return replay.compare(message, again, replay.NOTHING)

    return compare


def _alone(played: _Played, lines: list[dict], certificate: Certificate) -> Callable:
    """Every message again by itself."""
    _, team, params, level, key = played
    # All are padded alike, so that one program replays them.
    longest = max(len(line["roles"][level]["head"]) for line in lines)
    size = -(-longest // _MULTIPLE) * _MULTIPLE

    def compare(b, n, k, message):
        if not replay.is_whole(team, level, message):
            return replay.Agreement(False, None, 0.0, "is not a whole message")
        at = (level, n, k)
        again, largest = replay.alone(params, team, lines[b], at, key, size)
        allowed = certificate.allow(played.dtype, largest)
        return replay.compare(message, again, allowed, follows_record=True)

    return compare
