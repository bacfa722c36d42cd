"""Whether two answers are the same: their shapes first, then their parts.

Tuples, intervals, sets, lists, unions and matrices are compared part by part, numbers
as exact fractions. Only the rest goes to an algebra system.
"""

import re
import types
from collections.abc import Sequence
from fractions import Fraction
from typing import Protocol

from c3jax.reward import (
    bases,
    chinese,
    choices,
    english,
    reading,
    screening,
    structures,
    units,
)

# Longest answer that is looked into; beyond it only letter by letter.
MAX_LENGTH = 500
_MAX_DEPTH = 16


class Algebra(Protocol):
    """Decides what needs an algebra system; see `algebra`."""

    def equal(self, gold: str, said: str, rules, finished: bool = True) -> bool:
        """Whether two expressions have one value, `said` having nothing left to do."""

    def relations(self, gold: str, said: str) -> bool:
        """Whether two equations, or inequalities, say the same."""


class Undecided(Exception):
    """Two answers that only an algebra system can tell apart."""


_INTEGER = re.compile(r"-?\d{1,18}", re.ASCII)


def same(gold: str, said: str, rules, algebra: Algebra | None = None) -> bool:
    """Whether an answer is the gold one.

    Args:
        said: the one to judge, without the text around it.
        rules: a `core.types.Rules`, or an object with its attributes.
        algebra: decides where text and fractions cannot.

    Raises:
        Undecided: an algebra system is needed, and none was given.
    """
    if gold.strip() == said.strip():
        return True
    if not rules.tolerance and all(map(_INTEGER.fullmatch, (gold, said))):
        return int(gold) == int(said)
    # Invisible letters may show a reader one answer and a program another.
    if len(said) > MAX_LENGTH or not "".join(said.split()).isprintable():
        return False
    if structures.depth(said) > _MAX_DEPTH:
        return False
    wanted, came = reading.tidy(gold), reading.tidy(said)
    if letter := choices.letter(wanted):
        return letter == choices.chosen(came)
    # Of an option with its text either will do, but not one of them with another.
    letter, wanted = choices.option(wanted)
    if letter and letter == choices.letter(came):
        return True
    other, came = choices.option(came)
    if letter and other and letter != other:
        return False
    if rules.chinese:
        wanted, came = chinese.arabic(wanted), chinese.arabic(came)
    if _same(wanted, came, rules, algebra):
        return True
    # 12,144 may be a list, if one is wanted.
    other = reading.tidy(said, grouped=False)
    if other == reading.tidy(said) or structures.shape(wanted).kind not in _MANY:
        return False
    return _same(wanted, other, rules, algebra)


_MANY = ("list", "set", "values")
_UNORDERED = ("atom", *_MANY[:2], "union")


def _same(gold: str, said: str, rules, algebra: Algebra | None) -> bool:
    gold, said = structures.unwrapped(gold), structures.unwrapped(said)
    if reading.squeezed(gold) == reading.squeezed(said):
        return True
    if r"\approx" in said or r"\approx" in gold:
        return _about(gold, said, rules, algebra)

    # Two numbers are settled exactly.
    wanted, came = reading.quantities(gold, said)
    numbers = reading.number(wanted.value), reading.number(came.value)
    if None not in numbers:
        ratio = units.ratio(wanted.unit, came.unit)
        return ratio is not None and _equal_numbers(*numbers, ratio, rules)

    # Names, and shapes whose parts have no order.
    wanted, came = structures.shape(gold), structures.shape(said)
    if "equation" in (wanted.kind, came.kind):
        return _equations(wanted, came, rules, algebra)
    if "values" in (wanted.kind, came.kind):
        return _named(wanted, came, rules, algebra)
    if not _one_name(wanted.name, came.name):
        return False
    if wanted.kind in _UNORDERED and came.kind in _UNORDERED:
        if wanted.kind == came.kind == "atom":
            return _equal_atoms(gold, said, rules, algebra)
        if "union" in (wanted.kind, came.kind) and wanted.kind != came.kind:
            return False
        if _opposed(gold, said):
            return False
        if rules.ordered and wanted.kind != "union":
            return _in_order(wanted.parts, came.parts, rules, algebra)
        return _any_order(wanted.parts, came.parts, rules, algebra)

    # Shapes whose parts are ordered.
    if wanted.kind != came.kind and all(map(_SIGN.search, (gold, said))):
        return _needed(algebra).relations(gold, said)
    kinds = {wanted.kind, came.kind}
    if len(kinds) > 1 and kinds != {"()", "column"}:
        return False
    if wanted.kind == "relation":
        return _needed(algebra).relations(gold, said)
    if wanted.kind in ("both", "either", "all but"):
        return _any_order(wanted.parts, came.parts, rules, algebra)
    if wanted.names != came.names:
        return False
    return _in_order(wanted.parts, came.parts, rules, algebra)


