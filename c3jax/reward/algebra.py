"""Expressions as mathematics has them: what the verifier's workers do.

`reader` reads a text whole or not at all, `equality` tells whether two of them are
one function or number, and `forms` whether the answer leaves more to work out than the
gold one does.
"""

import re
import sys
import types

from c3jax.reward import equality, forms, formulas, matching, reader

_ORDER = re.compile(r"(<|>|=|\\(?:le|ge|ne)(?![a-zA-Z]))")
_FLIPPED = {">": "<", r"\ge": r"\le"}


def answer(request: dict) -> bool:
    """Judges one answer, in a worker.

    Args:
        request: "gold", "said" and "rules", as in `matching.same`.

    Raises:
        MemoryError: ends the worker, whose state is unknown; a fresh one is asked.
        Exception: any other is a fault of ours, which is counted, and no verdict.
    """
    rules = types.SimpleNamespace(**request["rules"])
    return matching.same(request["gold"], request["said"], rules, sys.modules[__name__])


def equal(gold: str, said: str, rules, finished: bool = True) -> bool:
    """See `matching.Algebra.equal`."""
    try:
        wanted, came = reader.read(gold), reader.read(said)
    except formulas.Unreadable:
        return False
    if not equality.equal(wanted, came):
        unknowns = formulas.symbols(wanted) | formulas.symbols(came)
        if unknowns or not rules.tolerance:
            return False
        if not equality.near(wanted, came, rules.tolerance):
            return False
    return not finished or forms.is_finished(wanted, came, gold, said)


def relations(gold: str, said: str) -> bool:
    """See `matching.Algebra.relations`.

    What is compared is the difference of what stands left and right of a sign. Two have
    the same solutions if one is a constant times the other, a positive one where the
    sign is an order, or if that holds of their numerators, for equations. Where the
    gold one is solved, as x = 5 or x > 5, the constant is 1 or -1 and nothing is left
    to work out: x - 5 = 0, but not 2x = 10.
    """
    try:
        wanted, came = _steps(gold), _steps(said)
    except formulas.Unreadable:
        return False
    if len(wanted) != len(came) or not wanted:
        return False
    return all(_same_relation(*pair) for pair in zip(wanted, came, strict=True))


def _same_relation(wanted: tuple[str, tuple], came: tuple[str, tuple]) -> bool:
    (sign, gold), (other, said) = wanted, came
    if sign != other:
        return False
    order = sign in ("<", r"\le")
    if _is_solved(gold):
        opposite = formulas.negative(said)
        alike = equality.equal(gold, said)
        alike = alike or (not order and equality.equal(gold, opposite))
        return alike and forms.is_finished(gold, said, "", "")
    if equality.proportional(gold, said, positive=order):
        return True
    return sign == "=" and forms.same_numerators(gold, said)


def _is_solved(difference: tuple) -> bool:
    """Whether it is an unknown less a number, or the other way round."""
    terms = difference[1:] if difference[0] == "+" else (difference,)
    bare = [
        t[2] if t[:2] == ("*", formulas.negative(formulas.ONE)) else t for t in terms
    ]
    names = [term for term in bare if formulas.symbols(term)]
    return len(names) == 1 and names[0][0] == "x" and len(terms) <= 2


def _steps(relation: str) -> list[tuple[str, tuple]]:
    """Of a < b \\le c the signs, all rising, with b - a and c - b."""
    parts = _ORDER.split(relation)
    sides, signs = [reader.read(part) for part in parts[::2]], parts[1::2]
    if signs and all(sign in _FLIPPED for sign in signs):
        sides, signs = sides[::-1], [_FLIPPED[sign] for sign in signs[::-1]]
    if any(sign in _FLIPPED for sign in signs):
        raise formulas.Unreadable(relation)
    return [
        (sign, _difference(high, low))
        for low, sign, high in zip(sides, signs, sides[1:], strict=False)
    ]


def _difference(high: tuple, low: tuple) -> tuple:
    """One side less the other, without a side that is zero."""
    zero = ("n", 0)
    if zero in (high, low):
        return high if low == zero else formulas.negative(low)
    return ("+", high, formulas.negative(low))
