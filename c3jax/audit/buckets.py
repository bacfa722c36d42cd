"""Contexts with their alternatives continued, as arrays and as lines of JSON.

A *bucket* is one frozen context: candidates for the message that comes next, the
returns of each, and the credit that each method gave it. Buckets come from a run, or
from the log of any other system. A file of them has one JSON object a line:

    {"id": "q17/actor", "role": "actor", "context": "7 pens cost ..",
     "candidates": [
       {"text": "so 21", "returns": [1, 0, 1], "replies": ["ok", "no", "ok"],
        "answers": ["21", "12", "21"], "credit": {"ours": 0.2, "theirs": -0.1}},
       ..],
     "extra": [0, 1, 1, 0]}

`candidates` and the `returns` in each are required, everything else is optional.
`returns` are rewards of continuations that none of the `credit` was computed from, and
`extra` rewards of further messages from the same context, sampled like the candidates:
their mean estimates the value of the context. `replies` are the next agent's messages
and `answers` the final answers, one each a return, as text; equal texts are equal
replies. `logp` is the log-probability of a candidate's text in nats, `truncated`
whether it was cut. `role` groups buckets, "" if there is none.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

# Fields of candidates that are texts, one a return.
TEXTS = ("replies", "answers")
_LARGEST = sys.float_info.max


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One message that could have been sent.

    Attributes:
        returns: rewards of its continuations, one or more.
        text: the message.
        credit: the advantage by each method, by name, in reward units.
        replies: the next agent's message in each continuation; () if unknown.
        answers: the final answer of each continuation; () if unknown.
        logp: log-probability of the message in nats; None if unknown.
        truncated: whether the message was cut at its limit.
    """

    returns: tuple[float, ...]
    text: str = ""
    credit: Mapping[str, float] = dataclasses.field(default_factory=dict)
    replies: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()
    logp: float | None = None
    truncated: bool = False


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A context and its candidates.

    Attributes:
        candidates: two or more.
        extra: rewards of further samples from the context; () if there are none.
        role: the role whose message it is.
        context: the text that the role read.
        id: the bucket's name.
    """

    candidates: tuple[Candidate, ...]
    extra: tuple[float, ...] = ()
    role: str = ""
    context: str = ""
    id: str = ""


class Malformed(ValueError):
    """A line that is no bucket; the message says what was wanted and what came."""


def read(path: pathlib.Path) -> tuple[list[Bucket], list[str]]:
    """The buckets of a file, and an error for each malformed line.

    Empty lines are skipped. Line numbers begin at 1.
    """
    buckets, wrong = [], []
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                buckets.append(parse(line.decode()))
            except UnicodeDecodeError:
                wrong.append(f"{path}:{number}: wanted text in UTF-8")
            except Malformed as error:
                wrong.append(f"{path}:{number}: {error}")
    return buckets, wrong


def write(path: pathlib.Path, buckets: Iterable[Bucket]) -> None:
    """Writes a file that `read` reads."""
    with path.open("w", encoding="utf-8") as file:
        for bucket in buckets:
            fields = dataclasses.asdict(bucket)
            file.write(json.dumps(fields, ensure_ascii=False) + "\n")


def parse(line: str) -> Bucket:
    """One line of a file.

    Raises:
        Malformed: what was wanted, and what came.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"wanted a JSON object: {error}") from None
    fields = _object(fields, "the line", Bucket)
    candidates = fields.get("candidates")
    if not isinstance(candidates, list) or len(candidates) < 2:
        raise Malformed("candidates: wanted a list of 2 or more objects")
    return Bucket(
        candidates=tuple(
            _candidate(page, f"candidates[{n}]") for n, page in enumerate(candidates)
        ),
        extra=_numbers(fields.get("extra", []), "extra"),
        **{n: _text(fields.get(n, ""), n) for n in ("role", "context", "id")},
    )


def _candidate(fields, where: str) -> Candidate:
    # Numbers.
    fields = _object(fields, where, Candidate)
    returns = _numbers(fields.get("returns", []), f"{where}.returns")
    if not returns:
        raise Malformed(f"{where}.returns: wanted one number or more")
    credit = fields.get("credit", {})
    if not isinstance(credit, dict):
        raise Malformed(f"{where}.credit: wanted an object, came {credit!r}")
    logp, truncated = fields.get("logp"), fields.get("truncated", False)
    if not isinstance(truncated, bool):
        raise Malformed(f"{where}.truncated: wanted true or false, came {truncated!r}")

    # Texts, one a return or none.
    texts = {}
    for name in TEXTS:
        given, place = fields.get(name, []), f"{where}.{name}"
        if not isinstance(given, list) or len(given) not in (0, len(returns)):
            raise Malformed(f"{place}: wanted {len(returns)}, one a return")
        texts[name] = tuple(_text(text, place) for text in given)

    return Candidate(
        returns=returns,
        text=_text(fields.get("text", ""), f"{where}.text"),
        credit={
            _text(name, f"{where}.credit"): _number(value, f"{where}.credit.{name}")
            for name, value in credit.items()
        },
        logp=None if logp is None else _number(logp, f"{where}.logp"),
        truncated=truncated,
        **texts,
    )


