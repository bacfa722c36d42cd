"""Terminal reward of a program: the fraction of its tests that it passes.

The program runs confined, and never sees its tests; see `c3jax.reward.sandbox`.
"""

import dataclasses
import re
import signal

from c3jax.reward.sandbox import grader

# A block between fences; the last may have no end.
_FENCED = re.compile(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:```|\Z)", re.DOTALL)
# What tokenizers write where a message begins or ends: <|im_end|>, </s>, <end>.
_SPECIAL = re.compile(r"<\|[^<>|\n]{1,40}\|>|</?s>|<end>|<eos>|<pad>")
_LANGUAGES = ("", "python", "py", "python3")
_DEFINES = re.compile(r"^\s*(?:def|class|async def)\b|\blambda\b", re.MULTILINE)
_BEGINS = re.compile(r"^(?:def|class|async def|import|from|@)", re.MULTILINE)
PASS = grader.PASS


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a program.

    Attributes:
        verdicts: one a check that the tests made, in their order: "pass", "fail",
            "error", "timeout", "memory" or "forbidden".
        problem: why there is no verdict, or why the tests could not be run; None
            otherwise.
    """

    verdicts: tuple[str, ...]
    problem: str | None = None

    @property
    def passed_fraction(self) -> float:
        """In [0, 1]; 0 where nothing was checked."""
        return self.verdicts.count(PASS) / max(1, len(self.verdicts))


def extract(text: str) -> str | None:
    """The program in a message: its last fenced block that defines something.

    Without a fence it is the whole text, from the first definition or import on.
    Special tokens are dropped.

    Returns:
        None where there is nothing.
    """
    text = _SPECIAL.sub("", text)
    blocks = [
        body
        for language, body in _FENCED.findall(text)
        if language.lower() in _LANGUAGES and body.strip()
    ]
    if blocks:
        defining = [body for body in blocks if _DEFINES.search(body)]
        return (defining or blocks)[-1]
    first = _BEGINS.search(text)
    program = text[first.start() :] if first else text
    return program if program.strip() else None


def result(found: dict) -> Result:
    """The result of what a server reports of an item."""
    lost = _LOST.get(found["status"], grader.ERROR)
    verdicts = (lost if each == grader.LOST else each for each in found["verdicts"])
    return Result(tuple(verdicts), found["problem"])


# What the end of a program's process says of the checks that found it gone.
_LOST = {-signal.SIGSYS: "forbidden", -signal.SIGXCPU: grader.TIMEOUT}
