"""Terminal reward of a mathematical answer: the text's answer against the gold one.

An answer is right if it has the value of the gold one, exactly, in the same brackets,
and leaves nothing to work out that the gold answer does not leave. Text and fractions
settle most answers at once; the others go to worker processes that may be killed.
"""

import atexit
import collections
import concurrent.futures
import dataclasses
import functools
import os
import re
import threading
from collections.abc import Sequence

from c3jax.core import checks, types
from c3jax.reward import matching, pool, process, reading

# Characters at the end of a text that are looked at.
_CONSIDERED = 4000
_BRACE = re.compile(r"(?P<box>\\{1,2}boxed\s*\{)|\\.|(?P<open>\{)|(?P<close>\})", re.S)
_HASH = re.compile(r"^####[ \t]*(.*)$", re.M)
_ANSWER_IS = re.compile(
    r"(?:answer|答案)[\s*]*(?:is|would be|equals|=|是|为|[:：])[:：]?\s*([^\n]+)", re.I
)
_TAG = re.compile(r"<answer>((?:(?!</?answer>).)*)</answer>", re.S | re.I)
_LISTED = re.compile(r"""\[\s*(["'])(.*)\1\s*\]""")
_LAST_NUMBER = re.compile(r"(?<![\w)}.])-?\d[\d,]*(?:\.\d+)?(?:/\d+)?%?|\d+")


def extract(text: str, fallback: Sequence[str] = ("boxed",)) -> str | None:
    """The answer of a text, stripped: the last `\\boxed{}` with balanced braces.

    Of two boxes the one that begins last counts, whatever stands in the other. A text
    that ends within `<think>` has no answer.

    Args:
        text: a message; its last 4,000 characters are read.
        fallback: where to look, in this order; see `core.types.Rules`.

    Returns:
        None where there is no answer: the text is malformed.

    Raises:
        ValueError: no such place to look.
    """
    if text.rfind("<think") > text.rfind("</think"):
        return None
    text = text[-_CONSIDERED:]
    for name in fallback:
        if found := checks.pick(FALLBACKS, name, "fallback")(text):
            return found
    return None


def _boxed(text: str) -> str:
    """The contents of the box that begins last, of those that are closed."""
    opened, last = [], (-1, -1)
    for brace in _BRACE.finditer(text):
        if brace["close"] and opened:
            begin, is_box = opened.pop()
            if is_box:
                last = max(last, (begin, brace.start()))
        elif brace["box"] or brace["open"]:
            opened.append((brace.end(), bool(brace["box"])))
    return text[slice(*last)].strip() if last[0] >= 0 else ""


def _answer_is(text: str) -> str:
    """The text after the last "answer is", up to the end of the sentence."""
    answer = re.split(r"[.。](?:\s|$)", _last(_ANSWER_IS, text))[0]
    return answer.strip(" *:").removeprefix(r"\(").removesuffix(r"\)").strip("$ ")


def _tagged(text: str) -> str:
    """What stands in the last `<answer>`."""
    return _last(_TAG, text).strip("$ ")


@functools.lru_cache(4096)
def stated(gold: str) -> str:
    """The answer that a gold answer is, or that it states as a whole solution.

    That is its last box, its last line with ####, what stands behind "the answer is",
    or the only item of a list: a text that says so has no other answer.
    """
    if "boxed" in gold or "####" in gold or "nswer" in gold:
        found = _boxed(gold) or _last(_HASH, gold) or _answer_is(gold)
        return found or gold
    listed = _LISTED.fullmatch(gold.strip())
    return listed[2] if listed else gold


def _last(pattern: re.Pattern, text: str) -> str:
    matches = pattern.findall(text)
    return matches[-1].strip() if matches else ""


# Numbers that are stated as a result: none that a sum goes on from. Up to five words
# may stand before one.
_BEHIND = r"(?:[^\w.\n=]+[a-z]+){0,5}[^\w.\n=]*?"
_VALUE = r"(-?\d(?:[\d,]*\d)?+(?:\.\d+)?+)(?!\s*[-+*/×÷x]\s*\d)"
_RESULTS = (
    re.compile(r"=[\s*$]*" + _VALUE),
    re.compile(r"\b(?:is|are|so|now)\b" + _BEHIND + _VALUE, re.I),
    re.compile(
        rf"\b(?:has|have)\b{_BEHIND}{_VALUE}(?=[^.\n]*\b(?:now|left|in total)\b)", re.I
    ),
)


def any_number(text: str, answer: str) -> bool:
    """Whether a text states a number somewhere as a result.

    That is after an equals sign, after "is", "are", "so" or "now", after "has" or
    "have" with "now", "left" or "in total" behind it, or last of all: more than any
    place where an answer is asked for, so it tells arithmetic from form. A number of
    the question that is repeated in these words counts, too.

    Args:
        text: a message; its last 4,000 characters are read.
        answer: the gold answer; if it is no number, the result is False.
    """
    text, gold = text[-_CONSIDERED:], reading.number(reading.tidy(answer))
    texts = [number for pattern in _RESULTS for number in pattern.findall(text)]
    last = _last(_LAST_NUMBER, text)
    numbers = (reading.number(reading.tidy(n)) for n in (*texts, last))
    return gold is not None and any(n and n.value == gold.value for n in numbers)


