"""Rows of programs that read standard input and print."""

import json
import re
from collections.abc import Mapping

_NUMBER = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*[A-Za-z]*\s*")


def answer(row, fields: Mapping[str, str]) -> str:
    """The cases of a row as JSON, as `c3jax.reward.sandbox.cases` reads them.

    Args:
        row: a `rows.Row`.
        fields: the file's names for "inputs" and "outputs", lists of equal length, and
            for "time_limit_s" and "memory_limit_mb", numbers or texts such as
            "2 seconds"; "" for none.

    Returns:
        "" where no field of inputs is named.

    Raises:
        ValueError: a field is not there, or of another type.
    """
    if not fields.get("inputs"):
        return ""
    ends = ("inputs", "outputs")
    found = {end: row.value(fields[end], list) for end in ends}
    for name in ("time_limit_s", "memory_limit_mb"):
        if fields.get(name) and row.has(fields[name]):
            found[name] = _limit(row, fields[name])
    return json.dumps(found)


def _limit(row, name) -> float:
    value = row.value(name, (int, float, str))
    if not isinstance(value, str):
        return value
    number = _NUMBER.fullmatch(value)
    if number is None:
        raise row.wrong(name, f"is {value!r:.60}; it must begin with a number")
    return float(number[1])
