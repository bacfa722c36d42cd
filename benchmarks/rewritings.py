"""A gold answer as other hands write it, class by class.

Every rewriting is equal to its gold answer by how it is made: the number is the same
fraction, the letters are the same letters, or only what stands around them changes.
"""

import random
import re
from collections.abc import Iterator
from fractions import Fraction

from benchmarks import variants

_FRAC = re.compile(r"\\frac\{(\w+)\}\{(\w+)\}")
_ROOT = re.compile(r"\\sqrt\{(\d)\}")
_POWER = re.compile(r"\b([a-z])\^(\d)(?!\d)")
_PAIR = re.compile(r"([\[(])([^,()\[\]]+),([^,()\[\]]+)([\])])")
_TUPLE = re.compile(r"\(([^()\[\]]+(?:,[^()\[\]]+)+)\)")
_WORD = re.compile(r"\\text\{([A-Za-z]{4,})\}|([A-Za-z]{4,})")
_OPTION = re.compile(r"\\text\{\(?([A-Z])\)?\}|\(?([A-F])\)?")
_SIDES = re.compile(r"(\w) ?=( ?[^=<>, ][^=<>,]+)")
_UNITS = {
    "inches": "in",
    "feet": "ft",
    "hours": "h",
    "minutes": "min",
    "meters": "m",
    "centimeters": "cm",
    "kilometers": "km",
    "seconds": "s",
    "dollars": "dollars",
    "cm": "centimeters",
    "mph": "miles per hour",
    "m": "meters",
    "units": "units",
}


