"""The data of the tree explorer: saved trees and buckets of a page, text and numbers.

`explorer.html` draws them, `explorer.js` moves among them. Both read *trees*:

    id       names it in the page's addresses
    section  its part of the list in which it is picked
    title    the question, or the context of a bucket
    about    further texts about it
    value    mean reward
    groups   alternatives to each other, sampled from one context:
      role      the role that speaks
      beside    further messages in the context, where a team is no chain
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
from c3jax.train import saved_trees

BUCKETS = "audit/buckets.jsonl"
# Messages of trees and of buckets in a page, and bytes with their texts: together with
# its pictures it stays below five million.
TREES, CONTINUATIONS, SIZE = 8_000, 20_000, 4_300_000
# Bytes of the mark at the end of a text that is cut.
_SIGN = 40
_TEXTS = ("title", "text", "answer")


def forest(directory: pathlib.Path) -> list[dict]:
    """All saved trees of a run, oldest first, and the buckets of its audit.

    Raises:
        ValueError: a line of the audit's file is no bucket.
    """
    paths = saved_trees.saved(directory)
    trees = of_trees(line for path in paths for line in saved_trees.load(path))
    if (directory / BUCKETS).exists():
        audited, wrong = buckets.read(directory / BUCKETS)
        if wrong:
            raise ValueError(f"{wrong[0]}; audit the run again.")
        trees += of_buckets(audited)
    return trees


def of_trees(lines: Iterable[dict]) -> list[dict]:
    """Saved trees as trees of the explorer.

    Args:
        lines: saved trees, from `train.saved_trees.load`.
    """
    made = [_tree(number, line) for number, line in enumerate(lines, 1)]
    every = _every(sum(_size(tree["groups"]) for tree in made), TREES)
    return _one_in(every, made[::every])


def of_buckets(found: Sequence[Bucket]) -> list[dict]:
    """Buckets as trees of the explorer: each candidate above its continuations."""
    followed = [c.replies or c.answers for bucket in found for c in bucket.candidates]
    every = _every(sum(1 + len(texts) for texts in followed), CONTINUATIONS)
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
    # element only "<" could begin the tag that ends it.
    text = text.encode("utf-8", "replace").decode()
    return markupsafe.Markup(text.replace("<", r"\u003c"))


def _tree(number: int, line: dict) -> dict:
    step, decision = line["step"], line.get("decision")
    about = [f"gold {line['answer']}"]
    return {
        "id": f"tree-{number}",
        "section": f"After {step} steps" if step else "Before training",
        "title": line["question"],
        "about": [*about, f"alternatives of {decision}"] if decision else about,
        "value": _round(np.mean(line["reward"])),
        "groups": _groups(line),
    }


def _groups(line: dict) -> list[dict]:
    """A saved tree with each group of siblings below the message it follows.

    A group hangs on the last of the roles whose alternatives its context varies over;
    the others are named beside it.
    """
    # Every group by the address of the message that it follows.
    roles = {role["role"]: role for role in line["roles"]}
    names = list(roles)
    rewards = np.asarray(line["reward"], float)
    below: dict[tuple, list] = collections.defaultdict(list)
    for role in line["roles"]:
        sizes = [len(roles[name]["messages"][0]) for name in role["over"]]
        for n, at in enumerate(itertools.product(*map(range, sizes))):
            place = dict(zip(role["over"], at, strict=True))
            parent, beside = (), []
            if place:
                last = max(place, key=names.index)
                above = roles[last]["over"]
                parent = (last, *(place[name] for name in above), place[last])
                beside = [x for x in place if x != last and x not in above]
            below[parent].append((role, n, place, beside))

    # From the question down.
    def groups(parent):
        return [group(*entry) for entry in below[parent]]

    def group(role, n, place, beside):
        name = role["role"]
        others = {"beside": [f"{x} {place[x] + 1}" for x in beside]} if beside else {}
        messages = [
            message(role, {**place, name: k}, saved)
            for k, saved in enumerate(role["messages"][n])
        ]
        return {"role": name, **others, "messages": messages}

    def message(role, place, saved):
        name = role["role"]
        replies = groups((name, *(place[x] for x in role["over"]), place[name]))
        leaves = rewards[tuple(place.get(name, slice(None)) for name in names)]
        return {
            "text": saved["text"],
            "value": _round(saved["value"]),
            "credit": {"advantage": _round(saved["advantage"])},
            "logp": _round(sum(saved["logp"])),
            "tokens": len(saved["logp"]),
            **({} if saved["ended"] else {"cut": True}),
            **({"below": replies} if replies else {"rewards": _counted(leaves.flat)}),
        }

    return groups(())


def _bucket(number: int, bucket: Bucket) -> dict:
    """A bucket as a tree: its context, and one group of candidates."""
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
    """A message and, below it, its continuations; equal ones are counted."""
    message = {
        "text": candidate.text,
        "value": _round(statistics.fmean(candidate.returns)),
        "credit": {name: _round(x) for name, x in candidate.credit.items()},
    }
    if candidate.logp is not None:
        message["logp"] = _round(candidate.logp)
    if candidate.truncated:
        message["cut"] = True

    # (reply, answer), or the one that is known, with how often it occurred.
    replies, answers = candidate.replies, candidate.answers
    if not (replies or answers):
        return {**message, "rewards": _counted(candidate.returns)}
    texts = [(text,) for text in replies or answers]
    if replies and answers:
        texts = list(zip(replies, answers, strict=True))
    counts = collections.Counter(zip(texts, candidate.returns, strict=True))
    followed = [
        {
            **dict(zip(("text", "answer"), texts, strict=False)),
            "value": _round(reward),
            **({"count": count} if count > 1 else {}),
            "rewards": [[_round(reward), count]],
        }
        for (texts, reward), count in counts.items()
    ]
    role = "next agent" if replies else "answer"
    return {**message, "below": [{"role": role, "messages": followed}]}


def _size(groups: list[dict]) -> int:
    """How many messages a tree has."""
    return sum(1 + _size(m.get("below", [])) for g in groups for m in g["messages"])


def _every(count: int, most: int) -> int:
    """n, so that every n-th tree leaves at most so many messages."""
    return max(1, math.ceil(count / most))


def _one_in(every: int, made: list[dict]) -> list[dict]:
    """Trees of which the others are left out, and sections that say so."""
    if every == 1:
        return made
    return [{**x, "section": f"{x['section']}, one in {every}"} for x in made]


def _counted(rewards: Iterable[float]) -> list[list]:
    """[reward, how many], the highest first."""
    counts = collections.Counter(_round(reward) for reward in rewards)
    return [[reward, counts[reward]] for reward in sorted(counts, reverse=True)]


def _round(x: float) -> float:
    return round(float(x), 4)


def _indexed(thing, table: dict[str, int]):
    """The same with every text as its number in a table, which grows."""
    if isinstance(thing, dict):
        return {
            name: table.setdefault(part, len(table))
            if name in _TEXTS
            else _indexed(part, table)
            for name, part in thing.items()
        }
    if isinstance(thing, list):
        return [_indexed(part, table) for part in thing]
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
    # The n shortest stay whole; the others share the room that is left.
    before = ascending[:n].sum()
    limit = max(0, int((room - before) // (len(texts) - n)) - _SIGN)

    def shortened(text):
        raw = text.encode("utf-8", "replace")
        kept = raw[:limit].decode("utf-8", "ignore")
        sign = f" [… {len(raw) - limit:,} more bytes]"
        return text if len(raw) <= limit else kept + sign

    return [*map(shortened, texts)]


def _json(thing) -> str:
    return json.dumps(thing, ensure_ascii=False, separators=(",", ":"))
