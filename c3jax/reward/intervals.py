"""The value of a formula: an exact fraction, or an interval that holds it.

Every step rounds outwards, so two intervals that do not meet belong to two values.
Source: interval arithmetic of mpmath, https://mpmath.org/doc/current/contexts.html.
"""

import functools
import math
from fractions import Fraction

import sympy
from mpmath import iv, libmp

from c3jax.reward import formulas, lexicon

# Longest integer that is written out, and the largest exponent of two of a value.
MAX_BITS, _MAX_SCALE = 1 << 17, 1 << 40
_MAX_FACTORIAL = 10_000
# From this precision on, what cannot be told from an integer or zero is taken for it.
SHARP = 2048


class Undefined(ArithmeticError):
    """A formula without a value: 1/0, the logarithm of 0, the factorial of 1/2."""


class Blurred(ArithmeticError):
    """An interval too wide to go on with: the floor of [1.9, 2.1]."""


class TooLarge(ArithmeticError):
    """A value that would take too long to find."""


Value = Fraction | iv.mpf | iv.mpc


def value(tree: tuple, at: dict, bits: int) -> Value:
    """The value of a tree.

    Args:
        at: the value of each unknown.
        bits: precision where it is no fraction.

    Raises:
        Undefined, Blurred, TooLarge: see there.
    """
    iv.prec = bits
    return _value(tree, at)


@functools.lru_cache(1024)
def exact(tree: tuple) -> Fraction | None:
    """The fraction that a formula without unknowns is; None if it is none."""
    if not all(node[0] in _EXACT for node in formulas.nodes(tree)):
        return None
    try:
        number = value(tree, {}, 64)
    except ArithmeticError:
        return None
    return number if isinstance(number, Fraction) else None


_EXACT = {"n", "+", "*", "/", "^", "!", "binom"}


def _value(tree: tuple, at: dict) -> Value:
    kind = tree[0]
    if kind == "n":
        return tree[1]
    if kind == "x":
        return at[tree[1]]
    if kind == "c":
        return _constant(tree[1])
    parts = [_value(part, at) for part in tree[1:]]
    return _OPERATIONS[kind](*parts)


def _constant(name: str) -> Value:
    if name == "inf":
        raise Undefined("infinity")
    return iv.mpc(0, 1) if name == "i" else getattr(iv, name) + 0


def interval(number: Value) -> iv.mpf | iv.mpc:
    """A fraction as an interval; intervals as they are."""
    if isinstance(number, Fraction):
        if number.denominator == 1:
            return iv.mpf(number.numerator)
        return iv.mpf(number.numerator) / number.denominator
    return number


def rounded(number: iv.mpf, bits: int) -> Fraction:
    """A fraction of denominator 2^bits near a number of moderate size."""
    low = libmp.mpf_floor(libmp.mpf_shift(number._mpi_[0], bits))
    return Fraction(libmp.to_int(low), 1 << bits)


def is_complex(number: Value) -> bool:
    """Whether a number is an interval with an imaginary part, be it zero."""
    return isinstance(number, iv.mpc)


def _sum(*terms: Value) -> Value:
    exact = sum(term for term in terms if isinstance(term, Fraction))
    others = [term for term in terms if not isinstance(term, Fraction)]
    if not others:
        return _checked(exact)
    return functools.reduce(lambda a, b: a + b, others, interval(Fraction(exact)))


def _product(*factors: Value) -> Value:
    exact = math.prod(f for f in factors if isinstance(f, Fraction))
    others = [f for f in factors if not isinstance(f, Fraction)]
    if not others or not exact:
        return _checked(Fraction(exact))
    return functools.reduce(lambda a, b: a * b, others, interval(Fraction(exact)))


def _quotient(top: Value, bottom: Value) -> Value:
    if isinstance(bottom, Fraction):
        if not bottom:
            raise Undefined("division by zero")
        return _product(top, 1 / bottom)
    if _holds_zero(bottom):
        raise _blurred("division by what may be zero")
    return interval(top) / bottom


def _checked(number: Fraction) -> Fraction:
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > MAX_BITS:
        raise TooLarge
    return number


def _holds_zero(number: iv.mpf | iv.mpc) -> bool:
    if is_complex(number):
        return 0 in number.real and 0 in number.imag
    return 0 in number


def _blurred(words: str) -> ArithmeticError:
    """At the highest precision zero is zero."""
    return Undefined(words) if iv.prec >= SHARP else Blurred(words)


