"""Answers from processes that may hang or die without taking the run with them."""

import concurrent.futures
import queue
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol


class Overrun(Exception):
    """A request took longer than its limit; its worker was killed."""


class Died(Exception):
    """A worker was gone before it answered."""


class Faulty(Exception):
    """A worker's own code raised an error: no answer, and no fault of the request's."""


class Worker(Protocol):
    """One process that answers one request at a time."""

    def ask(self, request, limit_s: float):
        """The answer to a request.

        Args:
            request: of the kind that this worker knows.
            limit_s: wall-clock seconds, from when the worker is ready for requests.

        Raises:
            Overrun: the limit passed.
            Died: the process is gone.
            Faulty: its code raised an error.
        """

    def close(self) -> None:
        """Kills the process and all it started; safe to call twice and at any time."""


class _Item(NamedTuple):
    request: object
    limit_s: float
    future: concurrent.futures.Future


class Pool:
    """Workers that are replaced when they hang, die or have answered enough.

    Each has a thread of this process, which only waits for it. Threads start their
    workers at once, so that the first request finds them on their way. An item whose
    worker died is asked once more of a fresh one; one that overran is not.
    """

    def __init__(
        self,
        start: Callable[[], Worker],
        workers: int,
        limit_s: float = 5.0,
        recycle: int = 2000,
    ):
        """Starts the workers in the background.

        Args:
            start: makes a worker; called in the thread that will wait for it.
            workers: processes at a time.
            limit_s: wall-clock seconds for a request that names no limit.
            recycle: requests after which a worker is replaced, so that memory it may
                have leaked is given back.

        Raises:
            ValueError: fewer than one worker.
        """
        if workers < 1:
            raise ValueError(f"workers={workers}: a pool needs at least one.")
        self._start, self._limit_s, self._recycle = start, limit_s, recycle
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._lock, self._closed = threading.Lock(), False
        self._workers: set[Worker] = set()
        self._threads = [
            # Daemons: the interpreter joins others before it calls `atexit`.
            threading.Thread(target=self._serve, name=f"pool-{i}", daemon=True)
            for i in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, request, limit_s: float | None = None
    ) -> concurrent.futures.Future:
        """Asks for an answer, from any thread.

        Returns:
            Its future. It raises Overrun, Died or Faulty, or the error that kept a
            worker from starting.

        Raises:
            RuntimeError: the pool is closed.
        """
        future = concurrent.futures.Future()
        limit_s = self._limit_s if limit_s is None else limit_s
        with self._lock:
            if self._closed:
                raise RuntimeError("This pool is closed; make another one.")
            self._queue.put(_Item(request, limit_s, future))
        return future

    def close(self) -> None:
        """Kills the workers; a request that was not answered by then counts as died."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for _ in self._threads:
                self._queue.put(None)
            workers = list(self._workers)
        for worker in workers:
            worker.close()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def _serve(self) -> None:
        """The loop of one worker's thread until the pool is closed."""
        worker, count = self._fresh(), 0
        while item := self._queue.get():
            if not item.future.set_running_or_notify_cancel():
                continue
            # A worker that died may have been the last request's victim.
            for chance in (1, 2):
                try:
                    item.future.set_result(worker.ask(item.request, item.limit_s))
                except Exception as error:  # the item's misfortune, not the pool's
                    self._drop(worker)
                    worker, count = self._fresh(), 0
                    if chance == 1 and isinstance(error, Died):
                        continue
                    item.future.set_exception(error)
                break
            count += 1
            if count >= self._recycle:
                self._drop(worker)
                worker, count = self._fresh(), 0
        self._drop(worker)

    def _fresh(self) -> Worker:
        with self._lock:
            if self._closed:
                return _Unstarted(Died("The pool was closed."))
        try:
            worker = self._start()
        except Exception as error:  # the next request shall see it
            return _Unstarted(error)
        with self._lock:
            if not self._closed:
                self._workers.add(worker)
                return worker
        worker.close()
        return _Unstarted(Died("The pool was closed."))

    def _drop(self, worker: Worker) -> None:
        worker.close()
        with self._lock:
            self._workers.discard(worker)


class _Unstarted:
    """The stand-in for a worker that could not be started; it raises the reason."""

    def __init__(self, error: Exception):
        self._error = error

    def ask(self, request, limit_s: float):
        raise self._error

    def close(self) -> None:
        pass
