"""How an answer is put together: tuple, interval, set, list, union, matrix, equation.

The spelling decides, which an algebra system does not keep.
"""

import itertools
import re
from collections.abc import Sequence
from typing import NamedTuple

from c3jax.reward import reading


class Shape(NamedTuple):
    """How an answer is put together.

    Attributes:
        kind: "atom"; "list", "set", "union", whose order is free; "values", each with a
            name of its own; "matrix 3 3", two rows of three; "column", which a tuple
            may be, too; "ratio"; the brackets around the parts, "()" or "[)"; "chain",
            in ascending order; "all but", the reals without the parts; "both",
            conditions at once; "either", one of them; "equation", "relation".
        parts: in order; the whole text of an atom.
        text: the answer as a whole.
        name: the unknown that the answer is a value of, or whose bounds it gives.
        names: of the parts of "values"; of a "chain", the signs between the parts.
    """

    kind: str
    parts: tuple[str, ...]
    text: str
    name: str = ""
    names: tuple[str, ...] = ()


_CLOSING = {")": "(", "]": "[", r"\}": r"\{", r"\rangle": r"\langle"}
_TOKEN = re.compile(
    r"\\begin\{\w+\}|\\end\{\w+\}|\\[a-zA-Z]+|\\\\|\\.|[^\\]", re.DOTALL
)
_MATRIX = re.compile(
    r"[(\[]?\s*\\begin\{([pbBvV]?matrix|array)\}(?:\{[lcr|]*\})?(.*)"
    r"\\end\{\1\}\s*[)\]]?",
    re.DOTALL,
)
_SIGNS = ("<", ">", r"\le", r"\ge", r"\ne")
_ALL = ("()", (r"-\infty", r"\infty"))

# x, x_1, x_{max}, \theta, f(x), f^{-1}(x), \angle ABC, \vec{v}, \alpha, P(A \cap B)
_LETTER = r"(?:\\(?!le|ge|ne|pm|frac|sqrt|pi(?![a-zA-Z])|in)[a-zA-Z]+|[a-zA-Z])"
_MARKS = r"'*(?:_(?:\{[^{}]*\}|\w))?'*(?:\^\{?-1\}?)?"
NAME = re.compile(
    rf"(?:\|(?=.*\|$))?(?:\\(?:sin|cos|tan|cot)(?=\\))?(?:\\text\{{[^{{}}]*\}}|{_LETTER}(?:\{{\w+'?\}})?)"
    rf"[a-zA-Z]*{_MARKS}(?:\([^()=]*\))?\|?"
)
_UNKNOWN = re.compile(rf"{_LETTER}{_MARKS}")


def shape(text: str) -> Shape:
    """Reads how a tidy answer is put together."""
    # A matrix holds separators of all kinds, so it comes first.
    text = text.strip()
    if (matrix := _MATRIX.fullmatch(text)) and "begin" not in matrix[2]:
        return _matrix(matrix, text)
    for separators in ((";",), (",", r"\land", r"\lor")):
        parts = split(text, separators)
        if len(parts) > 1:
            return _several([part.strip() for part in parts], text)
    return _single(text)


def _matrix(matrix: re.Match, text: str) -> Shape:
    rows = [row for row in matrix[2].split(r"\\") if row.strip()]
    cells = [row.split("&") for row in rows]
    around = matrix[1] if matrix[1] in ("vmatrix", "Vmatrix") else "matrix"
    size = " ".join(str(len(row)) for row in cells)
    # A column is how a vector or a point is written, too.
    column = around == "matrix" and len(rows) > 1 and set(map(len, cells)) == {1}
    kind = "column" if column else f"{around} {size}"
    return Shape(kind, tuple(c for row in cells for c in row), text)


def _single(text: str) -> Shape:
    """An answer of one part."""
    if len(split(text, (r"\cup",))) > 1:
        return Shape("union", tuple(split(text, (r"\cup",))), text)
    # A set that is told by a condition is the interval that it is.
    if within := _within(text):
        return within
    for separators, kind in (
        (("=",), "equation"),
        (_SIGNS, "relation"),
        ((":",), "ratio"),
    ):
        parts = split(text, separators)
        if len(parts) > 1:
            if kind == "relation":
                found = _interval(text) or _chain(text) or Shape(kind, (text,), text)
                if found.kind == "all but":
                    return _all_but(found.parts, text, found.name)
                return found
            if kind == "equation" and (values := _values(parts, text)):
                return values
            return Shape(kind, tuple(part.strip() for part in parts), text)

    # Parts in brackets, perhaps with a name before them: P(1,2).
    name, inside = "", _inside(text)
    if not inside and (found := re.match(r"[A-Z]\s*(?=\()", text)):
        name, inside = found[0].strip(), _inside(text[found.end() :])
        # P(x) is a value of P, P(1,2) a point.
        inside = inside if inside and len(split(inside[1], (",",))) > 1 else None
    if inside:
        left, middle, right = inside
        parts = split(middle, (";" if ";" in middle else ",",))
        kind = "set" if left == r"\{" else left + right
        kind = "()" if left == r"\langle" and len(parts) > 1 else kind
        # (\pm 2, 0) is two points, and \{\pm 2\} a set of two.
        if r"\pm" in middle and left + right == "()" and len(parts) > 1:
            return Shape("list", tuple(_both_signs(text)), text)
        if r"\pm" in middle and kind == "set":
            parts = [one for part in parts for one in _both_signs(part)]
        return Shape(kind, tuple(parts) if middle.strip() else (), text, name)
    # Each sign is two answers; more of them are no answer that anybody lists.
    if 1 <= text.count(r"\pm") <= 3 and r"\mp" not in text:
        return Shape("list", tuple(_both_signs(text)), text)
    if text == r"\R":
        return Shape(*_ALL, text)
    return Shape("atom", (text,), text)


