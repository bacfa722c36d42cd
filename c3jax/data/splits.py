"""Splits that stay apart: a team is measured on questions that it never trains on.

The validation split is for what is looked at while a team learns, and for choices made
from it; the test split is read at the start and at the end.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from c3jax.data import overlap, pipeline, rows
from c3jax.data.builders import origins

# The part of the training questions that is held out, and how many it is at least.
_PART, _LEAST = 10, 2


def apart(
    part: Sequence, measured: Sequence, near: Mapping, split: str
) -> tuple[Sequence, str]:
    """Questions without those that are in another split, and what was found in words.

    Args:
        measured: the questions of the other split.
        near: `action`, what becomes of questions in both, "drop", "keep" or "refuse",
            with `ngram` and `share` for `overlap.find`.
        split: the name of the other, "test" or "validation".

    Raises:
        ValueError: there are some and they are refused.
    """
    shared = _shared(part, measured, near)
    if not shared.places:
        return part, f", none of them in the {split} split"
    if near["action"] == "refuse":
        first = part[min(shared.places)]
        raise ValueError(
            f"data.overlap.action='refuse': {len(shared.places)} questions "
            f"are in the {split} split ({shared}), the first of them {first.id!r}. Say "
            "'drop' to leave them out."
        )
    outcome = "kept"
    if near["action"] == "drop":
        part, outcome = _without(part, shared.places), "left out"
    found = f"{len(shared.places)} of them in the {split} split ({shared})"
    return part, f", {found} and {outcome}"


def held_out(
    parts: Sequence[Sequence], most: int, near: Mapping
) -> tuple[Sequence, list[Sequence], str]:
    """A tenth of the training questions, the same for every seed, held out of them.

    Args:
        most: questions that are held out in all.
        near: as in `apart`; questions like one that is held out are left out with it,
            unless they are kept or refused.

    Returns:
        The questions held out, the parts without them, and both in words.

    Raises:
        ValueError: the training questions are too few, or some are like one that is
            held out and they are refused.
    """
    total = sum(map(len, parts))
    count = min(most, max(_LEAST, total // _PART))
    if total < 2 * _LEAST:
        raise ValueError(
            f"data.validation='': {total} training questions are too few to hold "
            f"{_LEAST} of them out; name a file of further ones, or say None, and the "
            "test questions are read instead."
        )

    # A random choice from all, in their order.
    chosen = np.random.default_rng(0).permutation(total)[:count]
    held, kept, begin = [], [], 0
    for part in parts:
        places = sorted(n - begin for n in chosen if begin <= n < begin + len(part))
        held.append(pipeline.Selected(part, places))
        kept.append(_without(part, {*places}))
        begin += len(part)
    held = pipeline.Mixture([part for part in held if len(part)])

    # With all that is like it.
    told = f"{count:,} of the training questions"
    if near["action"] != "keep":
        alike = [_shared(part, held, near).places for part in kept]
        if near["action"] == "refuse" and any(alike):
            part, places = next(
                pair for pair in zip(kept, alike, strict=True) if pair[1]
            )
            raise ValueError(
                f"data.overlap.action='refuse': {sum(map(len, alike))} training "
                "questions are like some that are held out for data.validation='', "
                f"the first of them {part[min(places)].id!r}. Say 'drop' to leave "
                "them out, or name validation questions."
            )
        kept = [_without(*pair) for pair in zip(kept, alike, strict=True)]
        if any(alike):
            told += f", {sum(map(len, alike)):,} more like these left out"
    if not all(map(len, kept)):
        raise ValueError(
            "data.validation='': nothing is left to train on once some questions, and "
            "all that are like these, are held out; name a file of further ones."
        )
    return held, kept, told


def _without(part: Sequence, places: set[int] | frozenset[int]) -> Sequence:
    if not places:
        return part
    return pipeline.Selected(part, [n for n in range(len(part)) if n not in places])


def _shared(part: Sequence, measured: Sequence, near: Mapping) -> overlap.Overlap:
    ours, theirs = list(part), list(measured)
    shared = overlap.find(
        [item.text for item in ours],
        [item.text for item in theirs],
        near["ngram"],
        near["share"],
    )
    return overlap.named(shared, [*map(_called, ours)], [*map(_called, theirs)])


def _called(item: rows.Item) -> str:
    """The name of a published question in its family; "" for one's own."""
    dataset = origins.DATASETS.get(item.id.partition("/")[0])
    return dataset.called(item.id) if dataset else ""
