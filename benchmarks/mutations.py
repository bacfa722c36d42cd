"""Wrong answers that are one slip away from a gold answer.

Each is checked to differ: by fifty digits where both can be evaluated, otherwise by how
it is made. A mutation that neither tells is not used.
"""

import random
import re
from collections.abc import Iterator

from benchmarks import evaluator, variants

_NUMBER = re.compile(r"(?<![\d.,\\a-zA-Z!])\d+(?![\d.,]|\}?\s*\\text|\\!)")
_LETTER = re.compile(r"(?<![a-zA-Z\\{])[a-zA-Z](?![a-zA-Z}])")
_EXPONENT = re.compile(r"\^\{?(\d)\}?(?!\d)")
_PAIR = re.compile(r"([\[(])([^,()\[\]]+),([^,()\[\]]+)([\])])")
_WORD = re.compile(r"(?:\\text\{)?([a-zA-Z]{3,})\}?")
_SIGN = re.compile(r"(?<=[\w})]) *([+-]) *(?=[\w\\(])")
_SWAPS = {
    r"\sin": r"\cos",
    r"\cos": r"\sin",
    r"\tan": r"\cot",
    r"\log": r"\exp",
    r"\cup": r"\cap",
    r"\infty": "0",
    r"\pi": r"\gamma",
    r"\frac": r"\binom",
    "<": ">",
    r"\le": "<",
    r"\ge": ">",
}
# Classes whose members differ whatever they stand in.
_BY_CONSTRUCTION = (
    *("bounds", "unit", "number word", "word", "hedge", "letter", "capital", "greek"),
    *("part dropped", "part added", "relation", "order", "name"),
)


