"""Values of LaTeX expressions, to check what `variants` makes.

It shares nothing with the verifier that is measured.
"""

import re
import zlib

import mpmath

mpmath.mp.dps = 50

_TOKEN = re.compile(r"\s*(\d+\.?\d*|\.\d+|\\[a-zA-Z]+|\S)")


class Value:
    """Evaluates the LaTeX of one closed expression or polynomial; fifty digits."""

    def __init__(self, text: str):
        """Reads a text; raises ValueError if it is anything else."""
        text = re.sub(r"\\[dt]frac(?![a-z])", r"\\frac", text)
        text = re.sub(r"\\(?:left|right|!|,)(?![a-z])", "", text)
        self._tokens = _TOKEN.findall(text)[::-1]
        self.value = self._sum()
        if self._tokens:
            raise ValueError(text)

    def _next(self) -> str:
        return self._tokens[-1] if self._tokens else ""

    def _take(self, token: str | None = None) -> str:
        if not self._tokens or token not in (None, self._tokens[-1]):
            raise ValueError(token)
        return self._tokens.pop()

    def _sum(self):
        total = self._product()
        while self._next() in ("+", "-"):
            sign = 1 if self._take() == "+" else -1
            total += sign * self._product()
        return total

    def _product(self):
        sign = 1
        while self._next() in ("+", "-"):
            sign *= 1 if self._take() == "+" else -1
        total = self._power()
        while True:
            token = self._next()
            if token in (r"\cdot", r"\times", "*"):
                self._take()
                total *= self._power()
            elif token == "/":
                self._take()
                total /= self._power()
            elif re.fullmatch(r"[\w({]|\\frac|\\sqrt|\\pi|\d.*", token):
                total *= self._power()
            else:
                return sign * total

    def _power(self):
        base = self._base()
        if self._next() == "^":
            self._take()
            return mpmath.power(base, self._group())
        return base

    def _group(self):
        """The argument of a command or of ^: braces, or a single digit or letter."""
        if self._next() == "{":
            self._take()
            value = self._sum()
            self._take("}")
            return value
        if re.fullmatch(r"\d{2,}", self._next()):
            digits = self._take()
            self._tokens.append(digits[1:])
            return mpmath.mpf(digits[0])
        return self._base()

    def _base(self):
        token = self._take()
        if token in "({":
            value = self._sum()
            self._take(")" if token == "(" else "}")
            return value
        if re.fullmatch(r"[\d.]+", token):
            value = mpmath.mpf(token)
            mixed = "".join(self._tokens[-7:][::-1])
            if re.match(r"\\frac(\{\d+\}\{\d+\}|\d\d)", mixed):
                return value + self._base()
            return value
        if token == r"\frac":
            return self._group() / self._group()
        if token == r"\sqrt":
            degree = 2
            if self._next() == "[":
                self._take()
                degree = self._sum()
                self._take("]")
            return mpmath.power(self._group(), mpmath.mpf(1) / degree)
        if token == r"\pi":
            return +mpmath.pi
        if token == "i":
            return mpmath.mpc(0, 1)
        if re.fullmatch("[a-zA-Z]", token):
            return 1 + mpmath.mpf(zlib.crc32(token.encode())) / 2**32
        raise ValueError(token)


def is_equal(one: str, other: str) -> bool | None:
    """Whether two expressions have one value; None if either cannot be read."""
    try:
        a, b = Value(one).value, Value(other).value
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return bool(abs(a - b) <= mpmath.mpf(10) ** -40 * max(abs(a), abs(b)))
