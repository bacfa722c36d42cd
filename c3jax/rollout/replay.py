"""Replay of single nodes, and the rule that says whether a replay agrees.

Floating point is not associative, so two computations of one node agree up to rounding,
and a sampled token agrees unless the draw was closer than that rounding: the *margin
rule*. Rounding grows with the dtype's epsilon and with the largest score in a draw, a
logit over the temperature or a log-probability: a *unit* is their product.

In float32 a message is computed again alone, and no log-probability may be off by more
than 32 units, 1.5e-5 nats where scores reach 4. In bfloat16 a unit is 65,536 times as
large and would hide much: there the root mean square over a message is compared, and
on the device and with the program that sampled, all nodes are computed again in the
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
from c3jax.rollout import contexts, continuous, tree

# Units of rounding for a token and for a message's mean, calibrated with
# `benchmarks.certificate`.
_LOGP, _MESSAGE = 32.0, 1.0

node = functools.partial(jax.jit, static_argnums=(1, 2))(tree.replay)


class Tolerance(NamedTuple):
    """The differences that rounding alone explains.

    Attributes:
        logp: nats by which a log-probability may differ.
        margin: nats of lead up to which another token may be drawn instead.
        is_mean: whether `logp` bounds the root mean square over a message, not each of
            its tokens.
    """

    logp: float
    margin: float
    is_mean: bool = False


# For float32 and small scores, up to 8 or so.
SMALL = Tolerance(1e-5, 1e-4)
# For the same program on the same device.
NOTHING = Tolerance(0.0, 0.0)


def tolerance(dtype: str, largest: float) -> Tolerance:
    """The tolerance between two computations of different shapes.

    It is a number of units, epsilon * largest. A lead is a difference of two scores, so
    it moves by twice as much as one of them.

    Args:
        dtype: the dtype of activations.
        largest: the largest score in nats, see `tree.replay`.
    """
    unit = float(jnp.finfo(dtype).eps) * largest
    is_mean = dtype != "float32"
    logp = (_MESSAGE if is_mean else _LOGP) * unit
    return Tolerance(logp, 2 * logp, is_mean)


class Agreement(NamedTuple):
    """The comparison of a message with its record.

    Attributes:
        agrees: whether the two agree by the margin rule.
        near_tie: index of the first token that differs within the margin; None without.
        logp_gap: nats, the largest difference of log-probabilities, or the root mean
            square.
        where: the first difference, in words; "" if there is none.
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
        again: "tokens" and "logp" of the replay.
        allowed: the differences that rounding explains.
        follows_record: whether each token was drawn after those on record; if not,
            contexts differ after a token that does, and the comparison ends there.
    """
    # Places of tokens that differ, and how much of the messages is comparable.
    tokens, margin = record["tokens"], record["margin"]
    shared = min(len(tokens), len(again["tokens"]))
    is_other = np.not_equal(tokens[:shared], again["tokens"][:shared])
    differ = np.flatnonzero(is_other).tolist()
    if len(tokens) != len(again["tokens"]):
        differ.append(shared)
    if differ and not follows_record:
        shared, differ = differ[0], differ[:1]

    # Log-probabilities of equal tokens.
    gaps = np.abs(np.subtract(record["logp"][:shared], again["logp"][:shared]))
    gaps = gaps[~is_other[:shared]]
    if allowed.is_mean:
        gap = float(np.sqrt(np.square(gaps).sum() / max(1, gaps.size)))
    else:
        gap = float(gaps.max(initial=0.0))
    if not gap <= allowed.logp:  # NaN, too.
        return Agreement(False, None, gap, f"logp differs by {gap:.1e}")

    # The margin rule, for the others.
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
        lines: saved trees, all that were sampled together.
        questions: `prompts` of the lines, on the devices.
    """
    turns = said(team, lines)
    given = {index: turn for index, turn in enumerate(turns) if index != level}
    return continuous.sample(params, team, questions, key, given)[0][level]


