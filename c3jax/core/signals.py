"""Requests to stop, kept until work has reached a place where it can be taken up."""

import os
import signal
import threading
from collections.abc import Callable


class Stopped(Exception):
    """Work was left where it stood, since a stop was asked for."""


class Stop:
    """While entered, remembers the first SIGTERM or Ctrl-C; the second one kills.

    Calling it says whether a stop was asked for, as far as was agreed on. Only the main
    thread can be told: entered in another one, it hears nothing.

    Attributes:
        signal: which signal it was; None while there was none.
    """

    def __init__(self, agree: Callable[[int], int] = int) -> None:
        """Hears nothing before it is entered.

        Args:
            agree: from the number of a signal, 0 for none, to what a call goes by, such
                as `hosts.largest`: a signal to one process then stops all of them at
                the same place.
        """
        self.signal: signal.Signals | None = None
        self._agree, self._heard, self._before = agree, 0, {}

    def __call__(self) -> bool:
        if number := self._agree(self._heard):
            self.signal = signal.Signals(number)
        return bool(number)

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
        self._heard = number
        self.__exit__()
        # Not print, which must not be entered twice: the signal may come inside one.
        os.write(
            2, f"\n{signal.Signals(number).name}: saving, then stopping\n".encode()
        )
