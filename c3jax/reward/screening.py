"""What can be told of an expression without working it out."""

import re

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


def leaves_more(gold: str, said: str) -> bool:
    """Whether an answer leaves an operation that the gold one does not."""
    left = set(UNDONE.findall(said)) - set(UNDONE.findall(gold))
    # (2n)!/(n! n!) is a binomial.
    return bool(left - {r"\binom"} if "!" in gold else left)


_SUBSCRIPT = re.compile(r"_(?:\{[^{}]*\}|\w)|\([^()]*\)(?=\s*=|$)")
GREEK = re.compile(r"\\(?:alpha|beta|gamma|delta|theta|phi|varphi|lambda|mu|omega|rho)")
_OPERATOR = re.compile(r"\\(?!frac|sqrt|cdot|times|pi|text|left|right)[a-zA-Z]+")


def is_unsolved(side: str) -> bool:
    """Whether a side is one unknown with numbers: 2x, x + 6, x^2."""
    if _OPERATOR.search(side):
        return False
    side = _SUBSCRIPT.sub("", side)
    return len(letters(side)) == 1 and bool(re.search(r"\d|\\sqrt", side))
