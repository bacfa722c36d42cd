"""Separators between thousands, told from those of a list."""

import re

_SPACED = re.compile(
    r"(?<![\d.,/^_{])(?<![\d.,/] )([1-9]\d{0,2}(?: \d{3})+)(?![\d/]| \d)"
)
_COMMA = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)")


def joined(text: str, grouped: bool) -> str:
    """Numbers without the separators between their thousands.

    A comma without space before three digits separates thousands; in brackets it does
    so only if other commas with spaces are there: (1,234) is a pair.
    """
    if " " in text:
        text = _SPACED.sub(lambda found: found[1].replace(" ", ""), text)
    if "," not in text or not grouped or not _COMMA.search(text):
        return text
    depth, spaced = [[]], {}
    text = text.replace(r"\langle", "\0").replace(r"\rangle", "\1")
    for i, c in enumerate(text):
        if c in "([{\0":
            # A group of LaTeX is no bracket.
            is_set = c != "{" or (i and text[i - 1] == "\\")
            depth.append([] if is_set else [None])
        elif c in ")]}\1" and len(depth) > 1:
            depth.pop()
        elif c == ",":
            level = depth[-1]
            level.append(i)
            spaced[i] = level
    found = []
    for number in _COMMA.finditer(text):
        commas = [i for i in range(number.start(), number.end()) if text[i] == ","]
        level = spaced[commas[0]]
        others = [i for i in level if i is not None and i not in commas]
        inside = level is not depth[0] and None not in level
        if not inside or any(text[i + 1 : i + 2] == " " for i in others):
            found.append(commas)
    gone = {i for commas in found for i in commas}
    text = "".join(c for i, c in enumerate(text) if i not in gone)
    return text.replace("\0", r"\langle").replace("\1", r"\rangle")
