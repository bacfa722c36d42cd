"""Answers as they are written: tidied up, split from their units, read as numbers.

Text and exact fractions only, so that most answers are settled without an algebra
system.
"""

import functools
import re
from fractions import Fraction
from typing import NamedTuple

# The letters that people write for the LaTeX that the rest of this package reads.
_COMMANDS = (
    "× times, π pi, θ theta, ∞ infty, √ sqrt, ≤ le, ≥ ge, ≠ ne, ≈ approx, ± pm, ∪ cup, "
    "∈ in, ∅ emptyset"
)
_LETTERS = str.maketrans(
    {
        **{chr(c): chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)},  # full width
        **dict.fromkeys("−–—﹣", "-"),
        **dict.fromkeys("·⋅∙", r"\cdot "),
        **{pair[0]: rf"\{pair[2:]} " for pair in _COMMANDS.split(", ")},
        **dict.fromkeys("、；", ","),
        **dict.fromkeys("€£¥￥", ""),
        "÷": "/",
        "²": "^2",
        "³": "^3",
        "½": r"\frac{1}{2}",
        "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}",
        "。": ".",
        "’": "'",
        "\u3000": " ",
        "\xa0": " ",
    }
)
_TEXT = r"\\(?:text(?:bf|it|rm|normal)?|mbox|math(?:rm|bf|it|sf)|operatorname)\s*\{"
_REWRITES = [
    (re.compile(pattern), new)
    for pattern, new in [
        # 1,\!234 and 1{,}234: a comma inside a number, and nothing else.
        (r"(?<=\d)(?:\{,\}|,?\s*\\!,?|\\,)(?:\s|\\!)*(?=\d{3}(?!\d))", ""),
        (r"\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])\.?", ""),
        (r"\\!|\\displaystyle(?![a-zA-Z])|\\phantom\{[^{}]*\}", ""),
        (r"(?<!\\)\\[,;:> ]|\\q?quad(?![a-zA-Z])|~|\s+", " "),
        (r"\\[dtc]frac(?![a-zA-Z])", r"\\frac"),
        (r"\\(?:mathrm|text|operatorname)\s*\{\s*([ie])\s*\}", r"\1"),
        (_TEXT, r"\\text{"),
        (r"(?:\^\s*\{?\s*\\circ(?![a-zA-Z])\s*\}?|\\degrees?(?![a-zA-Z]))", "°"),
        (r"\\%|\\text\{\s*percent\s*\}|(?<![a-zA-Z])percent(?![a-zA-Z])", "%"),
        (r"\\?\$", ""),
        (r"\\frac\s*(\\pi|\d)\s*(\d)(?=\D|$)", r"\\frac{\1}{\2}"),
        (r"\\frac\s*(\\pi|\d)\s*\{", r"\\frac{\1}{"),
        (r"\\frac\s*\{\s*([+-]?\d+)\s*\}\s*(\d)", r"\\frac{\1}{\2}"),
        (r"(?<![a-zA-Z\\])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
        (r"(?<![a-zA-Z\\])(sqrt|pi|sin|cos|tan|log|ln)(?![a-zA-Z])", r"\\\1 "),
        (r"\^\s*(-?\d{2,})", r"^{\1}"),
        (r"\\sqrt\s*(\d)", r"\\sqrt{\1}"),
        (r"\s*,?\s*\\text\{[\s,]*(?:and|or)\s*\}", ", "),
        (r"\s*,?(?<![a-zA-Z\\])(?:and|or)(?![a-zA-Z])", ", "),
        (r"\\leq(?:slant)?(?![a-zA-Z])|<=", r"\\le "),
        (r"\\geq(?:slant)?(?![a-zA-Z])|>=", r"\\ge "),
        (r"\\lt(?![a-zA-Z])", "<"),
        (r"\\gt(?![a-zA-Z])", ">"),
        (r"\\lbrace(?![a-zA-Z])", r"\\{"),
        (r"\\rbrace(?![a-zA-Z])", r"\\}"),
        (r"\\neq(?![a-zA-Z])", r"\\ne "),
        (r"\\mathbb\s*\{?R\}?|\\R(?![a-zA-Z])", r"(-\\infty,\\infty)"),
        (r"\\varnothing(?![a-zA-Z])", r"\\emptyset"),
        (r"(?<![a-zA-Z\\])infinity(?![a-zA-Z])", r"\\infty"),
        (r"^\s*(?:=|\\approx(?![a-zA-Z])|[a-zA-Z]\s*\\in(?![a-zA-Z]))", ""),
        # Remarks about the answer follow the answer.
        (r"(?<=\S)\s*\\approx(?![a-zA-Z]).*$", ""),
        (r"[\s.,;:]+$", ""),
    ]
]
_WHOLE_TEXT = re.compile(r"\\text\{([^{}]*)\}")


@functools.lru_cache(4096)
def tidy(text: str) -> str:
    """An answer in one spelling of fractions, signs, spaces, percent and degrees."""
    text = text.strip().translate(_LETTERS)
    for pattern, new in _REWRITES:
        text = pattern.sub(new, text)
    text = text.strip()
    if whole := _WHOLE_TEXT.fullmatch(text):
        return tidy(whole[1])
    return text


def squeezed(text: str) -> str:
    """A tidy text without spaces, for comparison letter by letter."""
    return text.replace(" ", "")


class Quantity(NamedTuple):
    """A value and its unit.

    Attributes:
        value: the text without the unit.
        unit: in one spelling; "" where there is none.
    """

    value: str
    unit: str


_EXPONENT = r"(?:\s*\^\s*\{?\s*([23])\s*\}?)?"
_ANGLE = re.compile(r"\\(?:sin|cos|tan|cot|sec|csc)(?![a-zA-Z])")
_TEXT_UNIT = re.compile(r"(.*\S)\s*\\text\{([^{}]*)\}" + _EXPONENT, re.DOTALL)
_WORDS_UNIT = re.compile(
    r"([^a-zA-Z]*\d[\s%})]*)([a-zA-Z]{3,}(?:[\s-]+[a-zA-Z]{3,})*\.?)"
)


@functools.lru_cache(4096)
def quantity(text: str) -> Quantity:
    """Splits the unit from a tidy answer: `\\text{..}`, °, cm^2, words after a number.

    A letter alone stays: 5t is 5 times t.
    """
    text = text.strip()
    if text.endswith("°") and not _ANGLE.search(text):
        return Quantity(text[:-1].strip(), "degree")
    for pattern in (_TEXT_UNIT, _PLAIN_UNIT):
        if match := pattern.fullmatch(text):
            return Quantity(match[1].strip(), _canonical(match[2], match[3]))
    if match := _WORDS_UNIT.fullmatch(text):
        return Quantity(match[1].strip(), _canonical(match[2], None))
    return Quantity(text, "")


# Only these conflict with each other; any other word may be a unit of anything. Each
# stands before its other spellings.
_SPELLINGS = (
    "millimeter mm millimetre, centimeter cm centimetre, meter m metre, "
    "kilometer km kilometre, inch in inche, foot ft feet, yard yd, mile mi, "
    "milligram mg, gram g gm, kilogram kg, ounce oz, pound lb, "
    "milliliter ml millilitre, liter l litre, second sec, minute min, hour hr, "
    "day, week, month, year yr, dollar usd, cent, degree deg, radian rad, mph, am, pm"
)
_UNITS = {
    name: names[0] for names in map(str.split, _SPELLINGS.split(", ")) for name in names
}
# Letters that are no product of variables anybody would name so.
_PLAIN = sorted(
    {a for alias in _UNITS if len(alias) > 1 for a in (alias, alias + "s")}
    - {"in", "ins", "mi", "mis", "am", "ams"},
    key=len,
    reverse=True,
)
_PLAIN_UNIT = re.compile(
    r"(.*[\d)}])\s*((?:(?:square|sq\.?|cubic)\s+)?(?:" + "|".join(_PLAIN) + r"))\.?"
    r"" + _EXPONENT,
    re.DOTALL,
)


def _canonical(unit: str, exponent: str | None) -> str:
    """One name for each unit: sq. feet, ft^2 and square foot are foot^2."""
    words = re.sub(r"[^a-z ]", "", unit.lower()).split()
    for power, names in (("2", ("square", "sq")), ("3", ("cubic", "cu"))):
        if words and words[0] in names:
            words, exponent = words[1:], power
    word = " ".join(words)
    word = _UNITS.get(word) or _UNITS.get(word.removesuffix("s")) or word
    return f"{word}^{exponent}" if exponent else word


def conflict(gold: str, said: str) -> bool:
    """Whether two units are known and not the same: 5 cm is not 5 m."""
    known = [unit.split("^")[0] in _UNITS for unit in (gold, said)]
    return all(known) and gold != said


class Number(NamedTuple):
    """An exact number that was written out.

    Attributes:
        value: with its percent sign taken into account.
        percent: whether it has one.
        finished: False where a division or a sign is left to carry out: 12/4.
        reduced: False for a fraction that is not in lowest terms: 6/4.
    """

    value: Fraction
    percent: bool = False
    finished: bool = True
    reduced: bool = True


_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?:"
    rf"(?P<decimal>{_DIGITS}(?:\.\d*)?|\.\d+)(?:\\times10\^\{{?(?P<power>-?\d{{1,3}})\}}?)?"
    r"|(?P<whole>\d*)\\frac\{(?P<top>[+-]?\d+)\}\{(?P<bottom>[+-]?\d+)\}"
    r"|\(?(?P<over>[+-]?\d+)\)?/\(?(?P<under>[+-]?\d+)\)?"
    r"|(?P<lead>\d*)\.(?P<once>\d*)\\overline\{(?P<again>\d+)\}"
    r")(?P<percent>%?)"
)
_MIXED = re.compile(r"([+-]?\d+)\s+(\d+)/(\d+)(%?)")


