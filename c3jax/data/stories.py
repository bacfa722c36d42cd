"""Sums of one step or two told as short stories in plain English.

    Leo has 3 bags with 4 pens in each. Mia borrows 5. How many pens does Leo have now?

A story is a template of its own, or put together of an opening, events and a question,
which may come first. The person asked about and the thing counted always occur in it.
Any other person is called by the other pronoun, so that "he" and "she" are clear.
"""

import random
import re
from collections.abc import Sequence
from typing import NamedTuple

_SHE = "Ana Clara Eva Ida Jane Lea Mia Nora Ruth Tina Uma Vera Zoe"
_HE = "Ben Carl Finn Hugo Ian Leo Max Omar Paul Raj Sam Tom"
_THINGS = (
    "apple ball balloon bead book bottle button candle card coin cookie cup egg flower "
    "key lemon marble orange pen pencil ribbon shell stamp sticker"
)
SHE, HE = tuple(_SHE.split()), tuple(_HE.split())
NAMES = SHE + HE
# No divisor in common with the number of names; see `told`.
THINGS = tuple(_THINGS.split())
# How the answer to a question that is put together begins.
_HAS = "So {name} has"


def _templates(text: str) -> tuple[tuple[str, str], ...]:
    """A question and the beginning of its answer, from each "- question => answer"."""
    pairs = " ".join(text.split()).removeprefix("- ").split(" - ")
    return tuple(tuple(pair.split(" => ")) for pair in pairs)


# A number is {a} or {b} alone, {na} or {nb} with its thing: "3 books", "1 book".
WHOLE = {
    "+": _templates("""
        - {name} had {na} and then found {b} more. How many {things} is that? => So that
          makes
        - There {is_a} {na} in a box. {name} puts {b} more into it. How many {things}
          are in the box now? => So that makes
        - {name} has {na} and {other} has {nb}. How many {things} do they have together?
          => So that makes
        - {other} gives {name} {nb}. Before that {name} had {a}. How many {things} does
          {name} have now? => So {name} has
        - How many {things} does {name} have in all if {he} keeps {a} at home and {b} at
          school? => So {name} has
        - {name} picks up {na} in the morning and {b} more in the afternoon. How many
          {things} does {he} pick up in all? => So that makes
        - On Monday {name} collects {na}. On Tuesday {he} collects {nb}. How many
          {things} is that in total? => So that makes
        - {name} needs {na} for school and {b} more for a party. How many {things} does
          {name} need? => So {name} needs
        - {other} has {na}. {name} has {b} more than {other}. How many {things} does
          {name} have? => So {name} has
        - A shop sells {na} to {name} and {nb} to {other}. How many {things} does the
          shop sell? => So that makes
        - {name} counts {his} {things}: {a} on the desk, {b} on the shelf. What is the
          total number of {things}? => So that makes
        - With {nb} from {other}, how many {things} does {name} have if {he} already had
          {a}? => So {name} has
    """),
    "-": _templates("""
        - {name} has {na}. {He} gives {b} to {other}. How many {things} does {name} have
          left? => So {name} has
        - There are {na} on the table. {name} takes {b} away. How many {things} are left
          on the table? => So that leaves
        - {name} had {na} but lost {b} of them. How many {things} does {he} still have?
          => So {name} has
        - After selling {b} of {his} {na}, how many {things} does {name} have left? =>
          So {name} has
        - {name} wants {na}. {He} already has {b}. How many more {things} does {name}
          need? => So {name} needs
        - {other} has {na}, and {name} has {b} fewer. How many {things} does {name}
          have? => So {name} has
        - {name} and {other} have {na} together. {other} owns {b} of them. How many
          {things} does {name} own? => So {name} owns
        - How many {things} does {name} have left if {he} starts with {a} and uses {b}?
          => So {name} has
        - {name} carried {na} home and dropped {b} on the way. How many {things} did
          {he} bring home? => So {name} brought
        - Of the {na} in {name}'s bag, {b} {is_b} wet. How many {things} are not wet? =>
          So that leaves
        - {name} has {na} and {other} has {nb}. How many more {things} does {name} have
          than {other}? => So the difference is
        - {name} lends {nb} to {other}. Before that {he} had {a}. How many {things} does
          {name} have now? => So {name} has
        - A shop has {na}. {name} buys {b} of them. How many {things} does the shop have
          left? => So that leaves
    """),
    "*": _templates("""
        - {name} has {a} bags with {nb} in each. How many {things} does {name} have? =>
          So {name} has
        - There are {a} boxes on a shelf. {name} puts {nb} into each box. How many
          {things} is that? => So that makes
        - {name} buys {a} packs of {nb}. How many {things} does {name} buy? => So {name}
          buys
        - Every day {name} gets {nb}. How many {things} does {he} get in {a} days? => So
          {name} gets
        - {name} gives {nb} to each of {a} friends. How many {things} does {name} give
          away? => So that makes
        - {name} lays out {his} {things} in {a} rows of {b}. How many {things} are
          there? => So that makes
        - One bag holds {nb}. How many {things} does {name} need to fill {a} bags? => So
          {name} needs
    """),
}
OPENINGS = (
    "{Who} has {na}.",
    "{Who} starts the week with {na}.",
    "At first {who} has {na}.",
    "{Who} owns {na}.",
    "{Who} brings {na} to school.",
)
# Openings that hold the first step already.
FIRST = {
    "+": (
        "{Who} has {na} at home and {b} at school.",
        "{Who} gets {na} from {other} and {b} from a cousin.",
        "{Who} finds {na} on Monday and {b} on Tuesday.",
        "{Who} buys {na} in one shop and {b} in another.",
    ),
    "*": (
        "{Who} has {a} bags with {nb} in each.",
        "{Who} buys {a} packs of {nb}.",
        "{Who} fills {a} boxes with {nb} each.",
        "{Who} gets {nb} a day for {a} days.",
    ),
}
EVENTS = {
    "+": (
        "{He} buys {b} more.",
        "{He} finds {b} more.",
        "{other} gives {him} {b} more.",
        "Later {he} gets {b} more from a friend.",
        "{He} wins {b} more in a game.",
        "A neighbor brings {him} {b} more.",
    ),
    "-": (
        "{He} gives {b} to {other}.",
        "{He} loses {b}.",
        "{He} sells {b}.",
        "Later {he} lends {b} to a friend.",
        "{other} borrows {b}.",
        "{He} leaves {b} on the bus.",
    ),
}
ASKED_LAST = (
    "How many {things} does {name} have now?",
    "How many {things} does {he} have in the end?",
    "How many {things} does {name} end up with?",
    "What is the number of {things} that {name} has now?",
)
ASKED_FIRST = (
    "How many {things} does {name} have in the end?",
    "Find out how many {things} {name} ends up with.",
)
# Sentences whose number does not matter. None speaks of anybody whom "he" or "she" in
# the next one could mean, nor of more of the things that are counted.
ASIDES = (
    "{name} is {aside} years old.",
    "The walk home takes {aside} minutes.",
    "{name} also has {aside} {others}.",
    "It is {aside} days until the weekend.",
    "{name} lives at number {aside}.",
    "The store closes in {aside} hours.",
)


