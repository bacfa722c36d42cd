"""Rows of programs that read standard input and print."""

import json
import re
from collections.abc import Mapping

_LIMIT = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([A-Za-z]*)\s*")
# Of the limit's own unit, seconds or MiB; data sets spell them in these ways.
_SIZES = {
    "time_limit_s": {"ms": 1e-3, "milliseconds": 1e-3}
    | dict.fromkeys(("", "s", "sec", "secs", "second", "seconds"), 1.0),
    "memory_limit_mb": {"kb": 2**-10, "kilobytes": 2**-10, "gb": 2.0**10}
    | {"gigabytes": 2.0**10, "bytes": 2.0**-20}
    | dict.fromkeys(("", "mb", "mib", "megabyte", "megabytes"), 1.0),
}


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
            found[name] = _limit(row, fields[name], _SIZES[name])
    return json.dumps(found)


def _limit(row, name: str, sizes: Mapping[str, float]) -> float:
    value = row.value(name, (int, float, str))
    if not isinstance(value, str):
        return value
    limit = _LIMIT.fullmatch(value)
    if limit is None or limit[2].lower() not in sizes:
        units = ", ".join(filter(None, sizes))
        raise row.wrong(
            name, f"is {value!r:.60}; it must be a number with one of {units}"
        )
    return float(limit[1]) * sizes[limit[2].lower()]
