"""Ballots: which of several answers are the same, by the verifier and not by the gold.

Answers are taken in order; one joins the first before it that it is equal to, in
either direction, since the verifier prefers the one of two equal values that is worked
out further. A text without an answer abstains.
"""

import itertools
from collections.abc import Callable, Sequence

from c3jax.core import types
from c3jax.reward import math

ABSTAINS = -1


def submit(
    texts: Sequence[str],
    rules: types.Rules = types.EXACT,
    verifier: math.Verifier | None = None,
) -> Callable[[], list[int]]:
    """Begins to compare the answers of texts with each other.

    Args:
        texts: messages on one question.
        rules: where answers stand, and what makes them equal.
        verifier: None for `math.shared()`.

    Returns:
        A function that returns a number a text, equal for equal answers, `ABSTAINS`
        for none.
        A comparison that takes too long finds no equality.
    """
    answers = [math.extract(text, rules.fallback) for text in texts]
    first = {said: texts[n] for n, said in reversed([*enumerate(answers)])}
    said = [answer for answer in dict.fromkeys(answers) if answer is not None]
    waiting = {
        pair: math.submit([first[pair[0]]], [pair[1]], rules, verifier)
        for one, other in itertools.combinations(said, 2)
        for pair in ((one, other), (other, one))
    }

    def numbers():
        same = {pair for pair, found in waiting.items() if found.result()[0].correct}
        found: dict[str | None, int] = {None: ABSTAINS}
        heads: list[str] = []
        for answer in said:
            alike = (
                n
                for n, head in enumerate(heads)
                if {(head, answer), (answer, head)} & same
            )
            found[answer] = next(alike, len(heads))
            if found[answer] == len(heads):
                heads.append(answer)
        return [found[answer] for answer in answers]

    return numbers
