"""Replay of single nodes, and the rule that says whether a replay agrees.

Floating point is not associative, so two computations of one node agree up to rounding,
and a sampled token agrees unless the draw was closer than that rounding: the *margin
rule*. What rounding explains is in proportion to the dtype's epsilon and to the largest
number that tokens were drawn by, a logit over the temperature or a log-probability: a
*unit* is their product.

In float32 a message is computed again alone, and no log-probability may be off by more
than 32 units, 1.5e-5 nats where scores reach 4. In bfloat16 a unit is 65,536 times as
large, so that hides much: there the root mean square over a message is judged, and
where the device and program are those that sampled, all nodes are computed again in the
shapes they were sampled in, and not one bit may differ.
"""

import functools
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from c3jax.core import hosts, keys
from c3jax.core.types import Questions, Turn
from c3jax.protocol.graph import Protocol
from c3jax.rollout import contexts, desks, tree

# Units of rounding, calibrated with `benchmarks.certificate`.
_LOGP, _MESSAGE = 32.0, 1.0

node = functools.partial(jax.jit, static_argnums=(1, 2))(tree.replay)


class Tolerance(NamedTuple):
    """How far rounding alone moves what was sampled.

    Attributes:
        logp: nats, a token's log-probability, or the root mean square of a message's.
        margin: nats, the lead of a token that another may be drawn in place of.
        is_mean: whether `logp` is of a message, not of each of its tokens.
    """

    logp: float
    margin: float
    is_mean: bool = False


# Of float32 and small scores, up to 8 or so.
SMALL = Tolerance(1e-5, 1e-4)
# The same program on the same device.
NOTHING = Tolerance(0.0, 0.0)


def tolerance(dtype: str, largest: float) -> Tolerance:
    """What rounding explains between two computations of different shapes.

    With u = epsilon * largest. A lead is a difference of two scores, so it moves by
    twice as much as one of them.

    Args:
        dtype: of activations.
        largest: score in nats, see `tree.replay`.
    """
    unit = float(jnp.finfo(dtype).eps) * largest
    is_mean = dtype != "float32"
    logp = (_MESSAGE if is_mean else _LOGP) * unit
    return Tolerance(logp, 2 * logp, is_mean)


class Agreement(NamedTuple):
    """How a message compares with its record.

    Attributes:
        agrees: by the margin rule.
        near_tie: index of the first token that differs within the margin; None without.
        logp_gap: of log-probabilities, in nats: the largest, or the root mean square.
        where: for a person, what differs; "" if all agrees.
    """

    agrees: bool
    near_tie: int | None
    logp_gap: float
    where: str


def compare(
    record: Mapping,
    again: Mapping,
    allowed: Tolerance = SMALL,
    follows_record: bool = False,
) -> Agreement:
    """Applies the margin rule to one message.

    Args:
        record: "tokens", "logp" and "margin", each a list as long as the message, as
            saved trees hold them.
        again: the same of the replay.
        allowed: what rounding explains.
        follows_record: whether each token was drawn after those on record; if not,
            contexts differ after a token that does, and the comparison ends there.
    """
    tokens, margin = record["tokens"], record["margin"]
    shared = min(len(tokens), len(again["tokens"]))
    other = np.not_equal(tokens[:shared], again["tokens"][:shared])
    differ = np.flatnonzero(other).tolist()
    if len(tokens) != len(again["tokens"]):
        differ.append(shared)
    if differ and not follows_record:
        shared, differ = differ[0], differ[:1]
    gaps = np.abs(np.subtract(record["logp"][:shared], again["logp"][:shared]))
    gaps = gaps[~other[:shared]]
    if allowed.is_mean:
        gap = float(np.sqrt(np.square(gaps).sum() / max(1, gaps.size)))
    else:
        gap = float(gaps.max(initial=0.0))
    if gap > allowed.logp:
        return Agreement(False, None, gap, f"logp differs by {gap:.1e}")
    for at in differ:
        if at >= len(margin) or not margin[at] < allowed.margin:
            return Agreement(False, None, gap, f"token {at} differs")
    if not differ:
        return Agreement(True, None, gap, "")
    where = f"token {differ[0]}: margin {margin[differ[0]]:.1e}"
    return Agreement(True, differ[0], gap, where)


