"""What can be told of an expression without working it out."""

import re

MAX_DIGITS, MAX_POWER = 40, 10_000
# 2215_6: digits in another base are compared as digits.
BASE = re.compile(r"(?:\d[\dA-F]*|[A-F][\dA-F]+)\}?\s*_\s*\{?\s*(?:\d|\\text)")
_COMMAND = re.compile(r"\\[a-zA-Z]+|\\.")


def letters(text: str) -> set[str]:
    """The unknowns of an expression; R is not r, which the algebra system forgets."""
    return set(re.findall("[a-zA-Z]", _COMMAND.sub(" ", text)))


UNDONE = re.compile(
    r"\\(?:[dt]?binom|choose|gcd|lcm|det|max|min|b?mod|pmod|int|oint|sum|prod|lim"
    r"|approx|dots|ldots|cdots)(?![a-zA-Z])"
)
_LONG_NUMBER = re.compile(rf"\d{{{MAX_DIGITS},}}")
_POWER = re.compile(r"\^\s*\{?\s*[+-]?\s*(\d+)|(\d+)\s*!")
_TOWER = re.compile(r"\^\s*(?:\{[^{}]*(?:\^|!)|\w\s*\^|\(+[^()]*\^)|!\s*!|\)\s*!")


def is_costly(gold: str, said: str) -> bool:
    """Whether an expression that is not shaped like the gold one may take an age."""
    powers = [int(a or b) for a, b in _POWER.findall(said)]
    if powers and max(powers) > MAX_POWER:
        return True
    if _TOWER.search(said) and not _TOWER.search(gold):
        return True
    return bool(_LONG_NUMBER.search(said))


_SUBSCRIPT = re.compile(r"_(?:\{[^{}]*\}|\w)|\([^()]*\)(?=\s*=|$)")
GREEK = re.compile(r"\\(?:alpha|beta|gamma|delta|theta|phi|varphi|lambda|mu|omega|rho)")
_OPERATOR = re.compile(r"\\(?!frac|sqrt|cdot|times|pi|text|left|right)[a-zA-Z]+")


def is_unsolved(side: str) -> bool:
    """Whether a side is one unknown with numbers: 2x, x + 6, x^2."""
    if _OPERATOR.search(side):
        return False
    side = _SUBSCRIPT.sub("", side)
    return len(letters(side)) == 1 and bool(re.search(r"\d|\\sqrt", side))
