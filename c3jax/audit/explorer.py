"""The data of the tree explorer: saved trees and buckets of a page, text and numbers.

`explorer.html` draws them, `explorer.js` moves among them. What both read, a *tree*:

    id       names it in the page's addresses
    section  of the list in which it is picked
    title    the question, or the context of a bucket
    about    more of it, texts
    value    mean reward
    groups   alternatives to each other, sampled from one context:
      role      who speaks
      beside    what else the context holds, where a team is no chain
      messages  each with
        text, value
        credit   by method, in reward units; only of alternatives that are compared
        logp     of the whole message in nats; tokens: how many it has
        cut      whether it was cut at its limit
        answer   the final answer, where a reply came first
        count    how often it was sampled, if not once
        rewards  [reward, how many] of the leaves it is part of, where none follows
        below    groups that follow it

Fields without a value are absent. If there are more trees than a page has room for,
every second or third is shown, and their section says so.
"""

import collections
import itertools
import json
import math
import pathlib
import statistics
from collections.abc import Iterable, Sequence

import markupsafe
import numpy as np

from c3jax.audit import buckets
from c3jax.audit.buckets import Bucket, Candidate
from c3jax.train import trees

BUCKETS = "audit/buckets.jsonl"
# Messages of trees and of buckets in a page, and bytes with their texts: together with
# its pictures it stays below five million.
TREES, CONTINUATIONS, SIZE = 8_000, 20_000, 4_300_000
# Bytes of what says that a text is cut.
_SIGN = 40
_TEXTS = ("title", "text", "answer")


def forest(directory: pathlib.Path) -> list[dict]:
    """All saved trees of a run, oldest first, and the buckets of its audit.

    Raises:
        ValueError: a line of the audit's file is no bucket.
    """
    paths = trees.saved(directory)
    found = of_trees(line for path in paths for line in trees.load(path))
    if (directory / BUCKETS).exists():
        audited, wrong = buckets.read(directory / BUCKETS)
        if wrong:
            raise ValueError(f"{wrong[0]}; audit the run again.")
        found += of_buckets(audited)
    return found


def of_trees(lines: Iterable[dict]) -> list[dict]:
    """Saved trees as trees of the explorer.

    Args:
        lines: saved trees, as `train.trees.load` reads them.
    """
    made = [_tree(number, line) for number, line in enumerate(lines, 1)]
    every = _every(sum(_size(tree["groups"]) for tree in made), TREES)
    return _one_in(every, made[::every])


def of_buckets(found: Sequence[Bucket]) -> list[dict]:
    """Buckets as trees of the explorer: what followed each candidate hangs below it."""
    several = [c.replies or c.answers for bucket in found for c in bucket.candidates]
    every = _every(sum(1 + len(texts) for texts in several), CONTINUATIONS)
    # The others are not even made: logs may have ten thousand.
    made = [_bucket(n + 1, found[n]) for n in range(0, len(found), every)]
    return _one_in(every, made)


def packed(found: Sequence[dict], size: int = SIZE) -> markupsafe.Markup:
    """Trees as JSON that can stand in a script element, each text once in a table.

    If it would be too long the longest texts are cut, all at one length, and say so.

    Args:
        found: trees of `of_trees` and `of_buckets`.
        size: bytes that the JSON may have, about.
    """
    table: dict[str, int] = {}
    body = [_indexed(tree, table) for tree in found]
    texts = _cut(list(table), size - len(_json(body)))
    text = _json({"texts": texts, "trees": body})
    # Half a character, which a file cannot hold, becomes a question mark. Within the
    # element only "<" could begin what ends it.
    text = text.encode("utf-8", "replace").decode()
    return markupsafe.Markup(text.replace("<", r"\u003c"))


def _tree(number: int, line: dict) -> dict:
    step, tooth = line["step"], line.get("tooth")
    about = [f"gold {line['answer']}"]
    return {
        "id": f"tree-{number}",
        "section": f"After {step} steps" if step else "Before training",
        "title": line["question"],
        "about": [*about, f"alternatives of {tooth}"] if tooth else about,
        "value": _round(np.mean(line["reward"])),
        "groups": _groups(line),
    }