def together(
    params: dict,
    team: contexts.Team,
    lines: list[dict],
    level: int,
    key: jax.Array,
    questions: Questions,
) -> Turn:
    """Samples all messages of one role again, in the shapes they were sampled in.

    Args:
        params: the policies the trees were grown with.
        team: static description.
        lines: questions of a file of trees, as many as were sampled together.
        level: index of the role.
        key: the key of the step.
        questions: `heads` of the lines, on the devices.
    """
    turns = said(team, lines)
    given = {index: turn for index, turn in enumerate(turns) if index != level}
    return desks.grow(params, team, questions, key, given)[0][level]


def heads(team: contexts.Team, lines: list[dict], sizes: list[int]) -> Questions:
    """The questions of saved trees, NumPy arrays.

    Args:
        team: static description.
        lines: of a file of trees.
        sizes: per role, what its heads are padded to.
    """
    ids, lengths = [], []
    for level, size in enumerate(sizes[: len(team.scripts)]):
        each = [line["roles"][level]["head"] for line in lines]
        ids.append(np.array([_padded(head, size) for head in each]))
        lengths.append(np.array([len(head) for head in each], np.int32))
    uid = np.array([line["uid"] for line in lines], np.uint32)
    return Questions(uid, tuple(ids), tuple(lengths))


def alone(
    params: dict,
    team: contexts.Team,
    line: dict,
    at: tuple[int, int, int],
    key: jax.Array,
    size: int,
) -> tuple[dict, float]:
    """One message again by itself, from its flat context.

    Args:
        params: the policies the tree was grown with.
        team: static description.
        line: one question of a file of trees.
        at: index of the role, of the context and of the sibling.
        key: the key of the step.
        size: what heads are padded to.

    Returns:
        What `compare` takes, each token drawn after those on record, and the largest
        score that one was drawn by.
    """
    level, n, k = at
    role, script = team.protocol.roles[level], team.scripts[level]
    siblings = line["roles"][level]["messages"][n]
    tokens, ids = siblings[k]["tokens"], context_ids(team, line, level, n)
    for index, glue in zip(script.reads, script.glue, strict=True):
        size += team.protocol.roles[index].max_tokens + len(glue)
    index = np.uint32(n * len(siblings) + k)
    key = keys.node(key, np.uint32(line["uid"]), level, index)
    drawn, largest = hosts.fetch(
        node(
            *(params, team, level, _padded(ids, size), np.int32(len(ids)), key),
            _padded(tokens, role.max_tokens),
        )
    )
    again = {
        "tokens": drawn.token[: len(tokens)].tolist(),
        "logp": drawn.logp[: len(tokens)].tolist(),
    }
    return again, float(largest[: len(tokens)].max(initial=0.0))


def is_whole(team: contexts.Team, level: int, message: dict) -> bool:
    """Whether a message ends as one that was sampled does, and only there."""
    ends = [token in team.sampling.end for token in message["tokens"]]
    if not ends or any(ends[:-1]) or message["ended"] != ends[-1]:
        return False
    return ends[-1] or len(ends) == team.protocol.roles[level].max_tokens


def _padded(ids: list[int], size: int) -> np.ndarray:
    return np.array(ids + [0] * (size - len(ids)), np.int32)


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


def said(team: contexts.Team, lines: list[dict]) -> tuple[Turn, ...]:
    """What the roles of saved trees wrote: ids, lengths and ends.

    Args:
        team: static description.
        lines: questions of a file of trees, of one branching.
    """
    turns = []
    for index, role in enumerate(team.protocol.roles):
        each = [line["roles"][index]["messages"] for line in lines]
        length = np.array([[[len(m["tokens"]) for m in s] for s in q] for q in each])
        ended = np.array([[[m["ended"] for m in s] for s in q] for q in each])
        tokens = np.zeros((*length.shape, role.max_tokens), np.int32)
        for b, n, k in np.ndindex(length.shape):
            tokens[b, n, k, : length[b, n, k]] = each[b][n][k]["tokens"]
        turns.append(
            Turn(tokens, length.astype(np.int32), ended, logp=None, margin=None)
        )
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
