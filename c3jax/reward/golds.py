"""Whether a gold answer, or the tests of a program, can be met by any answer at all.

Looked at when questions are loaded, so that none is asked whose every answer earns 0.
Text alone decides; nothing is run.
"""

import ast
import builtins
import re

from c3jax.core import types
from c3jax.reward import matching, math
from c3jax.reward.sandbox import assertions

# What of a row's answer is the gold one: all of it, or what such a place holds.
WHOLE = "whole"
PLACES = (WHOLE, *math.FALLBACKS)

# The marks of a whole solution, and the place that reads the answer out of it.
_SOLUTIONS = {
    "hash": re.compile(r"####"),
    "boxed": re.compile(r"\\boxed(?![a-zA-Z])"),
    "answer_is": re.compile(r"\banswer\s*(?:is\b|:)|答案\s*[是为:：]", re.I),
}
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z\\$(])|[。！？\n]")
# C. Tom is older than Ann: the letter of an option, with the option.
_OPTION = re.compile(r"\(?[A-Z]\s*[.):：]\s*")
_WORD = re.compile(r"(?<![\\a-zA-Z])[a-zA-Z]{2,}(?![a-zA-Z])|[\u4e00-\u9fff]{2}")
_LONG_SENTENCE, _SHORT_SENTENCE = 12, 3  # words
# How an answer is written where it is looked for.
_WRITTEN = {
    "boxed": r"So \boxed{%s}",
    "hash": "#### %s",
    "answer_is": "The answer is %s",
    "last_number": "It is %s",
}


def reduced(solution: str, place: str) -> str:
    """The gold answer in a solution; "" if it has none there.

    Args:
        solution: all that a row says about the answer.
        place: one of `PLACES`.
    """
    if place == WHOLE:
        return solution.strip()
    return math.extract(solution, (place,)) or ""


def unmet(gold: str, rules: types.Rules) -> str:
    """Why no answer, or only a copy of a text, would be the gold one; "" if some is.

    Args:
        rules: those that answers are judged by, with the places of an answer.
    """
    gold = gold.strip()
    if not gold:
        return "is empty, so that no answer would be right"
    for place, mark in _SOLUTIONS.items():
        if found := mark.search(gold):
            return (
                f"is a solution, not an answer: it holds {found[0]}. Say "
                f"data.answer={place!r}, and the answer is taken from there"
            )
    if len(gold) > matching.MAX_LENGTH:
        return (
            f"has {len(gold):,} characters; an answer has {matching.MAX_LENGTH} at most"
        )
    for letter in gold:
        if not letter.isprintable() and not letter.isspace():
            return f"holds an invisible character, U+{ord(letter):04X}; leave it out"
    if _is_prose(gold):
        return (
            "is prose, which only the same words would meet; it must be an answer. "
            f"data.answer, one of {PLACES[1:]}, takes one from a solution"
        )
    if not any(_is_met(gold, rules, place) for place in rules.fallback):
        if _is_met(gold, rules, "boxed"):
            return (
                f"cannot be written where answers are looked for, reward.fallback="
                f"{rules.fallback}; add 'boxed' to that"
            )
        return (
            "cannot be read back from a box, \\boxed{..}; close every brace that it "
            "opens, and write \\{ for one that is meant"
        )
    return ""


def _is_prose(gold: str) -> bool:
    """Whether it is a long sentence, or several; an option after its letter is not."""
    if _OPTION.match(gold):
        return False
    words = [len(_WORD.findall(part)) for part in _SENTENCE.split(gold)]
    return max(words) >= _LONG_SENTENCE or sum(n >= _SHORT_SENTENCE for n in words) > 1


def _is_met(gold: str, rules: types.Rules, place: str) -> bool:
    """Whether the gold answer earns the reward where it stands in some place."""
    said = math.extract(_WRITTEN[place] % gold, (place,))
    try:
        return said is not None and matching.same(gold, said, rules)
    except matching.Undecided:  # Another answer, or a part of it.
        return False


def untested(tests: str, entry_point: str = "") -> str:
    """Why no program would pass tests, or none can fail them; "" if neither is so.

    Args:
        tests: executable text; see `c3jax.reward.sandbox.assertions`.
        entry_point: the function that they test; "" if they name it.
    """
    try:
        tree = ast.parse(tests)
        ast.parse(entry_point or "f", mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return f"is no Python that can test a program ({error})"

    # A builtin's name may be the program's only if the row says so.
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    used = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    open_names = used - _bound(tree) - {*dir(builtins)}
    if entry_point:
        first = re.split(r"\W", entry_point)[0]
        if first not in used:
            return f"does not use {entry_point!r}, which the row says that it tests"
    if not _makes_checks(tree):
        return (
            "makes no check: it must have an assert, in the module, in a function that "
            "is called there, or in test_..(). A check(candidate) is called with what "
            "the field says that data.fields.entry_point names"
        )
    if not entry_point and not open_names:
        return (
            "does not name a function of the program's; name the field that does in "
            "data.fields.entry_point"
        )
    return ""


def _bound(tree: ast.Module) -> set[str]:
    """Names that tests define somewhere, or import."""
    bound = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.alias(name=name, asname=other):
                bound.add(other or name.partition(".")[0])
    return bound


def _makes_checks(tree: ast.Module) -> bool:
    """Whether the grader would record the outcome of any check; `tree` is changed."""
    recorded = assertions.instrumented(tree)
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "checked"
        and isinstance(node.value, ast.Name)
        and node.value.id == assertions.HOOK
        for node in ast.walk(recorded)
    )