def mutations(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Wrong answers, one of a class at most.

    Yields:
        The class, and what a box might hold.
    """
    gold = gold.strip()
    for kind, said in _mutations(gold, rng):
        same = evaluator.is_equal(gold, said)
        if said != gold and (
            same is False or (same is None and kind in _BY_CONSTRUCTION)
        ):
            yield kind, said


def _mutations(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    yield from _of_numbers(gold, rng)
    yield from _of_letters(gold, rng)
    yield from _of_parts(gold, rng)
    yield from _of_words(gold, rng)


def _of_numbers(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Signs, one more or less, exponents, the value as a fragment, huge numbers."""
    if number := _any(_NUMBER, gold, rng):
        step = rng.choice((-1, 1))
        yield "one off", _put(gold, number, str(abs(int(number[0]) + step)))
        yield "digit added", _put(gold, number, number[0] + rng.choice("0123456789"))
        if len(number[0]) > 1:
            yield "digit dropped", _put(gold, number, number[0][:-1])
            yield "digits turned", _put(gold, number, number[0][::-1])
    if exponent := _any(_EXPONENT, gold, rng):
        yield "exponent", _put(gold, exponent, f"^{{{int(exponent[1]) + 1}}}")
        yield "exponent dropped", _put(gold, exponent, "")
    if sign := _any(_SIGN, gold, rng):
        yield "sign", _put(gold, sign, "-" if sign[1] == "+" else "+")
        yield "term dropped", gold[: sign.start()]
        yield "product for sum", _put(gold, sign, r" \cdot ")
    if evaluator.is_equal(gold, gold):
        yield "sign of all", gold[1:] if gold[0] == "-" else f"-({gold})"
        yield "absolute", f"|{gold}| + 1"
        yield "root", rf"\sqrt{{{gold}}}"
        yield "square", f"({gold})^2"
    if re.fullmatch(r"\d{1,4}", gold) and gold != "0":
        yield "huge", rf"{gold} + 10^{{-{rng.randint(20, 90)}}}"
        yield "half", rf"{gold} \text{{ and a half}}"


def _of_letters(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Letters changed, swapped, in capitals, Greek; functions; absolute values."""
    if r"\text" in gold or "begin" in gold or not re.search(r"[-+^\d\\(]", gold):
        return
    if letter := _any(_LETTER, gold, rng):
        other = rng.choice([c for c in "abckmnprtuvxyz" if c not in gold.lower()])
        yield "letter", gold.replace(letter[0], other, 1)
        if (
            letter[0] not in "iIeE"
            and letter[0].swapcase() not in gold
            and "_" not in gold
        ):
            yield "capital", _put(gold, letter, letter[0].swapcase())
        yield "greek", _put(gold, letter, rng.choice((r"\gamma ", r"\beta ")))
        letters = {found[0] for found in _LETTER.finditer(gold)} - {"i", "e"}
        if len(letters) > 1:
            one, two = rng.sample(sorted(letters), 2)
            turned = str.maketrans(one + two, two + one)
            yield "letters swapped", _only_letters(gold, turned)
        if evaluator.is_equal(gold, gold) and "+" in gold.replace("-", "+"):
            yield "absolute value", f"|{gold}|"
    for name, other in _SWAPS.items():
        if re.search(rf"{re.escape(name)}(?![a-z])", gold):
            kind = "relation" if name in ("<", r"\le", r"\ge", r"\cup") else "function"
            yield kind, gold.replace(name, f"{other} ", 1)


def _of_parts(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Lists, intervals, points, equations: a part less, more, elsewhere."""
    if parts := variants.items(gold):
        at = rng.randrange(len(parts))
        if len(set(parts)) == len(parts):
            yield "part dropped", ", ".join(parts[:at] + parts[at + 1 :])
            yield "part added", f"{gold}, 7654321"
            yield "parts run together", gold.replace(",", "").replace(" ", "")
    if (pair := _PAIR.fullmatch(gold)) and pair[2].strip() != pair[3].strip():
        left, low, high, right = pair.groups()
        yield "bounds", f"{'[' if left == '(' else '('}{low},{high}{right}"
        yield "bounds", f"{left}{low},{high}{')' if right == ']' else ']'}"
        yield "order", f"{left}{high},{low}{right}"
        yield "part dropped", low
        yield "part dropped", high
    if r"\cup" in gold:
        yield "part dropped", rng.choice(gold.split(r"\cup"))
    if re.fullmatch(r"-?\d+(?:\.\d+)?", gold):
        other = str(int(float(gold)) + rng.randint(1, 9))
        yield "hedge", rf"{gold} \text{{ or }} {other}"
        yield "hedge", f"{other}, {gold}"
        yield "hedge", f"{gold} or {other}"
        yield "hedge", rf"\text{{either }} {gold} \text{{ or }} {other}"
        yield "name", f"{gold} = {other}"
        yield "part added", f"({gold}, {gold})"
    if name := re.fullmatch(r"([a-z]) ?= ?(.+)", gold):
        other = "w" if name[1] != "w" else "v"
        yield "name", f"{other} = {name[2]}"


def _of_words(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Units of another size, number words, words that are spelled otherwise."""
    if re.fullmatch(r"-?\d+(?:\.\d+)?", gold) and gold != "0":
        size = rng.choice(("million", "thousand", "dozen", "hundred", "billion"))
        yield "number word", f"{gold} {size}"
        yield "number word", rf"{gold} \text{{ {size}}}"
        yield "number word", rf"\text{{minus }} {gold}"
        for words in ("more than", "less than", "at least", "not", "about half of"):
            yield "word", rf"\text{{{words} }} {gold}"
    if found := variants.UNIT.fullmatch(gold):
        for one, other in _OTHER_UNITS.items():
            if one in found[2].split():
                said = found[2].replace(one, other)
                yield "unit", rf"{found[1]}\text{{ {said}}}"
    if found := _WORD.fullmatch(gold):
        word, at = found[1], rng.randrange(len(found[1]) - 1)
        turned = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        if turned.lower() != word.lower():
            yield "word", turned
        yield "word", word[:at] + word[at + 1 :]
        yield "word", word + rng.choice("aeou")
        if word != word[::-1]:
            yield "word", rf"\text{{{word[::-1]}}}"
        yield "word", rf"\text{{not {word}}}"


_OTHER_UNITS = {
    "cm": "mm",
    "inches": "feet",
    "feet": "yards",
    "meters": "feet",
    "m": "km",
    "hours": "minutes",
    "minutes": "seconds",
    "days": "weeks",
    "seconds": "hours",
    "dollars": "cents",
    "cents": "dollars",
    "square": "cubic",
    "mph": "km/h",
    "degrees": "radians",
    "years": "months",
    "pounds": "ounces",
    "miles": "feet",
}


def _any(pattern: re.Pattern, gold: str, rng: random.Random) -> re.Match | None:
    found = [*pattern.finditer(gold)]
    return rng.choice(found) if found else None


def _put(gold: str, place: re.Match, new: str) -> str:
    return (gold[: place.start()] + new + gold[place.end() :]).strip()


def _only_letters(gold: str, table: dict) -> str:
    """Letters translated, those of commands left."""
    return re.sub(
        r"\\[a-zA-Z]+|[a-zA-Z]",
        lambda found: found[0] if found[0][0] == "\\" else found[0].translate(table),
        gold,
    )
