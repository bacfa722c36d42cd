"""Questions of the user's own, checked when they are read.

Never is a question asked whose every answer earns 0: a row that has no answer, or one
that nobody could give, is refused with its file, its line and its field.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Mapping

from c3jax.core.types import EXACT, Rules
from c3jax.data import printed, rows

FIELDS = {"question": "question", "answer": "answer"} | dict.fromkeys(
    ("id", "entry_point", "inputs", "outputs", "time_limit_s", "memory_limit_mb"), ""
)


@dataclasses.dataclass(frozen=True)
class Reading:
    """How the rows of such files are read.

    Attributes:
        fields: the files' names of `FIELDS`, "" for none. See `rows.Row.value` for
            names with dots.
        programs: whether answers are tests of programs: text, a list of texts that
            become lines, or an object or a list of objects that become JSON; where
            "inputs" is named, what `printed.answer` makes of that.
        rules: what is allowed in an answer.
        gold: text of a row's answer -> the gold answer in it, "" if there is none.
        unmet: (answer, entry point) -> why no answer would be right, after "the
            field", or "". An entry point that tests do not use is refused before.
        given: config fields that say so and would be read by nobody without such a
            file.
    """

    fields: Mapping[str, str] = dataclasses.field(default_factory=FIELDS.copy)
    programs: bool = False
    rules: Rules = EXACT
    gold: Callable[[str], str] = str.strip
    unmet: Callable[[str, str], str | None] = lambda answer, entry_point: ""
    given: tuple[str, ...] = ()


def read(path: pathlib.Path, reading: Reading, first: int = 0) -> list[rows.Item]:
    """The questions of a file.

    Args:
        path: ends in one of `rows.ENDINGS`.
        first: uid of the first question.

    Raises:
        ValueError: a row is malformed, its answer can be met by none, an id occurs
            twice, or there is no row.
    """
    items, numbers, fields = [], {}, reading.fields
    for row in rows.read(path):
        # Names must be unique: an audit and a saved tree refer by them.
        name = f"{path.name}/{row.number}"
        name = row.written(fields["id"]) if fields["id"] else name
        if name in numbers:
            raise row.wrong(
                fields["id"], f"is {name!r}, which number {numbers[name]} has too"
            )
        numbers[name] = row.number
        entry = row.text(fields["entry_point"]) if fields["entry_point"] else ""
        items.append(
            rows.Item(
                uid=first + len(items),
                id=name,
                text=row.text(fields["question"]).strip(),
                answer=_answer(row, reading, entry.strip()),
                entry_point=entry.strip(),
                rules=reading.rules,
            )
        )
    if not items:
        raise ValueError(f"{path}: there is no question in it.")
    return items


def _answer(row: rows.Row, reading: Reading, entry_point: str) -> str:
    """The gold answer of a row, or its tests, which some answer meets."""
    name = reading.fields["answer"]
    if reading.programs:
        answer = printed.answer(row, reading.fields) or _tests(row, name, entry_point)
        if entry_point and not _uses(answer, entry_point):
            raise row.wrong(
                reading.fields["entry_point"],
                f"is {entry_point!r:.60}, which the tests never use",
            )
    else:
        answer = reading.gold(row.written(name))
        if not answer:
            raise row.wrong(
                name, "has no answer where data.answer looks; say 'whole' to take all"
            )
    if why := reading.unmet(answer, entry_point):
        raise row.wrong(reading.fields.get("inputs") or name, why)
    return answer


def _tests(row: rows.Row, name: str, entry_point: str) -> str:
    """Tests of a program, with the call of a `check` that nobody calls."""
    found = row.value(name, (str, list, dict))
    # Cases as objects: the grader reads them as JSON.
    if isinstance(found, dict) or (found and isinstance(found[0], dict)):
        try:
            return json.dumps(found)
        except TypeError as error:  # Parquet has dates and bytes.
            raise row.wrong(name, f"cannot be written as JSON ({error})") from None
    tests = row.lines(name).strip()
    if _CHECK.search(tests) and len(_CALLED.findall(tests)) == 1:
        if not entry_point:
            raise row.wrong(
                name,
                "defines check(..), which nobody calls; name the field of the function "
                "that it checks in data.fields.entry_point",
            )
        tests = f"{tests}\n\ncheck({entry_point})"  # As in HumanEval.
    return tests


def _uses(tests: str, entry_point: str) -> bool:
    """Whether tests have the first name of an entry point; JSON need not."""
    name = re.match(r"\w*", entry_point)[0]
    return tests[0] in "{[" or bool(name and re.search(rf"\b{name}\b", tests))


_CHECK, _CALLED = (
    re.compile(r"^def check\(\s*\w", re.MULTILINE),
    re.compile(r"\bcheck\("),
)
