"""Refusals that every layer words the same way: the value, and what it must be."""

import difflib
from collections.abc import Iterable, Mapping


def pick(table: Mapping, name: str, field: str):
    """The entry of a table that a config field names.

    Raises:
        ValueError: no such entry; the message lists the names and the nearest one.
    """
    if name in table:
        return table[name]
    raise ValueError(f"{field}={name!r} is not known; {suggest(name, table)}")


def suggest(name: str, known: Iterable[str]) -> str:
    """The nearest known name, and all known names, for an error."""
    near = difflib.get_close_matches(
        str(name), [str(k) for k in known], n=1, cutoff=0.5
    )
    meant = f"did you mean {near[0]!r}? " if near else ""
    return f"{meant}pick one of {sorted(known)}."


def require(claim: bool, field: str, value, wanted: str) -> None:
    """Refuses a value of a config field.

    Raises:
        ValueError: `claim` is false.
    """
    if not claim:
        raise ValueError(f"{field}={value!r}: it must be {wanted}.")


def only_keys(section: Mapping, known: Iterable[str], field: str) -> None:
    """Refuses a section with an unknown key, or without one that is read.

    Raises:
        ValueError: names the key.
    """
    known = set(known)
    for key in section:
        if key not in known:
            raise ValueError(f"{field}.{key} is read by nobody; {suggest(key, known)}")
    if missing := sorted(known - set(section)):
        raise ValueError(f"{field} lacks {missing}; add them to the config.")
