"""Rows of files: JSON lines, a JSON list, CSV, gzipped or not, and Parquet.

An error about a row names the file, the line and the field.
"""

import csv
import dataclasses
import decimal
import gzip
import io
import json
import math
import numbers
import pathlib
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from c3jax.core.types import EXACT, Rules

# What the name of a file of rows may end in.
ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".csv", ".csv.gz", ".parquet")


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
        number: of its first line, or of the row in a file without lines, from 1.
        fields: by name; one within another also as "name.name".
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
        return self._unicode(name, self.value(name, str))

    def written(self, name: str) -> str:
        """A field that holds some text, or a number, which is as the file spells it.

        Numbers of Parquet have the fewest digits that tell them from others.

        Raises:
            ValueError: it is neither.
        """
        value = self.value(name, (str, numbers.Number))
        if isinstance(value, str):
            return self.text(name)
        if not math.isfinite(value):
            raise self.wrong(name, f"is {value}; it must be text or a finite number")
        if isinstance(value, _Spelled):
            return value.spelling
        return (
            str(value) if isinstance(value, int) else f"{decimal.Decimal(str(value)):f}"
        )

    def lines(self, name: str) -> str:
        """A field that holds some text, or texts that are joined as lines.

        Raises:
            ValueError: it does not.
        """
        parts = self.value(name, (str, list))
        if isinstance(parts, str):
            return self.text(name)
        for number, part in enumerate(parts, 1):
            if not isinstance(part, str) or not part.strip():
                what = f"has {part!r:.60} as entry {number}; each must be some text"
                raise self.wrong(name, what)
        if not parts:
            raise self.wrong(name, "is an empty list; it must hold some text")
        return "\n".join(self._unicode(name, part) for part in parts)

    def value(self, name: str, kind: type | tuple[type, ...]):
        """A field of some type.

        Args:
            name: a key of the row, or keys with dots between them, where one that is
                itself a key wins; in a list, a number is a place from 0.

        Raises:
            ValueError: it is not there, or of another type.
        """
        found = [*_found(self.fields, name)]
        if not found:
            has = f"the row has {sorted(map(str, self.fields))}"
            first = name.partition(".")[0]
            if first != name and first in self.fields:
                has = f"{first!r} is {self.fields[first]!r:.60}"
            raise self.wrong(name, f"is not there; {has}")
        value, kinds = found[0], kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kind) or isinstance(value, bool):
            wanted = " or ".join(_KINDS[kind] for kind in kinds)
            raise self.wrong(name, f"is {value!r:.60}; it must be {wanted}")
        return value

    def has(self, name: str) -> bool:
        """Whether a field is there and not null; `name` as in `value`."""
        return any(value is not None for value in _found(self.fields, name))

    def _unicode(self, name: str, text: str) -> str:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            code = f"U+{ord(text[error.start]):04X}"
            raise self.wrong(
                name, f"holds half of a surrogate pair, {code}; it must be Unicode text"
            ) from None
        return text

    def wrong(self, name: str, what: str) -> ValueError:
        """The error to raise about a field."""
        kind = "line" if _kind(self.path) in ("jsonl", "csv") else "row"
        return ValueError(f"{self.path}, {kind} {self.number}: field {name!r} {what}.")


def _found(value, name: str) -> Iterator:
    """What a name with dots may mean in an object or a list, the longest key first."""
    if isinstance(value, list):
        value = {str(place): entry for place, entry in enumerate(value)}
    if not isinstance(value, Mapping):
        return
    # A key that has dots itself wins over one within another.
    if name in value:
        yield value[name]
    for end in reversed([place for place, letter in enumerate(name) if letter == "."]):
        if name[:end] in value:
            yield from _found(value[name[:end]], name[end + 1 :])


# JSON has one kind of number, and a gold answer of 2.50 is not 2.5 to all readers.
class _Spelled(float):
    """A number that knows how its file spells it: 2.50, 1e3."""

    def __new__(cls, spelling: str):
        made = super().__new__(cls, spelling)
        made.spelling = spelling
        return made


_KINDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    numbers.Number: "a number",
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
    readers = {"jsonl": _json_lines, "json": _json, "csv": _csv, "parquet": _parquet}
    return readers[_kind(path)](path)


def _kind(path: pathlib.Path) -> str:
    """The ending of a file's name, without .gz."""
    return path.name.removesuffix(".gz").rpartition(".")[2]


