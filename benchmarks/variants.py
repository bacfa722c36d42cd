"""Other ways to write a gold answer, and answers that only look like it.

Made from the mathematics of each gold answer, and checked here with exact fractions or
fifty digits. A variant that cannot be checked is not used.
"""

import random
import re
from collections.abc import Iterator
from fractions import Fraction

from benchmarks import evaluator

_INTEGER = re.compile(r"-?\d+")
_FRACTION = re.compile(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}")
_DECIMAL = re.compile(r"-?\d*\.\d+")
_SURD = re.compile(r"(-?)(\d*)\s*\\sqrt\{(\d+)\}")
_ROOT_OVER = re.compile(r"(-?)\\frac\{(\d*)\\sqrt\{(\d+)\}\}\{(\d+)\}")
_DEGREES = re.compile(r"(-?[\d.]+)\s*\^\{?\\circ\}?")
_PERCENT = re.compile(r"(-?[\d.]+)\s*\\?%")
UNIT = re.compile(r"(-?[\d.]+)\s*\\(?:text|mbox)\s*\{\s*([a-z .]+)\}")
_PLAIN = re.compile(r"[^,;<>=:&_\[\]|!{}]|\{[^,;]*\}")


def number(gold: str) -> Fraction | None:
    """An integer, decimal or fraction, exactly."""
    if _INTEGER.fullmatch(gold) or _DECIMAL.fullmatch(gold):
        return Fraction(gold)
    if found := _FRACTION.fullmatch(gold):
        return int(found[1] + "1") * Fraction(int(found[2]), int(found[3]))
    return None


def items(gold: str) -> list[str]:
    """The parts of a list without brackets; [] for anything else."""
    parts = [part.strip() for part in gold.split(",")]
    readable = all(evaluator.is_equal(part, part) for part in parts)
    grouped = re.search(r"\\!|\(|\d,\d{3}", gold)
    return parts if len(parts) > 1 and readable and not grouped else []


def decimal(value: Fraction) -> str | None:
    """A terminating decimal of at most six places."""
    for places in range(7):
        if (value * 10**places).denominator == 1:
            return f"{float(value):.{places}f}"
    return None