def _groups(line: dict) -> list[dict]:
    """A saved tree with each group of siblings below the message it follows.

    A group hangs on the last of the roles whose alternatives its context varies over;
    the others are named beside it.
    """
    roles = {role["role"]: role for role in line["roles"]}
    names = list(roles)
    rewards = np.asarray(line["reward"], float)
    below: dict[tuple, list] = collections.defaultdict(list)
    for role in line["roles"]:
        sizes = [len(roles[name]["messages"][0]) for name in role["over"]]
        for n, at in enumerate(itertools.product(*map(range, sizes))):
            where = dict(zip(role["over"], at, strict=True))
            parent, beside = (), []
            if where:
                last = max(where, key=names.index)
                above = roles[last]["over"]
                parent = (last, *(where[name] for name in above), where[last])
                beside = [x for x in where if x != last and x not in above]
            below[parent].append((role, n, where, beside))

    def grow(parent):
        return [
            {
                "role": role["role"],
                **(
                    {"beside": [f"{x} {where[x] + 1}" for x in beside]}
                    if beside
                    else {}
                ),
                "messages": [
                    grown(role, {**where, role["role"]: k}, message)
                    for k, message in enumerate(role["messages"][n])
                ],
            }
            for role, n, where, beside in below[parent]
        ]

    def grown(role, where, message):
        groups = grow(
            (role["role"], *(where[x] for x in role["over"]), where[role["role"]])
        )
        leaves = rewards[tuple(where.get(name, slice(None)) for name in names)]
        return {
            "text": message["text"],
            "value": _round(message["value"]),
            "credit": {"advantage": _round(message["advantage"])},
            "logp": _round(sum(message["logp"])),
            "tokens": len(message["logp"]),
            **({} if message["ended"] else {"cut": True}),
            **({"below": groups} if groups else {"rewards": _counted(leaves.flat)}),
        }

    return grow(())


def _bucket(number: int, bucket: Bucket) -> dict:
    extra = bucket.extra
    about = [bucket.id] if bucket.id and bucket.context else []
    if extra:
        worth = f"{statistics.fmean(extra):.2f} on average"
        about += [f"{len(extra)} further messages earned {worth}"]
    messages = [_candidate(candidate) for candidate in bucket.candidates]
    return {
        "id": f"bucket-{number}",
        "section": f"Audit: {bucket.role}" if bucket.role else "Audit",
        "title": bucket.context or bucket.id or f"Bucket {number}",
        "about": about,
        "value": _round(statistics.fmean(message["value"] for message in messages)),
        "groups": [{"role": bucket.role or "candidates", "messages": messages}],
    }


def _candidate(candidate: Candidate) -> dict:
    """A message and, below it, what followed; equal continuations are counted."""
    message = {
        "text": candidate.text,
        "value": _round(statistics.fmean(candidate.returns)),
        "credit": {name: _round(x) for name, x in candidate.credit.items()},
    }
    if candidate.logp is not None:
        message["logp"] = _round(candidate.logp)
    if candidate.truncated:
        message["cut"] = True
    replies, answers = candidate.replies, candidate.answers
    if not (replies or answers):
        return {**message, "rewards": _counted(candidate.returns)}
    told = [(text,) for text in replies or answers]
    if replies and answers:
        told = list(zip(replies, answers, strict=True))
    found = collections.Counter(zip(told, candidate.returns, strict=True))
    followed = [
        {
            **dict(zip(("text", "answer"), texts, strict=False)),
            "value": _round(reward),
            **({"count": count} if count > 1 else {}),
            "rewards": [[_round(reward), count]],
        }
        for (texts, reward), count in found.items()
    ]
    role = "next agent" if replies else "answer"
    return {**message, "below": [{"role": role, "messages": followed}]}


def _size(groups: list[dict]) -> int:
    """How many messages a tree has."""
    return sum(1 + _size(m.get("below", [])) for g in groups for m in g["messages"])


def _every(count: int, most: int) -> int:
    return max(1, math.ceil(count / most))


def _one_in(every: int, made: list[dict]) -> list[dict]:
    if every == 1:
        return made
    return [{**x, "section": f"{x['section']}, one in {every}"} for x in made]


def _counted(rewards: Iterable[float]) -> list[list]:
    """[reward, how many], the highest first."""
    found = collections.Counter(_round(reward) for reward in rewards)
    return [[reward, found[reward]] for reward in sorted(found, reverse=True)]


def _round(x: float) -> float:
    return round(float(x), 4)


def _indexed(thing, table: dict[str, int]):
    """The same with every text as its number in a table, which grows."""
    if isinstance(thing, dict):
        return {
            name: table.setdefault(each, len(table))
            if name in _TEXTS
            else _indexed(each, table)
            for name, each in thing.items()
        }
    if isinstance(thing, list):
        return [_indexed(each, table) for each in thing]
    return thing


def _cut(texts: list[str], room: int) -> list[str]:
    """Texts that take no more than `room` bytes, cut at one length if they must be."""
    size = np.array([len(text.encode("utf-8", "replace")) for text in texts], int)
    ascending = np.sort(size)
    # Bytes if all texts were cut at the n-th of these lengths.
    longer = np.arange(len(texts))[::-1]
    total = np.cumsum(ascending) + ascending * longer + _SIGN * longer
    n = int(np.searchsorted(total, room, "right"))
    if n == len(texts):
        return texts
    before = ascending[:n].sum()
    limit = max(0, int((room - before) // (len(texts) - n)) - _SIGN)
    return [
        text if len(raw) <= limit else _shortened(raw, limit)
        for text in texts
        for raw in [text.encode("utf-8", "replace")]
    ]


def _shortened(raw: bytes, limit: int) -> str:
    kept = raw[:limit].decode("utf-8", "ignore")
    return f"{kept} [… {len(raw) - limit:,} more bytes]"


def _json(thing) -> str:
    return json.dumps(thing, ensure_ascii=False, separators=(",", ":"))
