"""Files of a dataset on this machine: found or downloaded, and always the same ones.

Every file must match a checksum: the table's, or else the one that a lock file recorded
when the file was first seen.
"""

import http.client
import json
import pathlib
import urllib.request
from collections.abc import Mapping

from c3jax.core import files, metrics
from c3jax.data.builders import origins

LOCK = "lock.json"
_CHUNK, _PATIENCE = 1 << 16, 60


def download(dataset: origins.Dataset, home: pathlib.Path) -> list[pathlib.Path]:
    """The files of a dataset as their origin publishes them, downloaded where needed.

    Args:
        home: the dataset's directory; files are kept below it.

    Raises:
        ValueError: a file cannot be fetched; the message says what to do by hand.
    """
    directory = home / "downloads"
    directory.mkdir(parents=True, exist_ok=True)
    paths = {file: directory / file.name for file in dataset.files}
    for file, path in paths.items():
        if not path.exists():
            _fetch(dataset, file, path)
    return list(paths.values())


def check(
    dataset: origins.Dataset, home: pathlib.Path, paths: list[pathlib.Path]
) -> dict[str, str]:
    """Compares files with the checksums that are published, or else recorded.

    Args:
        home: the dataset's directory, where the lock file is.
        paths: of files of the origin, or of rows prepared from it.

    Returns:
        Name -> SHA-256 of each, to `record` once the dataset is prepared.

    Raises:
        ValueError: a file is not what it was.
    """
    pinned = {file.name: file.sha256 for file in dataset.files}
    locked, sums = recorded(home), {}
    for path in paths:
        digest = sums[path.name] = files.sha256(path)
        # A published checksum is known; another is trusted once it is recorded.
        published = pinned.get(path.name)
        known = published or locked.get(path.name)
        if known and digest != known:
            source = "its origin has" if published else f"{home / LOCK} recorded"
            advice = "" if published else f"; if the change is meant, delete {home}"
            raise ValueError(
                f"{path} has the SHA-256 {digest}, but {source} {known}. It was "
                "changed, or not downloaded to its end: delete it and get it again"
                f"{advice}."
            )
    return sums


def record(home: pathlib.Path, sums: Mapping[str, str]) -> None:
    """Writes the checksums of the files that a dataset was made of."""
    files.write(home / LOCK, json.dumps(sums, indent=2, sort_keys=True) + "\n")


def recorded(home: pathlib.Path) -> dict[str, str]:
    """Name -> SHA-256 of the files that a dataset was made of; {} if it never was."""
    lock = home / LOCK
    return json.loads(lock.read_text()) if lock.exists() else {}


def _fetch(dataset: origins.Dataset, file: origins.File, path: pathlib.Path) -> None:
    # Under another name until all bytes are there.
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        with (
            urllib.request.urlopen(file.url, timeout=_PATIENCE) as response,
            unfinished.open("wb") as out,
        ):
            # A connection that breaks may look like an end.
            size = int(response.headers.get("Content-Length") or 0)
            progress = metrics.Progress(
                f"{dataset.name}: {file.name}, kB", size // 1000
            )
            done = 0
            while chunk := response.read(_CHUNK):
                out.write(chunk)
                done += len(chunk)
                progress.show(done // 1000)
        if size and done < size:
            raise ConnectionError(f"the connection ended after {done} of {size} bytes")
    except (http.client.HTTPException, OSError) as error:
        unfinished.unlink(missing_ok=True)
        raise ValueError(by_hand(dataset, file, path.parent, error)) from None

    # Whole: from here on it may be read.
    unfinished.replace(path)


def by_hand(dataset, file, directory, error) -> str:
    """Instructions for a machine without a network."""
    downloads = "".join(f"\n    {f.url}\n        as {f.name}" for f in dataset.files)
    return (
        f"{dataset.name} is not prepared yet, and {file.url} cannot be fetched: "
        f"{error}. On a machine with a network fetch{downloads}\n  and put it into "
        f"{directory}, or into any directory DIR and say data.source=DIR "
        "(--source=DIR for c3jax.data.prepare)."
    )