def _opposed(gold: str, said: str) -> bool:
    """Whether words are joined by "and" on one side, by "or" on the other.

    Values of an unknown are listed with either.
    """
    marks = [{m for m in (r"\land", r"\lor") if m in text} for text in (gold, said)]
    if marks[0] == marks[1] or re.search(r"[\d=]", gold):
        return False
    # Names side by side are all meant: of A, C the answer A or C is half.
    one = r"\lor" in said and not marks[0] and bool(_NAMES.fullmatch(gold))
    return one or all(len(mark) == 1 for mark in marks)


_NAMES = re.compile(
    r"(?:[\s,]|\(?\b[A-Z]\b\)?|(?<!\\)\b[a-zA-Z]{3,}\b|\\text\{[^{}]*\})+"
)


def _one_name(gold: str, said: str) -> bool:
    """Whether two names may be those of one thing; a missing one may."""
    return not gold or not said or structures.base(gold) == structures.base(said)


def _in_order(gold: Sequence[str], said: Sequence[str], rules, algebra) -> bool:
    """Each part of one is the part of the other at its place."""
    if len(gold) != len(said):
        return False
    undecided = False
    for part, other in zip(gold, said, strict=True):
        try:
            if not _same(part, other, rules, algebra):
                return False
        except Undecided:
            # Another pair may differ for all to see.
            undecided = True
    if undecided:
        raise Undecided
    return True


def _any_order(gold: Sequence[str], said: Sequence[str], rules, algebra) -> bool:
    """Each part of one is a part of the other, as often."""
    if len(gold) != len(said):
        return False
    left = list(said)
    for part in gold:
        undecided = False
        for i, other in enumerate(left):
            try:
                alike = _same(part, other, rules, algebra)
            except Undecided:
                # Another part may be this one letter by letter.
                undecided = True
                continue
            if alike:
                del left[i]
                break
        else:
            if undecided:
                raise Undecided
            return False
    return True


def _named(gold: structures.Shape, said: structures.Shape, rules, algebra) -> bool:
    """Compares where at least one side is values with names: x = 1, y = 2.

    The names must agree where both sides have them. Values without names are in the
    order of the gold answer's names, or in alphabetical order where it has none.
    """
    if gold.kind == said.kind:
        if sorted(gold.names) != sorted(said.names):
            return False
        values = dict(zip(said.names, said.parts, strict=True))
        parts = [values[name] for name in gold.names]
        return _in_order(gold.parts, parts, rules, algebra)
    if gold.kind == "values":
        ordered = said.kind in ("()", "column", "list") and not said.name
        return ordered and _in_order(gold.parts, said.parts, rules, algebra)
    if gold.kind in ("()", "column"):
        pairs = sorted(zip(said.names, said.parts, strict=True))
        return _in_order(gold.parts, [value for _, value in pairs], rules, algebra)
    if gold.kind not in ("list", "set") or gold.name:
        return False
    compare = _in_order if rules.ordered else _any_order
    return compare(gold.parts, said.parts, rules, algebra)


def _equal_numbers(
    gold: reading.Number, said: reading.Number, ratio: Fraction, rules
) -> bool:
    powers = gold.scientific and said.scientific
    if gold.finished and not said.finished and not powers:
        return False
    if rules.lowest_terms and gold.reduced and not said.reduced:
        return False
    values = [said.value * ratio]
    if rules.percent and gold.percent != said.percent:
        values.append(said.value / 100 if gold.percent else said.value * 100)
    off = min(abs(gold.value - value) for value in values)
    return off <= rules.tolerance * abs(gold.value)


def _about(gold: str, said: str, rules, algebra) -> bool:
    """Compares where a side says what it is about: 2\\sqrt{113} \\approx 21.26.

    What stands behind the sign must be what stands before it, as a decimal.
    """
    gold = re.split(r"\\approx(?![a-zA-Z])", gold)[0].strip()
    exact, *others = re.split(r"\\approx(?![a-zA-Z])", said)
    if not _same(gold, exact.strip(), rules, algebra):
        return False
    value = reading.quantity(exact.rpartition("=")[2].strip()).value
    for other in others:
        decimal = reading.quantity(other.strip()).value
        number = reading.number(decimal)
        if number is None:
            return False
        # Half a place off if it was rounded; a place further from zero if cut off.
        half = Fraction(1, 2 * 10 ** len(decimal.partition(".")[2]))
        cut = number.value + (half if number.value > 0 else -half)
        if not any(_near(value, at, half, algebra) for at in (number.value, cut)):
            return False
    return True


def _near(value: str, at: Fraction, half: Fraction, algebra) -> bool:
    """Whether a value lies within half a place of a number."""
    if known := reading.number(value):
        return abs(known.value - at) <= half
    if not at:
        return False
    near = types.SimpleNamespace(tolerance=float(half / abs(at)))
    written = reading.written(at)
    return _needed(algebra).equal(written, value, near, finished=False)