def latex(value: Fraction) -> str:
    sign = "-" if value < 0 else ""
    if value.denominator == 1:
        return str(value)
    return rf"{sign}\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def equivalents(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Other spellings of a gold answer.

    Yields:
        The class, and what a box might hold. Each was checked to be equal.
    """
    for kind, said in _equivalents(gold.strip(), rng):
        # Whether what is compared is equal without what only its class knows of.
        one, other = undressed(gold), undressed(said)
        exact = number(one), number(other)
        same = (
            exact[0] == exact[1]
            if None not in exact
            else evaluator.is_equal(one, other)
        )
        parts = items(gold)
        if kind in _BY_CONSTRUCTION or same or (parts and _same_items(parts, said)):
            yield kind, said


# What is around an answer, or how its brackets are spelled, has no value to check.
_BY_CONSTRUCTION = ("text around", "brackets", "percent")


def undressed(text: str) -> str:
    """A gold answer without its unit, its name, its currency and its commas."""
    text = re.sub(r"\\text\{[^{}]*\}|\\mbox\{[^{}]*\}|\^\{?\\circ\}?|°", "", text)
    text = re.sub(r"(?<=\d)(?:,|\{,\}|\\,|,\\!)(?=\d{3})", "", text)
    text = re.sub(r" (?:cm|feet|hours|inches)$|\\\$|^[a-zA-Z] = ", "", text)
    return text.strip()


def _same_items(parts: list[str], said: str) -> bool:
    others = [part.strip(" \\{}") for part in said.split(",")]
    return sorted(parts) == sorted(others)


def _equivalents(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    yield "text around", rf"\boxed{{{gold}}}"
    value = number(gold)
    if value is not None:
        yield "unit", rf"{gold}\text{{ {rng.choice(['cm', 'hours', 'apples'])}}}"
        yield "unit", f"{gold} {rng.choice(['cm', 'feet', 'hours', 'inches'])}"
        yield "x =", f"{rng.choice('xynk')} = {gold}"
        if value >= 0:
            yield "unit", rf"\${gold}"
        short = decimal(value)
        if value.denominator > 1 and short and not _DECIMAL.fullmatch(gold):
            yield "decimal of a fraction", short
        if _DECIMAL.fullmatch(gold):
            yield "fraction of a decimal", latex(value)
            yield "decimal with zeros", gold + "0"
        if found := _FRACTION.fullmatch(gold):
            sign, top, bottom = found[1], int(found[2]), int(found[3])
            k = rng.randint(2, 5)
            yield "fraction", f"{sign}{top}/{bottom}"
            yield "fraction", rf"{sign}\dfrac{{{top}}}{{{bottom}}}"
            yield "fraction not reduced", rf"{sign}\frac{{{k * top}}}{{{k * bottom}}}"
            if top > bottom > 1 and top % bottom:
                whole, rest = divmod(top, bottom)
                yield "mixed number", rf"{sign}{whole}\frac{{{rest}}}{{{bottom}}}"
        if value.denominator == 1 and abs(value) >= 1000 and _INTEGER.fullmatch(gold):
            commas = f"{int(value):,}"
            yield "thousands", commas
            yield "thousands", commas.replace(",", rng.choice(["{,}", r"\,", r",\!"]))
    if re.search(r"\d\{?,\}?\\!\d{3}|\d\{,\}\d{3}", gold):
        yield "thousands", re.sub(r",\\!|\{,\}", "", gold)
    if found := _SURD.fullmatch(gold):
        sign, times, n = found[1], int(found[2] or 1), int(found[3])
        yield "surd", rf"{sign}\sqrt{{{times * times * n}}}"
        yield "surd", rf"{sign}{times * n}/\sqrt{{{n}}}"
        yield "surd", rf"{sign}\frac{{{times * n}}}{{\sqrt{{{n}}}}}"
    if found := _ROOT_OVER.fullmatch(gold):
        sign, times, n, m = found[1], int(found[2] or 1), int(found[3]), int(found[4])
        yield "surd", rf"{sign}\frac{{{times * n}}}{{{m}\sqrt{{{n}}}}}"
        yield "surd", rf"{sign}\frac{{{times}}}{{{m}}}\sqrt{{{n}}}"
        yield "surd", rf"{sign}\sqrt{{\frac{{{times * times * n}}}{{{m * m}}}}}"
    if found := _DEGREES.fullmatch(gold):
        yield "degrees", found[1]
        yield "degrees", found[1] + "°"
        yield "degrees", found[1] + r"\text{ degrees}"
    if found := _PERCENT.fullmatch(gold):
        yield "percent", latex(Fraction(found[1]) / 100)
        yield "percent", f"{found[1]} percent"
    if found := UNIT.fullmatch(gold):
        yield "unit", found[1]
        yield "unit", rf"{found[1]}\ \mathrm{{{found[2]}}}"
    if parts := items(gold):
        rng.shuffle(parts)
        yield "list", ", ".join(parts)
        yield "list", r"\{" + ",".join(parts) + r"\}"
    terms = re.split(r"(?<=[^\^({\s])\s*(?=[+-])", gold)
    if len(terms) > 1 and "text" not in gold and _PLAIN.sub("", gold) == "":
        turned = [t if t[0] in "+-" else "+" + t for t in terms[::-1]]
        yield "terms", " ".join(turned).removeprefix("+").strip()
    if re.fullmatch(r"[\[(].*,.*[\])]", gold) and "cup" not in gold:
        yield "brackets", rf"\left{gold[0]} {gold[1:-1]} \right{gold[-1]}"
        yield "brackets", gold.replace(",", ", ").replace(r"\frac", r"\dfrac")
    if "pmatrix" in gold:
        yield "brackets", gold.replace("pmatrix", "bmatrix")
        yield "brackets", re.sub(r"(?<!\d)(-?\d+)/(\d+)", r"\\frac{\1}{\2}", gold)


def chinese(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """A number as Chinese writes it, with and without a unit.

    Yields:
        The class, and what a box might hold; equal by how it is made.
    """
    value, unit = (
        number(gold),
        rng.choice(["元", "千克", "小时", "个", "平方米", "本书"]),
    )
    if found := re.fullmatch(r"(\d+)/(\d+)", gold):
        top, bottom = numeral(int(found[1])), numeral(int(found[2]))
        yield "fraction", f"{bottom}分之{top}"
        yield "unit", gold + "米"
    elif found := _PERCENT.fullmatch(gold):
        yield (
            "percent",
            "百分之" + (numeral(int(gold[:-1])) if gold[:-1].isdigit() else found[1]),
        )
        yield "percent", f"{found[1]}％"
    elif value is not None and value >= 0:
        yield "unit", gold + unit
        yield "unit", rf"{gold}\text{{{unit}}}"
        if value.denominator == 1 and _INTEGER.fullmatch(gold):
            yield "numeral", numeral(int(gold))
            yield "numeral and unit", numeral(int(gold)) + unit
        elif _DECIMAL.fullmatch(gold):
            whole, digits = gold.split(".")
            spoken = "".join("零一二三四五六七八九"[int(d)] for d in digits)
            yield "decimal", f"{numeral(int(whole or 0))}点{spoken}{unit}"


def numeral(n: int) -> str:
    """A whole number below 10^12 in Chinese: 205 is 二百零五, 12 is 十二."""
    digits = "零一二三四五六七八九"
    for size, unit in (
        (10**8, "亿"),
        (10**4, "万"),
        (1000, "千"),
        (100, "百"),
        (10, "十"),
    ):
        if n >= size:
            many, rest = divmod(n, size)
            head = "" if unit == "十" and many == 1 else numeral(many)
            gap = "零" if 0 < rest < size // 10 else ""
            tail = numeral(rest) if rest else ""
            # Within a number ten is 一十: 112 is 一百一十二.
            one = "一" if tail.startswith("十") else ""
            return f"{head}{unit}{gap}{one}{tail}"
    return digits[n]


def around(said: str, rng: random.Random) -> str:
    """What a model may write around an answer."""
    if r"\boxed" in said:
        return rng.choice(
            [
                rf"First \boxed{{0}}? No: it must be ${said}$, as we wanted.",
                rf"Let $S = \{{1, 2\}}$. **Therefore** the answer is: \[{said}\] Done.",
                f"{said}.\n\nThis took {{3}} steps",
            ]
        )
    return rf"The answer is $\boxed{{{said}}}$."


def near_misses(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Wrong answers that look right.

    Yields:
        The class, and what a box might hold. Each was checked to differ.
    """
    gold = gold.strip()
    for kind, said in _near_misses(gold, rng):
        exact = number(gold), number(said)
        same = (
            exact[0] == exact[1]
            if None not in exact
            else evaluator.is_equal(gold, said)
        )
        if same is False or (same is None and kind in ("list", "order", "brackets")):
            yield kind, said


