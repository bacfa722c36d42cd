"""Whether two formulas are one function, or one number.

- Rational functions, and with them all integers and fractions, however long: modulo
  primes; see `residues`.
- Other numbers: intervals, with more digits until they part. If they do not part at
  the precision B at which a difference that is not zero would have to show, they are
  equal. For roots of integers, i and what is made of them, B is the separation bound of
  Burnikel, Funke, Mehlhorn, Schirra and Schmitt (Algorithmica 55 (2009) 14, BFMSS).
  For logarithms, powers of e and pi no such bound is known; B is then four times the
  bits of the formula and 1000 at least, in the spirit of Richardson's conjecture.
- Other functions: their values at many points; see `sampling`. A point at which one
  side has no value and the other has parts them, unless it is one of the integers,
  halves and numbers of the text, which may be an isolated hole, as 0 is of x^2/x.
"""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

from mpmath import iv

from c3jax.reward import formulas, intervals, lexicon, residues, sampling

_FIRST_BITS, _LEAST_BITS, _MOST_BITS = 96, 1000, 20_000
_LEAST_SAMPLED_BITS = 80
_LEAST_POINTS, _MOST_NOTHING = 3, 20
_INFINITIES = (formulas.INFINITY, formulas.negative(formulas.INFINITY))


def equal(gold: tuple, said: tuple) -> bool:
    """Whether two trees have the same value wherever they have one."""
    if gold == said:
        return not _is_undefined(gold)
    # Equal infinities were equal trees.
    if gold in _INFINITIES or said in _INFINITIES:
        return False
    if residues.are_rational(gold, said):
        return bool(residues.equal(gold, said))
    # f(x + 1) and f(1 + x) are one value of a function that nobody knows.
    gold, said = _named_calls(gold, said)
    if gold == said:
        return True
    if residues.are_rational(gold, said):
        return bool(residues.equal(gold, said))
    if not (formulas.symbols(gold) | formulas.symbols(said)):
        return _equal_numbers(gold, said)
    return _agree_everywhere(gold, said)


def proportional(gold: tuple, said: tuple, positive: bool = False) -> bool:
    """Whether one is a constant, not zero, times the other.

    Args:
        positive: whether the constant must be positive.
    """
    # A factor of infinity is no constant.
    if any(formulas.INFINITY in formulas.nodes(tree) for tree in (gold, said)):
        return False
    gold, said = _named_calls(gold, said)
    if residues.are_rational(gold, said):
        # Residues have no sign, so an order still asks for points.
        constant = bool(residues.proportional(gold, said))
        if not constant or not positive:
            return constant
    factors = []
    for at, _ in sampling.points(gold, said):
        try:
            factor = intervals.value(("/", gold, said), at, _FIRST_BITS * 3)
        except ArithmeticError:
            continue
        factors.append(factor)
        if _may_meet(factor, Fraction(0)) or not _may_meet(factors[0], factor):
            return False
        if positive and not _is_positive(factor):
            return False
    return len(factors) >= _LEAST_POINTS


def near(gold: tuple, said: tuple, tolerance: float) -> bool:
    """Whether a number is off by at most a fraction of the gold one."""
    try:
        a, b = (intervals.value(tree, {}, 256) for tree in (gold, said))
    except ArithmeticError:
        return False
    off, size = abs(_difference(a, b)), abs(intervals.interval(a))
    return bool(off.b <= tolerance * size.b)


def _is_undefined(tree: tuple) -> bool:
    """Whether a number has no value: 1/0 is not even itself."""
    if formulas.symbols(tree) or tree in _INFINITIES:
        return False
    if any(node[0] == "call" for node in formulas.nodes(tree)):
        return False  # nobody knows
    try:
        intervals.value(tree, {}, _FIRST_BITS)
    except intervals.Undefined:
        return True
    except ArithmeticError:
        return False
    return False


