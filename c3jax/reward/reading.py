"""Answers as they are read: split from their units, as exact numbers.

Text and exact fractions only, so that most answers are settled without an algebra
system.
"""

import functools
import itertools
import re
from fractions import Fraction
from typing import NamedTuple

from c3jax.reward import english, screening, spelling, units

tidy = spelling.tidy
_SINGLE = re.compile(r"([\^_])\{([a-zA-Z])\}")  # x^{n} is x^n
_SPACE = re.compile(r"(?<![\d.]) | (?![\d.])")


def squeezed(text: str) -> str:
    """A tidy text without spaces, for comparison letter by letter: 1 1 is not 11."""
    text = _SPACE.sub("", text) if " " in text else text
    return _SINGLE.sub(r"\1\2", text) if "{" in text else text


class Number(NamedTuple):
    """An exact number that was written out.

    Attributes:
        value: with its percent sign taken into account.
        percent: whether it has one.
        finished: False where a division, a power or a sign is left to carry out: 12/4.
        reduced: False for a fraction that is not in lowest terms: 6/4.
        scientific: whether it is written with a power of ten: 3e5, 10^5.
    """

    value: Fraction
    percent: bool = False
    finished: bool = True
    reduced: bool = True
    scientific: bool = False


_DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?:"
    rf"(?P<decimal>{_DECIMAL})"
    r"(?:(?:\\times|\\cdot)10\^\{?(?P<power>[+-]?\d{1,3})\}?|[eE](?P<tens>[+-]?\d{1,3}))?"
    r"|10\^\{?(?P<ten>[+-]?\d{1,3})\}?"
    rf"|(?P<whole>\d*)\\frac\{{(?P<top>[+-]?{_DECIMAL})\}}\{{(?P<bottom>[+-]?{_DECIMAL})\}}"
    rf"|\(?(?P<over>[+-]?\d+)\)?/\(?(?P<under>[+-]?\d+)\)?"
    r"|(?P<lead>\d*)\.(?P<once>\d*)(?:\\overline\{(?P<again>\d+)\}|\\dot\{?(?P<dot>\d)\}?"
    r"|\((?P<bracket>\d+)\))"
    r")(?P<percent>%?)"
)
_MIXED = re.compile(r"([+-]?)\s*(\d+)\s+(\d+)\s*/\s*(\d+)\s*(%?)")
_SIGNED = re.compile(r"([+-])\((.*)\)")
_GROUP = re.compile(r"\{(\d+)\}(?=/)|(?<=/)\{(\d+)\}")


@functools.lru_cache(4096)
def number(text: str) -> Number | None:
    """The number that a tidy text is, without its unit; None if it is anything else.

    Integers, decimals, fractions, mixed numbers, scientific notation, repeating
    decimals, percentages, English words.
    """
    if mixed := _MIXED.fullmatch(text.strip()):
        text = rf"{mixed[1]}{mixed[2]}\frac{{{mixed[3]}}}{{{mixed[4]}}}{mixed[5]}"
    spaced, text = text, squeezed(text)
    # +(5) and {3}/{4} are written by programs.
    if "(" in text or "{" in text:
        text = _GROUP.sub(r"\1\2", _SIGNED.sub(r"\1\2", text))
    match = _NUMBER.fullmatch(text)
    if not match:
        return _in_words(spaced)
    part = match.groupdict()
    percent = bool(part["percent"])
    scale = Fraction(-1 if part["sign"] == "-" else 1) / (100 if percent else 1)

    # Decimals, with a power of ten or with digits that repeat.
    if part["ten"]:
        value = Fraction(10) ** int(part["ten"])
        return Number(scale * value, percent, finished=False, scientific=True)
    if part["decimal"]:
        value = Fraction(part["decimal"])
        if power := part["power"] or part["tens"]:
            if part["power"] and not 1 <= value < 10:
                return None  # a product that is left to carry out
            value *= Fraction(10) ** int(power)
        return Number(value * scale, percent, scientific=bool(power))
    if again := part["again"] or part["dot"] or part["bracket"]:
        value = Fraction(f"{part['lead'] or 0}.{part['once'] or 0}")
        value += Fraction(int(again), (10 ** len(again) - 1) * 10 ** len(part["once"]))
        return Number(value * scale, percent)
    return _fraction(part, scale, percent)


def _fraction(part: dict, scale: Fraction, percent: bool) -> Number | None:
    """A fraction, with a whole number before it or none."""
    top = Fraction(part["top"] or part["over"])
    bottom = Fraction(part["bottom"] or part["under"])
    if bottom == 0:
        return None
    value = top / bottom
    finished = value.denominator > 1 and not (scale < 0 and value < 0)
    if part["whole"]:
        finished = finished and top > 0 and bottom > 0
        value += int(part["whole"])
    reduced = value.denominator == abs(bottom)
    return Number(value * scale, percent, finished, reduced)


_WORDS = re.compile(r"(?:\\text\{)?([a-zA-Z][a-zA-Z -]{2,60})\}?")


def _in_words(text: str) -> Number | None:
    said = _WORDS.fullmatch(text.replace(r"\land", "and").strip())
    value = english.number(said[1]) if said else None
    return None if value is None else Number(value)


def written(value: Fraction) -> str:
    """A number as a tidy text."""
    if value.denominator == 1:
        return str(value)
    sign = "-" if value < 0 else ""
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


class Quantity(NamedTuple):
    """A value and its unit.

    Attributes:
        value: the text without the unit.
        unit: what stands behind it; `units.NONE` where there is nothing.
        letter: whether the unit is one plain letter, which may be an unknown: 5 m.
    """

    value: str
    unit: units.Unit = units.NONE
    letter: str = ""


