"""Whether two answers are the same: their shapes first, then their parts.

Tuples, intervals, sets, lists, unions and matrices are compared part by part, numbers
as exact fractions. Only the rest goes to an algebra system.
"""

import re
from collections.abc import Sequence
from typing import Protocol

from c3jax.reward import bases, chinese, reading, structures

# Longest answer that is looked into; beyond it only letter by letter.
MAX_LENGTH = 500
_MAX_DEPTH = 16


class Algebra(Protocol):
    """Decides what needs an algebra system; see `algebra`."""

    def equal(self, gold: str, said: str, rules, finished: bool = True) -> bool:
        """Whether two expressions have one value, `said` having nothing left to do."""

    def relations(self, gold: str, said: str) -> bool:
        """Whether two equations, or inequalities, are one in another arrangement."""


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
    if len(said) > MAX_LENGTH or not all(c.isprintable() or c.isspace() for c in said):
        return False
    gold, said = reading.tidy(gold), reading.tidy(said)
    if rules.chinese:
        gold, said = chinese.arabic(gold), chinese.arabic(said)
    if structures.depth(said) > _MAX_DEPTH:
        return False
    return _same(gold, said, rules, algebra)


_UNORDERED = ("atom", "list", "set", "union")


def _same(gold: str, said: str, rules, algebra: Algebra | None) -> bool:
    gold, said = structures.unwrapped(gold), structures.unwrapped(said)
    if reading.squeezed(gold) == reading.squeezed(said):
        return True

    # Two numbers are settled exactly.
    wanted, came = reading.quantity(gold), reading.quantity(said)
    numbers = reading.number(wanted.value), reading.number(came.value)
    if None not in numbers:
        if reading.conflict(wanted.unit, came.unit):
            return False
        return _equal_numbers(*numbers, rules)

    # Shapes whose parts have no order.
    wanted, came = structures.shape(gold), structures.shape(said)
    if "equation" in (wanted.kind, came.kind):
        return _equations(wanted, came, rules, algebra)
    if wanted.kind in _UNORDERED and came.kind in _UNORDERED:
        if wanted.kind == came.kind == "atom":
            return _equal_atoms(gold, said, rules, algebra)
        if "union" in (wanted.kind, came.kind) and wanted.kind != came.kind:
            return False
        return _any_order(wanted.parts, came.parts, rules, algebra)

    # Shapes whose parts are ordered.
    if wanted.kind != came.kind and all(map(_SIGN.search, (gold, said))):
        return _needed(algebra).relations(gold, said)
    if wanted.kind != came.kind or len(wanted.parts) != len(came.parts):
        return False
    if wanted.kind == "relation":
        return _needed(algebra).relations(gold, said)
    if wanted.name and came.name and wanted.name != came.name:
        return False
    return _in_order(wanted.parts, came.parts, rules, algebra)


def _in_order(gold: Sequence[str], said: Sequence[str], rules, algebra) -> bool:
    """Each part of one is the part of the other at its place."""
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


def _equal_numbers(gold: reading.Number, said: reading.Number, rules) -> bool:
    if gold.finished and not said.finished:
        return False
    if rules.lowest_terms and gold.reduced and not said.reduced:
        return False
    values = [said.value]
    if rules.percent and gold.percent != said.percent:
        values.append(said.value / 100 if gold.percent else said.value * 100)
    off = min(abs(gold.value - value) for value in values)
    return off <= rules.tolerance * abs(gold.value)


def _equal_atoms(gold: str, said: str, rules, algebra) -> bool:
    """Whether two expressions, or words, without parts are the same."""
    if "_" in gold and (alike := bases.same(gold, said)) is not None:
        return alike
    wanted, came = reading.quantity(gold), reading.quantity(said)
    if reading.conflict(wanted.unit, came.unit):
        return False
    gold, said = structures.unwrapped(wanted.value), structures.unwrapped(came.value)
    if reading.squeezed(gold) == reading.squeezed(said):
        return True
    if _is_word(gold) or _is_word(said) or _BASE.search(gold) or _BASE.search(said):
        return _word(gold) == _word(said)
    # A number is wanted, and there is something left to do.
    if reading.number(gold) and not rules.tolerance:
        return False
    if set(_UNDONE.findall(said)) - set(_UNDONE.findall(gold)):
        return False
    return _needed(algebra).equal(gold, said, rules)


