"""Requests to stop, kept until work has reached a place where it can be taken up."""

import os
import signal


class Stop:
    """While entered, remembers the first SIGTERM or Ctrl-C; the second one kills.

    Calling it says whether a stop was asked for.

    Attributes:
        signal: which signal it was; None while there was none.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict = {}

    def __call__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> "Stop":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, _) -> None:
        self.signal = signal.Signals(number)
        self.__exit__()
        # Not print, which must not be entered twice: the signal may come inside one.
        os.write(2, f"\n{self.signal.name}: saving, then stopping\n".encode())
