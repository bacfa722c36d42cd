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
        for none. A comparison that takes too long finds no equality.
    """
    # Each different answer, and the first text that gives it.
    answers = [math.extract(text, rules.fallback) for text in texts]
    first = {answer: texts[n] for n, answer in reversed([*enumerate(answers)])}
    distinct = [answer for answer in dict.fromkeys(answers) if answer is not None]

    # Every pair in both directions, judged meanwhile.
    pending = {
        pair: math.submit([first[pair[0]]], [pair[1]], rules, verifier)
        for one, other in itertools.combinations(distinct, 2)
        for pair in ((one, other), (other, one))
    }

    def numbers():
        same = {pair for pair, job in pending.items() if job.result()[0].correct}
        number: dict[str | None, int] = {None: ABSTAINS}
        groups: list[str] = []  # the first answer of each
        for answer in distinct:
            both = [{(one, answer), (answer, one)} for one in groups]
            alike = (n for n, pairs in enumerate(both) if pairs & same)
            number[answer] = next(alike, len(groups))
            if number[answer] == len(groups):
                groups.append(answer)
        return [number[answer] for answer in answers]

    return numbers
