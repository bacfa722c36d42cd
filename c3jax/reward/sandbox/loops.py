"""An event loop of asyncio that needs neither sockets nor `epoll`, only the clock."""

import asyncio
import selectors
import time


class _Clock(selectors.SelectSelector):
    """A selector of nothing, which waits."""

    def select(self, timeout=None):
        time.sleep(max(0.0, timeout or 0.0))
        return []


class Loop(asyncio.SelectorEventLoop):
    """A loop for coroutines, tasks and timers; nothing wakes it from outside."""

    def __init__(self):
        super().__init__(_Clock())

    def _make_self_pipe(self):
        pass

    def _close_self_pipe(self):
        pass

    def _write_to_self(self):
        pass


class Policy(asyncio.DefaultEventLoopPolicy):
    """Makes every new loop a `Loop`."""

    def new_event_loop(self):
        return Loop()


def install() -> None:
    """Gives this process these loops; before it is confined."""
    asyncio.set_event_loop_policy(Policy())