def _near_misses(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    if evaluator.is_equal(gold, gold):
        yield "sign", gold[1:] if gold.startswith("-") else f"-({gold})"
        yield "plus one", f"{gold} + 1"
    value = number(gold)
    if value is not None:
        yield "sign", latex(-value)
        yield "one off", latex(value + 1)
        yield "one off", latex(value - 1)
        off = decimal(value * Fraction(104, 100))
        if off:
            yield "4% off", off
        if value.denominator > 1 or abs(value) > 1:
            yield "inverted", latex(1 / value)
        yield "percent of it", latex(value / 100)
        if Fraction(rounded := f"{float(value):.3g}") != value:
            yield "rounded", rounded
    digits = [m.start() for m in re.finditer(r"\d", gold)]
    if digits:
        at = rng.choice(digits)
        other = rng.choice([d for d in "123456789" if d != gold[at]])
        yield "one digit", gold[:at] + other + gold[at + 1 :]
    if parts := items(gold):
        at = rng.randrange(len(parts))
        if len(set(parts)) == len(parts):
            yield "list", ", ".join(parts[:at] + parts[at + 1 :])
            yield "list", ", ".join([*parts, "1234567"])
    if found := re.fullmatch(r"([\[(])([^,()\[\]]+),([^,()\[\]]+)([\])])", gold):
        left, a, b, right = found.groups()
        if evaluator.is_equal(a, b) is False:
            yield "order", f"{left}{b},{a}{right}"
            yield "brackets", rf"\{{{a},{b}\}}"
            yield "brackets", f"{'[' if left == '(' else '('}{a},{b}{right}"


def unfinished(gold: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Expressions that leave the question's work undone, or claim more than a number.

    Yields:
        The class, and what a box might hold. What the evaluator reads has the value of
        the gold answer.
    """
    gold = gold.strip()
    for said in _undone(gold, rng.randint(2, 9)):
        if evaluator.is_equal(gold, said) is not False:
            yield "not worked out", said
    if _INTEGER.fullmatch(gold) and gold != "0":
        yield "not a number", f"{gold} + 1 = {gold}"
        yield "not a number", f"[{gold}, {gold}]"
        yield "not a number", rf"\{{{gold}, {gold}\}}"
        yield "not a number", rf"{gold}\%"


def _undone(gold: str, k: int) -> Iterator[str]:
    if found := _FRACTION.fullmatch(gold):
        sign, top, bottom = found[1], int(found[2]), int(found[3])
        rest = "+" if sign else "-"
        yield rf"{sign}{top} \cdot \frac{{1}}{{{bottom}}}"
        yield rf"{sign}\frac{{{top + k}}}{{{bottom}}} {rest} \frac{{{k}}}{{{bottom}}}"
    if (found := _SURD.fullmatch(gold)) and found[2]:
        sign, times, n = found[1], int(found[2]), int(found[3])
        yield rf"{sign}\sqrt{{{times}}} \cdot \sqrt{{{times * n}}}"
        yield rf"{sign}\sqrt{{{times}^2 \cdot {n}}}"
        yield f"{gold} + {k} - {k}"
    if _INTEGER.fullmatch(gold) and abs(n := int(gold)) < 10**9:
        yield f"{n - k} + {k}"
        yield f"{n + k} - {k}"
        yield rf"\frac{{{n * k}}}{{{k}}}"
        yield f"{n * k}/{k}"
        yield rf"{k} \cdot {latex(Fraction(n, k))}"
        if n > 0:
            yield rf"\sqrt{{{n * n}}}"
            yield rf"2^{{\log_2 {n}}}"
        if n > 3 and n % 2 == 0:
            yield rf"2 \times {n // 2}"
            yield rf"\binom{{{n}}}{{1}}"