def rewritings(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Right answers in another spelling.

    Yields:
        The class, and what a box might hold.
    """
    gold = gold.strip()
    for kind, said in _rewritings(gold, rng):
        if said != gold:
            yield kind, said


def _rewritings(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    yield from _around(gold)
    yield from _of_numbers(gold, rng)
    yield from _of_formulas(gold)
    yield from _of_shapes(gold, rng)
    yield from _of_words(gold)


def _around(gold: str) -> Iterator[tuple[str, str]]:
    """What is set around an answer."""
    yield "dollar signs", f"${gold}$"
    yield "bold", f"**{gold}**"
    yield "full stop", f"{gold}."
    if "text" not in gold:
        yield "spaces", rf"\, {gold} \;"
    if not re.search(r"\\text|\\begin|\\cup|[=<>,]", gold):
        yield "brackets", rf"\left( {gold} \right)"
        yield "braces", f"{{{gold}}}"


def _of_numbers(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Fractions, decimals, powers of ten, percentages, units."""
    value = variants.number(gold)
    if value is None:
        return
    if value.denominator == 1 and abs(value) >= 1000:
        digits = str(abs(int(value)))
        body = digits.rstrip("0")
        lead = body[0] + ("." + body[1:] if len(body) > 1 else "")
        sign, power = "-" if value < 0 else "", len(digits) - 1
        yield "e-notation", f"{sign}{lead}e{power}"
        yield "e-notation", f"{sign}{lead}E+0{power}"
        yield "power of ten", rf"{sign}{lead} \cdot 10^{{{power}}}"
        yield "power of ten", rf"{sign}{lead}\times10^{power}"
        yield "thousands", f"{int(value):,}"
    short = variants.decimal(value)
    if value.denominator > 1 and short:
        yield "decimal", short
    elif value.denominator in (3, 9, 11, 33, 99) and "." not in gold:
        yield "repeating decimal", _repeating(value)
    if value.denominator > 1:
        top, bottom, sign = abs(value.numerator), value.denominator, "-" * (value < 0)
        yield "over", rf"{sign}{{{top} \over {bottom}}}"
        yield "slash", f"{sign}{top}/{bottom}"
        k = rng.randint(2, 5)
        yield "not reduced", rf"{sign}\frac{{{k * top}}}{{{k * bottom}}}"
    if value.denominator == 1:
        unit = rng.choice(["m/s", "km/h", "cm^2", "dollars", "m^3", "kg", "euros"])
        yield "plain unit", f"{gold} {unit}"
        yield "unit as text", rf"{gold}\ \mathrm{{{unit.split('^')[0]}}}"
        yield "count noun", f"{gold} {rng.choice(['apples', 'books', 'ways'])}"
        yield "name", f"{rng.choice('nxk')}={gold}"
        yield "minus sign", gold.replace("-", "−")


def _repeating(value: Fraction) -> str:
    whole, rest = divmod(abs(value), 1)
    digits = str(rest.numerator * 99 // rest.denominator).zfill(2)
    if digits[0] == digits[1]:
        digits = digits[0]
    return rf"{'-' * (value < 0)}{whole}.\overline{{{digits}}}"


def _of_formulas(gold: str) -> Iterator[tuple[str, str]]:
    """Commands, powers and roots in another spelling."""
    if r"\text" in gold:
        return
    if _FRAC.search(gold):
        yield "dfrac", gold.replace(r"\frac", r"\dfrac")
        yield "over", _FRAC.sub(r"{\1 \\over \2}", gold)
    if _ROOT.search(gold):
        yield "root without braces", _ROOT.sub(r"\\sqrt\1", gold)
        yield "root in words", re.sub(r"\\sqrt\{(\d+)\}", r" sqrt(\1)", gold)
    if _POWER.search(gold) and "=" not in gold:
        yield "two stars", _POWER.sub(r"\1**\2", gold)
        yield "power in braces", _POWER.sub(r"\1^{\2}", gold)
    if r"\cdot" in gold:
        yield "times", gold.replace(r"\cdot", r"\times")
    if re.fullmatch(r"-?\d*\\pi", gold):
        yield "letter of pi", gold.replace(r"\pi", "π")
    if found := re.fullmatch(r"(-?[\d.]+)\s*\^\{?\\circ\}?", gold):
        yield "degrees", f"{found[1]} degrees"
        yield "degrees", f"{found[1]}°"
    if found := re.fullmatch(r"(-?[\d.]+)\s*\\?%", gold):
        yield "percent", f"{found[1]}%"
        yield "percent", rf"{found[1]}\text{{ percent}}"


def _of_shapes(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Lists, intervals, points, matrices, equations."""
    if parts := variants.items(gold):
        head, last = ", ".join(parts[:-1]), parts[-1]
        yield "and", rf"{head} \text{{ and }} {last}"
        yield "and", f"{head} and {last}"
        if len(parts) > 2:
            yield "comma and", f"{head}, and {last}"
        yield "set", rf"\{{{', '.join(parts)}\}}"
        yield "order of a list", ", ".join(rng.sample(parts, len(parts)))
    if (pair := _PAIR.fullmatch(gold)) and "infty" in gold:
        left, low, high, right = (part.strip() for part in pair.groups())
        first = "<" if left == "(" else r"\le"
        second = "<" if right == ")" else r"\le"
        if "infty" in low:
            told = f"x {second} {high}"
        elif "infty" in high:
            told = f"{low} {first} x"
        else:
            told = f"{low} {first} x {second} {high}"
        yield "inequality", told
        yield "set builder", rf"\{{x \mid {told}\}}"
        yield "element", rf"x \in {gold}"
    elif point := _TUPLE.fullmatch(gold):
        yield "angle brackets", rf"\langle {point[1]} \rangle"
        yield "left and right", rf"\left({point[1]}\right)"
        if point[1].count(",") == 1:
            x, y = point[1].split(",")
            yield "point as equations", f"x = {x.strip()}, y = {y.strip()}"
    if "pmatrix" in gold:
        yield "matrix brackets", gold.replace("pmatrix", "bmatrix")
    if sides := _SIDES.fullmatch(gold):
        yield "sides", f"{sides[2].strip()} = {sides[1]}"
    terms = re.split(r"(?<=[\w})])\s*(?=[+-])", gold)
    if len(terms) > 1 and re.fullmatch(r"[\w+\-^ ]+", gold):
        turned = [t if t[0] in "+-" else "+" + t for t in terms[::-1]]
        yield "order of terms", " ".join(turned).removeprefix("+").strip()


def _of_words(gold: str) -> Iterator[tuple[str, str]]:
    """Words, options, units."""
    if found := _WORD.fullmatch(gold):
        word = found[1] or found[2]
        yield "word as text", rf"\text{{{word}}}"
        yield "word in bold", rf"\textbf{{{word}}}"
        yield "case of a word", word.lower()
    if found := _OPTION.fullmatch(gold):
        letter = found[1] or found[2]
        yield "option", f"({letter})"
        yield "option", rf"\textbf{{({letter})}}"
        yield "option", rf"\text{{{letter}}}"
        yield "option with its text", f"({letter}) 42"
    if found := variants.UNIT.fullmatch(gold):
        unit = found[2].strip()
        yield "unit left out", found[1]
        if unit in _UNITS:
            yield "unit abbreviated", f"{found[1]} {_UNITS[unit]}"