def _equal_atoms(gold: str, said: str, rules, algebra) -> bool:
    """Whether two expressions, or words, without parts are the same."""
    if "_" in gold and (alike := bases.same(gold, said)) is not None:
        return alike
    wanted, came = reading.quantities(gold, said)
    if r"\pi" in gold + said and _is_turn(wanted, came):
        wanted, came = _in_radians(wanted), _in_radians(came)
    elif units.ratio(wanted.unit, came.unit) != 1:
        return False
    gold, said = structures.unwrapped(wanted.value), structures.unwrapped(came.value)
    if reading.squeezed(gold) == reading.squeezed(said):
        return True
    if any(english.is_word(t) or screening.BASE.search(t) for t in (gold, said)):
        # AB and ab are two things, MAKE and make one word.
        if english.INITIALS.fullmatch(gold) and gold.casefold() not in english.WORDS:
            return gold == structures.unwrapped(re.sub(r"\\text(?=\{)", "", said))
        return english.folded(gold) == english.folded(said)
    # A number is wanted, and there is something left to do.
    if reading.number(gold) and not rules.tolerance:
        return False
    if screening.leaves_more(gold, said):
        return False
    return _needed(algebra).equal(gold, said, rules)


_DEGREE, _RADIAN = units.read("°"), units.read(r"\text{rad}")


def _is_turn(gold: reading.Quantity, said: reading.Quantity) -> bool:
    """Whether one side is an angle in degrees and the other one in radians."""
    found = [gold.unit, said.unit]
    return _DEGREE in found and (units.NONE in found or _RADIAN in found)


def _in_radians(angle: reading.Quantity) -> reading.Quantity:
    number = reading.number(angle.value)
    if angle.unit != _DEGREE or number is None:
        return reading.Quantity(angle.value)
    turn = number.value / 180
    sign = "-" if turn < 0 else ""
    top, bottom = abs(turn.numerator), turn.denominator
    above = r"\pi" if top == 1 else rf"{top}\pi"
    text = above if bottom == 1 else rf"\frac{{{above}}}{{{bottom}}}"
    return reading.Quantity(sign + text)


def _needed(algebra: Algebra | None) -> Algebra:
    if algebra is None:
        raise Undecided
    return algebra


def _equations(gold: structures.Shape, said: structures.Shape, rules, algebra) -> bool:
    """Compares where at least one side is an equation.

    `x = 5` is a 5 with a name: the name may be missing. On the other side of an answer
    that is no equation may stand a name, or what is equal to it: 12 + 3 = 15.
    """
    # The gold answer has a name, or is a relation of its own.
    if gold.kind == "equation":
        *names, value = gold.parts
        if len(names) == 1 and _is_name(names[0]):
            if said.kind != "equation":
                if said.name and not _one_name(reading.squeezed(names[0]), said.name):
                    return False
                return _same(value, said.text, rules, algebra)
            *others, came = said.parts
            if reading.squeezed(others[0]) != reading.squeezed(names[0]):
                return _needed(algebra).relations(gold.text, said.text)
            return _chained(value, others[1:], came, rules, algebra)
        if said.kind != "equation" or len(gold.parts) != 2 or len(said.parts) != 2:
            return False
        return _needed(algebra).relations(gold.text, said.text)

    # Only the answer is an equation: its last side counts, and the others must agree.
    *others, value = said.parts
    plain = re.fullmatch(r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?", value.strip())
    if plain and len(others) == 1 and not _is_name(others[0]):
        value, others = others[0], [value]  # 3 = x
    return _chained(gold.text, others, value, rules, algebra)


def _chained(gold: str, others: Sequence[str], value: str, rules, algebra) -> bool:
    """Whether the last side is the gold answer, the others its names or its value."""
    if not _same(gold, value, rules, algebra):
        return False
    number = reading.number(reading.quantity(gold).value)
    for other in others:
        if _is_name(other) or english.is_word(other) or _is_ratio_of_names(other):
            continue
        if number and (screening.letters(other) or screening.GREEK.search(other)):
            # 2x = 5 asks for x; a + b = 5 and \cos A = 5 do not.
            if screening.is_unsolved(other):
                return False
            continue
        stated = reading.number(reading.quantity(other).value)
        if number and stated:
            if stated.value != number.value:
                return False
            continue
        if not _needed(algebra).equal(value, other, rules, finished=False):
            return False
    return True


_SIGN = re.compile(r"[<>]|\\[lg]e(?![a-zA-Z])")


def _is_name(text: str) -> bool:
    return bool(structures.NAME.fullmatch(reading.squeezed(text)))


def _is_ratio_of_names(text: str) -> bool:
    parts = structures.split(text, (":",))
    return len(parts) > 1 and all(map(_is_name, parts))
