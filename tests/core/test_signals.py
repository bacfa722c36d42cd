"""Requests to stop: their receivers, and the handlers that are put back."""

import os
import signal
import threading

from c3jax.core import signals


def test_a_stop_remembers_the_first_signal_and_leaves_the_handlers_as_they_were():
    before = signal.getsignal(signal.SIGTERM)
    with signals.Stop() as stop:
        assert not stop() and stop.signal is None
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop() and stop.signal is signal.SIGTERM
        assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_stop_in_another_thread_hears_nothing():
    before, found = signal.getsignal(signal.SIGTERM), []

    def work():
        with signals.Stop() as stop:
            found.append((stop(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(False, before)]