def _both_signs(text: str) -> list[str]:
    if r"\pm" not in text:
        return [re.sub(r"(^|[(\[{])\s*\+\s*", r"\1", text.strip())]
    return [p for s in "+-" for p in _both_signs(text.replace(r"\pm", s, 1))]


def _several(parts: list[str], text: str) -> Shape:
    """An answer of parts side by side: a list, named values, or conditions."""
    # x < 1 or x > 2.
    intervals = [_interval(part) for part in parts]
    if all(intervals):
        if len({shape.name for shape in intervals}) == 1:
            if all(shape.kind == "all but" for shape in intervals):
                without = tuple(v for shape in intervals for v in shape.parts)
                return _all_but(without, text, intervals[0].name)
            if r"\land" in text:
                return _common(intervals, parts, text)
        elif "" not in {shape.name for shape in intervals}:
            kind = "either" if r"\lor" in text else "both"
            return Shape(kind, tuple(parts), text)
        return Shape("union", tuple(parts), text, intervals[0].name)

    # (x, y) = (1, 2), (3, 4): one name for them all.
    sides = [[side.strip() for side in split(part, ("=",))] for part in parts]
    first = split(parts[0], (r"\in",)) if len(sides[0]) == 1 else sides[0]
    if len(first) == 2 and max(map(len, sides[1:])) == 1 and _is_name(first[0]):
        name = "" if _tuple_of_names(first[0]) else base(first[0])
        return Shape("list", (first[1], *parts[1:]), text, name)
    names = [side[0] if len(side) == 2 and _is_name(side[0]) else "" for side in sides]
    known = {base(name) for name in names if name}
    if len(known) == 1 and all(
        name or len(s) == 1 for name, s in zip(names, sides, strict=True)
    ):
        return Shape("list", tuple(side[-1] for side in sides), text, known.pop())
    if all(names) and len(set(names)) == len(names):
        values = tuple(side[1] for side in sides)
        return Shape("values", values, text, names=tuple(map(reading.squeezed, names)))
    if r"\mp" not in text and 1 <= text.count(r"\pm") <= 3:
        parts = [one for part in parts for one in _both_signs(part)]
    return Shape("list", tuple(parts), text)


def base(name: str) -> str:
    """A name without its number: x_1 and x_2 are values of one x."""
    return re.sub(r"_\{?\d+\}?$", "", reading.squeezed(name))


def _is_name(text: str) -> bool:
    return bool(NAME.fullmatch(reading.squeezed(text)) or _tuple_of_names(text))


def _tuple_of_names(text: str) -> tuple[str, ...]:
    """The names in (x, y); () for anything else."""
    inside = _inside(text.strip())
    names = [reading.squeezed(n) for n in split(inside[1], (",",))] if inside else []
    known = len(names) > 1 and all(_UNKNOWN.fullmatch(name) for name in names)
    return tuple(names) if known else ()


def _values(parts: list[str], text: str) -> Shape | None:
    """(x, y) = (1, 2) as values with names."""
    names = _tuple_of_names(parts[0]) if len(parts) == 2 else ()
    inside = _inside(parts[1].strip()) if names else None
    values = split(inside[1], (",",)) if inside else []
    if len(values) != len(names) or not names:
        return None
    return Shape("values", tuple(values), text, names=names)


_BUILDER = re.compile(
    rf"\\\{{\s*(?P<name>{_LETTER})\s*(?:\\in\s*\\R)?\s*(?:\\mid(?![a-z])|\||:)(?P<rest>.*)\\\}}",
    re.DOTALL,
)
_WITHOUT = re.compile(
    r"\s*(?:\\R|\(-\\infty,\s*\\infty\))\s*(?:\\setminus|-)\s*\\\{(.*)\\\}\s*"
)


def _within(text: str) -> Shape | None:
    """x \\in (1, 2), \\{x : 1 < x < 2\\} and \\R \\setminus \\{2\\} as sets."""
    if r"\in" in text:
        parts = split(text, (r"\in",))
        if len(parts) == 2 and _is_name(parts[0]):
            found = shape(parts[1])
            name = "" if _tuple_of_names(parts[0]) else reading.squeezed(parts[0])
            return found._replace(name=name)
    if (builder := _BUILDER.fullmatch(text)) and _inside(text):
        found = shape(builder["rest"])
        if found.name or found.kind == "relation":
            # The letter is bound: any other would do.
            return found._replace(name="") if found.name == builder["name"] else None
    if (without := _WITHOUT.fullmatch(text)) and _inside(r"\{" + without[1] + r"\}"):
        return _all_but(tuple(split(without[1], (",",))), text, "")
    return None


