"""Numbers in other bases, compared as digits: 1011_2, A3_{16}, 2215_{\\text{six}}."""

import re
from typing import NamedTuple

_NAMES = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen"
)
_BASES = {name: str(base) for base, name in enumerate(_NAMES.split(), 2)}
_DIGITS = r"-?[\dA-Fa-f]*(?:\.[\dA-Fa-f]+)?"
_NUMBER = re.compile(rf"(?P<digits>{_DIGITS})(?:_(?P<base>\d+|[a-z]+))?")
_WRAPPED = re.compile(r"\\text(?![a-zA-Z])|[{}()\s]")


class Number(NamedTuple):
    """Digits, capital where they are letters, and the base; "" where none is named."""

    digits: str
    base: str


def read(text: str) -> Number | None:
    """The number that a tidy text writes out; None if it is something else."""
    match = _NUMBER.fullmatch(_WRAPPED.sub("", text))
    if not match or not match["digits"].strip("-"):
        return None
    base = match["base"] or ""
    if base and not base.isdigit():
        base = _BASES.get(base, "?")
    return None if base == "?" else Number(match["digits"].upper(), base)


def same(gold: str, said: str) -> bool | None:
    """Whether an answer has the digits of a gold one that names its base.

    Returns:
        None where the gold answer names none. An answer may leave the base away.
    """
    wanted, came = read(gold), read(said)
    if wanted is None or not wanted.base:
        return None
    alike = came is not None and came.digits == wanted.digits
    return alike and came.base in ("", wanted.base)
