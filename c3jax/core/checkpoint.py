"""Checkpoints: arrays and a record, whole or absent, checked when they are read."""

import concurrent.futures
import contextlib
import errno
import json
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator

import jax
import orbax.checkpoint as ocp

from c3jax.core import files, hosts

# At every save, Orbax warns of missing files that we ask it not to write.
logging.getLogger("absl").addFilter(
    lambda record: "Skipping merge of OCDBT" not in str(record.msg)
)


class Store:
    """The checkpoints of one directory, `<step>/` each.

    A step is written by Orbax in the background under another name, sealed with the
    checksum of every file (`sha256sum --check SHA256SUMS` reads it, too), and renamed.
    So a step that is there is whole, and later damage is noticed.

    Every process writes and reads the arrays of its devices, and the first one does the
    rest; all of them must see the directory.
    """

    def __init__(
        self,
        directory: pathlib.Path,
        keep: Callable[[int], bool] = lambda step: True,
        recent: int = 2,
    ):
        """A store to read and write.

        Args:
            directory: made when the first step is saved.
            keep: (step) -> whether it stays for good.
            recent: how many of the newest steps stay beside those.
        """
        self._directory, self._keep, self._recent = directory, keep, recent
        # Files that hold many arrays would need all of these in memory once more.
        self._checkpointer = ocp.StandardCheckpointer(use_ocdbt=False)
        self._worker = concurrent.futures.ThreadPoolExecutor(1)
        self._pending: concurrent.futures.Future | None = None
        self._since = time.monotonic()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            if kind is None:
                self.wait()
            elif self._pending is not None:  # The others may be anywhere.
                self._pending.result()
        finally:
            self._worker.shutdown()
            self._checkpointer.close()

    def path(self, step: int) -> pathlib.Path:
        return self._directory / str(step)

    def age(self) -> float:
        """Seconds since the last save began, or since this store was made."""
        return time.monotonic() - self._since

    def steps(self) -> list[int]:
        """Steps that are there, ascending."""
        return hosts.by_first(self._there)

    def save(self, step: int, state, record: dict) -> None:
        """Begins to write a step; returns once arrays and record may change.

        On a CPU it returns when all is written: the writer would read the state itself,
        and the next update could not change it in place.

        Args:
            step: a step that is not there yet.
            state: a tree of arrays.
            record: values that JSON can hold.

        Raises:
            OSError: this step or the one before could not be written.
        """
        self.wait()
        self._since = time.monotonic()
        hosts.by_first(self._tidy)
        unfinished = self._directory / f"{step}.unfinished"
        with _plainly(unfinished):
            self._checkpointer.save((unfinished / "state").absolute(), state)
        text = json.dumps(record, indent=2)
        self._pending = self._worker.submit(self._finish, step, unfinished, text)
        if jax.default_backend() == "cpu":
            self.wait()

    def wait(self) -> None:
        """Returns when everything saved is on disk.

        Raises:
            OSError: it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            hosts.by_first(pending.result)
            pending.result()

    def restore(self, target, step: int | None = None):
        """Reads a step back.

        Args:
            target: a tree of arrays or `jax.ShapeDtypeStruct` with shardings: the
                arrays to read and their devices.
            step: the step to read; None for the newest.

        Returns:
            The state and the record.

        Raises:
            ValueError: there is no such step, or it was damaged; says what to do.
        """
        step, record = hosts.by_first(self._read, step)
        path = self.path(step).absolute()
        return self._checkpointer.restore(path / "state", target), record

    def record(self, step: int | None = None) -> dict:
        """The record of a step, as `restore` reads it, without the state."""
        return hosts.by_first(self._read, step)[1]

    def _there(self) -> list[int]:
        paths = self._directory.glob("[0-9]*")
        return sorted(int(path.name) for path in paths if path.name.isdigit())

    def _tidy(self) -> None:
        """Deletes the remains of a kill."""
        for end in ("unfinished", "deleted"):
            for path in self._directory.glob(f"*.{end}"):
                shutil.rmtree(path)

    def _read(self, step: int | None) -> tuple[int, dict]:
        """A step that is whole, and its record."""
        steps = self._there()
        if not steps:
            raise ValueError(
                f"{self._directory} holds no checkpoint; train there first."
            )
        step = steps[-1] if step is None else step
        if step not in steps:
            raise ValueError(f"{self._directory} has steps {steps}, not {step}.")
        if damaged := files.broken(self.path(step)):
            raise ValueError(self._advice(step, damaged))
        return step, json.loads((self.path(step) / "record.json").read_text())

    def _finish(self, step: int, unfinished: pathlib.Path, record: str) -> None:
        with _plainly(unfinished):
            # The first process waits here until all have written.
            self._checkpointer.wait_until_finished()
            if not hosts.is_first():
                return
            files.write(unfinished / "record.json", record)
            files.seal(unfinished)
            unfinished.rename(self.path(step))
        for old in self._there()[: -self._recent]:
            if not self._keep(old):
                files.remove(self.path(old))

    def _advice(self, step: int, damaged: list[str]) -> str:
        """The error text for a damaged step: which ones to remove."""
        damage = (
            f"{self.path(step)} is damaged: {', '.join(damaged[:3])} changed after it "
            "was written. "
        )
        doomed = [step]
        for older in [s for s in self._there() if s < step][::-1]:
            if not files.broken(self.path(older)):
                names = " and ".join(str(self.path(s)) for s in doomed)
                return damage + (
                    f"The last good step is {older}: remove {names}, and the same "
                    "command goes on from there."
                )
            doomed.append(older)
        return damage + (
            f"No earlier step is whole: remove {self._directory.parent} to start again."
        )


@contextlib.contextmanager
def _plainly(path: pathlib.Path) -> Iterator[None]:
    """Turns Orbax's report of a full disk into the system's."""
    try:
        yield
    except (ValueError, RuntimeError) as error:
        for code in (errno.ENOSPC, errno.EDQUOT):
            if f"os_error_code='{code}'" in str(error):
                raise OSError(code, os.strerror(code), str(path)) from None
        raise