def _needed(algebra: Algebra | None) -> Algebra:
    if algebra is None:
        raise Undecided
    return algebra


# 2215_6: digits in another base are compared as digits.
_BASE = re.compile(r"(?:\d[\dA-F]*|[A-F][\dA-F]+)\}?\s*_\s*\{?\s*(?:\d|\\text)")
_COMMAND = re.compile(r"\\[a-zA-Z]+|\\.")


def _is_word(text: str) -> bool:
    """Whether an answer is a name, not a formula: Monday, MAKE, but not xy."""
    text = re.sub(r"\\text\{([^{}]*)\}", r"\1", text)
    return bool(re.fullmatch(r"[a-zA-Z][a-zA-Z ,.'-]*", text)) and (
        len(text) > 3 or (len(text) > 1 and not text.islower())
    )


def _word(text: str) -> str:
    """A name without case and spelling: the subscripts of 2215_{6} and 2215_6."""
    return re.sub(r"\\text|[\\{}()\s.]", "", text).casefold()


_UNDONE = re.compile(
    r"\\(?:[dt]?binom|choose|gcd|lcm|det|max|min|b?mod|pmod|int|oint|sum|prod|lim"
    r"|approx|dots|ldots|cdots)(?![a-zA-Z])"
)


def _equations(gold: structures.Shape, said: structures.Shape, rules, algebra) -> bool:
    """Compares where at least one side is an equation.

    `x = 5` is a 5 with a name: the name may be missing. On the other side of an answer
    that is no equation may stand a name, or what is equal to it: 12 + 3 = 15.
    """
    # The gold answer has a name, or is a relation of its own.
    if gold.kind == "equation":
        *names, value = gold.parts
        if len(names) == 1 and _NAME.fullmatch(reading.squeezed(names[0])):
            if said.kind != "equation":
                return _same(value, said.text, rules, algebra)
            *others, came = said.parts
            if reading.squeezed(others[0]) == reading.squeezed(names[0]):
                return _same(value, came, rules, algebra)
            return _needed(algebra).relations(gold.text, said.text)
        if said.kind != "equation" or len(gold.parts) != 2 or len(said.parts) != 2:
            return False
        return _needed(algebra).relations(gold.text, said.text)

    # Only the answer is an equation: its last side counts, and the others must agree.
    *others, value = said.parts
    if len(others) == 1 and re.fullmatch(r"\\?[a-zA-Z]+(?:_\{?\w+\}?)?", value.strip()):
        value, others = others[0], [value]  # 3 = x
    if not _same(gold.text, value, rules, algebra):
        return False
    number = reading.number(reading.quantity(gold.text).value)
    return all(
        _NAME.fullmatch(reading.squeezed(other))
        or _is_word(other)
        # An unknown may be called anything, but 7 + 1 = 7 is wrong.
        or (number and re.search(r"[a-zA-Z]", _COMMAND.sub("", other)))
        or _needed(algebra).equal(value, other, rules, finished=False)
        for other in others
    )


_SIGN = re.compile(r"[<>]|\\[lg]e(?![a-zA-Z])")
# x, x_1, f(x), f^{-1}(x), \angle ABC, \overline{AB}, \alpha, P(A)
_NAME = re.compile(
    r"\\?(?:text\{[^{}]*\}|angle|overline|triangle|[a-zA-Z])?[a-zA-Z{}]*'*"
    r"(?:_\{?\w+\}?)?(?:\^\{?-1\}?)?(?:\(\w(?:,\w)*\))?"
)
