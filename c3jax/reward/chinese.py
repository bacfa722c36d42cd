"""Numbers as Chinese writes them: 一百二十, 三分之二, 百分之五, 3小时."""

import re
from fractions import Fraction

_DIGIT = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_UNITS = [("亿", 10**8), ("万", 10**4), ("千", 1000), ("百", 100), ("十", 10)]
_NUMERAL = "[" + "".join([*_DIGIT, *dict(_UNITS)]) + "]"
# What is counted is any word that is no numeral itself.
_COUNTED = rf"(?:\\text\{{)?(?:(?!{_NUMERAL})[\u4e00-\u9fff])*\}}?"
_LEAD = r"(?:答案?[::]?|约|大约|共|一共|总共|还剩|需要)?\s*"
_SAID = re.compile(
    _LEAD + r"(?P<sign>[负-]?)(?:"
    rf"百分之(?P<percent>{_NUMERAL}+(?:点{_NUMERAL}+)?|[\d.]+)"
    rf"|(?:(?P<whole>{_NUMERAL}+)又)?(?P<bottom>{_NUMERAL}+)分之(?P<top>{_NUMERAL}+)"
    rf"|(?P<number>{_NUMERAL}+(?:点{_NUMERAL}+)?)"
    rf"|(?P<arabic>[\d,]+(?:\.\d+)?)\s*(?P<myriad>[万亿])"
    rf"|(?P<mixed>\d+)又(?P<latin>(?:\\frac)?\S+?)"
    r"|(?P<plain>[^\u4e00-\u9fff]+?)"
    rf")\s*{_COUNTED}"
)


def arabic(text: str) -> str:
    """A Chinese number, with its unit or without, in Arabic digits.

    Args:
        text: an answer, tidied up.

    Returns:
        The number without its unit; the text itself if it is something else.
    """
    found = _SAID.fullmatch(text.strip())
    if not found:
        return text
    part, sign = found.groupdict(), "-" if found["sign"] else ""
    if part["plain"]:
        return sign + part["plain"]
    if part["percent"]:
        said = part["percent"]
        return sign + (said if said[0].isascii() else _decimal(said)) + "%"
    if part["top"]:
        whole = _integer(part["whole"]) if part["whole"] else ""
        top, bottom = _integer(part["top"]), _integer(part["bottom"])
        return rf"{sign}{whole}\frac{{{top}}}{{{bottom}}}"
    if part["number"]:
        return sign + _decimal(part["number"])
    if part["mixed"]:
        return f"{sign}{part['mixed']} {part['latin']}"
    value = Fraction(part["arabic"].replace(",", "")) * dict(_UNITS)[part["myriad"]]
    return sign + (str(value.numerator) if value.denominator == 1 else str(value))


def _decimal(numeral: str) -> str:
    whole, _, digits = numeral.partition("点")
    if not digits:
        return str(_integer(whole))
    return f"{_integer(whole)}.{''.join(str(_DIGIT.get(d, '')) for d in digits)}"


def _integer(numeral: str) -> int:
    """一百二十 -> 120; digit by digit where there is no unit: 二〇二四 -> 2024."""
    for unit, size in _UNITS:
        head, found, tail = numeral.rpartition(unit)
        if found:
            # 十二 is 12: a ten without a digit is one ten.
            many = _integer(head) if head else 1
            # 一百二 is 120, and 一百零二 is 102.
            short = size > 10 and tail in _DIGIT and tail not in "零〇"
            rest = size // 10 * _DIGIT[tail] if short else _integer(tail or "零")
            return many * size + rest
    return int("".join(str(_DIGIT[c]) for c in numeral))
