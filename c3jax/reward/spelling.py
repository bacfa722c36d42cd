"""One spelling of an answer: of fractions, signs, spaces, fonts, percent and degrees.

Nothing is left out that could change an answer: what is not understood stays.
"""

import functools
import re

from c3jax.reward import thousands, units

# The letters that people write for the LaTeX that the rest of this package reads.
_COMMANDS = (
    "× times, π pi, θ theta, ∞ infty, √ sqrt, ≤ le, ≥ ge, ⩽ le, ⩾ ge, ≠ ne, ≈ approx, "
    "± pm, ∪ cup, ∩ cap, ∈ in, ∅ emptyset, ℝ R, ⟨ langle, ⟩ rangle, ∖ setminus"
)
_LETTERS = str.maketrans(
    {
        **{chr(c): chr(c - 0xFEE0) for c in range(0xFF01, 0xFF5F)},  # full width
        **dict.fromkeys("−–—﹣‑", "-"),
        **dict.fromkeys("·⋅∙", r"\cdot "),
        **{pair[0]: rf"\{pair[2:]} " for pair in _COMMANDS.split(", ")},
        **dict.fromkeys("、；", ","),
        "∶": ":",
        "￥": "¥",
        "￡": "£",
        **dict.fromkeys("÷⁄∕", "/"),
        "½": r"\frac{1}{2}",
        "¼": r"\frac{1}{4}",
        "¾": r"\frac{3}{4}",
        "。": ".",
        "’": "'",
        "μ": "µ",
        "℃": "°C",
        "℉": "°F",
        "º": "°",
    }
)
_RAISED = {c: str(i) for i, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")} | {"⁻": "-"}
_SUPERSCRIPT = re.compile(f"[{''.join(_RAISED)}]+")
_ROOT = re.compile(r"([√∛])\s*(\d+(?:\.\d+)?)")
_PLAIN = re.compile(r"[+-]?\d+(?:\.\d+)?")

# Around the whole answer.
_AROUND = re.compile(
    r"\s*(?:\*\*(?P<bold>(?:(?!\*\*).)*)\*\*|\\\((?P<inline>.*)\\\)|\\\[(?P<display>.*)\\\]"
    r"|\$\$?(?P<dollars>[^$]*)\$\$?|(?P<mark>[*`\"]|__)(?P<marked>[^*`\"]*)(?P=mark)"
    r"|\\fbox\{(?P<framed>[^{}]*)\})\s*\.?\s*",
    re.S,
)
_STYLES = re.compile(
    r"\\(?:displaystyle|textstyle|scriptstyle|tiny|small|normalsize|large|Large|LARGE|huge"
    r"|Huge|bf|rm|it|left|right|[bB]igg?[lrm]?|limits|nolimits)(?![a-zA-Z])\.?"
    r"|\\!|\\phantom\{[^{}]*\}|\\(?:text)?color\{[^{}]*\}"
)
_THIN = re.compile(r"(?<=\d)(?:\{,\\?!?\}|,?\s*\\!,?|\\,)(?:\s|\\!)*(?=\d{3}(?!\d))")
_SPACES = re.compile(
    r"(?<!\\)\\[,;:> ]|(?:(?<!\d)\\q?quad|\\q?quad(?!\s*\d))(?![a-zA-Z])|~"
)
_FONT = re.compile(
    r"\\(?P<font>text(?:bf|it|rm|sf|tt|normal|up)?|[mh]box|emph|math(?:rm|bf|it|sf|normal)"
    r"|boldsymbol|bm|underline|operatorname\*?)\s*(?:\{(?P<inner>(?:[^{}]|\{[^{}]*\})*)\}"
    r"|(?P<one>(?<=bf)\s+[a-zA-Z\d]|(?<=rm)\s+[a-zA-Z\d]))"
)
_HALF = re.compile(
    r"(?i)(?<=\d)\s*(?:\\text\{\s*)?and\s+(?:a|one)[ -]half\b"
    r"\s*(?:\}|(?P<more>[^}]*\}))?"
)
_SYMBOLS = ("mathbf", "mathit", "boldsymbol", "bm", "underline", "mathsf", "mathnormal")
_FUNCTIONS = (
    "arcsin arccos arctan sinh cosh tanh sech csch coth lcm gcd max min exp log ln"
)
_WORDY = re.compile(r"[a-zA-Z]{2}|[\u4e00-\u9fff]")
_SEPARATOR = re.compile(
    r"\s*(?:,\s*)?\b(and|or)\b\s*|\s*;\s*|\s*,(?!\d{3}(?!\d))\s*", re.I
)
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_NUMERAL = r"\d[\d,]*(?:\.\d+)?(?:[eE][+-]?\d+|\s*\\times\s*10\^\S+)?"
_MONEY = re.compile(
    rf"(?P<sign>[$€£¥])\s*(?P<value>-?\s*(?:{_NUMERAL}|\.\d+|\\frac\{{\d+\}}\{{\d+\}}|\d*\\frac\s*\d\s*\d)"
    r"(?:\s+(?:hundred|thousand|million|billion|trillion)(?![a-z]))?)"
)


def _rules(*rules: tuple[str, str, str]) -> list[tuple]:
    """(what stands in texts that a pattern fits, one word or another; pattern; new)"""
    return [(hints.split(), re.compile(pattern), new) for hints, pattern, new in rules]


# For all answers, then for those with a backslash.
_REWRITES = _rules(
    ("**", r"\*\*", "^"),
    ("10", r"(?<=\d)\s*[xX*]\s*(?=10\s*\^)", r"\\times "),
    ("+", r"\+(?:\s*/\s*)?-(?=\s*[\d\\])", r"\\pm "),
    ("per pct", r"(?<![a-zA-Z])(?:per ?cent|pct)\b\.?", "%"),
    ("sqrt", r"(?<![a-zA-Z\\])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (
        "sqrt pi sin cos tan log ln exp infty",
        r"(?<![a-zA-Z\\])(sqrt|pi|sin|cos|tan|log|ln|exp|infty)(?![a-zA-Z])",
        r"\\\1 ",
    ),
    ("^", r"\^\s*\(([^()]*)\)", r"^{\1}"),
    ("^", r"\^\s*(-?\d+\.\d+|-?\d{2,}|-\d)", r"^{\1}"),
    ("to", r"(?<=[\d)}])\s*(?:\\text\{\s*to\s*\}|to)\s*(?=[\d(\\])", ":"),
    ("and", r"\s*(?:,\s*)?(?<![a-zA-Z\\])and(?![a-zA-Z])", r" \\land "),
    ("or", r"\s*(?:,\s*)?(?<![a-zA-Z\\])or(?![a-zA-Z])", r" \\lor "),
    ("{:}", r"\{:\}", ":"),
    ("..", r",\s*\.{2,}", r", \\dots "),
    ("<", r"^<([^<>]*,[^<>]*)>$", r"\\langle \1\\rangle "),
    ("<=", "<=", r"\\le "),
    (">=", ">=", r"\\ge "),
    ("&", r"(?<=[\d)}\]]),?\s*&(?!.*\\end)\s*(?=[\d(\\\[-])", r" \\land "),
    (
        "nfinit NFINIT",
        r"(?i)(?<![a-zA-Z\\])(?:positive )?infinity(?![a-zA-Z])",
        r"\\infty",
    ),
)
_LATEX = _rules(
    ("frac", r"\\(?:[dtc]frac|nicefrac|sfrac)(?![a-zA-Z])", r"\\frac"),
    (r"\text", r"\^\s*\{?\s*(\\text\{\s*(?:th|st|nd|rd)\s*\})\s*\}?", r"\1"),
    (
        r"\circ \degree \textdegree",
        r"\^\s*(?:\\circ(?![a-zA-Z])|\{\s*\\circ\s*\})|\\degrees?(?![a-zA-Z])|\\textdegree",
        "°",
    ),
    ("% percent pct cent", r"\\%|\\text\{\s*(?:%|percent|per cent|pct)\s*\}", "%"),
    (r"\frac", r"\\frac\s*(\\pi|\d)\s*(\d)", r"\\frac{\1}{\2}"),
    (r"\frac", r"\\frac\s+([a-zA-Z])\s*([a-zA-Z\d])", r"\\frac{\1}{\2}"),
    (r"\frac", r"\\frac\s*(\\pi|\d)\s*\{", r"\\frac{\1}{"),
    (
        r"\frac",
        r"\\frac\s*\{((?:[^{}]|\{[^{}]*\})*)\}\s*(\\pi|\d|[a-zA-Z])",
        r"\\frac{\1}{\2}",
    ),
    (r"\sqrt", r"\\sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"\sqrt", r"\\sqrt\s*(\[\d+\])?\s*(\d|[a-zA-Z])", r"\\sqrt\1{\2}"),
    (r"\exp", r"\\exp\s*\\?\(([^()]*)\)", r"e^{\1}"),
    (r"\exp", r"\\exp\s*\{([^{}]*)\}", r"e^{\1}"),
    (r"\dbinom \tbinom", r"\\[dt]binom(?![a-zA-Z])", r"\\binom"),
    (r"\binom", r"\\binom\s*(?<=[\sm])(\w)\s*(\w)", r"\\binom{\1}{\2}"),
    (
        r"\dot",
        r"\\dot\s*\{?(\d)\}?(\d*)\\dot\s*\{?(\d)\}?",
        r"\\overline{\1\2\3}",
    ),
    (r"{10}", r"(?:(?<=\\times)|(?<=\\cdot))\s*\{10\}(?=\s*\^)", " 10"),
    (r"\pmod", r"\\pmod\s*\{\s*(\w+)\s*\}", r"\\pmod \1"),
    (r"\leq", r"\\leq(?:slant|q)?(?![a-zA-Z])", r"\\le "),
    (r"\geq", r"\\geq(?:slant|q)?(?![a-zA-Z])", r"\\ge "),
    (r"\lt", r"\\lt(?![a-zA-Z])", "<"),
    (r"\gt", r"\\gt(?![a-zA-Z])", ">"),
    (r"\lbrace", r"\\lbrace(?![a-zA-Z])", r"\\{"),
    (r"\rbrace", r"\\rbrace(?![a-zA-Z])", r"\\}"),
    (r"\ne \not", r"\\neq?(?![a-zA-Z])|\\not\s*=", r"\\ne "),
    (r"\colon \ratio", r"\\(?:colon|ratio)(?![a-zA-Z])", ":"),
    (r"\lor \vee", r"\\(?:lor|vee)(?![a-zA-Z])", r"\\lor "),
    (r"\land \wedge", r"\\(?:land|wedge)(?![a-zA-Z])", r"\\land "),
    (
        r"\backslash \smallsetminus",
        r"\\(?:backslash|smallsetminus)(?![a-zA-Z])",
        r"\\setminus ",
    ),
    (
        r"\mathbb \Bbb \Reals \reals",
        r"\\(?:mathbb|Bbb)\s*\{?\s*R\s*\}?|\\(?:Reals|reals)(?![a-zA-Z])",
        r"\\R ",
    ),
    (r"\mathbb", r"\\mathbb\s*([A-Z])(?![a-zA-Z])", r"\\mathbb{\1}"),
    (r"\emptyset \varnothing", r"\\(?:emptyset|varnothing)(?![a-zA-Z])", r"\\{\\}"),
    ("+", r"(?<![\w)}\]])\+\s*(?=\\infty)", ""),
    (r"\ldots \cdots", r"\\(?:ldots|cdots)(?![a-zA-Z])", r"\\dots "),
    (r"\land", r"(?:,\s*)?\\land\s*(?:\\land\s*)*", r" \\land "),
)
_SPACE = re.compile(r"\s+")
_LEAD = re.compile(
    r"(?i)^\s*(?:\\text\{\s*(?:the )?(?:final )?answer(?:\s+is)?\s*:?\s*\}"
    r"|answer(?:\s+is\b|\s*:)\s*(?=\S))?"
    r"\s*(?:=|\\approx(?![a-zA-Z])|\\therefore(?![a-zA-Z])|\\Rightarrow(?![a-zA-Z]))?"
)
_TAIL = re.compile(r"[\s.,;:\\]+$")
_ALTERNATIVE = re.compile(
    r"(.+?)\s*(?:\\text\{\s*)?\(\s*(?:\\lor|or)\s+([^()]+)\)\s*\}?"
)
_REMARK = re.compile(
    r"(.*[\d}%°)])\s*(?P<text>\\text\{\s*)?\(\s*([^()\d\\]+?)\s*\)\s*\}?", re.S
)
_ALIASES = {
    "all real numbers": r"\R",
    "all reals": r"\R",
    "all real": r"\R",
    "real numbers": r"\R",
    "empty set": r"\{\}",
    "the empty set": r"\{\}",
    "no solutions": r"\text{no solution}",
    "infinity": r"\infty",
    "negative infinity": r"-\infty",
}


@functools.lru_cache(8192)
def tidy(text: str, grouped: bool = True) -> str:
    """An answer in one spelling.

    Args:
        text: as it was written.
        grouped: whether 12,144 is one number where commas may be either; see
            `thousands.joined`.
    """
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return text
    text = _SUPERSCRIPT.sub(_lowered, text)
    text = _ROOT.sub(_rooted, text).translate(_LETTERS)
    while around := _AROUND.fullmatch(text):
        groups = around.groupdict().items()
        text = next(
            part for name, part in groups if part is not None and name != "mark"
        )
    if "{," in text or "\\" in text:
        # 1,\!234 and 1{,}234: a comma inside a number, and nothing else.
        text = _THIN.sub("", text)
    text = _money(text)
    latex = "\\" in text
    if latex:
        text = _SPACES.sub(" ", _STYLES.sub("", text))
        text = _FONT.sub(_in_one_font, text)
    text = _SPACE.sub(" ", text).strip()
    if " " in text or "," in text:
        text = thousands.joined(text, grouped)
    if "half" in text:
        text = _HALF.sub(_and_a_half, text)
    if latex:
        text = _words_apart(text)
    text = _rewritten(text, _REWRITES)
    if "\\" in text:
        for sign, command in ((r"\over", r"\frac"), (r"\choose", r"\binom")):
            text = _stacked(text, sign, command) if sign in text else text
        text = _rewritten(text, _LATEX)
    text = _TAIL.sub("", _LEAD.sub("", _SPACE.sub(" ", text))).strip()
    if text.endswith((")", ")}")):
        text = _remarked(text)
    return _ALIASES.get(text.casefold(), _unwrapped(text))


def _rewritten(text: str, rules: list[tuple]) -> str:
    for hints, pattern, new in rules:
        # A word is found in a twentieth of the time of a pattern.
        for hint in hints:
            if hint in text:
                text = pattern.sub(new, text)
                break
    return text


def _lowered(found: re.Match) -> str:
    return "^{" + "".join(_RAISED[c] for c in found[0]) + "}"


def _rooted(found: re.Match) -> str:
    return (r"\sqrt{%s}" if found[1] == "√" else r"\sqrt[3]{%s}") % found[2]


def _money(text: str) -> str:
    """Dollars behind their number; other dollar signs are how LaTeX sets a formula."""
    if "$" not in text and not any(sign in text for sign in "€£¥"):
        return text
    text = text.replace(r"\$", "\0") if r"\$" in text else text
    if text.count("$") != 1 or not re.match(r"-?\s*\$\s*[\d.]", text):
        text = text.replace("$", "")
    text = text.replace("\0", "$")
    text = _MONEY.sub(r"\g<value> \\text{\g<sign>}", text)
    return re.sub(r"(?<!\{)[$](?!\})", "", text)


def _in_one_font(found: re.Match) -> str:
    """Words as `\\text{}`, letters and digits without a font."""
    font, inner = found["font"].rstrip("*"), found["inner"] or found["one"]
    inner = re.sub(r"\^\s*\{?\s*(-?\d)\s*\}?", r"\1", inner) if "^" in inner else inner
    bare = inner.strip()
    if font == "operatorname" and bare in _FUNCTIONS.split():
        return rf"\{bare} "
    if re.fullmatch(r"[\d.,:%]+", bare) or (
        font == "mathrm" and bare in ("i", "e", "d")
    ):
        return inner
    if font == "text" and bare in ("i", "e"):
        return bare
    if font in _SYMBOLS and not _WORDY.search(re.sub(r"\\[a-zA-Z]+", "", inner)):
        return f" {inner} " if font != "underline" else inner
    return r"\text{" + re.sub(r"\\[,;:>!~ ]|~|[{}]|\\q?quad", " ", inner) + "}"


def _and_a_half(found: re.Match) -> str:
    more = found["more"] or ""
    return r"\frac{1}{2}" + (
        rf" \text{{{more}" if more and "text" in found[0] else more
    )


def _words_apart(text: str) -> str:
    """Commas, "and" and "or" out of `\\text{}`: they separate what is around them."""

    def apart(found: re.Match) -> str:
        inner = found[1]
        if not _SEPARATOR.search(inner) or "(" in inner:
            return found[0]
        pieces, end = [], 0
        for mark in _SEPARATOR.finditer(inner):
            pieces += [_worded(inner[end : mark.start()])]
            pieces += [rf" \l{mark[1].lower()} " if mark[1] else ", "]
            end = mark.end()
        return "".join([*pieces, _worded(inner[end:])])

    text = _TEXT.sub(apart, text) if "text" in text else text
    return re.sub(r",\s*(?=\\l(?:and|or)(?![a-zA-Z]))", " ", text)


def _worded(inner: str) -> str:
    if _WORDY.search(inner):
        return rf"\text{{{inner.strip()}}}"
    return inner


def _unwrapped(text: str) -> str:
    """What stands in `\\text{}` as a whole and is no word: \\text{(B)}, \\text{3:2}."""
    whole = _TEXT.fullmatch(text)
    if whole and not re.search(r"[a-zA-Z]{2}", whole[1]):
        return tidy(whole[1])
    if whole and (re.match(r"\s*[\d($]", whole[1])):
        return tidy(whole[1])
    if whole:
        inner = whole[1].strip(" .,;:")
        return _ALIASES.get(inner.casefold(), rf"\text{{{inner}}}")
    return text


def _remarked(text: str) -> str:
    """A remark in brackets as what it says: (or 0.5) is equal, (km) is a unit."""
    if other := _ALTERNATIVE.fullmatch(text):
        return f"{other[1]} = {other[2].strip()}"
    if remark := _REMARK.fullmatch(text):
        unit = units.read(remark[3])
        if (
            remark["text"]
            or not remark[3].isascii()
            or (unit and len(remark[3]) > 1 and unit.dimension)
        ):
            return rf"{remark[1]} \text{{{remark[3]}}}"
    return text


_TAKES_GROUP = re.compile(r"(?:\\[a-zA-Z]+(?:\[[^\]]*\])?|[\^_}])\s*$")


def _stacked(text: str, sign: str, command: str) -> str:
    """a \\over b as a fraction, in its group or in the whole; so with \\choose."""
    while found := re.search(rf"\{sign}(?![a-zA-Z])", text):
        start, depth = found.start(), 0
        while start > 0:
            depth += (text[start - 1] == "}") - (text[start - 1] == "{")
            if depth < 0:
                break
            start -= 1
        end, depth = found.end(), 0
        while end < len(text):
            depth += (text[end] == "{") - (text[end] == "}")
            if depth < 0:
                break
            end += 1
        top, bottom = text[start : found.start()], text[found.end() : end]
        # The braces of a group go with it, those of an argument stay.
        around = text[:start].endswith("{") and not _TAKES_GROUP.search(
            text[: start - 1]
        )
        start, end = (start - 1, end + 1) if around else (start, end)
        text = (
            rf"{text[:start]}{command}{{{top.strip()}}}{{{bottom.strip()}}}{text[end:]}"
        )
    return text
