"""Which training questions are in the test split, word for word or nearly so.

Exact: two texts are the same letters and numbers, of any script, once NFKC, lower case
and the loss of everything else have made typesetting equal. That loses operators too: a
question that differs in a sign alone counts as the same, which costs a few training
questions and no test question.

Near: n-grams, n = 13 as is usual, of tokens. A token is a run of letters and digits, or
one character where a script does not part its words, so that one n serves English and
Chinese. A training question is near a test question if it holds at least `share` of its
n-grams, and both hold the same numbers. The numbers keep apart what is alike and yet
another problem: "divisors of 196" and "divisors of 360" share every other word, and
training on one does not give away the other. A word changed in the middle of 40 leaves
half of the n-grams; MATH's real duplicates begin there. Questions that ask something
else about one figure are near as well. A question that is reworded with other numbers,
or with numbers as words, is not found, and neither is one of fewer than n tokens unless
it is the same.

Named: both have the same name. MBPP+ has tasks of MBPP in other words.
"""

import collections
import dataclasses
import re
import unicodedata
from collections.abc import Iterable, Sequence

# Han, kana, Thai, Lao, Khmer and Burmese do not part words by spaces.
_UNPARTED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
_TOKEN = re.compile(rf"[{_UNPARTED}\U00020000-\U0003ffff]|[^\W_{_UNPARTED}]+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
# A point that parts the digits of a number is kept: 22.5 is not 225.
_KEPT = re.compile(r"[^\W_]|(?<=\d)\.(?=\d)")


@dataclasses.dataclass(frozen=True)
class Overlap:
    """The texts that two lists have in common.

    Attributes:
        exact: (place in the first list, place in the second) of equal texts.
        near: the same for near texts, with the share of n-grams.
        named: the same for texts that share only a name.
    """

    exact: tuple[tuple[int, int], ...] = ()
    near: tuple[tuple[int, int, float], ...] = ()
    named: tuple[tuple[int, int], ...] = ()

    @property
    def places(self) -> frozenset[int]:
        """Places in the first list, exact, near or named."""
        return frozenset(pair[0] for pair in (*self.exact, *self.near, *self.named))

    def __str__(self) -> str:
        named = f", {len(self.named)} by name" if self.named else ""
        return f"{len(self.exact)} word for word, {len(self.near)} nearly{named}"


def find(
    train: Iterable[str], test: Sequence[str], n: int = 13, share: float = 0.5
) -> Overlap:
    """Finds texts of one list in another.

    Args:
        train: texts to search.
        test: texts that must not be among them.
        n: tokens of an n-gram; 0 to look for equal texts only.
        share: fraction of a test text's n-grams that makes another text near.

    Returns:
        For each text of `train` that was found, the first equal or the nearest text of
        `test`; in the order of `train`.
    """
    # The test texts, by their letters and by their n-grams.
    same = {}
    for place, text in enumerate(test):
        same.setdefault(letters(text), place)
    index = _Index(test, n) if n else None

    # Equal texts first, since they are near as well.
    exact, near = [], []
    for place, text in enumerate(train):
        if (twin := same.get(letters(text))) is not None:
            exact.append((place, twin))
        elif index and (best := index.nearest(text)) and best[1] >= share:
            near.append((place, *best))
    return Overlap(tuple(exact), tuple(near))


def named(found: Overlap, train: Sequence[str], test: Sequence[str]) -> Overlap:
    """Adds the places of texts that share a name but were not found by their words.

    Args:
        found: the result of `find`.
        train: names of the training texts; "" for no name.
        test: names of the test texts.
    """
    twins = {name: place for place, name in enumerate(test) if name}
    places = found.places
    return dataclasses.replace(
        found,
        named=tuple(
            (place, twins[name])
            for place, name in enumerate(train)
            if name in twins and place not in places
        ),
    )


def letters(text: str) -> str:
    """The letters and numbers of a text, normalised."""
    return "".join(_KEPT.findall(_normal(text)))


def tokens(text: str) -> list[str]:
    """The tokens of a text, normalised."""
    return _TOKEN.findall(_normal(text))


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).lower()


def _grams(words: Sequence[str], n: int) -> set[tuple[str, ...]]:
    return set(zip(*(words[start:] for start in range(n)), strict=False))


def _numbers(text: str) -> list[str]:
    return sorted(_NUMBER.findall(_normal(text)))


class _Index:
    """The n-grams of some texts, each with the texts that it occurs in."""

    def __init__(self, texts: Sequence[str], n: int):
        self._n = n
        self._sizes, self._numbers = [], []
        self._places = collections.defaultdict(list)
        for place, text in enumerate(texts):
            grams = _grams(tokens(text), n)
            self._sizes.append(len(grams))
            self._numbers.append(_numbers(text))
            for gram in grams:
                self._places[gram].append(place)

    def nearest(self, text: str) -> tuple[int, float] | None:
        """The text with equal numbers and most of its n-grams shared; and the share."""
        # The place of a text is counted once for each n-gram that it shares.
        grams = _grams(tokens(text), self._n)
        found = (place for gram in grams for place in self._places.get(gram, ()))
        counts = collections.Counter(found)
        numbers = _numbers(text)
        shares = {
            place: count / self._sizes[place]
            for place, count in counts.items()
            if self._numbers[place] == numbers
        }
        return max(shares.items(), key=lambda item: item[1], default=None)
