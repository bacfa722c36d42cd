"""Formulas as plain trees.

A tree is a tuple, its first element says of what kind:

    ("n", Fraction)       a rational number
    ("c", name)           pi, e, i, or infinity
    ("x", name)           a symbol as it was written: R, x_{1}, x', \\vec{v}, \\gamma
    ("+", *terms), ("*", *factors), ("/", top, bottom), ("^", base, exponent)
    ("call", name, *args) a function that is not known: f(x + 1), f^{-1}(x)
    (name, *args)         one of `lexicon.NAMED`, "!" or "binom"
"""

from collections.abc import Iterator
from fractions import Fraction


class Unreadable(ValueError):
    """A text that is no formula, or none of those that are read here."""


ONE, TWO, TEN = (("n", Fraction(n)) for n in (1, 2, 10))
E, I, PI, INFINITY = (("c", name) for name in ("e", "i", "pi", "inf"))


def symbols(tree: tuple) -> set[str]:
    """The names of a tree's unknowns."""
    return {node[1] for node in nodes(tree) if node[0] == "x"}


def nodes(tree: tuple) -> Iterator[tuple]:
    """A tree and all trees in it."""
    yield tree
    for part in tree[1:]:
        if isinstance(part, tuple):
            yield from nodes(part)


def negative(tree: tuple) -> tuple:
    """Minus a tree; a number's sign belongs to the number."""
    if tree[0] == "n":
        return ("n", -tree[1])
    return ("*", ("n", Fraction(-1)), tree)


def holds_infinity(tree: tuple) -> bool:
    """Whether infinity stands in a formula, where it is no number."""
    plain = tree in (INFINITY, negative(INFINITY))
    return not plain and INFINITY in nodes(tree)


def quotient(top: tuple, bottom: tuple) -> tuple:
    """Of two numbers it is a number, and dy/dx is no quotient of d y and d x."""
    if _is_differential(bottom) and (_is_differential(top) or _is_d(top)):
        return ("call", "d/d", top, bottom)
    if top[0] == bottom[0] == "n" and bottom[1]:
        return ("n", top[1] / bottom[1])
    return ("/", top, bottom)


def _is_differential(tree: tuple) -> bool:
    return tree[0] == "*" and _is_d(tree[1])


def _is_d(tree: tuple) -> bool:
    return ("x", "d") in (tree, tree[1])
