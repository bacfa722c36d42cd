"""Expressions as an algebra system sees them: what the verifier's workers do.

math-verify reads LaTeX into SymPy without evaluating it. Two expressions are equal if
they have the same value at eighty digits, at random points where they have unknowns;
`forms` checks that the answer leaves no more to work out than the gold one.
"""

import functools
import logging
import re
import sys
import types
import zlib
from fractions import Fraction

import math_verify
import sympy
from latex2sympy2_extended import math_normalization

from c3jax.reward import forms, matching

# It warns that its own time limits are off; here the pool has one.
logging.getLogger("math_verify").setLevel(logging.ERROR)

_CONFIG = [
    math_verify.LatexExtractionConfig(
        boxed_match_priority=0,
        # `reading` took the units off. math-verify takes 5t for 5 tons.
        normalization_config=math_normalization.NormalizationConfig(
            basic_latex=True, units=False, malformed_operators=True, nits=True
        ),
    )
]
_DIGITS, _POINTS = 80, 4
# Far below what a decimal of 40 digits, the longest that is read, can be off.
_EQUAL = sympy.Float("1e-60", _DIGITS)


def answer(request: dict) -> bool:
    """Judges one answer, in a worker.

    Args:
        request: "gold", "said" and "rules", as in `matching.same`.

    Raises:
        MemoryError: ends the worker, whose state is unknown; a fresh one is asked.
    """
    rules = types.SimpleNamespace(**request["rules"])
    try:
        return matching.same(
            request["gold"], request["said"], rules, sys.modules[__name__]
        )
    except MemoryError:
        raise
    except Exception:  # SymPy raises anything on a formula that nobody would write
        return False


def equal(gold: str, said: str, rules, finished: bool = True) -> bool:
    """See `matching.Algebra.equal`."""
    wanted, came = tree(gold), tree(said)
    if not all(isinstance(side, sympy.Expr) for side in (wanted, came)):
        return False
    if finished and not forms.is_finished(wanted, came, gold, said):
        return False
    pairs = _samples(wanted, came)
    if not pairs:  # an infinity, or a function that is not known
        return wanted.doit() == came.doit()
    tolerance = 0 if wanted.free_symbols else rules.tolerance
    return all(_near(g, s, tolerance) for g, s in pairs)


def relations(gold: str, said: str) -> bool:
    """See `matching.Algebra.relations`: equal up to a factor, positive if ordered."""
    wanted, came = _sides(tree(gold)), _sides(tree(said))
    if wanted is None or came is None or wanted[0] != came[0]:
        return False
    pairs = _samples(wanted[1], came[1])
    if not pairs or any(abs(v) < _EQUAL for pair in pairs for v in pair):
        return False
    ratios = [g / s for g, s in pairs]
    if wanted[0] != "=" and not (ratios[0].is_real and ratios[0] > 0):
        return False
    return all(_near(ratios[0], ratio, 0) for ratio in ratios)


@functools.lru_cache(1024)
def tree(text: str) -> sympy.Basic | None:
    """A tidy expression as math-verify reads it; None if it cannot."""
    text = re.sub(r"\d*\.\d+|\d+\.(?!\d)", _exact, text)
    # Alone, an angle is its number of degrees; under a function it is an angle.
    text = text.replace("°", r"\frac{\pi}{180}")
    readings = math_verify.parse(
        rf"\boxed{{{text}}}", _CONFIG, fallback_mode="no_fallback", parsing_timeout=None
    )
    known = readings and isinstance(readings[0], sympy.Basic)
    return readings[0] if known else None


def _samples(gold: sympy.Expr, said: sympy.Expr) -> list[tuple]:
    """Their values at the points where both have one; one point without unknowns."""
    names = gold.free_symbols | said.free_symbols
    samples = []
    for point in range(_POINTS if names else 1):
        at = {name: _coordinate(name, point) for name in names}
        values = [_number(side.xreplace(at)) for side in (gold, said)]
        if None not in values:
            samples.append(tuple(values))
    return samples


def _coordinate(name: sympy.Symbol, point: int) -> sympy.Expr:
    """A number between -2 and 2 that depends on the unknown's name."""
    if name.name == "i":  # the reader takes it for an unknown
        return sympy.I
    ticks = zlib.crc32(f"{name.name} {point}".encode()) % 4001 - 2000
    return sympy.Float(2 * ticks + 1, 100) / 1999


def _number(tree: sympy.Expr) -> sympy.Expr | None:
    """Eighty digits of a closed expression; None where it has no finite value."""
    value = sympy.N(tree.doit(), _DIGITS)
    known = value.is_number and value.is_finite and not value.has(sympy.nan, sympy.zoo)
    return value if known and not value.atoms(sympy.Function) else None


def _near(gold: sympy.Expr, said: sympy.Expr, tolerance: float) -> bool:
    off, size = abs(gold - said), max(abs(gold), abs(said))
    if gold == 0 or said == 0:  # the other may be what a cancellation leaves
        return bool(size <= _EQUAL)
    return bool(off <= max(_EQUAL * size, tolerance * abs(gold)))


def _exact(decimal: re.Match) -> str:
    value = Fraction(decimal[0])
    if value.denominator == 1:
        return str(value)
    return rf"(\frac{{{value.numerator}}}{{{value.denominator}}})"


def _sides(relation) -> tuple[str, sympy.Expr] | None:
    """The sign between the sides, and the larger side less the smaller."""
    if isinstance(relation, sympy.Eq):
        return "=", relation.lhs - relation.rhs
    if isinstance(relation, sympy.Lt | sympy.Gt):
        return "<", relation.gts - relation.lts
    if isinstance(relation, sympy.Le | sympy.Ge):
        return "<=", relation.gts - relation.lts
    return None