def prompts(team: contexts.Team, lines: list[dict], sizes: list[int]) -> Questions:
    """The questions of saved trees, NumPy arrays.

    Args:
        lines: saved trees, one a question.
        sizes: per role, the length its prompts are padded to.
    """
    ids, lengths = [], []
    for level, size in enumerate(sizes[: len(team.templates)]):
        rows = [line["roles"][level]["head"] for line in lines]
        ids.append(np.array([_padded(row, size) for row in rows]))
        lengths.append(np.array([len(row) for row in rows], np.int32))
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
    """Samples one message again by itself, from its flat context.

    Args:
        line: the saved tree of one question.
        at: index of the role, of the context and of the sibling.
        size: the length prompts are padded to.

    Returns:
        The argument `again` of `compare`, each token drawn after those on record, and
        the largest score in a draw, in nats.
    """
    level, n, k = at
    role, template = team.protocol.roles[level], team.templates[level]
    siblings = line["roles"][level]["messages"][n]
    tokens, ids = siblings[k]["tokens"], context_ids(team, line, level, n)
    # One size for all contexts of a role, so that one program replays them.
    for index, separator in zip(template.reads, template.separators, strict=True):
        size += team.protocol.roles[index].max_tokens + len(separator)
    index = np.uint32(n * len(siblings) + k)
    key = keys.node(key, np.uint32(line["uid"]), level, index)
    context, length = _padded(ids, size), np.int32(len(ids))
    message = _padded(tokens, role.max_tokens)
    drawn, largest = hosts.fetch(
        node(params, team, level, context, length, key, message)
    )
    again = {
        "tokens": drawn.token[: len(tokens)].tolist(),
        "logp": drawn.logp[: len(tokens)].tolist(),
    }
    return again, float(largest[: len(tokens)].max(initial=0.0))


def is_whole(team: contexts.Team, level: int, message: dict) -> bool:
    """Whether a message ends where a sampled one does: at an end token or its limit."""
    ends = [token in team.sampling.end for token in message["tokens"]]
    if not ends or any(ends[:-1]) or message["ended"] != ends[-1]:
        return False
    return ends[-1] or len(ends) == team.protocol.roles[level].max_tokens


def _padded(ids: list[int], size: int) -> np.ndarray:
    return np.array(ids + [0] * (size - len(ids)), np.int32)


def context_ids(team: contexts.Team, line: dict, level: int, context: int) -> list[int]:
    """A node's context, rebuilt from a saved tree: all ids but the last.

    Args:
        line: the saved tree of one question.
        context: n, index of the context among the role's.
    """
    template, protocol = team.templates[level], team.protocol
    ids = list(line["roles"][level]["head"])
    for index, separator in zip(template.reads, template.separators, strict=True):
        n, k = message_at(protocol, level, context, index)
        message = line["roles"][index]["messages"][n][k]
        ids += message["tokens"][: len(message["tokens"]) - message["ended"]]
        ids += separator
    return ids


def said(team: contexts.Team, lines: list[dict]) -> tuple[Turn, ...]:
    """The messages of saved trees: ids, lengths and ends.

    Args:
        lines: saved trees of one branching.
    """
    turns = []
    for index, role in enumerate(team.protocol.roles):
        saved = [line["roles"][index]["messages"] for line in lines]
        length = np.array([[[len(m["tokens"]) for m in s] for s in q] for q in saved])
        ended = np.array([[[m["ended"] for m in s] for s in q] for q in saved])
        tokens = np.zeros((*length.shape, role.max_tokens), np.int32)
        for b, n, k in np.ndindex(length.shape):
            tokens[b, n, k, : length[b, n, k]] = saved[b][n][k]["tokens"]
        turns.append(
            Turn(tokens, length.astype(np.int32), ended, logp=None, margin=None)
        )
    return tuple(turns)


def message_at(
    protocol: Protocol, level: int, context: int, ancestor: int
) -> tuple[int, int]:
    """(n, k) of the ancestor's message in one context of a role."""
    axes = protocol.ancestors[level]
    sizes = [protocol.branching[axis] for axis in axes]
    at = dict(zip(axes, np.unravel_index(context, sizes), strict=True))
    n = 0
    for axis in protocol.ancestors[ancestor]:
        n = n * protocol.branching[axis] + int(at[axis])
    return n, int(at[ancestor])