_LITERAL = re.compile(
    r"[+-]?\s*(?:\d+\s+\d+\s*/\s*\d+|\d+\s*/\s*\d+"
    r"|\d*\s*\\frac\s*\{\s*[+-]?[\d.]+\s*\}\s*\{\s*[+-]?[\d.]+\s*\}"
    r"|(?:\d+(?:\.\d*)?|\.\d+)(?:\s*\\(?:times|cdot)\s*10\s*\^\s*"
    r"(?:\{\s*[+-]?\d{1,3}\s*\}|\d)|[eE][+-]?\d{1,3})?)(?![\d^!])(?:\s*%)?"
)
_SCALE = re.compile(rf"\s*({'|'.join(english.SCALES)})(?![a-z])(.*)", re.I | re.S)
_TEXT = r"\\text\{[^{}]*\}"
_FACTOR = rf"(?:{_TEXT}(?:\s*\^\s*(?:-?\d|\{{\s*-?\d\s*\}}))?|°(?:\s*{_TEXT})?)"
_OVER = rf"\\frac\s*\{{\s*{_FACTOR}\s*\}}\s*\{{\s*{_FACTOR}\s*\}}"
_TEXT_UNIT = re.compile(
    rf"(.*?[^\s_^{{])\s*((?:{_FACTOR}|{_OVER})(?:\s*(?:\\cdot|/)?\s*{_FACTOR})*)", re.S
)
_PLAIN_UNIT = re.compile(r"(.*[\d)}])\s*([a-zA-Z]{2}[a-zA-Z/. ]*(?:\^\d)?)", re.S)
_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")
_PIECE = re.compile(r"(\d+(?:\.\d+)?)([^\d]+)")
_UNKNOWN = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]")
_LETTERS = frozenset("msghLNJWV")


@functools.lru_cache(4096)
def quantity(text: str) -> Quantity:
    """Splits the unit from a tidy answer: `\\text{..}`, °, cm^2, words after a number.

    A number may go on in words (5 million), and parts of one dimension are added up
    (2 hours 30 minutes). A letter at a number stays: 5t is 5 times t.
    """
    text = text.strip()
    if literal := _LITERAL.match(text):
        tail = text[literal.end() :]
        if not tail.strip():
            return Quantity(text)
        found = _measured(literal[0].strip(), tail) or _summed(text)
        if found:
            return found
    return _expression(text)


def _measured(literal: str, tail: str) -> Quantity | None:
    """A number with the words or the unit behind it."""
    bare = tail.strip()
    if scale := _SCALE.fullmatch(bare.replace(r"\text{", "").replace("}", "")):
        value = number(literal)
        if value is None or value.percent:
            return None
        value = written(value.value * english.SCALES[scale[1].casefold()])
        if not scale[2].strip():
            return Quantity(value)
        return _measured(value, rf" \text{{{scale[2]}}}")
    if len(bare) == 1 and bare.isalpha() and bare.isascii():
        unit = units.read(bare) if tail[0] == " " and bare in _LETTERS else None
        return Quantity(literal, unit, bare) if unit else None
    unit = units.read(tail)
    if unit is None or (unit.nouns and tail[0].isalpha()):
        return None
    return Quantity(literal, unit)


def _summed(text: str) -> Quantity | None:
    """Parts of one dimension, the larger first: 2 hours 30 minutes, 5 ft 6 in."""
    pieces = _PIECE.findall(text)
    if len(pieces) < 2 or "".join(map("".join, pieces)) != text:
        return None
    tails = [re.sub(r"(?:,|\\land)\s*$", "", tail) for _, tail in pieces]
    read = [units.read(tail) for tail in tails]
    if None in read or not read[0].dimension:
        return None
    # 5 in 6 ft is no length, 5 ft 6 in is.
    for larger, smaller in itertools.pairwise(read):
        if larger.dimension != smaller.dimension or larger.size <= smaller.size:
            return None
    total = sum(
        Fraction(n) * unit.size for (n, _), unit in zip(pieces, read, strict=True)
    )
    return Quantity(written(total / read[-1].size), read[-1])


def _expression(text: str) -> Quantity:
    """What is no number, with its unit: 2\\sqrt{3} \\text{ cm}, \\frac{\\pi}{2} m."""
    if text.endswith("°"):
        if _ANGLE.search(text):
            return Quantity(text)
        return Quantity(text[:-1].strip(), units.read("°"))
    if (found := _TEXT_UNIT.fullmatch(text)) and re.search(r"[\da-z]", found[1]):
        unit = units.read(found[2])
        if unit is not None:
            return Quantity(found[1].strip(), unit)
    if (found := _PLAIN_UNIT.fullmatch(text)) and not _UNKNOWN.search(found[1]):
        unit = units.read(found[2])
        if unit is not None and not unit.nouns:
            return Quantity(found[1].strip(), unit)
    return Quantity(text)


def quantities(gold: str, said: str) -> tuple[Quantity, Quantity]:
    """Both with their units; one plain letter is a unit only beside a number or a unit.

    5 m is 5 metres where 5 or 5 cm is wanted; where 5 m is wanted, 5 is no answer. And
    where one side is a formula without a unit, mV^2 is none on the other side.
    """
    wanted, came = quantity(gold), quantity(said)
    if wanted.letter and (not came.unit.dimension or came.letter):
        wanted = Quantity(gold)
        came = Quantity(said) if came.letter else came
    for one, text, other in ((came, said, gold), (wanted, gold, said)):
        plain = one.unit.dimension and r"\text" not in text
        if plain and screening.letters(other) and _is_bare(other):
            return Quantity(gold), Quantity(said)
    return wanted, came


def _is_bare(text: str) -> bool:
    """Whether it is no number, and has no unit."""
    found = quantity(text)
    return found.unit == units.NONE and number(found.value) is None