def _object(fields, where: str, kind: type) -> dict:
    """An object whose keys are all fields of a record."""
    known = [field.name for field in dataclasses.fields(kind)]
    if not isinstance(fields, dict):
        raise Malformed(f"{where}: wanted an object, came {fields!r:.60}")
    if unknown := sorted(set(fields) - set(known)):
        raise Malformed(f"{where}: {unknown} is read by nobody; known are {known}")
    return fields


def _numbers(given, where: str) -> tuple[float, ...]:
    if not isinstance(given, list):
        raise Malformed(f"{where}: wanted a list of numbers, came {given!r:.60}")
    if not all(map(_is_number, given)):
        n = next(n for n, value in enumerate(given) if not _is_number(value))
        _number(given[n], f"{where}[{n}]")
    return tuple(map(float, given))


def _number(given, where: str) -> float:
    if not _is_number(given):
        raise Malformed(f"{where}: wanted a number, came {given!r:.60}")
    return float(given)


def _is_number(given) -> bool:
    # JSON has no infinity, but Python reads one; whole numbers may exceed any float.
    return type(given) in (int, float) and -_LARGEST <= given <= _LARGEST


def _text(given, where: str) -> str:
    if not _is_text(given):
        raise Malformed(f"{where}: wanted a text, came {given!r:.60}")
    return given


def _is_text(given) -> bool:
    """Whether it can be written to a page, too: JSON may hold half a character."""
    if not isinstance(given, str):
        return False
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclasses.dataclass(frozen=True)
class Arrays:
    """C buckets of one role; missing numbers are NaN, missing symbols -1.

    Attributes:
        returns: [C, J, M] float.
        extra: [C, E] float.
        credit: [C, J] float in reward units, by method.
        symbols: [C, J, M] int, equal for equal texts, by the names in `TEXTS`.
    """

    returns: np.ndarray
    extra: np.ndarray
    credit: Mapping[str, np.ndarray]
    symbols: Mapping[str, np.ndarray]

    @property
    def worth(self) -> np.ndarray:
        """[C, J], each message's advantage as its own and the extra samples say.

        Mean return of the continuations less that of the extra samples.
        """
        return _mean(self.returns) - _mean(self.extra)[:, None]

    @property
    def noise(self) -> np.ndarray | None:
        """[C, J], the variance of `worth` about the advantage, unbiased.

        None unless all messages have two returns and all contexts two extra samples.
        """
        exists = np.isfinite(self.returns).any(-1)
        noise = _error(self.returns) + _error(self.extra)[:, None]
        return noise if np.isfinite(noise[exists]).all() else None

    def where(self, kept: np.ndarray) -> "Arrays":
        """The contexts where `kept`, [C] bool, is True."""
        credit = {name: values[kept] for name, values in self.credit.items()}
        symbols = {name: numbers[kept] for name, numbers in self.symbols.items()}
        return Arrays(self.returns[kept], self.extra[kept], credit, symbols)


def by_role(buckets: Sequence[Bucket]) -> Iterator[tuple[str, Arrays]]:
    """The buckets of each role as arrays, roles in the order in which they appear."""
    for role in dict.fromkeys(bucket.role for bucket in buckets):
        yield role, arrays([bucket for bucket in buckets if bucket.role == role])


def arrays(buckets: Sequence[Bucket]) -> Arrays:
    """Buckets side by side, padded to the largest."""
    # [C, J, M], and the place of every candidate in the first two.
    groups = [bucket.candidates for bucket in buckets]
    candidates = [candidate for group in groups for candidate in group]
    longest = max(len(candidate.returns) for candidate in candidates)
    size = (len(groups), max(map(len, groups)), longest)
    places = [(c, j) for c, group in enumerate(groups) for j in range(len(group))]

    # Symbols are numbered as their texts appear.
    returns = np.full(size, np.nan)
    symbols = {name: np.full(size, -1) for name in TEXTS}
    known = {name: {} for name in TEXTS}
    names = dict.fromkeys(name for candidate in candidates for name in candidate.credit)
    credit = {name: np.full(size[:2], np.nan) for name in names}
    for at, candidate in zip(places, candidates, strict=True):
        returns[at][: len(candidate.returns)] = candidate.returns
        for name, value in candidate.credit.items():
            credit[name][at] = value
        for name, numbers in known.items():
            texts = getattr(candidate, name)
            symbols[name][at][: len(texts)] = [
                numbers.setdefault(text, len(numbers)) for text in texts
            ]

    extra = np.full((len(buckets), max(len(b.extra) for b in buckets)), np.nan)
    for c, bucket in enumerate(buckets):
        extra[c, : len(bucket.extra)] = bucket.extra
    return Arrays(returns, extra, credit, symbols)


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean of the finite values on the last axis; NaN where there are none."""
    finite = np.isfinite(values)
    count = finite.sum(-1)
    total = np.where(finite, values, 0).sum(-1)
    return np.where(count, total / np.maximum(count, 1), np.nan)


def _error(values: np.ndarray) -> np.ndarray:
    """The variance of `_mean`, as the spread says; NaN for fewer than two values."""
    count = np.isfinite(values).sum(-1)
    squares = _mean((values - _mean(values)[..., None]) ** 2)
    return np.where(count > 1, squares / np.maximum(count - 1, 1), np.nan)
