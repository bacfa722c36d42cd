"""Partial results of some work, kept in files until all of them are there."""

import hashlib
import json
import pathlib

from c3jax.core import files, hosts


class Parts:
    """A file a part, in a directory that belongs to one piece of work."""

    def __init__(self, directory: pathlib.Path, work: object):
        """Reads the parts kept of this work, and removes those of other work.

        Args:
            directory: the place of parts; it need not exist.
            work: values that differ between works; JSON can hold them.
        """
        identity = json.dumps(work, sort_keys=True, default=list).encode()
        self._directory = directory
        self._own = directory / hashlib.sha256(identity).hexdigest()[:16]
        self._kept = hosts.by_first(self._read)

    def get(self, name: str) -> dict | None:
        """The result of a part; None if it is not there."""
        return self._kept.get(name)

    def keep(self, name: str, found: dict) -> None:
        """Keeps the result of a part, as JSON."""
        hosts.by_first(self._write, name, json.dumps(found))

    def remove(self) -> None:
        """Removes all parts, when the work is done."""
        hosts.by_first(files.remove, self._directory)

    def _read(self) -> dict[str, dict]:
        if not self._own.exists():
            files.remove(self._directory)
        paths = self._own.glob("*.json")
        return {path.stem: json.loads(path.read_text()) for path in paths}

    def _write(self, name: str, text: str) -> None:
        self._own.mkdir(parents=True, exist_ok=True)
        files.write(self._own / f"{name}.json", text)
