"""Rational functions and numbers modulo primes: whether two are one.

Three primes between 2^60 and 2^61 are drawn by a digest of both texts, and for each a
point for the unknowns. Equal formulas agree at all of them. Of different ones

- two numbers, whose difference has a numerator of at most 2^37 bits, agree modulo a
  prime if it is one of the at most 2^37 / 60 that divide the numerator, among more than
  1.3e16 such primes of the form 4k + 1: below 2e-7;
- two rational functions of degree at most 2^30 agree at a random point with less than
  2^30 / 2^60, or the prime divides all coefficients of their difference, as above.
  Source: Schwartz, J. ACM 27 (1980) 701.

For all three that is below 1e-20. A number i with i^2 = -1 is the same for both
sides; pi, or e, is transcendental, so one of them alone is like an unknown.
"""

import hashlib
import itertools
import math
from collections.abc import Iterator

from c3jax.reward import formulas, intervals

_PRIMES = 3
_MAX_DEGREE, _MAX_NUMBER_BITS = 1 << 30, 1 << 36
_MAX_LOOP = 200_000  # factors of a factorial or a binomial
_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


class _ZeroDivision(ArithmeticError):
    """A denominator that is zero modulo the prime."""


def are_rational(*trees: tuple) -> bool:
    """Whether trees are rational functions within the bounds of this module."""
    found = [node for tree in trees for node in formulas.nodes(tree)]
    if formulas.INFINITY in found or {formulas.E, formulas.PI} <= {*found}:
        return False
    if not all(node[0] in _RATIONAL for node in found):
        return False
    # Exponents and factorials are carried out, so they must be numbers, and small.
    for node in found:
        wholes = {"^": node[2:], "!": node[1:], "binom": node[1:]}.get(node[0], ())
        limit = _MAX_LOOP if node[0] in ("!", "binom") else _MAX_NUMBER_BITS
        for whole in map(intervals.exact, wholes):
            if whole is None or whole.denominator > 1 or abs(whole) > limit:
                return False
        if node[0] == "!" and intervals.exact(node[1]) < 0:
            return False
    return all(bits(tree) <= _MAX_NUMBER_BITS for tree in trees) and all(
        degree(tree) <= _MAX_DEGREE for tree in trees
    )


# Kinds of nodes that have a residue.
_RATIONAL = {"n", "c", "x", "+", "*", "/", "^", "!", "binom"}


def equal(gold: tuple, said: tuple) -> bool | None:
    """Whether two rational functions are one; None where one has no value at all."""
    return _agree(gold, said, 1, lambda points, _: points[0][0] == points[0][1])


def proportional(gold: tuple, said: tuple) -> bool | None:
    """Whether one is a constant times the other, and neither is zero; None as above."""

    def same_ratio(points, prime):
        (a, b), (c, d) = points
        return all((a, b, c, d)) and (a * d - b * c) % prime == 0

    return _agree(gold, said, 2, same_ratio)


def _agree(gold: tuple, said: tuple, count: int, law) -> bool | None:
    """Whether a law holds for the values at some points, modulo each prime."""
    names = sorted(formulas.symbols(gold) | formulas.symbols(said) | {"pi", "e"})
    # Both texts draw the primes: nobody can write a text for primes he knows.
    for prime, stream in itertools.islice(primes(f"{gold}\n{said}"), _PRIMES):
        points = []
        for _ in range(count):
            at = {name: next(stream) % prime for name in names}
            try:
                points.append([_residue(tree, at, prime) for tree in (gold, said)])
            # A pole there, or everywhere: that says neither yes nor no.
            except _ZeroDivision:
                return None
        if not law(points, prime):
            return False
    return True


def primes(seed: str) -> Iterator[tuple[int, Iterator[int]]]:
    """Primes of the form 4k + 1 with random numbers for each."""
    stream = _stream(seed)
    for number in stream:
        # Of the form 4k + 1, where -1 has a root to stand for i.
        candidate = number % (1 << 60) | 1 << 60
        candidate += 1 - candidate % 4
        if is_prime(candidate):
            yield candidate, stream


