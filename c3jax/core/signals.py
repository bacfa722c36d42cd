"""Deferred SIGTERM and Ctrl-C: remembered until a place the run can resume from."""

import os
import signal
import threading
from collections.abc import Callable


class Stopped(Exception):
    """Raised where work is abandoned because a stop was requested."""


class Stop:
    """While entered, remembers the first SIGTERM or Ctrl-C; the second one kills.

    Calling it returns whether a stop was requested, in all processes alike. Signals
    reach the main thread only: entered in another thread, this does nothing.

    Attributes:
        signal: the signal that came; None before.
    """

    def __init__(self, agree: Callable[[int], int] = int) -> None:
        """Listens only once it is entered.

        Args:
            agree: maps this process's signal number, 0 for none, to the number of all,
                such as `hosts.largest`: a signal to one process then stops all of them
                at the same place.
        """
        self.signal: signal.Signals | None = None
        self._agree, self._received, self._before = agree, 0, {}

    def __call__(self) -> bool:
        if number := self._agree(self._received):
            self.signal = signal.Signals(number)
        return bool(number)

    @property
    def advice(self) -> str:
        """What to do after a stop, for a person."""
        return f"{self.signal.name}: the same command goes on from there"

    def __enter__(self) -> "Stop":
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _) -> None:
        self._received = number
        self.__exit__()
        # Not print, which must not be entered twice: the signal may come inside one.
        text = f"\n{signal.Signals(number).name}: saving, then stopping\n"
        os.write(2, text.encode())
