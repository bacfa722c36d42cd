"""Prepared datasets: array records on disk, read at random, sealed by checksums.

`split` is all that others need: it prepares a dataset that is not there yet. A dataset
lives in `directory/<name>/`: `downloads/`, the lock file with their checksums, and
`1.0.0/`, which TFDS wrote.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence

from c3jax.core import checks, files
from c3jax.data import rows
from c3jax.data.builders import fetch, formats, origins

FIELDS = ("id", "question", "answer", "entry_point", "subject", "level")
_COUNTS = "counts.json"


class Split(Sequence):
    """One split as a random-access sequence of `rows.Item`s."""

    def __init__(self, source: Sequence, dataset: origins.Dataset, first: int):
        self._source, self._dataset, self._first = source, dataset, first

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> rows.Item:
        if not 0 <= index < len(self):
            raise IndexError(
                f"{self._dataset.name} has {len(self)} rows here, not {index}."
            )
        texts = {name: text.decode() for name, text in self._source[index].items()}
        question = texts.pop("question")
        return rows.Item(
            uid=self._first + index, text=question, rules=self._dataset.rules, **texts
        )


def default_directory() -> pathlib.Path:
    """Where datasets are kept by default."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(cache).expanduser() / "c3jax" / "data"


def find(name: str, field: str) -> tuple[origins.Dataset, str]:
    """The dataset and the split that "dataset/split" names.

    Args:
        name: "dataset/split".
        field: the config field that an error names.

    Raises:
        ValueError: there is no such dataset or split.
    """
    first, _, last = name.partition("/")
    dataset = checks.pick(origins.DATASETS, first, field)
    checks.pick(dataset.splits, last, f"{field}={name!r}: split")
    return dataset, last


def split(
    dataset: origins.Dataset,
    name: str,
    directory: pathlib.Path,
    source: pathlib.Path | None = None,
    first: int = 0,
) -> Split:
    """A split of a dataset, which is prepared if it is not yet.

    Args:
        directory: where datasets are kept.
        source: where its files are; None to download what is missing.
        first: uid of the first question.

    Raises:
        ValueError: it cannot be prepared, or is not as it was prepared.
    """
    return Split(prepare(dataset, directory, source)[name], dataset, first)


def records(dataset: str, split: str, directory: pathlib.Path) -> list[pathlib.Path]:
    """The files that hold the records of a split that is prepared, by its name."""
    place = directory / dataset / origins.VERSION
    return sorted(place.glob(f"*-{split}.array_record*"))


def prepare(
    dataset: origins.Dataset,
    directory: pathlib.Path,
    source: pathlib.Path | None = None,
) -> dict[str, Sequence]:
    """Prepares a dataset, unless it is, and opens it.

    Args:
        directory: where datasets are kept.
        source: a directory with its files, as the origin calls them, or with
            `<dataset>_<split>.jsonl.gz` of rows; None to download what is missing.

    Returns:
        Per split, records of bytes by the names in `FIELDS`.

    Raises:
        ValueError: a file is missing, changed or malformed; a count is wrong.
    """
    home = directory / dataset.name
    with files.in_turn(home):
        if (home / origins.VERSION).exists():
            _check(dataset, home, source)
        else:
            _write(dataset, home, source)
    return _open(dataset, home)


def _write(dataset, home, source) -> None:
    from c3jax.data.builders import tfds

    # The origin's files, unchanged.
    paths = _given(dataset, source) if source else fetch.download(dataset, home)
    sums = fetch.check(dataset, home, paths)

    # Questions with a gold answer, counted.
    kept, counts = {}, {}
    for name in dataset.splits:
        questions = list(_questions(dataset, name, paths))
        kept[name] = [fields for fields in questions if fields["answer"]]
        dropped = len(questions) - len(kept[name])
        counts[name] = {"rows": len(questions), "dropped": dropped}
        _count(dataset, name, len(questions), strict=source is None)
        empty = f", {dropped} without a gold answer left out" if dropped else ""
        print(f"{dataset.name}/{name}: {len(questions):,} rows{empty}", flush=True)

    # Records on disk, sealed.
    unfinished = home / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    place = tfds.write(dataset, kept, unfinished, FIELDS)
    files.write(place / _COUNTS, json.dumps(counts, indent=2) + "\n")
    files.seal(place)
    fetch.record(home, sums)
    # Its name comes last: a dataset that was killed on the way is prepared again.
    place.rename(home / origins.VERSION)
    shutil.rmtree(unfinished)


def _given(dataset: origins.Dataset, source: pathlib.Path) -> list[pathlib.Path]:
    """The files of a directory: those of the origin, or else rows of every split."""
    own = [file.name for file in dataset.files]
    made = [f"{dataset.name}_{name}.jsonl.gz" for name in dataset.splits]
    # Several datasets call a file train.jsonl.
    for place in (source / dataset.name, source):
        for names in (own, made):
            paths = [place / name for name in names]
            if all(path.is_file() for path in paths):
                return paths
    raise ValueError(
        f"data.source={str(source)!r} does not hold {dataset.name}: put {own} there or "
        f"into {source / dataset.name}, from {[file.url for file in dataset.files]}, "
        f"or rows as {made}."
    )


def _questions(dataset, split, paths) -> Iterator[dict]:
    """The questions of a split with all `FIELDS`, stripped."""
    names = {path.name: path for path in paths}
    own = f"{dataset.name}_{split}.jsonl.gz"
    if own in names:
        questions = formats.each(formats.plain)(rows.read(names[own]), split)
    else:
        reads = {file.name: file.read for file in dataset.files}
        stream = (
            row for name in dataset.splits[split] for row in reads[name](names[name])
        )
        questions = dataset.parse(stream, split)
    for number, fields in enumerate(questions):
        given = {"id": f"{dataset.name}/{split}/{number}", **fields}
        yield {name: given.get(name, "").strip() for name in FIELDS}


def _count(dataset, name: str, count: int, strict: bool) -> None:
    """Compares the number of rows with the published one."""
    published = dataset.counts[name]
    if count == published:
        return
    if not count:
        raise ValueError(f"{dataset.name}/{name} has no rows in the files given.")
    text = f"{dataset.name}/{name} has {count} rows, where {published} are published"
    if strict:
        raise ValueError(
            f"{text}; its files are not what they should be. Prepare it from a "
            "directory (data.source) if that is what you want."
        )
    print(f"note: {text}", flush=True)


def _check(dataset, home, source) -> None:
    """Refuses prepared data that was changed, or made of other files than given."""
    place = home / origins.VERSION
    if broken := files.broken(place):
        raise ValueError(
            f"{place} is not as it was prepared: {broken} changed. Delete {place}, and "
            "it is prepared again."
        )
    if source is None:
        return
    given = {path.name: files.sha256(path) for path in _given(dataset, source)}
    if given != fetch.recorded(home):
        raise ValueError(
            f"{place} was prepared from other files than those in data.source="
            f"{str(source)!r}. Delete {home} to prepare it from these, or keep them "
            "apart with another data.directory."
        )


def _open(dataset: origins.Dataset, home: pathlib.Path) -> dict[str, Sequence]:
    from c3jax.data.builders import tfds

    place = home / origins.VERSION
    counts = json.loads((place / _COUNTS).read_text())
    splits = tfds.read(place)
    for name, count in counts.items():
        records = count["rows"] - count["dropped"]
        if len(splits[name]) != records:
            raise ValueError(
                f"{place} has {len(splits[name])} records in {name}, not {records}; "
                "delete it, and it is prepared again."
            )
    return splits
