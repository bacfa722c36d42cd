"""Replay of single nodes, and the rule that says whether a replay agrees.

Floating point is not associative, so two computations of one node agree up to rounding,
and a sampled token agrees unless the draw was closer than that rounding: the *margin
rule*. Log-probabilities agree within 1e-5 nats in float32; tokens agree except where
the recorded margin is below 1e-4, and such places are listed.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from c3jax.core.types import Turn
from c3jax.protocol.graph import Protocol
from c3jax.rollout import contexts, tree

LOGP_TOLERANCE = 1e-5
MARGIN = 1e-4

node = functools.partial(jax.jit, static_argnums=(1, 2))(tree.replay)


class Agreement(NamedTuple):
    """How a message compares with its record.

    Attributes:
        agrees: by the margin rule.
        near_tie: index of a token that differs within the margin; None without one.
        logp_gap: largest difference of log-probabilities up to there, in nats.
        where: for a person, what differs; "" if all agrees.
    """

    agrees: bool
    near_tie: int | None
    logp_gap: float
    where: str


def compare(record: Mapping, again: Mapping) -> Agreement:
    """Applies the margin rule to one message.

    After a token that differs the contexts do, so the comparison ends there.

    Args:
        record: "tokens", "logp" and "margin", each a list as long as the message, as
            saved trees hold them.
        again: the same of the replay.
    """
    tokens, logp, margin = record["tokens"], record["logp"], record["margin"]
    other = again["tokens"]
    shared = 0
    while shared < min(len(tokens), len(other)) and tokens[shared] == other[shared]:
        shared += 1
    gaps = np.abs(np.subtract(logp[:shared], again["logp"][:shared]))
    gap = float(gaps.max(initial=0.0))
    if gap > LOGP_TOLERANCE:
        at = int(gaps.argmax())
        return Agreement(False, None, gap, f"token {at}: logp differs by {gap:.1e}")
    if shared == len(tokens) == len(other):
        return Agreement(True, None, gap, "")
    if shared < len(tokens) and margin[shared] < MARGIN:
        where = f"token {shared}: margin {margin[shared]:.1e}"
        return Agreement(True, shared, gap, where)
    return Agreement(False, None, gap, f"token {shared} differs")


def context_ids(team: contexts.Team, line: dict, level: int, context: int) -> list[int]:
    """What one node reads, rebuilt from a saved tree: all but the opener.

    Args:
        team: static description.
        line: one question of a file of trees.
        level: index of the role.
        context: n, which of the role's contexts.
    """
    script, protocol = team.scripts[level], team.protocol
    ids = list(line["roles"][level]["head"])
    for index, glue in zip(script.reads, script.glue, strict=True):
        n, k = message_at(protocol, level, context, index)
        message = line["roles"][index]["messages"][n][k]
        ids += message["tokens"][: len(message["tokens"]) - message["ended"]]
        ids += glue
    return ids


def said(team: contexts.Team, line: dict) -> tuple[Turn, ...]:
    """What the roles of a saved tree wrote: ids and lengths, for one question.

    Args:
        team: static description.
        line: one question of a file of trees.
    """
    turns = []
    for role, saved in zip(team.protocol.roles, line["roles"], strict=True):
        ids = [[m["tokens"] for m in siblings] for siblings in saved["messages"]]
        length = np.array([[[len(each) for each in some] for some in ids]])
        tokens = np.zeros((*length.shape, role.max_tokens), np.int32)
        for n, k in np.ndindex(length.shape[1:]):
            tokens[0, n, k, : length[0, n, k]] = ids[n][k]
        turns.append(Turn(tokens, length, ended=None, logp=None, margin=None))
    return tuple(turns)


def message_at(
    protocol: Protocol, level: int, context: int, ancestor: int
) -> tuple[int, int]:
    """(n, k) of the ancestor's message that stands in a role's context."""
    axes = protocol.spans[level]
    sizes = [protocol.branching[axis] for axis in axes]
    at = dict(zip(axes, np.unravel_index(context, sizes), strict=True))
    above = protocol.spans[ancestor]
    n = 0
    for axis in above:
        n = n * protocol.branching[axis] + int(at[axis])
    return n, int(at[ancestor])
