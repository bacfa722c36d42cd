"""Units of measurement with their sizes: 5 km is 5000 m, and 90 km/h is 25 m/s.

A closed table. A word that is not in it says what is counted, or is no unit.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

from c3jax.reward import english


class Unit(NamedTuple):
    """What a number is a number of.

    Attributes:
        size: in the base units of its dimension; exact.
        dimension: (base unit, power) in alphabetical order; () for a pure number.
        nouns: what is counted, in the singular.
        senses: see `english.SENSES`.
    """

    size: Fraction = Fraction(1)
    dimension: tuple[tuple[str, int], ...] = ()
    nouns: frozenset[str] = frozenset()
    senses: frozenset[str] = frozenset()


NONE = Unit()

# size, dimension: names. The first two groups may have prefixes, symbols with symbols.
_PREFIXED_SYMBOLS = (
    "1 m: m, 1/1000 kg: g, 1 s: s, 1/1000 m3: L l, 1 kg.m2.s-2: J, 1 kg.m2.s-3: W, "
    "3600 kg.m2.s-2: Wh, 3600 s.A: Ah, "
    "1 kg.m.s-2: N, 1 kg.m-1.s-2: Pa, 1 s-1: Hz, 1 A: A, 1 kg.m2.s-3.A-1: V, 1 s.A: C, "
    "1 kg.m2.s-3.A-2: Ω, 1 mol: mol, 1 kg.s-2.A-1: T, 1 byte: B, 1 kg-1.m-2.s4.A2: F, "
    "1602176634/10000000000000000000000000000 kg.m2.s-2: eV, 1 K: K, 1000 m-3.mol: M, "
    "30856775814913673 m: pc"
)
_PREFIXED_NAMES = (
    "1 m: meter metre, 1/1000 kg: gram gramme, 1 s: second, 1/1000 m3: liter litre, "
    "1 kg.m2.s-2: joule, 1 kg.m2.s-3: watt, 1 kg.m.s-2: newton, 1 kg.m-1.s-2: pascal, "
    "1 s-1: hertz, 1 A: ampere amp, 1 kg.m2.s-3.A-1: volt, 1 s.A: coulomb, "
    "1 kg.m2.s-3.A-2: ohm, 1 mol: mole, 1 kg.s-2.A-1: tesla, 1 byte: byte, "
    "1602176634/10000000000000000000000000000 kg.m2.s-2: electronvolt, 1 K: kelvin"
)
_OTHERS = (
    "127/5000 m: in inch inche, 381/1250 m: ft foot feet, 1143/1250 m: yd yard, "
    "201168/125 m: mi mile, 1/10000000000 m: Å angstrom, "
    "149597870700 m: AU au, 9460730472580800 m: ly, 60 s: min minute, "
    "3600 s: h hr hour, 86400 s: d day, 604800 s: wk week, 1 month: month mo, "
    "12 month: yr year, 1 kg: kilo, 1000 kg: t ton tonne, "
    "45359237/100000000 kg: lb pound, 45359237/1600000000 kg: oz ounce, "
    "1/1000000 m3: cc, 473176473/125000000000 m3: gal gallon, "
    "473176473/500000000000 m3: qt quart, 473176473/1000000000000 m3: pt pint, "
    "4046856422400/1000000000 m2: acre, 10000 m2: ha hectare, "
    "1397/3125 m.s-1: mph, 5/18 m.s-1: kph kmh kmph, 1/60 s-1: rpm, "
    "1/10000000 kg.m2.s-2: erg, 1/100000 kg.m.s-2: dyn dyne, "
    "523/125 kg.m2.s-2: cal calorie, 4184 kg.m2.s-2: kcal kilocalorie, "
    "100000 kg.m-1.s-2: bar, 101325 kg.m-1.s-2: atm atmosphere, "
    "1 degree: ° deg degree, 1 radian: rad radian, 1 celsius: °C celsius, "
    "1 fahrenheit: °F fahrenheit, 1/8 byte: bit, "
    "1 unit: unit, 1 dollar: $ USD dollar buck, 1/100 dollar: ¢ cent penny pennie, "
    "1/20 dollar: nickel, 1/10 dollar: dime, 1/4 dollar: quarter, 1 euro: € EUR euro, "
    "1 gbp: £ GBP, 1 yuan: ¥ yuan RMB CNY 元 块 块钱 圆, 1/10 yuan: 角 毛, "
    "1/100 yuan: 分钱, 1 dollar: 美元 美金, 1 euro: 欧元, 1 gbp: 英镑, 1 fen: 分, "
    "1 m: 米, 1000 m: 千米 公里, 1/10 m: 分米, 1/100 m: 厘米, "
    "1/1000 m: 毫米, 500 m: 里, 1 kg: 千克 公斤, 1/1000 kg: 克, 1000 kg: 吨, "
    "1/2 kg: 斤, 1/1000000 kg: 毫克, 3600 s: 小时 时, 60 s: 分钟, 1 s: 秒 秒钟, "
    "86400 s: 天 日, 604800 s: 周 星期, 1 month: 月 个月, 12 month: 年, 1/1000 m3: 升, "
    "1/1000000 m3: 毫升, 1 degree: 度"
)
_SYMBOLS = {"f": -15, "p": -12, "n": -9, "µ": -6, "u": -6, "m": -3, "c": -2, "d": -1}
_SYMBOLS |= {"k": 3, "M": 6, "G": 9, "T": 12}
_NAMES = {"nano": -9, "micro": -6, "milli": -3, "centi": -2, "deci": -1, "kilo": 3}
_NAMES |= {"mega": 6, "giga": 9, "tera": 12, "pico": -12}


def _entries(table: str, prefixes: dict[str, int]) -> Iterator[tuple[str, Unit]]:
    for line in table.split(", "):
        left, names = line.split(": ")
        size, dimension = left.split()
        parts = re.findall(r"([A-Za-z]+)(-?\d+)?", dimension)
        powers = tuple(sorted((base, int(power or 1)) for base, power in parts))
        for name in names.split():
            yield name, Unit(Fraction(size), powers)
            for prefix, power in prefixes.items():
                yield (
                    prefix + name,
                    Unit(Fraction(size) * Fraction(10) ** power, powers),
                )


_TABLE = dict(
    [
        *_entries(_PREFIXED_SYMBOLS, _SYMBOLS),
        *_entries(_PREFIXED_NAMES, _NAMES),
        *_entries(_OTHERS, {}),
    ]
)
# The first spelling wins: Mb and mb are not told apart without their case.
_FOLDED = {name.casefold(): unit for name, unit in reversed(_TABLE.items())}
for _other in ("pm", "kT"):  # the afternoon, and a product in physics
    del _TABLE[_other], _FOLDED[_other.casefold()]
_TWO = {"km", "kg", "cm", "mm", "ml", "hz", "lb", "oz", "ft", "hr", "yd", "mi", "in"}
_POWERS = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_BEHIND = {"squared": 2, "cubed": 3}
_ORDINAL = ("th", "st", "nd", "rd")  # alone: 5th of June is a date
_FILLERS = {"a", "an", "the", "of", "exact", "exactly", "total", "altogether"}


def named(name: str) -> Unit | None:
    """The unit of this name or symbol, in the singular or the plural."""
    if name in _TABLE:
        return _TABLE[name]
    if len(name) < 2 or name == "No":
        return None
    folded = name.casefold()
    return _FOLDED.get(folded) or _FOLDED.get(folded.removesuffix("s"))


_TOKEN = re.compile(
    r"(?P<name>°[CF]?(?![A-Za-z])|[A-Za-zµΩÅ]+|[\u4e00-\u9fff]+|[$€£¥¢])\.?"
    r"|(?:\^\s*\{?\s*|(?<=[A-Za-z]))(?P<power>[+-]?\d)\s*\}?|(?P<mark>[/()])|[\s'-]+"
)
_CHOSEN = re.compile(r"\s*[CP]\d")  # 12C2 is a binomial
_CLEANED = [
    (re.compile(pattern), new)
    for pattern, new in [
        (
            r"\\frac\s*\{((?:[^{}]|\{[^{}]*\})*)\}\s*\{((?:[^{}]|\{[^{}]*\})*)\}",
            r"(\1)/(\2)",
        ),
        (r"\\text\{([^{}]*)\}", r" \1 "),
        (r"\\(?:cdot|times)(?![a-zA-Z])|\*", " "),
        (r"\\mu\s*", "µ"),
        (r"\\Omega\s*", "Ω"),
        (r"\\AA\s*", "Å"),
        (r"°\s+(?=[CF]\b)", "°"),
        (r"\b([ap])\.\s*m\.?", r"\1m"),
        (r"\bsq\.", "sq "),
        (r"\bordered (?:pair|triple)s?\b", "tuple"),
        (r"\b(?:posi|nega)tive (?=(?:integer|number|divisor|solution|root)s?\b)", ""),
        (r"(?i)\bdeg(?:ree)?s?\s+(?=celsius|fahrenheit|C\b|F\b)", "°"),
        (r"(?i)°\s*(c|f)(?:elsius|ahrenheit)\b", lambda found: "°" + found[1].upper()),
    ]
]


def read(text: str) -> Unit | None:
    """The unit that a tidy text is: `\\text{ cm}^2`, km/h, square feet, apples.

    Returns:
        None if it says anything but a unit or what is counted.
    """
    plain = r"\text" not in text
    if _CHOSEN.match(text):
        return None
    for pattern, new in _CLEANED:
        text = pattern.sub(new, text)
    if text.strip() in _ORDINAL:
        return NONE
    tokens, end = [], 0
    while end < len(text):
        token = _TOKEN.match(text, end)
        if not token:
            return None
        end = token.end()
        tokens += [token] * bool(token.lastgroup)
    return _product(tokens, plain) if tokens else None


def _product(tokens: list[re.Match], plain: bool) -> Unit | None:
    """The product of units, with those behind a stroke or "per" in the denominator."""
    factors, nouns, senses = [], set(), set()  # factors as [unit, power]
    turn, outer, coming = 1, [], 1
    for i, token in enumerate(tokens):
        name = token["name"]
        if token["power"] or name in _BEHIND:
            if not factors or factors[-1][0] is NONE:
                return None
            factors[-1][1] *= int(token["power"] or _BEHIND[name])
        elif token["mark"] == "(":
            if factors and turn > 0:  # a product of unknowns, not of units
                return None
            outer.append(turn)
        elif token["mark"] == ")":
            if not outer:
                return None
            outer.pop()
            turn = 1
        # All that follows is in the denominator, until a bracket ends.
        elif token["mark"] or name == "per":
            turn = -1
        elif name in _POWERS and i + 1 < len(tokens):
            coming = _POWERS[name]
        elif (unit := _factor(name, nouns, plain)) is not None:
            factors.append([unit, turn * coming])
            coming = 1
            turn = turn if outer else 1
        # A direction is no unit, but 5 north is not 5 south.
        elif sense := english.SENSES.get(name.casefold()):
            senses.add(sense)
        elif english.is_counted(name, plain):
            if name not in _FILLERS:
                nouns.add(_singular(name))
            factors.append([NONE, 1])
            coming, turn = 1, turn if outer else 1
        else:
            return None
    if outer:
        return None
    powers, size = {}, Fraction(1)
    for unit, power in factors:
        size *= unit.size**power
        for base, each in unit.dimension:
            powers[base] = powers.get(base, 0) + each * power
    dimension = tuple(sorted((base, p) for base, p in powers.items() if p))
    return Unit(size, dimension, frozenset(nouns), frozenset(senses))


def _factor(name: str, nouns: set[str], plain: bool) -> Unit | None:
    """A unit of the table, or a count of no dimension; None if it is a word."""
    if name in ("in", "a", "at") and nouns:
        return None
    if name[0] >= "\u4e00":
        return None if plain else _chinese(name)
    # mv is a product where mV is a unit; Km is often written.
    if plain and len(name) == 2 and name not in _TABLE and name.casefold() not in _TWO:
        return None
    return named(name)


# What makes another number of one, or none: 24多, 24以上, 24的一半, 24打.
_TURNING = re.compile(
    "[零〇一二三四五六七八九十百千万亿两多余半几不非超减乘除或到至]|以[上下外内]|分之|左右"
    "|^[打折成]|的(?:平方|立方|倒数|相反)"
)


def _chinese(name: str) -> Unit | None:
    """平方米 is a square metre; what is counted is no unit."""
    power = {"平方": 2, "立方": 3}.get(name[:2], 1)
    unit = named(name[2:] if power > 1 else name)
    if unit is None and _TURNING.search(name):
        return None
    unit = unit or NONE
    dimension = tuple((base, each * power) for base, each in unit.dimension)
    return unit._replace(size=unit.size**power, dimension=dimension)


def _singular(name: str) -> str:
    return name.casefold().removesuffix("s").removesuffix("e")


def ratio(gold: Unit, said: Unit) -> Fraction | None:
    """How many of the gold answer's unit one unit of the other is; None if none.

    A unit that only one of them has may have been left out by the other.
    """
    if not english.agree(gold.senses, said.senses):
        return None
    if gold.dimension and said.dimension:
        if gold.dimension != said.dimension:
            return None
        return said.size / gold.size
    if gold.nouns and said.nouns and not _nested(gold.nouns, said.nouns):
        return None
    if (gold.dimension and said.nouns) or (gold.nouns and said.dimension):
        return None
    return Fraction(1)


def _nested(one: frozenset[str], other: frozenset[str]) -> bool:
    return one <= other or other <= one
