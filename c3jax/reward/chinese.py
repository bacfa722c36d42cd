"""Numbers as Chinese writes them: 一百二十, 三分之二, 百分之五, 3小时."""

import re
from fractions import Fraction

from c3jax.reward import units

_DIGIT = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_UNITS = [("亿", 10**8), ("万", 10**4), ("千", 1000), ("百", 100), ("十", 10)]
# 千克 is a kilogram and 千米 a kilometre, not a thousand of something.
_NUMERAL = rf"(?!千[克米瓦])[{''.join([*_DIGIT, *dict(_UNITS)])}]"
_NUMERALS = rf"(?:{_NUMERAL})+"
_NUMERAL_DIGITS = rf"[{''.join(_DIGIT)}]+"
# What is counted is any word that is no numeral itself.
_WORD = rf"(?:(?!{_NUMERAL})[\u4e00-\u9fff])*"
_COUNTED = rf"(?:\\text\{{\s*(?P<counted>{_WORD})\s*\}}|(?P<behind>{_WORD}))"
_LEAD = r"(?:答案?[::]?|约|大约|共|一共|总共|还剩|需要)?\s*"
_SAID = re.compile(
    _LEAD + r"(?P<sign>[负-]?)(?:"
    rf"百分之(?P<percent>{_NUMERALS}(?:点{_NUMERAL_DIGITS})?|[\d.]+)"
    rf"|(?:(?P<whole>{_NUMERALS})又)?(?P<bottom>{_NUMERALS})分之(?P<top>{_NUMERALS})"
    rf"|(?P<number>{_NUMERALS}(?:点{_NUMERAL_DIGITS})?)(?P<size>[亿万]?)"
    r"|(?P<myriads>(?:\d[\d,]*(?:\.\d+)?\s*[亿万千百](?![克米瓦])零?)+\d*)"
    rf"|(?P<mixed>\d+)又(?P<latin>(?:\\frac)?\S+?)"
    r"|(?P<plain>[^\u4e00-\u9fff]+?)"
    rf")\s*{_COUNTED}"
)
_BETWEEN = [
    (re.compile(pattern), new)
    for pattern, new in [
        (r"(?<=[\w}%])\s*(?:或者?)\s*", r" \\lor "),
        (r"(?<=[\w}%])\s*[和与]\s*(?=\S*\d)", r" \\land "),
        (r"(?<=\d)\s*比\s*(?=\d)", ":"),
        (r"(?<=\d)\s*(?:余|…+|\.{3,}|\\dots)\s*(?=\d)", r" \\text{余} "),
    ]
]
_WORDS = re.compile(r"(?<!\{)[\u4e00-\u9fff]+")


def arabic(text: str) -> str:
    """A Chinese number, with its unit or without, in Arabic digits.

    Args:
        text: an answer, tidied up.

    Returns:
        The number with its unit, but without what is counted; of anything else the
        text, with its words in `\\text{}`.
    """
    text = text.strip()
    for pattern, new in _BETWEEN:
        text = pattern.sub(new, text)
    match = _SAID.fullmatch(text)
    if not match or r"\l" in text:
        return _WORDS.sub(r"\\text{\g<0>}", text)
    part, sign = match.groupdict(), "-" if match["sign"] else ""
    counted = part["counted"] or part["behind"]
    unit = units.read(rf"\text{{{counted}}}") if counted else None
    if counted and unit is None:
        return _WORDS.sub(r"\\text{\g<0>}", text)
    known = unit is not None and unit.dimension
    return sign + _value(part) + (rf" \text{{{counted}}}" if known else "")


def _value(part: dict[str, str]) -> str:
    """The number that was matched, without its sign."""
    if part["plain"]:
        return part["plain"]
    if part["percent"]:
        share = part["percent"]
        return (share if share[0].isascii() else _decimal(share)) + "%"
    if part["top"]:
        whole = _integer(part["whole"]) if part["whole"] else ""
        top, bottom = _integer(part["top"]), _integer(part["bottom"])
        return rf"{whole}\frac{{{top}}}{{{bottom}}}"
    if part["number"] and part["size"]:  # 二点五万
        value = Fraction(_decimal(part["number"])) * dict(_UNITS)[part["size"]]
        return str(value)
    if part["number"]:
        return _decimal(part["number"])
    if part["mixed"]:
        return f"{part['mixed']} {part['latin']}"
    terms = re.findall(r"(\d[\d,]*(?:\.\d+)?)\s*([亿万千百]?)", part["myriads"])
    sizes = dict(_UNITS)
    value = sum(Fraction(n.replace(",", "")) * sizes.get(unit, 1) for n, unit in terms)
    return str(value.numerator) if value.denominator == 1 else str(value)


def _decimal(numeral: str) -> str:
    whole, _, digits = numeral.partition("点")
    if not digits:
        return str(_integer(whole))
    return f"{_integer(whole)}.{''.join(str(_DIGIT.get(d, '')) for d in digits)}"


def _integer(numeral: str) -> int:
    """一百二十 -> 120; digit by digit where there is no unit: 二〇二四 -> 2024."""
    for unit, size in _UNITS:
        before, match, after = numeral.rpartition(unit)
        if match:
            # 十二 is 12: a ten without a digit is one ten.
            count = _integer(before) if before else 1
            # 一百二 is 120, and 一百零二 is 102.
            short = size > 10 and after in _DIGIT and after not in "零〇"
            rest = size // 10 * _DIGIT[after] if short else _integer(after or "零")
            return count * size + rest
    return int("".join(str(_DIGIT[c]) for c in numeral))
