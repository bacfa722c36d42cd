"""The words and signs of formulas, and how a text is cut into them."""

import re
from typing import NamedTuple

from c3jax.reward import formulas

TRIGONOMETRIC = ("sin", "cos", "tan", "cot", "sec", "csc")
_INVERSE = {"arcsin": "asin", "arccos": "acos", "arctan": "atan"}
SEVERAL = ("gcd", "lcm", "max", "min")
NAMED = {
    **{name: name for name in (*TRIGONOMETRIC, "sinh", "cosh", "tanh", *SEVERAL)},
    **_INVERSE,
    **{name: name for name in _INVERSE.values()},
    "ln": "ln",
    "log": "log",
    "lg": "log",
    "tg": "tan",
    "ctg": "cot",
    "cosec": "csc",
    "arctg": "atan",
    "exp": "exp",
    "abs": "abs",
    "floor": "floor",
    "ceil": "ceil",
    "ceiling": "ceil",
}

# Those that may be typed without a backslash; lg is a product of l and g.
_PLAIN = {*NAMED, "sqrt", "pi"} - {"lg", "tg", "ctg"}
_TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<word>\\[a-zA-Z]+|(?<![a-zA-Z\\])(?:WORDS)"
    r"(?![a-zA-Z])|\\.)|(?P<letter>[a-zA-Z])|(?P<sign>\*\*|.)|(?P<space>\s+)".replace(
        "WORDS", "|".join(sorted(_PLAIN, key=len, reverse=True))
    ),
    re.S,
)
# Marks of setting that have no meaning.
_PASSED_OVER = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|limits|q?quad)(?![a-zA-Z])\.?"
    r"|\\[,;:!> ]|~"
)
_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa "
    "lambda mu nu xi rho varrho sigma varsigma tau upsilon phi varphi chi psi omega "
    "Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega ell hbar"
)
_MARKS = (
    "hat widehat vec bar overline tilde widetilde dot ddot mathcal mathbb mathfrak "
    "mathbf boldsymbol bm underline"
)
_FUNCTIONS = "phi varphi psi Phi Psi Gamma zeta"
SYMBOLS, ACCENTS, _CALLED = (
    {f"\\{name}" for name in names.split()} for names in (_GREEK, _MARKS, _FUNCTIONS)
)
TEXTS = {"\\text", "\\mathrm", "\\operatorname", "\\mathit", "\\textit", "\\textrm"}
TIMES, OVER = {"*", "\\cdot", "\\times", "\\ast"}, {"/", "\\div"}
BARS = {"|", "\\vert", "\\lvert", "\\rvert", "\\mid"}
BRACKETS = {"(": ")", "[": "]", "{": "}", "\\lbrack": "\\rbrack", "\\(": "\\)"}
STEPS = {"\\lfloor": ("\\rfloor", "floor"), "\\lceil": ("\\rceil", "ceil")}
# Letters that are functions where a bracket follows: f(x + 1). Others are where it
# holds one letter or number: P(A) and y(0), but not P(1 + r).
CALLED = {*"fghFGH"} | _CALLED


class Token(NamedTuple):
    """kind: "number", "word", "letter" or "sign"."""

    kind: str
    text: str


_GLUED = re.compile(r"(?<![a-zA-Z\\_^])[a-hj-zA-Z]\d")  # 3+i4 is a complex number


def tokens(text: str) -> list[Token]:
    """The signs, numbers and letters of a text without its spaces.

    A function that was typed without a backslash gets one.

    Raises:
        Unreadable: a digit stands at a letter: x2 is x^2, or x_2, or x times 2.
    """
    if _GLUED.search(text):
        raise formulas.Unreadable(f"a digit at a letter in {text!r}")
    # A comma inside a number, and no other.
    text = _PASSED_OVER.sub(" ", re.sub(r"(?<=\d)\{,\}(?=\d{3})", "", text))
    found = []
    for match in _TOKEN.finditer(text):
        if match[0].isspace():
            continue
        plain = match.lastgroup == "word" and not match[0].startswith("\\")
        found.append(Token(match.lastgroup, "\\" + match[0] if plain else match[0]))
    return found