def _stream(seed: str) -> Iterator[int]:
    count = 0
    while True:
        digest = hashlib.blake2b(f"{count}\n{seed}".encode("utf-8", "replace")).digest()
        yield from (int.from_bytes(digest[k : k + 8]) for k in range(0, 64, 8))
        count += 1


def is_prime(n: int) -> bool:
    """Miller and Rabin's test, exact below 2^64 with the first twelve primes.

    Source: Sorenson and Webster, Math. Comp. 86 (2017) 985.
    """
    if math.gcd(n, 6469693230) > 1:
        return False
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for witness in _WITNESSES:
        power = pow(witness, odd, n)
        if power in (1, n - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % n
            if power == n - 1:
                break
        else:
            return False
    return True


def _residue(tree: tuple, at: dict, prime: int) -> int:
    kind = tree[0]
    if kind == "n":
        return tree[1].numerator * _inverse(tree[1].denominator, prime) % prime
    if kind == "x":
        return at[tree[1]]
    if kind == "c":
        return root_of_minus_one(prime) if tree[1] == "i" else at[tree[1]]
    if kind == "+":
        return sum(_residue(part, at, prime) for part in tree[1:]) % prime
    if kind == "*":
        product = 1
        for part in tree[1:]:
            product = product * _residue(part, at, prime) % prime
        return product
    if kind == "/":
        bottom = _inverse(_residue(tree[2], at, prime), prime)
        return _residue(tree[1], at, prime) * bottom % prime
    if kind == "^":
        base, exponent = _residue(tree[1], at, prime), int(intervals.exact(tree[2]))
        # pow would take an inverse itself, and call zero a wrong argument.
        if exponent < 0:
            base, exponent = _inverse(base, prime), -exponent
        return pow(base, exponent, prime)
    # A factorial is multiplied modulo the prime, never written out.
    numbers = [int(intervals.exact(part)) for part in tree[1:]]
    if kind == "!":
        return _product_of(range(1, numbers[0] + 1), prime)
    top, bottom = numbers
    if bottom < 0:
        return 0
    above = _product_of(range(top - bottom + 1, top + 1), prime)
    return above * _inverse(_product_of(range(1, bottom + 1), prime), prime) % prime


def _product_of(numbers: range, prime: int) -> int:
    product = 1
    for number in numbers:
        product = product * number % prime
    return product


def _inverse(number: int, prime: int) -> int:
    if number % prime == 0:
        raise _ZeroDivision
    return pow(number, -1, prime)


def root_of_minus_one(prime: int) -> int:
    """The i of a prime 4k + 1: the same number each time."""
    for base in range(2, prime):
        root = pow(base, prime // 4, prime)
        if root * root % prime == prime - 1:
            return root
    raise AssertionError("Half of the numbers are no squares.")


def degree(tree: tuple) -> int:
    """A bound on the degrees of numerator and denominator."""
    kind = tree[0]
    if kind in ("x", "c"):
        return 1
    if kind in ("+", "*", "/"):
        return sum(map(degree, tree[1:]))
    if kind == "^":
        return abs(int(intervals.exact(tree[2]))) * degree(tree[1])
    return 0


def bits(tree: tuple) -> int:
    """A bound on the bits of numerator and denominator.

    Unknowns are left aside, and what is no rational function is small.
    """
    kind = tree[0]
    if kind == "n":
        return max(tree[1].numerator.bit_length(), tree[1].denominator.bit_length())
    if kind in ("+", "*", "/"):
        return sum(bits(part) + 1 for part in tree[1:])
    if kind == "^":
        return (abs(int(intervals.exact(tree[2]) or 1)) + 1) * (bits(tree[1]) + 1)
    if kind in ("!", "binom"):
        numbers = [intervals.exact(part) or 0 for part in tree[1:]]
        size = max(map(abs, numbers))
        return int(size) * int(size).bit_length() + 1
    return 1
