"""Answers that name an option of a question: C, (C), C. 42, (C) 42."""

import re

_OPTION = re.compile(
    r"(?:\\text\{\s*)?(?:\(\s*(?P<round>[A-Z])\s*\)|(?P<plain>[A-Z])\s*(?:\.|\)|:(?=\s)))"
    r"\s*\}?(?P<rest>.*)",
    re.DOTALL,
)
_OTHER_OPTION = re.compile(
    r"\([A-Z]\)|(?<![A-Za-z])[A-Z](?:\)|\.(?!\d)|:)|^[\s{}]*[A-Z][\s{}]*$"
    r"|(?:\\l?or|\\land|\bor|\band|\balso|\bnot|,|/|&)\s*(?:\\text\{)?\s*[A-Z](?![A-Za-z])"
)


def letter(text: str) -> str:
    """The letter of an option that an answer is: B, (B); "" for anything else."""
    found = re.fullmatch(r"\(?\s*([A-Z])\s*\)?\.?", text)
    return found[1] if found else ""


def option(text: str) -> tuple[str, str]:
    """Letter and text of one option, (C) 42; no letter if there is another, too."""
    found = _OPTION.fullmatch(text)
    if not found or _OTHER_OPTION.search(found["rest"]):
        return "", text
    rest = found["rest"].strip()
    if "{" not in rest:
        rest = rest.rstrip("}")
    if found["plain"] and rest[:1] in ("", "(", "[", "=", "<", ">", "_", "^"):
        return "", text
    if (
        "text" in text
        and not re.match(r"\\text", rest)
        and rest.count("}") > rest.count("{")
    ):
        rest = rest[: rest.rindex("}")]
    return found["round"] or found["plain"], rest
