"""A process that does not go on says where it is."""

import time

from c3jax.core import watchdog


def test_a_silent_process_says_where_it_is_and_shows_its_stacks_once(capfd):
    with watchdog.Watchdog(quiet_s=0.04, stacks_s=0.1):
        _hang()
    said = capfd.readouterr().err
    lines = [
        line
        for line in said.splitlines()
        if line.startswith("c3jax: silent for 0:00, ")
    ]
    assert len(lines) >= 2
    assert all("outside of c3jax" in line for line in lines)
    # The stacks name the place that is not ours.
    assert said.count("in _hang") == 1


def _hang():
    time.sleep(0.4)


def test_the_innermost_place_of_c3jax_is_named(capfd):
    with watchdog.Watchdog(quiet_s=0.04) as dog:
        dog.heard(lambda: time.sleep(0.15))()
    assert "in core/watchdog.py, line " in capfd.readouterr().err


def test_a_process_that_goes_on_is_not_heard_of(capfd):
    with watchdog.Watchdog(quiet_s=1.0) as dog:
        asks = dog.heard(lambda: True)
        for _ in range(28):
            time.sleep(0.05)
            assert asks() is True
    assert capfd.readouterr().err == ""