def _power(base: Value, exponent: Value) -> Value:
    if isinstance(exponent, Fraction):
        if exponent.denominator == 1:
            return _whole_power(base, exponent.numerator)
        return _rational_power(base, exponent)
    if isinstance(base, Fraction) and base in (0, 1):
        if base == 0:
            raise Undefined("zero to what is no fraction")
        return base
    return _exp(_product(exponent, _logarithm(base)))


def _whole_power(base: Value, n: int) -> Value:
    if isinstance(base, Fraction):
        if not base and n < 0:
            raise Undefined("division by zero")
        size = max(base.numerator.bit_length(), base.denominator.bit_length()) - 1
        if size * abs(n) <= MAX_BITS:
            return base**n
        base = interval(base)
    if n.bit_length() > 64:
        raise TooLarge
    if n < 0:
        return _quotient(Fraction(1), _whole_power(base, -n))
    return base**n if n else Fraction(1)


def _rational_power(base: Value, exponent: Fraction) -> Value:
    """Real for a negative base where the root is odd, as at school; else principal."""
    top, index = exponent.numerator, exponent.denominator
    if isinstance(base, Fraction):
        if not base:
            return _whole_power(base, 1 if top > 0 else -1)
        odd = base < 0 and index % 2
        size = abs(base) if odd else base
        if size > 0 and (root := _exact_root(size, index)):
            return _whole_power(-root if odd else root, top)
    elif not is_complex(base):
        odd = index % 2 and base.b < 0
        if not odd and 0 in base:
            return _root_at_zero(base, exponent)
    else:
        odd = False
    base = -interval(base) if odd else interval(base)
    root = _exp(_product(exponent, _logarithm(base))) if index > 2 else _sqrt(base, top)
    return -root if odd and top % 2 else root


def _root_at_zero(base: iv.mpf, exponent: Fraction) -> Value:
    """The power of an interval that holds zero: what can be said of all of it."""
    if exponent < 0:
        raise _blurred("division by what may be zero")
    if base.a == 0 and base.b == 0:
        return Fraction(0)
    size = max(abs(base.a), abs(base.b))
    size = _exp(exponent.numerator * _logarithm(iv.mpf(size)) / exponent.denominator)
    around = iv.mpf([-size.b, size.b])
    return around if exponent.denominator % 2 else iv.mpc(around, around)


def _sqrt(base: iv.mpf | iv.mpc, top: int) -> Value:
    """The square root to an odd power."""
    if is_complex(base):
        root = _exp(_logarithm(base) / 2)
    elif base.b < 0:
        root = iv.mpc(0, iv.sqrt(-base))
    else:
        root = iv.sqrt(base)
    return _whole_power(root, top)


def _exact_root(number: Fraction, index: int) -> Fraction | None:
    """The root of a positive fraction that has a rational one."""
    if max(number.numerator.bit_length(), number.denominator.bit_length()) > 512:
        return None
    (top, whole), (bottom, exact) = (
        sympy.integer_nthroot(n, index) for n in (number.numerator, number.denominator)
    )
    return Fraction(int(top), int(bottom)) if whole and exact else None


def _exp(of: Value) -> Value:
    of = interval(of)
    real = of.real if is_complex(of) else of
    if not abs(real) < _MAX_SCALE or (is_complex(of) and not abs(of.imag) < _MAX_SCALE):
        raise TooLarge
    return iv.exp(of)


def _logarithm(of: Value) -> Value:
    if isinstance(of, Fraction):
        if of == 0:
            raise Undefined("the logarithm of zero")
        if of == 1:
            return Fraction(0)
    of = interval(of)
    if is_complex(of):
        # The imaginary part jumps at negative numbers.
        if 0 in of.imag and not of.real.a > 0:
            if of.imag.a == 0 and of.imag.b == 0 and of.real.b < 0:
                return iv.mpc(iv.log(-of.real), iv.pi)
            raise _blurred("the logarithm near its cut")
        return iv.log(of)
    if 0 in of:
        raise _blurred("the logarithm of what may be zero")
    if of.b < 0:
        return iv.mpc(iv.log(-of), iv.pi)
    return iv.log(of)


def _log(base: Value, of: Value) -> Value:
    if isinstance(base, Fraction) and isinstance(of, Fraction) and base > 1:
        # The floor of log_2 8 is that of 3.
        power, count = Fraction(1), 0
        while power < of and count < 200:
            power, count = power * base, count + 1
        if power == of:
            return Fraction(count)
    return _quotient(_logarithm(of), _logarithm(base))