def _all_but(without: tuple[str, ...], text: str, name: str) -> Shape:
    """The reals without numbers, as a union of intervals if their order is known."""
    numbers = [reading.number(part) for part in without]
    if len(without) > 1 and None in numbers:
        return Shape("all but", without, text, name)
    if len(without) > 1:
        order = sorted(range(len(without)), key=lambda i: numbers[i].value)
        without = tuple(without[i] for i in order)
    ends = (r"-\infty", *without, r"\infty")
    pairs = itertools.pairwise(ends)
    return Shape("union", tuple(f"({low},{high})" for low, high in pairs), text, name)


def split(text: str, separators: Sequence[str]) -> list[str]:
    """Cuts a text at separators that stand in no bracket."""
    if not any(separator in text for separator in separators):
        return [text]
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
    if not text or text[-1] not in ")]}e":
        return None
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
    """A text without brackets that hold one thing only: (4x - 7), {5}."""
    text = text.strip()
    while text[:1] in ("(", "{"):
        if text[0] == "{":
            depths = [
                text[: i + 1].count("{") - text[: i + 1].count("}")
                for i in range(len(text) - 1)
            ]
            if text[-1] != "}" or min(depths) < 1:
                break
            text = text[1:-1].strip()
            continue
        inside = _inside(text)
        if not inside or inside[2] != ")" or not inside[1].strip():
            break
        if len(split(inside[1], (",", ";"))) > 1:
            break
        text = inside[1].strip()
    return text


_ORDER = re.compile(r"(<|>|\\(?:le|ge|ne)(?![a-z]))")
_FLIPPED = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le", r"\ne": r"\ne"}
_BOUNDED = re.compile(rf"{_LETTER}(?:_\{{?\w+\}}?)?")


def _interval(text: str) -> Shape | None:
    """An inequality of one letter as the interval it is: 2 < x \\le 3 is (2, 3]."""
    parts = [part.strip() for part in _ORDER.split(text)]
    if (
        len(parts) == 3
        and _BOUNDED.fullmatch(parts[2])
        and not _BOUNDED.fullmatch(parts[0])
    ):
        parts = [parts[2], _FLIPPED[parts[1]], parts[0]]
    if len(parts) == 3 and _BOUNDED.fullmatch(parts[0]) and parts[2]:
        name, sign, bound = parts
        if _BOUNDED.fullmatch(bound) and len(bound) == 1:
            return None
        if sign == r"\ne":
            return Shape("all but", (bound,), text, name)
        if sign in ("<", r"\le"):
            kind, ends = "(" + ")]"[sign == r"\le"], (r"-\infty", bound)
        else:
            kind, ends = "(["[sign == r"\ge"] + ")", (bound, r"\infty")
        return Shape(kind, ends, text, name)
    if len(parts) == 5 and _BOUNDED.fullmatch(parts[2]):
        low, first, name, second, high = parts
        if len(low) == len(high) == 1 and (low + high).isupper():
            return None
        if first in (">", r"\ge"):
            low, first, second, high = high, _FLIPPED[second], _FLIPPED[first], low
        if first in ("<", r"\le") and second in ("<", r"\le"):
            kind = "(["[first == r"\le"] + ")]"[second == r"\le"]
            return Shape(kind, (low, high), text, name)
    return None


def _common(intervals: list[Shape], parts: list[str], text: str) -> Shape:
    """Two conditions at once: x > 1 and x < 2 is 1 < x < 2."""
    below = [i for i in intervals if i.parts[0] == r"-\infty"]
    above = [i for i in intervals if i.parts[1:] == (r"\infty",)]
    if len(intervals) == 2 and len(below) == len(above) == 1:
        low, high = above[0], below[0]
        ends = (low.parts[0], high.parts[1])
        return Shape(low.kind[0] + high.kind[1], ends, text, low.name)
    return Shape("both", tuple(parts), text, intervals[0].name)


def _chain(text: str) -> Shape | None:
    """C < A < B, and B > A > C, in ascending order."""
    parts = [part.strip() for part in _ORDER.split(text)]
    if len(parts) < 5 or not all(
        re.fullmatch(r"\w+|\\text\{[^{}]*\}", p) for p in parts[::2]
    ):
        return None
    if set(parts[1::2]) <= {">", r"\ge"}:
        parts = [_FLIPPED.get(part, part) for part in parts[::-1]]
    if not set(parts[1::2]) <= {"<", r"\le"}:
        return None
    return Shape("chain", tuple(parts[::2]), text, names=tuple(parts[1::2]))


def depth(text: str) -> int:
    """How deep the brackets of a text are nested."""
    level = deepest = 0
    for bracket in _BRACKET.findall(text):
        level += 1 if bracket in "([{" else -1
        deepest = max(deepest, level)
    return deepest


_BRACKET = re.compile(r"[()\[\]{}]")