def _named_calls(*trees: tuple) -> list[tuple]:
    """Trees in which a symbol stands for each value of a function that is not known."""
    calls = []

    def named(tree):
        parts = [named(p) if isinstance(p, tuple) else p for p in tree[1:]]
        if tree[0] != "call":
            return (tree[0], *parts)
        name, *args = parts
        for other, came, symbol in calls:
            alike = name == other and len(args) == len(came)
            if alike and all(itertools.starmap(equal, zip(args, came, strict=True))):
                return symbol
        calls.append((name, args, ("x", f"{name}(..) {len(calls)}")))
        return calls[-1][2]

    return [named(tree) for tree in trees]


def _equal_numbers(gold: tuple, said: tuple) -> bool:
    difference = ("+", gold, formulas.negative(said))
    enough = separation(difference)
    if enough is None or enough > _MOST_BITS:
        return False
    bits = _FIRST_BITS
    while True:
        try:
            a, b = (intervals.value(tree, {}, bits) for tree in (gold, said))
            if not _may_meet(a, b):
                return False
            # Closer together than two different values can be.
            if _width(_difference(a, b)) < _tiny(enough):
                return True
        # More digits tell on which side of a jump it lies.
        except intervals.Blurred:
            pass
        except ArithmeticError:
            return False
        if bits > 2 * _MOST_BITS:
            return False
        bits *= 4


def _tiny(bits: int) -> iv.mpf:
    return iv.mpf(2) ** -bits


def _width(number: intervals.Value) -> iv.mpf:
    if intervals.is_complex(number):
        return iv.mpf(max(_width(number.real), _width(number.imag)))
    return number.b - number.a