def _open(path: pathlib.Path) -> io.BufferedIOBase:
    return (gzip.open if path.suffix == ".gz" else open)(path, "rb")


_DAMAGED = (gzip.BadGzipFile, EOFError, zlib.error)


def _json_lines(path: pathlib.Path) -> Iterator[Row]:
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield Row(path, number, _parsed(path, number, line))
    except _DAMAGED as error:
        raise ValueError(
            f"{path}, after line {number}: the gzip file is damaged ({error})."
        ) from None


def _json(path: pathlib.Path) -> Iterator[Row]:
    """The objects of a list, numbered from 1."""
    try:
        with _open(path) as file:
            rows = json.loads(file.read().decode("utf-8-sig"), parse_float=_Spelled)
    except _DAMAGED as error:
        raise ValueError(f"{path}: the gzip file is damaged ({error}).") from None
    except (ValueError, RecursionError) as error:  # of JSON or of UTF-8
        lines = "; lines of one object each belong in a .jsonl" * (
            "Extra" in str(error)
        )
        raise ValueError(
            f"{path}: it must be one JSON list of objects in UTF-8 ({error}){lines}."
        ) from None
    if not isinstance(rows, list):
        has = (
            f", not an object with {sorted(rows)!r:.60}"
            if isinstance(rows, dict)
            else ""
        )
        raise ValueError(f"{path}: it must be one JSON list of objects{has}.")
    for number, fields in enumerate(rows, 1):
        if not isinstance(fields, dict):
            raise ValueError(
                f"{path}, row {number}: it must be a JSON object, not {fields!r:.60}."
            )
        yield Row(path, number, fields)


def _csv(path: pathlib.Path) -> Iterator[Row]:
    """The rows below a header; a cell may have several lines."""
    number = 1
    try:
        with io.TextIOWrapper(_open(path), "utf-8-sig", newline="") as file:
            cells = csv.reader(file, strict=True)
            # A name that stands twice would hide one of its columns.
            names = next(cells, [])
            if len({*names}) < len(names) or not all(map(str.strip, names)):
                raise ValueError(
                    f"{path}, line 1: it must name each column once, not {names}."
                )
            # A cell may have line breaks, so lines are counted by the reader.
            number = cells.line_num + 1
            for row in cells:
                if row and len(row) != len(names):
                    raise ValueError(
                        f"{path}, line {number}: it has {len(row)} cells, where line 1 "
                        f"names {len(names)} columns, {names!r:.80}."
                    )
                if row:
                    yield Row(path, number, dict(zip(names, row, strict=True)))
                number = cells.line_num + 1
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}, from line {number} on: it is no CSV in UTF-8 ({error})."
        ) from None
    except _DAMAGED as error:
        raise ValueError(
            f"{path}, after line {number - 1}: the gzip file is damaged ({error})."
        ) from None


def _parsed(path: pathlib.Path, number: int, line: bytes) -> dict:
    try:
        # Some editors begin a file with a mark that JSON does not know.
        text = line.decode("utf-8-sig").rstrip("\r\n")
        fields = json.loads(text, parse_float=_Spelled)
    except (ValueError, RecursionError) as error:  # of JSON or of UTF-8
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
                # pyarrow makes 0.10000000149 of a short float that was written as 0.1.
                kinds = {f.name: f.type for f in batch.schema if _is_short(f.type)}
                for fields in batch.to_pylist():
                    number += 1
                    for name, kind in kinds.items():
                        fields[name] = _widened(fields[name], kind)
                    yield Row(path, number, fields)
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path}, after row {number}: it is no Parquet file, or damaged ({error})."
        ) from None


def _is_short(kind) -> bool:
    """Whether a type of Parquet is, or has within, a float of 16 or 32 bits."""
    if kind.num_fields:
        return any(_is_short(kind.field(i).type) for i in range(kind.num_fields))
    return str(kind) in ("halffloat", "float")


def _widened(value, kind):
    """Short floats as they read: 0.1, where float64 would add digits to it."""
    if isinstance(value, dict):
        return {name: _widened(v, kind.field(name).type) for name, v in value.items()}
    if isinstance(value, list) and kind.num_fields == 1:
        return [_widened(entry, kind.field(0).type) for entry in value]
    if isinstance(value, float) and _is_short(kind):
        return float(
            str((np.float16 if str(kind) == "halffloat" else np.float32)(value))
        )
    return value
