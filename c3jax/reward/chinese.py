"""Numbers as Chinese writes them: 一百二十, 三分之二, 百分之五, 3小时."""

import re
from fractions import Fraction

_DIGIT = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_UNITS = [("亿", 10**8), ("万", 10**4), ("千", 1000), ("百", 100), ("十", 10)]
# 千克 is a kilogram and 千米 a kilometre, not a thousand of something.
_NUMERAL = rf"(?!千[克米瓦])[{''.join([*_DIGIT, *dict(_UNITS)])}]"
_NUMERALS = rf"(?:{_NUMERAL})+"
# What is counted is any word that is no numeral itself.
_WORD = rf"(?:(?!{_NUMERAL})[\u4e00-\u9fff])*"
_COUNTED = rf"(?:\\text\{{{_WORD}\}}|{_WORD})"
_LEAD = r"(?:答案?[::]?|约|大约|共|一共|总共|还剩|需要)?\s*"
_SAID = re.compile(
    _LEAD + r"(?P<sign>[负-]?)(?:"
    rf"百分之(?P<percent>{_NUMERALS}(?:点{_NUMERALS})?|[\d.]+)"
    rf"|(?:(?P<whole>{_NUMERALS})又)?(?P<bottom>{_NUMERALS})分之(?P<top>{_NUMERALS})"
    rf"|(?P<number>{_NUMERALS}(?:点{_NUMERALS})?)"
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
    match = _SAID.fullmatch(text.strip())
    if not match:
        return text
    part, sign = match.groupdict(), "-" if match["sign"] else ""
    if part["plain"]:
        return sign + part["plain"]
    if part["percent"]:
        share = part["percent"]
        return sign + (share if share[0].isascii() else _decimal(share)) + "%"
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
        before, match, after = numeral.rpartition(unit)
        if match:
            # 十二 is 12: a ten without a digit is one ten.
            count = _integer(before) if before else 1
            # 一百二 is 120, and 一百零二 is 102.
            short = size > 10 and after in _DIGIT and after not in "零〇"
            rest = size // 10 * _DIGIT[after] if short else _integer(after or "零")
            return count * size + rest
    return int("".join(str(_DIGIT[c]) for c in numeral))
