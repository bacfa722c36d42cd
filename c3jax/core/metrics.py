"""What a run tells: a JSON line a step, and a line of progress for a person."""

import json
import pathlib
import sys
import time


class Log:
    """Appends one JSON object a line; a line is whole on disk before the next step."""

    def __init__(self, path: pathlib.Path):
        self._file = path.open("a", buffering=1, encoding="utf-8")

    def write(self, **fields) -> None:
        self._file.write(json.dumps(fields) + "\n")

    def close(self) -> None:
        self._file.close()


class Progress:
    """One line about a long loop: rewritten on a terminal, now and then elsewhere."""

    def __init__(self, what: str, total: int, every: float = 5.0):
        self._what, self._total, self._every = what, total, every
        self._begin = time.monotonic()
        self._shown = -float("inf")
        self._first = None

    def show(self, done: int, **figures) -> None:
        """Shows that `done` steps are over, with a few named figures."""
        now = time.monotonic()
        # The first step compiles: leave it out of the estimate of time left.
        self._first = self._first or (now, done)
        live = sys.stdout.isatty()
        last = done == self._total
        if not last and now - self._shown < (0.1 if live else self._every):
            return
        self._shown = now
        since, at = self._first
        pace = (now - since) / (done - at) if done > at else 0.0
        text = f"{self._what} {done}/{self._total}"
        text += "".join(f"  {name} {value}" for name, value in figures.items())
        text += f"  {clock(now - self._begin)}"
        if done > at and not last:
            text += f", {clock(pace * (self._total - done))} left"
        print(
            f"\r\x1b[2K{text}" if live else text, flush=True, end="" if live else "\n"
        )
        if live and last:
            print()


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, second = divmod(int(seconds + 0.5), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
