"""Numbers in English words, and the words that may stand behind a number.

What is counted may follow a number: 5 apples, 5 more people per hour. A word that
makes another number of it may not: 5 million is read as a number, and 5 squared, 5 or
more, 5 below zero are no answer 5.
"""

import re
from fractions import Fraction

_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen "
    "fourteen fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_UNITS = {word: i for i, word in enumerate(_SMALL.split())}
_UNITS |= {word: 10 * i for i, word in enumerate(_TENS.split(), 2)}
# What a number in digits is multiplied by: 5 million, 3 dozen.
SCALES = {
    "hundred": 100,
    "thousand": 1000,
    "million": 10**6,
    "billion": 10**9,
    "trillion": 10**12,
    "quadrillion": 10**15,
    "lakh": 10**5,
    "crore": 10**7,
    "dozen": 12,
    "gross": 144,
    "score": 20,
}
_ORDINALS = (
    "half third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth "
    "thirteenth fourteenth fifteenth sixteenth seventeenth eighteenth nineteenth"
)
_PARTS = {word: i for i, word in enumerate(_ORDINALS.split(), 2)}
_PARTS |= {f"{word[:-1]}ieth": 10 * i for i, word in enumerate(_TENS.split(), 2)}
_PARTS |= {"quarter": 4, "hundredth": 100, "thousandth": 1000, "halve": 2}

# No word of these stands in a phrase that only says what is counted.
_MEANT = (
    "and or nor not no but if then else to through thru till until than below under "
    "beneath above over less fewer least most maximum minimum minus plus negative "
    "positive power powers squared cubed square cube root factorial point divided "
    "multiplied by modulo mod without except excluding including also maybe perhaps "
    "possibly probably either neither both between versus approximately about around "
    "roughly nearly almost infinite infinity percentage percent pair pairs couple few "
    "several many billions millions thousands hundreds dozens ratio reciprocal "
    "inverse opposite double triple twice thrice second wrong false any other another "
    "some all none never when whenever where wherever while unless provided assuming "
    "given supposing depending whereas because since for against instead rather "
    "otherwise incorrect incorrectly unlikely impossible unknown binary octal decimal "
    "hexadecimal imaginary recurring repeating something ish hex actually wait "
    "scratch onward onwards upward upwards downward downwards short shy raised added "
    "subtracted inverted negated doubled halved tripled mille permille promille "
    "percentile percentiles basis bn mn mil mill tn thou grand myriad hundredweight "
    "googol odd off"
)
_OTHER = frozenset({*_UNITS, *SCALES, *_PARTS, *_MEANT.split()})
# Said of a number, these turn its sense around; the gold answer must say them, too.
_TURNED = (
    "decrease decreased decreasing loss lost lose drop fall down reduction reduced "
    "discount debt deficit decline shrink shorter lower backward backwards withdraw "
    "behind slower"
)
_SAME = (
    "increase increased increasing gain gained profit rise up growth grew taller "
    "higher forward surplus ahead faster"
)
_PLACES = "north south east west left right am pm before after early late bc ad bce ce"
SENSES = {word: word for word in (*_PLACES.split(), "more")}
SENSES |= dict.fromkeys(_TURNED.split(), "-") | dict.fromkeys(_SAME.split(), "+")
# What an answer may say of a number if the gold answer says nothing.
_HARMLESS = {"+", "more", "am", "pm", "left"}
_BRIEF = (
    "a an the of in per on at for each old men day way pen cat dog egg car box cup "
    "bag toy pie row bus set hat fan man"
)
_SHORT = frozenset(_BRIEF.split())
# Plain letters that are a word, not a product of unknowns.
_PLAIN_WORDS = (
    "no on yes not red cat dog act god odd one two six ten all any sun mon tue wed "
    "thu fri sat jan feb mar apr may jun jul aug sep oct nov dec max min and low "
    "top up win tie lie job boy man men her him his she day"
)
WORDS = frozenset(_PLAIN_WORDS.split())


