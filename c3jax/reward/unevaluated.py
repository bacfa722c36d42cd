"""A formula's tree as an expression of SymPy in which nothing is carried out."""

import traceback
from collections.abc import Callable
from fractions import Fraction

import sympy

from c3jax.reward import lexicon

_CONSTANTS = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "inf": sympy.oo}
_FUNCTIONS = {
    **{name: getattr(sympy, name) for name in lexicon.TRIGONOMETRIC},
    **{n: getattr(sympy, n) for n in ("sinh", "cosh", "tanh", "asin", "acos", "atan")},
    "abs": sympy.Abs,
    "floor": sympy.floor,
    "ceil": sympy.ceiling,
    "!": sympy.factorial,
    "binom": sympy.binomial,
    "ln": sympy.log,
    "max": sympy.Max,
    "min": sympy.Min,
}


def expression(tree: tuple) -> sympy.Expr:
    """The tree in SymPy's classes, its operations as they were written."""
    kind = tree[0]
    if kind == "n":
        return sympy.Rational(tree[1].numerator, tree[1].denominator)
    if kind == "c":
        return _CONSTANTS[tree[1]]
    if kind == "x":
        return sympy.Symbol(tree[1], real=True)
    if kind == "call":
        args = map(expression, tree[2:])
        return sympy.Function(tree[1])(*args)
    parts = [expression(part) for part in tree[1:]]
    if kind == "+":
        return sympy.Add(*parts, evaluate=False)
    if kind == "*":
        return sympy.Mul(*parts, evaluate=False)
    if kind == "/":
        under = sympy.Pow(parts[1], -1, evaluate=False)
        if parts[0] == 1:
            return under
        return sympy.Mul(parts[0], under, evaluate=False)
    if kind == "^":
        if parts[0] is sympy.E:
            return sympy.exp(parts[1], evaluate=False)
        return sympy.Pow(*parts, evaluate=False)
    if kind == "log":
        base, of = parts
        return sympy.log(of, base, evaluate=False)
    if kind in _FUNCTIONS:
        return _FUNCTIONS[kind](*parts, evaluate=False)
    return sympy.Function(kind)(*parts)


def carefully(law: Callable, otherwise, *args):
    """What a law says, or something else where SymPy fails, which may raise anything.

    Raises:
        MemoryError: ends the worker.
        Exception: was raised by a line of c3jax, so it is a fault of ours.
    """
    try:
        return law(*args)
    except MemoryError:
        raise
    except Exception as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        if frame.f_globals["__name__"].startswith("c3jax."):
            raise
        return otherwise


def around_roots(tree: tuple) -> set[Fraction]:
    """Numbers on both sides of each real root of a rational function of one unknown."""
    return carefully(_around_roots, set(), tree)


def _around_roots(tree: tuple) -> set[Fraction]:
    ends = set()
    for part in sympy.fraction(sympy.together(expression(tree))):
        if part.free_symbols:
            for around, _ in sympy.Poly(part).intervals():
                ends |= {Fraction(int(end.p), int(end.q)) for end in around}
    return ends | {end + side for end in ends for side in (-1, 1)}
