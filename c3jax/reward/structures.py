"""How an answer is put together: tuple, interval, set, list, union, matrix, equation.

The spelling decides, which an algebra system does not keep.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple


class Shape(NamedTuple):
    """How an answer is put together.

    Attributes:
        kind: "atom"; "list", "set", "union", whose order is free; "matrix 3 3", two
            rows of three; "ratio"; the brackets around the parts, "()" or "[)";
            "equation", "relation".
        parts: in order; the whole text of an atom.
        text: the answer as a whole.
        name: the unknown of an inequality that was read as an interval.
    """

    kind: str
    parts: tuple[str, ...]
    text: str
    name: str = ""


_CLOSING = {")": "(", "]": "[", r"\}": r"\{", r"\rangle": r"\langle"}
_TOKEN = re.compile(
    r"\\begin\{\w+\}|\\end\{\w+\}|\\[a-zA-Z]+|\\\\|\\.|[^\\]", re.DOTALL
)
_MATRIX = re.compile(
    r"[(\[]?\s*\\begin\{([pbBvV]?matrix|array)\}(?:\{[lcr|]*\})?(.*)"
    r"\\end\{\1\}\s*[)\]]?",
    re.DOTALL,
)


def shape(text: str) -> Shape:
    """Reads how a tidy answer is put together."""
    # A matrix holds separators of all kinds, so it comes first.
    text = text.strip()
    if (matrix := _MATRIX.fullmatch(text)) and "begin" not in matrix[2]:
        rows = [row for row in matrix[2].split(r"\\") if row.strip()]
        cells = [row.split("&") for row in rows]
        around = matrix[1] if matrix[1] in ("vmatrix", "Vmatrix") else "matrix"
        size = " ".join(str(len(row)) for row in cells)
        return Shape(f"{around} {size}", tuple(c for row in cells for c in row), text)

    # Parts side by side.
    for separators, kind in _SEPARATED:
        parts = split(text, separators)
        if len(parts) > 1:
            if kind == "relation":
                return _interval(text) or Shape(kind, (text,), text)
            # x < 1 or x > 2, and its "or" is a comma by now.
            if kind == "list" and all(_interval(part) for part in parts):
                kind = "union"
            return Shape(kind, tuple(parts), text)

    # Parts in brackets.
    if inside := _inside(text):
        left, middle, right = inside
        parts = split(middle, (";" if ";" in middle else ",",))
        kind = "set" if left == r"\{" else left + right
        return Shape(kind, tuple(parts) if middle.strip() else (), text)
    if text.count(r"\pm") == 1 and r"\mp" not in text:
        both = (text.replace(r"\pm", sign).strip() for sign in "+-")
        return Shape("list", tuple(part.removeprefix("+") for part in both), text)
    return Shape("atom", (text,), text)


# The first that separates the whole text says what it is.
_SEPARATED = (
    ((";",), "list"),
    ((",",), "list"),
    ((r"\cup",), "union"),
    (("=",), "equation"),
    (("<", ">", r"\le", r"\ge", r"\ne"), "relation"),
    ((":",), "ratio"),
)


def split(text: str, separators: Sequence[str]) -> list[str]:
    """Cuts a text at separators that stand in no bracket."""
    parts, depth = [""], 0
    for token in _TOKEN.findall(text):
        if token in ("(", "[", "{", r"\{", r"\langle") or token.startswith(r"\begin"):
            depth += 1
        elif token in (")", "]", "}", r"\}", r"\rangle") or token.startswith(r"\end"):
            depth -= 1
        elif depth == 0 and token in separators:
            parts.append("")
            continue
        parts[-1] += token
    return parts


def _inside(text: str) -> tuple[str, str, str] | None:
    """Opening bracket, contents and closing bracket, if they go around the whole."""
    tokens = _TOKEN.findall(text)
    if len(tokens) < 2 or tokens[0] not in _CLOSING.values():
        return None
    depth = 0
    for i, token in enumerate(tokens):
        depth += (token in _CLOSING.values()) - (token in _CLOSING)
        if depth == 0 and i + 1 < len(tokens):
            return None
    if depth or tokens[-1] not in _CLOSING:
        return None
    return tokens[0], "".join(tokens[1:-1]), tokens[-1]


def unwrapped(text: str) -> str:
    """A text without brackets that hold one thing only: (4x - 7)."""
    text = text.strip()
    while (inside := _inside(text)) and inside[0] == "(" and inside[2] == ")":
        if len(split(inside[1], (",", ";"))) > 1 or not inside[1].strip():
            break
        text = inside[1].strip()
    if whole := re.fullmatch(r"\\text\{([^{}]*)\}|\{([^{}]*)\}", text):
        text = (whole[1] or whole[2] or "").strip()
    return text


_ORDER = re.compile(r"(<|>|\\le(?![a-z])|\\ge(?![a-z]))")
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}


def _interval(text: str) -> Shape | None:
    """An inequality of one letter as the interval it is: 2 < x \\le 3 is (2, 3]."""
    parts = [part.strip() for part in _ORDER.split(text)]
    if len(parts) == 3 and re.fullmatch("[a-zA-Z]", parts[2]):
        parts = [parts[2], _FLIPPED[parts[1]], parts[0]]
    if len(parts) == 3 and re.fullmatch("[a-zA-Z]", parts[0]):
        name, sign, bound = parts
        if sign in ("<", r"\le"):
            kind, ends = "(" + ")]"[sign == r"\le"], (r"-\infty", bound)
        else:
            kind, ends = "(["[sign == r"\ge"] + ")", (bound, r"\infty")
        return Shape(kind, ends, text, name)
    if len(parts) == 5 and re.fullmatch("[a-zA-Z]", parts[2]):
        low, first, name, second, high = parts
        if first in (">", r"\ge"):
            low, first, second, high = high, _FLIPPED[second], _FLIPPED[first], low
        if first in ("<", r"\le") and second in ("<", r"\le"):
            kind = "(["[first == r"\le"] + ")]"[second == r"\le"]
            return Shape(kind, (low, high), text, name)
    return None


def depth(text: str) -> int:
    """How deep the brackets of a text are nested."""
    level = deepest = 0
    for c in text:
        level += (c in "([{") - (c in ")]}")
        deepest = max(deepest, level)
    return deepest
