"""A thread that speaks up while a process shows no sign of life."""

import faulthandler
import pathlib
import sys
import threading
import time
from collections.abc import Callable

from c3jax.core import hosts, metrics

# Seconds of silence until a line, between lines, and until all stacks are shown.
_QUIET_S, _STACKS_S = 60.0, 600.0
_PACKAGE = pathlib.Path(__file__).parent.parent


class Watchdog:
    """While entered, says once a minute where a process is that does not go on.

    Compilers, collectives that wait for a machine that is gone, and file systems that
    hang are all silent. A line on stderr names the process and the place in c3jax;
    after ten minutes the stacks of all threads follow, once a silence.
    """

    def __init__(self, quiet_s: float = _QUIET_S, stacks_s: float = _STACKS_S):
        """Watches the thread that makes it.

        Args:
            quiet_s: seconds without a sign of life until a line, and between lines.
            stacks_s: seconds until the stacks.
        """
        self._quiet_s, self._stacks_s = quiet_s, stacks_s
        self._watched = threading.get_ident()
        self._last, self._over = time.monotonic(), threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()
        self._thread.join()

    def heard(self, asked: Callable[[], bool]) -> Callable[[], bool]:
        """A function that work asks now and then, as a sign of life."""

        def asks() -> bool:
            self._last = time.monotonic()
            return asked()

        return asks

    def _look(self) -> None:
        since, told, shown = self._last, 0, False
        while not self._over.wait(self._quiet_s / 4):
            if self._last != since:
                since, told, shown = self._last, 0, False
            silent = time.monotonic() - since
            if silent >= (told + 1) * self._quiet_s:
                told = int(silent / self._quiet_s)
                print(
                    f"{_who()}: silent for {metrics.clock(silent)}, {self._where()}",
                    file=sys.stderr,
                )
            if silent >= self._stacks_s and not shown:
                shown = True
                faulthandler.dump_traceback(sys.__stderr__)

    def _where(self) -> str:
        """The innermost place of c3jax that the watched thread is in."""
        frame = sys._current_frames().get(self._watched)
        while frame is not None:
            path = pathlib.Path(frame.f_code.co_filename)
            if path.is_relative_to(_PACKAGE):
                place = path.relative_to(_PACKAGE)
                return f"in {place}, line {frame.f_lineno}, {frame.f_code.co_name}"
            frame = frame.f_back
        return "outside of c3jax"


def _who() -> str:
    if not hosts.many():
        return "c3jax"
    import jax

    return f"c3jax, process {jax.process_index()} of {jax.process_count()}"
