"""Points at which two functions are compared.

Half of them fit nothing: fractions of a large denominator, small and large, of either
sign. The others are integers, halves and what the formulas' own numbers lead to: those
numbers, near them, between two of them, their quotients. So both sides of every kink
and step are met. The points depend on the formulas alone.
"""

import hashlib
import itertools
from collections.abc import Iterator
from fractions import Fraction

from c3jax.reward import formulas, intervals, residues, unevaluated

_FEW, _MANY, _MOST, _MAX_LANDMARKS = 14, 56, 240, 12
_MAX_DEGREE, _MAX_BITS = 24, 1000  # of what roots are looked for
_HALVES = [Fraction(n, 2) for n in (-1, 6, -4, 1, 14, -3, 0, 5, -10, 2, 7)]
_BRANCHES = {"abs", "floor", "ceil", "max", "min", "gcd", "lcm", "!", "binom"}
_BRANCHES |= {"ln", "log", "asin", "acos", "atan"}


def points(gold: tuple, said: tuple) -> Iterator[tuple[dict, bool]]:
    """Values for the unknowns, and whether they fit nothing.

    More of them where a formula has branches. An unknown is an integer where a formula
    has it in gcd(m, n) or (-1)^n, and counts from zero in a factorial or binomial.
    """
    nodes = [node for tree in (gold, said) for node in formulas.nodes(tree)]
    names = sorted(formulas.symbols(gold) | formulas.symbols(said))
    whole, counted = _wholes(nodes)
    branched = bool(whole | counted) or any(map(_is_branched, nodes))
    special = _special(_landmarks(nodes)) if branched else _HALVES
    stream = _numbers(f"{gold}\n{said}")
    for point in range(max(_MANY, min(2 * len(special), _MOST)) if branched else _FEW):
        generic, at, turn = point % 2 == 0, {}, point // 2
        # One unknown after the other has all that is special, whatever the others are.
        turns, chosen = divmod(turn, max(1, len(names)))
        one, number = names[chosen : chosen + 1], special[turns % len(special)]
        for name in names:
            value = number if [name] == one else special[next(stream) % len(special)]
            if generic:
                value = _anywhere(stream, turn)
            if name in counted:
                value = next(stream) % (12 if point % 3 else 90)
            elif name in whole:
                span = (6, 40, 1500)[turn % 3]
                wide = next(stream) % (2 * span + 1) - span
                value = wide if generic else round(value)
            at[name] = Fraction(value)
        yield at, generic and not counted
    if branched and len(names) == 1 and not whole | counted:
        yield from (({names[0]: number}, False) for number in _around_roots(nodes))


def _is_branched(node: tuple) -> bool:
    if node[0] != "^":
        return node[0] in _BRANCHES
    if formulas.symbols(node[2]):
        return bool(formulas.symbols(node[1]))
    exponent = intervals.exact(node[2])
    return exponent is None or exponent.denominator > 1


def _wholes(nodes: list[tuple]) -> tuple[set, set]:
    """The unknowns that are integers of either sign, and those that count."""
    whole, counted = set(), set()
    for node in nodes:
        if node[0] in ("!", "binom"):
            counted |= formulas.symbols(node)
        if node[0] in ("gcd", "lcm"):
            whole |= formulas.symbols(node)
        if node[0] == "^" and (intervals.exact(node[1]) or 0) < 0:
            whole |= formulas.symbols(node[2])
    return whole - counted, counted


def _landmarks(nodes: list[tuple]) -> list[Fraction]:
    """The sizes of the numbers in formulas: of 10^6 and the root of 2, too."""
    found = {Fraction(1)}
    for node in nodes:
        if node[0] == "x" or formulas.symbols(node):
            continue
        try:
            value = intervals.value(node, {}, 64)
        except ArithmeticError:
            continue
        if isinstance(value, Fraction):
            found.add(abs(value))
        elif not intervals.is_complex(value) and abs(value) < 1 << 80:
            found.add(abs(intervals.rounded(value, 60)))
    small = sorted(f for f in found if f and max(f.as_integer_ratio()) < 1 << 80)
    small = small[:_MAX_LANDMARKS]
    ratios = sorted({a / b for a in small for b in small if b > 1} - {*small})
    return small + ratios[:_MAX_LANDMARKS]


def _around_roots(nodes: list[tuple]) -> list[Fraction]:
    """Numbers between and beside all roots of what stands in |..|, roots and logs."""
    inside = {node[1] for node in nodes if _is_branched(node) and node[0] != "log"}
    ends = set()
    for tree in inside:
        small = residues.are_rational(tree) and residues.degree(tree) <= _MAX_DEGREE
        if small and formulas.symbols(tree) and residues.bits(tree) <= _MAX_BITS:
            ends |= unevaluated.around_roots(tree)
    ends = sorted(ends)
    return ends + [(a + b) / 2 for a, b in itertools.pairwise(ends)]


def _anywhere(stream: Iterator[int], point: int) -> Fraction:
    """A fraction that fits nothing, of either sign."""
    scale = (1, 3, 12, 150, 3000, 1)[point % 6]
    ticks = next(stream) % 199_999 - 99_999
    return Fraction(scale * (2 * ticks + 1), 199_933)


def _special(landmarks: list[Fraction]) -> list[Fraction]:
    """Landmarks of either sign, what lies between them and around them, halves."""
    around = sorted({0, *landmarks, *(-mark for mark in landmarks)})
    between = [(a + b) / 2 for a, b in itertools.pairwise(around)]
    beside = [mark + Fraction(k, 2) for mark in around for k in (-2, -1, 1, 2)]
    beyond = [2 * around[0] - 1, 2 * around[-1] + 1]
    return list(dict.fromkeys([*beyond, *between, *around, *beside]))


def _numbers(seed: str) -> Iterator[int]:
    count = 0
    while True:
        digest = hashlib.blake2b(f"{count}\n{seed}".encode("utf-8", "replace")).digest()
        yield from (int.from_bytes(digest[k : k + 4]) for k in range(0, 64, 4))
        count += 1
