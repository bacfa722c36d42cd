"""Whether two answers are the same: their shapes first, then what they hold.

Tuples, intervals, sets, lists, unions and matrices are told apart by how they are
written, which an algebra system does not keep, and compared part by part. Numbers are
compared as exact fractions. Only what is left goes to an algebra system.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from c3jax.reward import chinese, reading

# Longest answer that is looked into; beyond it only letter by letter.
MAX_LENGTH = 500
_MAX_DEPTH = 16
_MAX_DIGITS = 40
_MAX_POWER = 10_000


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
        gold: the right answer.
        said: the one to judge, without the text around it.
        rules: a `core.types.Rules`, or what has its attributes.
        algebra: decides what text and fractions cannot.

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
    if _depth(said) > _MAX_DEPTH:
        return False
    return _same(gold, said, rules, algebra)


def _same(gold: str, said: str, rules, algebra: Algebra | None) -> bool:
    gold, said = _unwrapped(gold), _unwrapped(said)
    if reading.squeezed(gold) == reading.squeezed(said):
        return True
    wanted, came = reading.quantity(gold), reading.quantity(said)
    numbers = reading.number(wanted.value), reading.number(came.value)
    if None not in numbers:
        if reading.conflict(wanted.unit, came.unit):
            return False
        return _equal_numbers(*numbers, rules)
    wanted, came = _shape(gold), _shape(said)
    if "equation" in (wanted.kind, came.kind):
        return _equations(wanted, came, rules, algebra)
    if wanted.kind in _UNORDERED and came.kind in _UNORDERED:
        if wanted.kind == came.kind == "atom":
            return _equal_atoms(gold, said, rules, algebra)
        if "union" in (wanted.kind, came.kind) and wanted.kind != came.kind:
            return False
        return _any_order(wanted.parts, came.parts, rules, algebra)
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
                found = _same(part, other, rules, algebra)
            except Undecided:
                # Another part may be this one letter by letter.
                undecided = True
                continue
            if found:
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
    off = abs(gold.value - said.value)
    if rules.percent and gold.percent != said.percent:
        # The sign is there on one side only: 64 for 64% too.
        scale = 100 if gold.percent else 1
        other = abs(scale * gold.value - (1 if gold.percent else 100) * said.value)
        off = min(off, other / scale)
    return off <= rules.tolerance * abs(gold.value)


def _equal_atoms(gold: str, said: str, rules, algebra) -> bool:
    """Whether two expressions, or words, without parts are the same."""
    wanted, came = reading.quantity(gold), reading.quantity(said)
    if reading.conflict(wanted.unit, came.unit):
        return False
    gold, said = _unwrapped(wanted.value), _unwrapped(came.value)
    if reading.squeezed(gold) == reading.squeezed(said):
        return True
    if _is_word(gold) or _is_word(said) or _BASE.search(gold) or _BASE.search(said):
        return _word(gold) == _word(said)
    if _letters(gold) != _letters(said):
        return False
    if _is_unfinished(gold, said) or _is_costly(said):
        return False
    return _needed(algebra).equal(gold, said, rules)


def _needed(algebra: Algebra | None) -> Algebra:
    if algebra is None:
        raise Undecided
    return algebra


# 2215_6: digits in another base are compared as digits.
_BASE = re.compile(r"[\dA-F]\s*_\s*\{?\s*(?:\d|\\text)")
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


def _letters(text: str) -> set[str]:
    """The unknowns of an expression; R is not r, which the algebra system forgets."""
    return set(re.findall("[a-zA-Z]", _COMMAND.sub(" ", text)))


_ARITHMETIC = re.compile(r"(?:[\d\s+\-*/^!().{}]|\\frac|\\cdot|\\times|\\div|\\sqrt)*")
_UNDONE = re.compile(
    r"\\(?:[dt]?binom|choose|gcd|lcm|det|max|min|b?mod|pmod|int|oint|sum|prod|lim"
    r"|approx|dots|ldots|cdots)(?![a-zA-Z])"
)
_LONG_NUMBER = re.compile(rf"\d{{{_MAX_DIGITS},}}")
_POWER = re.compile(r"\^\s*\{?\s*[+-]?\s*(\d+)|(\d+)\s*!")
_TOWER = re.compile(r"\^\s*(?:\{[^{}]*(?:\^|!)|\w\s*\^|\(+[^()]*\^)|!\s*!|\)\s*!")


def _is_unfinished(gold: str, said: str) -> bool:
    """Whether there is something left to do that the gold answer does not leave.

    As far as one sees from the letters; `algebra` looks at the rest.
    """
    if reading.number(gold) and _ARITHMETIC.fullmatch(said):
        return True
    return bool(set(_UNDONE.findall(said)) - set(_UNDONE.findall(gold)))


def _is_costly(text: str) -> bool:
    """Whether an expression might take an age to evaluate."""
    powers = [int(a or b) for a, b in _POWER.findall(text)]
    if powers and max(powers) > _MAX_POWER:
        return True
    return bool(_LONG_NUMBER.search(text) or _TOWER.search(text))


def _equations(gold: "Shape", said: "Shape", rules, algebra) -> bool:
    """Compares where at least one side is an equation.

    `x = 5` is a 5 with a name: the name may be missing. On the other side of an answer
    that is no equation may stand a name, or what is equal to it: 12 + 3 = 15.
    """
    if gold.kind == "equation":
        *names, value = gold.parts
        if len(names) == 1 and _NAME.fullmatch(reading.squeezed(names[0])):
            if said.kind != "equation":
                return _same(value, said.text, rules, algebra)
            *others, came = said.parts
            named = reading.squeezed(others[0]) == reading.squeezed(names[0])
            return named and _same(value, came, rules, algebra)
        if said.kind != "equation" or len(gold.parts) != 2 or len(said.parts) != 2:
            return False
        return _needed(algebra).relations(gold.text, said.text)
    *others, value = said.parts
    if not _same(gold.text, value, rules, algebra):
        return False
    number = reading.number(reading.quantity(gold.text).value)
    return all(
        _NAME.fullmatch(reading.squeezed(other))
        or _is_word(other)
        # An unknown may be called anything, but 7 + 1 = 7 is wrong.
        or (number and re.search(r"[a-zA-Z]", _COMMAND.sub("", other)))
        or (
            not _is_costly(other)
            and _needed(algebra).equal(value, other, rules, finished=False)
        )
        for other in others
    )


# x, x_1, f(x), f^{-1}(x), \angle ABC, \overline{AB}, \alpha, P(A)
_NAME = re.compile(
    r"\\?(?:text\{[^{}]*\}|angle|overline|triangle|[a-zA-Z])?[a-zA-Z{}]*'*"
    r"(?:_\{?\w+\}?)?(?:\^\{?-1\}?)?(?:\(\w(?:,\w)*\))?"
)


class Shape(NamedTuple):
    """How an answer is put together.

    Attributes:
        kind: "atom"; "list", "set", "union", whose order is free; "matrix 3 3", two
            rows of three; "ratio"; the brackets around the parts, "()" or "[)";
            "equation", "relation".
        parts: in order; the whole text of an atom.
        text: the whole.
        name: the unknown of an inequality that was read as an interval.
    """

    kind: str
    parts: tuple[str, ...]
    text: str
    name: str = ""


_UNORDERED = ("atom", "list", "set", "union")
_CLOSING = {")": "(", "]": "[", r"\}": r"\{", r"\rangle": r"\langle"}
_TOKEN = re.compile(
    r"\\begin\{\w+\}|\\end\{\w+\}|\\[a-zA-Z]+|\\\\|\\.|[^\\]", re.DOTALL
)
_MATRIX = re.compile(
    r"\(?\s*\\begin\{([pbBvV]?matrix|array)\}(?:\{[lcr|]*\})?(.*)\\end\{\1\}\s*\)?",
    re.DOTALL,
)


def _shape(text: str) -> Shape:
    """Reads how a tidy answer is put together."""
    text = text.strip()
    if (matrix := _MATRIX.fullmatch(text)) and "begin" not in matrix[2]:
        rows = [row for row in matrix[2].split(r"\\") if row.strip()]
        cells = [row.split("&") for row in rows]
        around = matrix[1] if matrix[1] in ("vmatrix", "Vmatrix") else "matrix"
        size = " ".join(str(len(row)) for row in cells)
        return Shape(f"{around} {size}", tuple(c for row in cells for c in row), text)
    for separators, kind in _SEPARATED:
        parts = _split(text, separators)
        if len(parts) > 1:
            if kind == "relation":
                return _interval(text) or Shape(kind, (text,), text)
            return Shape(kind, tuple(parts), text)
    if inside := _inside(text):
        left, middle, right = inside
        parts = _split(middle, (";" if ";" in middle else ",",))
        kind = "set" if left == r"\{" else left + right
        return Shape(kind, tuple(parts) if middle.strip() else (), text)
    if text.count(r"\pm") == 1 and r"\mp" not in text:
        both = (text.replace(r"\pm", sign) for sign in "+-")
        return Shape(
            "list", tuple(part.strip().removeprefix("+") for part in both), text
        )
    return Shape("atom", (text,), text)


# The first that separates the whole text says what it is.
_SEPARATED = (
    ((";",), "list"),
    ((",",), "list"),
    ((r"\cup",), "union"),
    (("=",), "equation"),
    (("<", ">", r"\le", r"\ge", r"\ne"), "relation"),
    ((":",), "ratio"),
)


def _split(text: str, separators: Sequence[str]) -> list[str]:
    """Cuts a text at separators that stand in no bracket."""
    parts, depth = [""], 0
    for token in _TOKEN.findall(text):
        if token in ("(", "[", "{", r"\{", r"\langle") or token.startswith(r"\begin"):
            depth += 1
        elif token in (")", "]", "}", r"\}", r"\rangle") or token.startswith(r"\end"):
            depth -= 1
        elif depth == 0 and token in separators:
            parts.append("")
            continue
        parts[-1] += token
    return parts


def _inside(text: str) -> tuple[str, str, str] | None:
    """Opening bracket, contents and closing bracket, if they go around the whole."""
    tokens = _TOKEN.findall(text)
    if len(tokens) < 2 or tokens[0] not in _CLOSING.values():
        return None
    depth = 0
    for i, token in enumerate(tokens):
        depth += (token in _CLOSING.values()) - (token in _CLOSING)
        if depth == 0 and i + 1 < len(tokens):
            return None
    if depth or tokens[-1] not in _CLOSING:
        return None
    return tokens[0], "".join(tokens[1:-1]), tokens[-1]


def _unwrapped(text: str) -> str:
    """A text without brackets that hold one thing only: (4x - 7)."""
    text = text.strip()
    while (inside := _inside(text)) and inside[0] == "(" and inside[2] == ")":
        if len(_split(inside[1], (",", ";"))) > 1 or not inside[1].strip():
            break
        text = inside[1].strip()
    if whole := re.fullmatch(r"\\text\{([^{}]*)\}|\{([^{}]*)\}", text):
        text = (whole[1] or whole[2] or "").strip()
    return text


_ORDER = re.compile(r"(<|>|\\le(?![a-z])|\\ge(?![a-z]))")
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}


def _interval(text: str) -> Shape | None:
    """An inequality of one letter as the interval it is: 2 < x \\le 3 is (2, 3]."""
    parts = [part.strip() for part in _ORDER.split(text)]
    if len(parts) == 3 and re.fullmatch("[a-zA-Z]", parts[2]):
        parts = [parts[2], _FLIPPED[parts[1]], parts[0]]
    if len(parts) == 3 and re.fullmatch("[a-zA-Z]", parts[0]):
        name, sign, bound = parts
        if sign in ("<", r"\le"):
            kind, ends = "(" + ")]"[sign == r"\le"], (r"-\infty", bound)
        else:
            kind, ends = "(["[sign == r"\ge"] + ")", (bound, r"\infty")
        return Shape(kind, ends, text, name)
    if len(parts) == 5 and re.fullmatch("[a-zA-Z]", parts[2]):
        low, first, name, second, high = parts
        if first in (">", r"\ge"):
            low, first, second, high = high, _FLIPPED[second], _FLIPPED[first], low
        if first in ("<", r"\le") and second in ("<", r"\le"):
            kind = "(["[first == r"\le"] + ")]"[second == r"\le"]
            return Shape(kind, (low, high), text, name)
    return None


def _depth(text: str) -> int:
    """How deep the brackets of a text are nested."""
    depth = deepest = 0
    for c in text:
        depth += (c in "([{") - (c in ")]}")
        deepest = max(deepest, depth)
    return deepest