class Step(NamedTuple):
    """One operation: `left` is the total so far, or the first number."""

    op: str
    left: int
    right: int

    @property
    def result(self) -> int:
        """The result of the operation."""
        if self.op == "*":
            return self.left * self.right
        return self.left + (self.right if self.op == "+" else -self.right)


class Story(NamedTuple):
    """A question, and how an answer to it is said.

    Attributes:
        ending: how a sentence with the answer begins.
        thing: the counted thing, in the singular.
    """

    text: str
    ending: str
    thing: str


def told(
    steps: Sequence[Step], aside: int | None, index: int, rng: random.Random
) -> Story:
    """Tells one or two steps.

    Person and thing go by the index, so no two of 600 stories in a row are the same.

    Args:
        steps: the operations; a second one begins with the result of the first.
        aside: a number that does not matter; None for none.
        index: the story's place in its split; decides person and thing.
        rng: decides everything else.
    """
    # The words that all templates share.
    name, thing = NAMES[index % len(NAMES)], THINGS[index % len(THINGS)]
    she = name in SHE
    words = {
        "name": name,
        "other": rng.choice(HE if she else SHE),
        "things": f"{thing}s",
        **(_HER if she else _HIS),
    }

    # A template of its own, or sentences put together.
    if len(steps) == 1 and (steps[0].op == "*" or rng.random() < 0.6):
        text, ending = rng.choice(WHOLE[steps[0].op])
        text = text.format(**words, **_numbers(steps[0], thing))
        sentences = _SENTENCE.split(text)
    else:
        sentences, ending = _composed(steps, words, thing, rng), _HAS
    if aside is not None:
        others = rng.choice([other for other in THINGS if other != thing])
        remark = rng.choice(ASIDES).format(name=name, aside=aside, others=f"{others}s")
        # First of all, or just before the question, where that is not first itself.
        last = len(sentences) - 1 if sentences[-1].endswith("?") else 0
        sentences.insert(rng.choice((0, last)), remark)
    return Story(" ".join(sentences), ending.format(name=name), thing)


def counted(number: int, thing: str) -> str:
    """A number with its things: "1 book", "2 books"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


_SENTENCE = re.compile(r"(?<=\.) ")  # where one ends
_HER = {"he": "she", "He": "She", "him": "her", "his": "her"}
_HIS = {"he": "he", "He": "He", "him": "him", "his": "his"}


def _numbers(step: Step, thing: str) -> dict:
    """The names that a template may use for the numbers of a step."""
    numbers = {"a": step.left, "b": step.right}
    nouns = {f"n{name}": counted(number, thing) for name, number in numbers.items()}
    verbs = {f"is_{n}": "is" if number == 1 else "are" for n, number in numbers.items()}
    return numbers | nouns | verbs


def _composed(steps, words, thing, rng) -> list[str]:
    """An opening, events and a question, as sentences in some order."""
    first = rng.random() < 0.2
    who, Who = (words["he"], words["He"]) if first else (words["name"],) * 2
    words = {**words, "who": who, "Who": Who}

    def say(choices, step):
        return rng.choice(choices).format(**words, **_numbers(step, thing))

    question = say(ASKED_FIRST if first else ASKED_LAST, steps[0])
    # The opening may hold the first of two steps.
    start, events = steps[0], steps
    if len(steps) > 1 and (start.op == "*" or (start.op == "+" and rng.random() < 0.5)):
        sentences, events = [say(FIRST[start.op], start)], steps[1:]
    else:
        sentences = [say(OPENINGS, start)]
    sentences += [say(EVENTS[step.op], step) for step in events]
    return [question, *sentences] if first else [*sentences, question]
