"""Whether a gold answer can be met by any answer at all.

Looked at when questions are loaded, so that none is asked whose every answer earns 0.
Text alone decides.
"""

import re

from c3jax.core import types
from c3jax.reward import matching, math

# What of a row's answer is the gold one: all of it, or what such a place holds.
WHOLE = "whole"
PLACES = (WHOLE, *math.FALLBACKS)

# The marks of a whole solution, and the place that reads the answer out of it.
_SOLUTIONS = {
    "hash": re.compile(r"####"),
    "boxed": re.compile(r"\\boxed(?![a-zA-Z])"),
    "tag": re.compile(r"</?answer>", re.I),
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
    "tag": "<answer>%s</answer>",
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
