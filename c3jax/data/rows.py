"""Rows of questions in files: JSON lines, gzipped or not, and Parquet.

An error about a row names the file, the line and the field.
"""

import dataclasses
import gzip
import json
import pathlib
import zlib
from collections.abc import Callable, Iterator, Mapping

from c3jax.core.types import EXACT, Rules
from c3jax.data import printed

ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


@dataclasses.dataclass(frozen=True)
class Item:
    """A question with its gold answer.

    Attributes:
        uid: its address among the questions it is drawn with; random keys use it.
        id: "dataset/name", or the file's name and the line or id.
        text: what the team reads.
        answer: the gold answer; of a program, the text of its tests.
        entry_point: the function that tests call; "" for an answer that is no program.
        subject: its topic, in words of its dataset; "" if unknown.
        level: how hard it is, in words of its dataset; "" if unknown.
        rules: what its dataset allows in an answer.
    """

    uid: int
    id: str
    text: str
    answer: str
    entry_point: str = ""
    subject: str = ""
    level: str = ""
    rules: Rules = EXACT


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a file, with its place for error messages.

    Attributes:
        number: the line's number, or the row's in a Parquet file, from 1.
    """

    path: pathlib.Path
    number: int
    fields: Mapping

    def text(self, name: str) -> str:
        """A field that must be there and hold some text.

        Raises:
            ValueError: it does not.
        """
        text = self.optional_text(name)
        if not text.strip():
            raise self.wrong(name, "is empty; it must hold some text")
        return text

    def optional_text(self, name: str) -> str:
        """A field that must be there and be text, perhaps without a character.

        Raises:
            ValueError: it is not.
        """
        value = self.value(name, str)
        try:
            value.encode()
        except UnicodeEncodeError as error:
            code = f"U+{ord(value[error.start]):04X}"
            raise self.wrong(
                name, f"holds half of a surrogate pair, {code}; it must be Unicode text"
            ) from None
        return value

    def value(self, name: str, kind: type | tuple[type, ...]):
        """A field of some type.

        Raises:
            ValueError: it is not there, or of another type.
        """
        if name not in self.fields:
            raise self.wrong(
                name, f"is not there; the row has {sorted(map(str, self.fields))}"
            )
        value = self.fields[name]
        if not isinstance(value, kind) or isinstance(value, bool):
            kinds = kind if isinstance(kind, tuple) else (kind,)
            wanted = " or ".join(_KINDS[kind] for kind in kinds)
            raise self.wrong(name, f"is {value!r:.60}; it must be {wanted}")
        return value

    def wrong(self, name: str, what: str) -> ValueError:
        """The error to raise about a field."""
        kind = "row" if self.path.suffix == ".parquet" else "line"
        return ValueError(f"{self.path}, {kind} {self.number}: field {name!r} {what}.")


_KINDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


def read(path: pathlib.Path) -> Iterator[Row]:
    """The rows of a file; empty lines are no rows.

    Args:
        path: ends in one of `ENDINGS`.

    Raises:
        ValueError: another ending, no such file, a file or a line that is damaged.
    """
    if not path.name.endswith(ENDINGS):
        raise ValueError(f"{path}: its name must end in one of {ENDINGS}.")
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file.")
    if path.suffix == ".parquet":
        return _parquet(path)
    return _json_lines(path)


def _json_lines(path: pathlib.Path) -> Iterator[Row]:
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield Row(path, number, _parsed(path, number, line))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path}, after line {number}: the gzip file is damaged ({error})."
        ) from None


def _parsed(path: pathlib.Path, number: int, line: bytes) -> dict:
    try:
        fields = json.loads(line.decode())
    except ValueError as error:  # of JSON or of UTF-8
        raise ValueError(
            f"{path}, line {number}: it must be one JSON object in UTF-8 ({error})."
        ) from None
    if not isinstance(fields, dict):
        raise ValueError(
            f"{path}, line {number}: it must be a JSON object, not {fields!r:.60}."
        )
    return fields


def _parquet(path: pathlib.Path) -> Iterator[Row]:
    import pyarrow  # Slow to import, and few read such files.
    from pyarrow import parquet

    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                for fields in batch.to_pylist():
                    number += 1
                    yield Row(path, number, fields)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}, after row {number}: it is no Parquet file, or damaged ({error})."
        ) from None


def own(
    path: pathlib.Path,
    fields: Mapping[str, str],
    rules: Rules,
    first: int = 0,
    check: Callable | None = None,
) -> list[Item]:
    """The questions of a file of the user's own.

    Args:
        path: ends in one of `ENDINGS`.
        fields: the file's names for "question", "answer", "id" and "entry_point"; the
            latter two may be "", for none.
        first: uid of the first question.
        check: (answer, entry point) -> what is wrong with the tests of a program, or
            None; None for other answers.

    Raises:
        ValueError: a row is malformed, an id occurs twice, or there is no row.
    """
    items, numbers = [], {}
    for row in read(path):
        # Names must be unique: an audit and a saved tree refer by them.
        name = row.text(fields["id"]) if fields["id"] else f"{path.name}/{row.number}"
        if name in numbers:
            raise row.wrong(
                fields["id"], f"is {name!r}, which number {numbers[name]} has too"
            )
        numbers[name] = row.number
        text, entry = row.text(fields["question"]).strip(), fields["entry_point"]
        entry_point = row.text(entry) if entry else ""
        answer = printed.answer(row, fields) or row.text(fields["answer"]).strip()
        if check is not None and (problem := check(answer, entry_point)):
            raise row.wrong(fields.get("inputs") or fields["answer"], problem)
        items.append(
            Item(
                uid=first + len(items),
                id=name,
                text=text,
                answer=answer,
                entry_point=entry_point,
                rules=rules,
            )
        )
    if not items:
        raise ValueError(f"{path}: there is no question in it.")
    return items
