"""Small datasets of our own in the form of each origin."""

import dataclasses
import gzip
import json
import pathlib

from c3jax.data.builders import origins

FIXTURES = pathlib.Path(__file__).parent / "fixtures"


def files(name: str, directory: pathlib.Path) -> pathlib.Path:
    """Writes the files of a dataset as its origin has them, Parquet and gzip too."""
    place = directory / name
    place.mkdir(parents=True)
    for path in (FIXTURES / name).iterdir():
        if path.name.endswith(".parquet.jsonl"):
            parquet(place / path.stem, lines(path))
        elif path.name.endswith(".gz.jsonl"):
            (place / path.stem).write_bytes(gzip.compress(path.read_bytes()))
        else:
            (place / path.name).write_bytes(path.read_bytes())
    return place


def dataset(name: str, **changes) -> origins.Dataset:
    """A dataset of the table for the files here: they have checksums of their own."""
    found = origins.DATASETS[name]
    own = tuple(dataclasses.replace(file, sha256=None) for file in found.files)
    return dataclasses.replace(found, files=own, **changes)


def served(name: str, place: pathlib.Path, **changes) -> origins.Dataset:
    """The same, downloaded from a directory."""
    found = dataset(name, **changes)
    return dataclasses.replace(
        found,
        files=tuple(
            dataclasses.replace(file, url=(place / file.name).as_uri())
            for file in found.files
        ),
    )


def lines(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def jsonl(path: pathlib.Path, rows: list[dict]) -> pathlib.Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def parquet(path: pathlib.Path, rows: list[dict]) -> pathlib.Path:
    import pyarrow
    from pyarrow import parquet as written

    written.write_table(pyarrow.Table.from_pylist(rows), path)
    return path