# Second readings of an answer, which do not change its reward.
READINGS = {"any_number": any_number}
FALLBACKS = {
    "boxed": _boxed,
    "hash": functools.partial(_last, _HASH),
    "answer_is": _answer_is,
    "tag": _tagged,
    "last_number": functools.partial(_last, _LAST_NUMBER),
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome for one answer; at most one of the five is true.

    Attributes:
        correct: it is the gold answer.
        malformed: the text has no answer.
        timeout: judging it took too long; it counts as wrong.
        died: judging it ended a worker twice; it counts as wrong.
        failed: judging it met a fault of the verifier's own; it counts as wrong.
    """

    correct: bool = False
    malformed: bool = False
    timeout: bool = False
    died: bool = False
    failed: bool = False

    @property
    def reward(self) -> float:
        """1.0 or 0.0."""
        return float(self.correct)


class Verifier:
    """Judges answers that need an algebra system, in processes of its own.

    They start with the first such answer. Verdicts are remembered, and an answer that
    is being judged is not judged twice.
    """

    def __init__(
        self, workers: int | None = None, limit_s: float = 5.0, remembered: int = 16384
    ):
        """Starts nothing yet.

        Args:
            workers: processes; None for one a core, eight at most.
            limit_s: wall-clock seconds for one answer.
            remembered: judgements that are kept, those used last.
        """
        self._workers = workers or min(8, os.cpu_count() or 1)
        self._limit_s, self._pool = limit_s, None
        self._known, self._remembered = collections.OrderedDict(), remembered
        self._lock = threading.Lock()

    def submit(
        self, gold: str, said: str, rules: types.Rules
    ) -> concurrent.futures.Future:
        """Whether an answer is the gold one, as a future; see `matching.same`."""
        # One future for equal requests; the processes start with the first.
        key = (gold, said, rules)
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
            if self._pool is None:
                start = functools.partial(process.Process, "c3jax.reward.algebra")
                self._pool = pool.Pool(start, self._workers, self._limit_s)
            request = {"gold": gold, "said": said, "rules": dataclasses.asdict(rules)}
            future = self._known[key] = self._pool.submit(request)
            if len(self._known) > self._remembered:
                self._known.popitem(last=False)
        future.add_done_callback(functools.partial(self._forget_failed, key))
        return future

    def _forget_failed(self, key: tuple, future: concurrent.futures.Future) -> None:
        """A timeout says as much of the machine as of the answer."""
        if future.exception() is not None:
            with self._lock:
                self._known.pop(key, None)

    def close(self) -> None:
        """Kills the workers; what was not judged by then counts as died."""
        if self._pool is not None:
            self._pool.close()


_sharing = threading.Lock()


def shared() -> Verifier:
    """The verifier of this process, started by the first call."""
    with _sharing:
        return _shared()


@functools.cache
def _shared() -> Verifier:
    verifier = Verifier()
    atexit.register(verifier.close)
    return verifier


class Pending:
    """Verdicts that are on their way."""

    def __init__(self, verdicts: list[Verdict | concurrent.futures.Future]):
        self._verdicts = verdicts

    def result(self) -> list[Verdict]:
        """Waits for all of them; one a text, in order."""
        return [v if isinstance(v, Verdict) else _verdict(v) for v in self._verdicts]


def submit(
    texts: Sequence[str],
    answers: Sequence[str],
    rules: types.Rules = types.EXACT,
    verifier: Verifier | None = None,
) -> Pending:
    """Begins to judge texts; from any thread.

    Args:
        texts: messages with an answer each.
        answers: the gold answer to each; see `stated` for one that is a solution.
        rules: what a dataset allows besides equal answers.
        verifier: None for `shared()`, which starts only if an answer needs it.

    Raises:
        ValueError: not as many answers as texts.
    """
    if len(texts) != len(answers):
        raise ValueError(
            f"{len(texts)} texts and {len(answers)} answers: give one answer a text."
        )
    pairs = zip(texts, answers, strict=True)
    return Pending([_begin(text, gold, rules, verifier) for text, gold in pairs])


def _begin(text, gold, rules, verifier) -> Verdict | concurrent.futures.Future:
    """The verdict on a text, or the future of the verifier's where it needs algebra."""
    answer = extract(text, rules.fallback)
    if answer is None:
        return Verdict(malformed=True)
    gold = stated(gold)
    try:
        return Verdict(correct=matching.same(gold, answer, rules))
    except matching.Undecided:
        return (verifier or shared()).submit(gold, answer, rules)


def _verdict(future: concurrent.futures.Future) -> Verdict:
    try:
        return Verdict(correct=future.result())
    except pool.Overrun:
        return Verdict(timeout=True)
    except pool.Died:
        return Verdict(died=True)
    except pool.Faulty:
        return Verdict(failed=True)


def grade(
    texts: Sequence[str],
    answers: Sequence[str],
    rules: types.Rules = types.EXACT,
    verifier: Verifier | None = None,
) -> list[Verdict]:
    """The verdict on each text; see `submit`."""
    return submit(texts, answers, rules, verifier).result()


def scores(
    texts: Sequence[str], answers: Sequence[str], rules: types.Rules = types.EXACT
) -> list[float]:
    """1.0 for each text that gives its answer, otherwise 0.0; see `submit`."""
    return [verdict.reward for verdict in grade(texts, answers, rules)]


def score(text: str, answer: str, rules: types.Rules = types.EXACT) -> float:
    """1.0 if a text gives the answer, otherwise 0.0; see `submit`.

    >>> score(r"so it is \\boxed{\\frac{3}{4}}", "0.75")
    1.0
    """
    return scores([text], [answer], rules)[0]