@functools.lru_cache(4096)
def number(text: str) -> Number | None:
    """The number that a tidy text is, without its unit; None if it is anything else.

    Integers, thousands separators, decimals, fractions, mixed numbers, scientific
    notation, repeating decimals, percentages.
    """
    if mixed := _MIXED.fullmatch(text.strip()):
        text = rf"{mixed[1]}\frac{{{mixed[2]}}}{{{mixed[3]}}}{mixed[4]}"
    text = re.sub(r"([+-])\((.*)\)", r"\1\2", squeezed(text))
    match = _NUMBER.fullmatch(text)
    if not match:
        return None
    part = match.groupdict()
    scale = Fraction(1, 100) if part["percent"] else Fraction(1)
    sign = -1 if part["sign"] == "-" else 1
    percent = bool(part["percent"])

    # Decimals, with a power of ten or with digits that repeat.
    if part["decimal"]:
        value = Fraction(part["decimal"].replace(",", ""))
        if part["power"]:
            if not 1 <= value < 10:
                return None  # a product that is left to carry out
            value *= Fraction(10) ** int(part["power"])
        return Number(sign * value * scale, percent)
    if part["again"]:
        again, digits = part["again"], len(part["once"])
        value = Fraction(f"{part['lead'] or 0}.{part['once'] or 0}")
        value += Fraction(int(again), (10 ** len(again) - 1) * 10**digits)
        return Number(sign * value * scale, percent)

    # Fractions, with a whole number before them or none.
    top, bottom = int(part["top"] or part["over"]), int(part["bottom"] or part["under"])
    if bottom == 0:
        return None
    value = Fraction(top, bottom)
    finished = value.denominator > 1 and not (sign < 0 and value < 0)
    if part["whole"]:
        finished = finished and top > 0 and bottom > 0
        value += int(part["whole"])
    reduced = abs(value.denominator) == abs(bottom)
    return Number(sign * value * scale, percent, finished, reduced)