def _real(number: Value) -> Fraction | iv.mpf:
    """A number without imaginary part.

    Raises:
        Undefined: it has one.
    """
    if is_complex(number):
        if number.imag.a == 0 and number.imag.b == 0:
            return number.real
        if 0 in number.imag:
            if iv.prec < SHARP:
                raise Blurred("a number that may be real")
            return number.real
        raise Undefined("the order of complex numbers")
    return number


def _floor(of: Value) -> Fraction:
    of = _real(of)
    if isinstance(of, Fraction):
        return Fraction(math.floor(of))
    if not abs(of) < 1 << 4096:
        raise TooLarge
    low, high = (libmp.to_int(libmp.mpf_floor(end)) for end in of._mpi_)
    if low == high:
        return Fraction(low)
    if iv.prec < SHARP or high - low > 1:
        raise Blurred("the floor of an interval that holds an integer")
    return Fraction(high)


def _absolute(of: Value) -> Value:
    if is_complex(of):
        if 0 in of.imag and 0 in of.real:
            raise _blurred("the size of what may be zero")
        return iv.sqrt(of.real**2 + of.imag**2)
    return abs(of)


def _largest(*of: Value) -> Value:
    of = [_real(number) for number in of]
    if all(isinstance(number, Fraction) for number in of):
        return max(of)
    of = [interval(number) for number in of]
    return iv.mpf([max(n.a for n in of), max(n.b for n in of)])


def _whole(number: Value, limit: int = 1 << 64) -> int:
    if not isinstance(number, Fraction) or number.denominator != 1:
        raise Undefined("a function of integers")
    if abs(number) > limit:
        raise TooLarge
    return int(number)


def _factorial(of: Value) -> Fraction:
    n = _whole(of, _MAX_FACTORIAL)
    if n < 0:
        raise Undefined("the factorial of a negative number")
    return Fraction(math.factorial(n))


def _binomial(top: Value, bottom: Value) -> Fraction:
    n, k = _whole(top, _MAX_FACTORIAL), _whole(bottom, _MAX_FACTORIAL)
    if k < 0:
        return Fraction(0)
    if n < 0:
        return Fraction((-1) ** k * math.comb(k - n - 1, k))
    return Fraction(math.comb(n, k))


def _trigonometric(name: str, of: Value) -> Value:
    if isinstance(of, Fraction) and not of and name in ("sin", "tan"):
        return Fraction(0)
    of = interval(of)
    if not abs(of.real if is_complex(of) else of) < _MAX_SCALE:
        raise TooLarge
    if is_complex(of) and not abs(of.imag) < _MAX_SCALE:
        raise TooLarge
    sin, cos = iv.sin(of), iv.cos(of)
    over = {"sin": sin, "cos": cos, "tan": sin, "cot": cos}
    under = {"tan": cos, "cot": sin, "sec": cos, "csc": sin}
    top = over.get(name, Fraction(1))
    return _quotient(top, under[name]) if name in under else top


def _hyperbolic(name: str, of: Value) -> Value:
    up, down = _exp(of), _exp(-interval(of))
    if name == "tanh":
        return _quotient(up - down, up + down)
    return (up - down if name == "sinh" else up + down) / 2


def _inverse(name: str, of: Value) -> Value:
    """asin, acos and atan of real numbers."""
    of = _real(of)
    if isinstance(of, Fraction) and not of and name != "acos":
        return Fraction(0)
    exact, of = of, interval(of)
    if name == "atan":
        return iv.atan2(of, iv.mpf(1))
    if isinstance(exact, Fraction) and abs(exact) > 1:
        raise Undefined("the arc of a number above one")
    rest = 1 - of * of
    if rest.b < 0:
        raise Undefined("the arc of a number above one")
    rest = iv.sqrt(iv.mpf([max(rest.a, 0), rest.b]))
    return iv.atan2(of, rest) if name == "asin" else iv.atan2(rest, of)


_OPERATIONS = {
    "+": _sum,
    "*": _product,
    "/": _quotient,
    "^": _power,
    "abs": _absolute,
    "floor": _floor,
    "ceil": lambda of: -_floor(-of),
    "!": _factorial,
    "binom": _binomial,
    "ln": _logarithm,
    "log": _log,
    "max": _largest,
    "min": lambda *of: -_largest(*(-number for number in of)),
    "gcd": lambda *of: Fraction(math.gcd(*map(_whole, of))),
    "lcm": lambda *of: Fraction(math.lcm(*map(_whole, of))),
    **{n: functools.partial(_trigonometric, n) for n in lexicon.TRIGONOMETRIC},
    **{n: functools.partial(_hyperbolic, n) for n in ("sinh", "cosh", "tanh")},
    **{n: functools.partial(_inverse, n) for n in ("asin", "acos", "atan")},
}
