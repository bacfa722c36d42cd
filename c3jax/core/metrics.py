"""The log of a run: a JSON line a step, TensorBoard events, progress on a terminal."""

import contextlib
import functools
import json
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping

from c3jax.core import hosts

LINES = "metrics.jsonl"
_EVENTS = "events.out.tfevents."


def is_wall_clock(field: str) -> bool:
    """Whether a field of a line is a time, and so differs between equal runs."""
    return field == "time" or "seconds" in field


@functools.cache
def tensorboard():
    """The writer, event and summary classes of `tensorboardX`.

    tensorboardX imports PyTorch wherever that is installed, which takes seconds and is
    of no use here; so PyTorch is hidden from it.
    """
    is_hidden = "torch" not in sys.modules
    if is_hidden:
        sys.modules["torch"] = None
    try:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.proto.summary_pb2 import Summary
    finally:
        if is_hidden:
            del sys.modules["torch"]
    return EventsWriter, Event, Summary


class Log:
    """Appends a line to `metrics.jsonl`, and its numbers to TensorBoard events.

    Both files can be cut back to earlier sizes, so that a repeated step is logged once.
    """

    def __init__(self, directory: pathlib.Path, sizes: Mapping[str, int]):
        """Opens the log of a run.

        Args:
            directory: the run's, where both files lie.
            sizes: bytes to keep of each file, as `sizes()` returned them; {} to begin.

        Raises:
            ValueError: lines that were written are not there any more.
        """
        # Cut both files back to the checkpoint.
        self._directory = directory
        self._path = directory / LINES
        kept = sizes.get(LINES, 0)
        size = self._path.stat().st_size if self._path.exists() else 0
        if size < kept:
            raise ValueError(
                f"{self._path} has {size} bytes, but its first {kept} were written "
                "before the checkpoint to go on from; put the file back, or remove "
                f"{directory} to start again."
            )
        for path in [self._path, *directory.glob(f"{_EVENTS}*")]:
            if path.name not in sizes:
                path.unlink(missing_ok=True)
            elif path.exists() and path.stat().st_size > sizes[path.name]:
                os.truncate(path, sizes[path.name])

        # Open them to append. An event file's name holds the second it was opened in;
        # the count makes it unique.
        self._file = self._path.open("a", encoding="utf-8")
        count = len(list(directory.glob(f"{_EVENTS}*")))
        writer, self._event, self._summary = tensorboard()
        self._events = writer(str(directory / "events"), f".{count}")
        self._flushed = time.monotonic()

    def write(self, *, step: int, **fields: float) -> None:
        """Logs named numbers of a step; the line is in the file when this returns.

        Raises:
            OSError: the line cannot be written, say because the disk is full.
        """
        now = time.time()
        with _naming(self._path):
            self._file.write(json.dumps({"step": step, **fields, "time": now}) + "\n")
            self._file.flush()
        summary = self._summary(
            value=[
                self._summary.Value(tag=k, simple_value=v) for k, v in fields.items()
            ]
        )
        event = self._event(wall_time=now, step=step, summary=summary)
        with _naming(self._directory):
            self._events.write_event(event)
            if time.monotonic() - self._flushed > 5:
                self._flushed = time.monotonic()
                self._events.flush()

    def sizes(self) -> dict[str, int]:
        """Bytes of each file so far, all flushed to disk."""
        with _naming(self._directory):
            self._events.flush()
            os.fsync(self._file.fileno())
        names = [self._path, *self._directory.glob(f"{_EVENTS}*")]
        return {path.name: path.stat().st_size for path in names}

    def close(self) -> None:
        self._file.close()
        with _naming(self._directory):
            self._events.close()


class NullLog:
    """The `Log` of processes that do not write one."""

    def write(self, *, step: int, **fields: float) -> None:
        pass

    def sizes(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        pass


def log(directory: pathlib.Path, sizes: Mapping[str, int]) -> Log | NullLog:
    """The log of a run, which only its first process writes; see `Log`."""
    return Log(directory, sizes) if hosts.is_first() else NullLog()


def read(directory: pathlib.Path) -> list[dict]:
    """The lines of a run's `metrics.jsonl`; one that is being written is left out."""
    path = directory / LINES
    if not path.exists():
        return []
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.endswith("\n")]


@contextlib.contextmanager
def _naming(path: pathlib.Path) -> Iterator[None]:
    """Adds the file's name to an error of writing it."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


class Stopwatch:
    """Wall-clock seconds by phase, since they were last taken.

    Time in a phase inside another counts for the inner one alone.
    """

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._seconds: dict[str, float] = {}
        self._inside = 0.0

    @contextlib.contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Counts the time inside; work on a device counts where it is waited for."""
        begin = time.monotonic()
        before, self._inside = self._inside, 0.0
        try:
            yield
        finally:
            spent = time.monotonic() - begin
            own = spent - self._inside
            self._seconds[phase] = self._seconds.get(phase, 0.0) + own
            self._inside = before + spent

    def take(self) -> dict[str, float]:
        """The seconds of each phase and of "other"; the next reading starts anew."""
        now = time.monotonic()
        other = max(now - self._since - sum(self._seconds.values()), 0.0)
        taken = {**self._seconds, "other": other}
        self._since, self._seconds = now, {}
        return taken


class Progress:
    """One line about a long loop: rewritten on a terminal, now and then elsewhere."""

    def __init__(self, what: str, total: int, every: float = 5.0):
        """A line that was not shown yet.

        Args:
            what: a word for the loop, before the count.
            total: the number of steps.
            every: seconds between two lines where no terminal rewrites them.
        """
        self._what, self._total, self._every = what, total, every
        self._begin = time.monotonic()
        self._shown = -float("inf")
        self._first = None

    def show(self, done: int, **figures) -> None:
        """Shows that `done` steps are over, with a few named figures."""
        now = time.monotonic()
        # The first step compiles, so it is left out of the pace.
        self._first = self._first or (now, done)
        last = done == self._total
        every = 0.1 if sys.stdout.isatty() else self._every
        if not last and now - self._shown < every:
            return
        self._shown = now
        since, at = self._first
        pace = (now - since) / (done - at) if done > at else 0.0
        text = f"{self._what} {done}/{self._total}"
        text += "".join(f"  {name} {value}" for name, value in figures.items())
        text += f"  {clock(now - self._begin)}"
        if done > at and not last:
            text += f", {clock(pace * (self._total - done))} left"
        self._print(text, last)

    def open(self, done: int = 0) -> None:
        """Shows the start of a loop whose first step may take a while."""
        self._print(f"{self._what} {done}/{self._total}  {clock(0)}")

    @staticmethod
    def close() -> None:
        """Clears the line on a terminal before other output."""
        if sys.stdout.isatty():
            print("\r\x1b[2K", end="", flush=True)

    @staticmethod
    def _print(text: str, last: bool = False) -> None:
        if not sys.stdout.isatty():
            print(text, flush=True)
            return
        print(f"\r\x1b[2K{text}", flush=True, end="\n" if last else "")


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
