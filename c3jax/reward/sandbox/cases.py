"""Cases of programs that read standard input and print, and what counts as right.

Two outputs are the same if their lines are, without white space at the ends of lines
and empty lines at the end; or if their words are and each differs at most as two
numbers may: by 1e-6, absolutely or relative to the expected one, where that is written
with a point or an exponent. Whole numbers and words are the same letter by letter.
"""

import json
import math
import re
from typing import NamedTuple

TOLERANCE = 1e-6
_REAL = re.compile(r"[+-]?(?:\d+\.\d*|\.\d+|\d+(?=[eE]))(?:[eE][+-]?\d+)?")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_MOST_LETTERS = 40  # of a number that is compared as one


class Cases(NamedTuple):
    """What a program is given and what it shall print, case by case.

    Attributes:
        inputs, outputs: texts.
        time_s: wall-clock seconds a case; None for the run's.
        memory_mb: MiB a case; None for the run's.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    time_s: float | None = None
    memory_mb: int | None = None


def read(text: str) -> Cases:
    """The cases in JSON of `inputs` and `outputs`.

    An input or output is a text, or a list of lines. There may be `time_limit_s` and
    `memory_limit_mb`.

    Raises:
        ValueError: there is no case in it, or what is wrong with one.
    """
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ValueError(f"is no JSON of inputs and outputs: {error}") from None
    if not isinstance(found, dict):
        raise ValueError("is no JSON object with inputs and outputs")
    ends = [found.get(name) for name in ("inputs", "outputs")]
    if not all(isinstance(end, list) for end in ends) or not ends[0]:
        raise ValueError("needs lists `inputs` and `outputs` with a case or more")
    if len(ends[0]) != len(ends[1]):
        raise ValueError(f"has {len(ends[0])} inputs for {len(ends[1])} outputs")
    limits = [found.get(name) for name in ("time_limit_s", "memory_limit_mb")]
    for limit in limits:
        is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
        if limit is not None and not (is_number and 0 < limit < math.inf):
            raise ValueError(
                f"has the limit {limit!r}; it must be a finite number above 0"
            )
    inputs, outputs = (tuple(map(_text, end)) for end in ends)
    if not any(output.strip() for output in outputs):
        raise ValueError("expects no output in any case, which an empty program gives")
    return Cases(inputs, outputs, limits[0], limits[1] and math.ceil(limits[1]))


def problem(text: str) -> str | None:
    """Why a text holds no cases; None if it does."""
    try:
        read(text)
    except ValueError as error:
        return str(error)
    return None


def _text(value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    raise ValueError(f"has the case {value!r:.60}; it must be text or a list of lines")


def is_right(printed: str, expected: str) -> bool:
    """Whether an output is the expected one; see the module."""
    pair = [
        [line.rstrip() for line in text.split("\n")] for text in (printed, expected)
    ]
    for lines in pair:
        while lines and not lines[-1]:
            lines.pop()
    if pair[0] == pair[1]:
        return True
    if len(pair[0]) != len(pair[1]):
        return False
    words = [[line.split() for line in lines] for lines in pair]
    return all(
        len(mine) == len(wanted) and all(map(_is_same, mine, wanted))
        for mine, wanted in zip(*words, strict=True)
    )


def _is_same(mine: str, wanted: str) -> bool:
    if mine == wanted:
        return True
    if max(len(mine), len(wanted)) > _MOST_LETTERS or not _REAL.fullmatch(wanted):
        return False
    if not _NUMBER.fullmatch(mine):
        return False
    gap, size = abs(float(mine) - float(wanted)), abs(float(wanted))
    # 1e999 is infinite, and every gap is within that.
    return size < math.inf and gap <= TOLERANCE * max(1.0, size)