def number(text: str) -> Fraction | None:
    """The number that words say: five, twenty-one, two and a half, three quarters.

    Returns:
        None for anything else.
    """
    words = re.sub(r"\band\b|-|,", " ", text.casefold()).split()
    if not words:
        return None
    if words[0] in ("minus", "negative"):
        value = number(" ".join(words[1:]))
        return None if value is None else -value
    if "point" in words:
        return _decimal(words)

    # A fraction comes last: half, one third, two and three quarters.
    part = _PARTS.get(words[-1].removesuffix("s"))
    if part is None:
        value = _cardinal(words)
        return None if value is None else Fraction(value)
    if words[-2:-1] in (["a"], ["an"]):
        words[-2] = "one"
    if len(words) == 1:
        return Fraction(1, part)
    top, whole = _cardinal(words[-2:-1]), _cardinal(words[:-2]) if words[:-2] else 0
    if top is None or whole is None or not 0 < top < part:
        return None
    return whole + Fraction(top, part)


def _decimal(words: list[str]) -> Fraction | None:
    whole, digits = words[: words.index("point")], words[words.index("point") + 1 :]
    value = _cardinal(whole) if whole else 0
    if value is None or not digits or any(_UNITS.get(d, 10) > 9 for d in digits):
        return None
    return Fraction(f"{value}.{''.join(str(_UNITS[d]) for d in digits)}")


def _cardinal(words: list[str]) -> int | None:
    total = group = 0
    last = 1000  # the size of the word before: ten two is no number
    for word in words:
        if word in ("a", "an") and words[0] == word and len(words) > 1 and not group:
            group = 1
        elif word in _UNITS:
            size = 10 if _UNITS[word] >= 20 else 1
            if last <= size:
                return None
            group, last = group + _UNITS[word], size
        elif word in ("hundred", "dozen", "score"):
            group, last = (group or 1) * SCALES[word], 100
        elif word in SCALES:
            total, group, last = total + (group or 1) * SCALES[word], 0, 1000
        else:
            return None
    return total + group if words else None


def is_counted(word: str, plain: bool) -> bool:
    """Whether a word may say what is counted.

    Args:
        word: one word.
        plain: whether it stands outside of `\\text{}`, where letters may be unknowns.
    """
    word = word.casefold()
    one = word.removesuffix("s")
    if word in _OTHER or one in {*_PARTS, *_UNITS} or one.endswith("illion"):
        return False
    return word in _SHORT or (
        len(word) > (3 if plain else 2) and bool(re.search("[aeiouy]", word))
    )


def agree(gold: frozenset[str], said: frozenset[str]) -> bool:
    """Whether two answers turn their numbers the same way: an increase is no decrease.

    Args:
        gold, said: values of `SENSES`; none said is none denied.
    """
    if gold and said:
        return gold == said
    return said <= _HARMLESS


_NAME_LIKE = re.compile(r"[a-zA-Z][a-zA-Z ,.'-]*")
INITIALS = re.compile("[a-zA-Z]{2,3}")
_SAYING = re.compile(r"(?<![_^])(?<![_^]\{)\\text\{")


def is_word(text: str) -> bool:
    """Whether an answer is a name and no formula: Monday, MAKE, \\text{no}, not xy."""
    if _SAYING.search(text):
        return True
    if not _NAME_LIKE.fullmatch(text):
        return False
    if text.casefold() in WORDS:
        return True
    if " - " in text or not re.search("[a-zA-Z]{2}", text):  # p - q
        return False
    return len(text) > 3 or (len(text) > 1 and not text.islower())


def folded(text: str) -> str:
    """A name without case and spelling: the subscripts of 2215_{6} and 2215_6."""
    text = re.sub(r"\\text|[\\{}()]", "", text).strip().casefold()
    return re.sub(r"^(?:an?|the)\s+(?=\w\w)|[\s.]", "", text)