def _may_meet(a: intervals.Value, b: intervals.Value) -> bool:
    """Whether two values may be one."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    difference = _difference(a, b)
    if intervals.is_complex(difference):
        return 0 in difference.real and 0 in difference.imag
    return 0 in difference


def _difference(a: intervals.Value, b: intervals.Value) -> iv.mpf | iv.mpc:
    return intervals.interval(a) - intervals.interval(b)


def _is_positive(number: intervals.Value) -> bool:
    if isinstance(number, Fraction):
        return number > 0
    return not intervals.is_complex(number) and bool(number.a > 0)


def separation(tree: tuple) -> int | None:
    """The bits B at which a number that is not zero is above 2^-B in size.

    With u and l bounds of the conjugates of numerator and denominator and D of the
    degree, that is (D - 1) log u + log l; see the head of this module.
    """
    degrees = {}
    found = _bounds(tree, degrees)
    if found is None:
        return None
    top, bottom = found
    # All parts are algebraic, so the bound is proved.
    if None not in degrees.values():
        bound = (math.prod(degrees.values()) - 1) * top + bottom
        if bound < _MOST_BITS:
            return math.ceil(bound) + 2
    return max(_LEAST_BITS, 4 * math.ceil(top + bottom))


def _bounds(tree: tuple, degrees: dict) -> tuple[float, float] | None:
    """Logarithms of u and l, and the degree of each root of the tree.

    Returns:
        None for a number that is too long.
    """
    kind = tree[0]
    if kind == "n":
        return _log2(tree[1].numerator), _log2(tree[1].denominator)
    if kind == "c":
        degrees[tree] = 2 if tree == formulas.I else None
        return 2.0, 0.0
    if kind in lexicon.TRIGONOMETRIC and (turns := _turns(tree[1], formulas.ONE)):
        degrees["turn", turns.denominator] = 2 * turns.denominator
        return 2.0, 2.0
    if kind == "^":
        return _power_bounds(tree, degrees)
    parts = [_bounds(part, degrees) for part in tree[1:]]
    if None in parts:
        return None
    if kind == "+":
        bottom = sum(low for _, low in parts)
        tops = [top + bottom - low for top, low in parts]
        return max(tops) + math.log2(len(tops)), bottom
    if kind == "*":
        return sum(top for top, _ in parts), sum(low for _, low in parts)
    if kind == "/":
        (top, low), (other, under) = parts
        return top + under, low + other
    if kind == "abs":
        return parts[0]
    if (number := intervals.exact(tree)) is not None:
        return _log2(number.numerator), _log2(number.denominator)
    degrees[tree] = None
    return sum(map(sum, parts)) + 4.0, 4.0


def _power_bounds(tree: tuple, degrees: dict) -> tuple[float, float] | None:
    """Of a root or power of an algebraic number, or of e^(i pi r)."""
    _, base, exponent = tree
    if base == formulas.E and (turns := _turns(exponent, formulas.I)):
        degrees["turn", turns.denominator] = 2 * turns.denominator
        return 0.0, 0.0
    found, power = _bounds(base, degrees), intervals.exact(exponent)
    if found is None:
        return None
    if power is None:
        inside = _bounds(exponent, degrees)
        degrees[tree] = None
        return None if inside is None else (sum(found) + sum(inside) + 4.0, 4.0)
    if power.denominator > 1:
        degrees[base, power.denominator] = power.denominator
    if power.numerator.bit_length() > 40:
        return None
    top, bottom = (size * float(abs(power)) for size in found)
    return (bottom, top) if power < 0 else (top, bottom)


def _log2(number: int) -> float:
    return math.log2(abs(number)) if number else 0.0


def _turns(tree: tuple, unit: tuple) -> Fraction | None:
    """The r of r pi, or of r pi i; None if a tree is no such thing."""

    def at(pi: int, i: int) -> Fraction | None:
        one, other = ("n", Fraction(pi)), ("n", Fraction(i))
        swap = {
            formulas.PI: one,
            **({formulas.I: other} if unit != formulas.ONE else {}),
        }
        return intervals.exact(_swapped(tree, swap))

    # A multiple of pi grows with pi alone; what does so for all of these is one.
    turns = at(1, 1)
    factors = ((2, 1), (3, 1), (1, 2), (1, 3), (5, 7))
    for pi, i in factors:
        times = pi * i if unit != formulas.ONE else pi
        if turns is None or at(pi, i) != times * turns:
            return None
    return turns


def _swapped(tree: tuple, swap: dict) -> tuple:
    if tree in swap:
        return swap[tree]
    parts = (_swapped(p, swap) if isinstance(p, tuple) else p for p in tree[1:])
    return (tree[0], *parts)


def _agree_everywhere(gold: tuple, said: tuple) -> bool:
    """Whether two functions have the same value at all points where they have one."""
    longest = max(residues.bits(node) for node in _nodes(gold, said))
    # A number that long would be written out at every point.
    if longest > _MOST_BITS:
        return False
    # 10^-400 must be seen beside 1.
    enough = _LEAST_SAMPLED_BITS + longest
    count = nothing = 0
    for at, generic in sampling.points(gold, said):
        found = _agree(gold, said, at, enough)
        if found is None:
            nothing += 1
            if nothing > _MOST_NOTHING * (1 + count):
                return False
            continue
        if found == "apart" or (found == "hole" and generic):
            return False
        count += found == "agree"
    return count >= _LEAST_POINTS


def _nodes(*trees: tuple) -> Iterator[tuple]:
    return itertools.chain.from_iterable(map(formulas.nodes, trees))


def _agree(gold: tuple, said: tuple, at: dict, enough: int) -> str | None:
    """What two functions do at a point.

    Args:
        enough: bits; a difference below 2^-enough is none.

    Returns:
        "agree"; "apart"; "hole" where one has no value; None where nothing is known.
    """
    for bits in (_FIRST_BITS, 4 * _FIRST_BITS, max(intervals.SHARP, 2 * enough)):
        try:
            a, b = _value(gold, at, bits), _value(said, at, bits)
        except intervals.TooLarge:
            return None
        except intervals.Blurred:
            continue
        if a is None or b is None:
            return None if a is b else "hole"
        if not _may_meet(a, b):
            return "apart"
        # Relative to the value where that is below one: both may be tiny there.
        size = abs(intervals.interval(a))
        least = _tiny(enough) * iv.mpf(min(size.b, 1))
        if _width(_difference(a, b)) <= max(least.b, _tiny(5 * enough).b):
            return "agree"
    return None


def _value(tree: tuple, at: dict, bits: int) -> intervals.Value | None:
    try:
        return intervals.value(tree, at, bits)
    except intervals.Undefined:
        return None
