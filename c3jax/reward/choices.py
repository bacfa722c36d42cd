"""Answers that name an option of a question: C, (C), C. 42, (C) 42, option C."""

import re

_OPTION = re.compile(
    r"(?:\\text\{\s*)?(?:\(\s*(?P<round>[A-Z])\s*\)|(?P<plain>[A-Z])\s*(?:\.|\)|:(?=\s)))"
    r"\s*\}?(?P<rest>.*)",
    re.DOTALL,
)
_OTHER_OPTION = re.compile(
    r"\([A-Z]\)|(?<![A-Za-z])[A-Z](?:\)|\.(?!\d)|:)|^[\s{}]*[A-Z][\s{}]*$"
    r"|^\s*[,(]\s*(?:maybe|perhaps|possibly|probably)\b"
    r"|(?:\\l?or|\\land|\bor|\band|\balso|\bnot|,|/|&)\s*(?:\\text\{)?\s*[A-Z](?![A-Za-z])"
)
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
# Words before a letter, the letter, and behind it nothing or the option's own text.
_CHOSEN = re.compile(
    r"(?i:(?:the\s+)?(?:correct\s+)?(?:option|choice|answer)(?:\s+is)?\s*:?\s*)?"
    r"(?:\(\s*(?P<round>[A-Z])\s*\)(?P<all>(?!\s*[-^_=+*/<>!(\[]).*)"
    r"|(?P<plain>[A-Z])(?P<rest>\s*(?:[.):,、].*|-\s+[A-Za-z]{2}.*|\((?=\s*[^\W\d_]{2}).*)?))",
    re.DOTALL,
)


def chosen(text: str) -> str:
    """The letter that a tidy answer to a question of letters gives; "" if not one."""
    found = _CHOSEN.fullmatch(_TEXT.sub(r"\1", text).strip(" {}"))
    if not found or _OTHER_OPTION.search(found["all"] or found["rest"] or ""):
        return ""
    return found["round"] or found["plain"]


def letter(text: str) -> str:
    """The letter of an option that a gold answer is: B, (B); "" for anything else."""
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
