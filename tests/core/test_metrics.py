import pathlib

import pytest
from tensorboardX.proto.event_pb2 import Event

from c3jax.core import metrics


def events(directory: pathlib.Path) -> list[tuple[int, str, float]]:
    """(step, tag, value) of every event file, as TensorBoard reads them."""
    found = []
    for path in sorted(directory.glob("events.*")):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            found += [(event.step, v.tag, v.simple_value) for v in event.summary.value]
            data = data[16 + size :]
    return found


def test_a_log_is_lines_and_the_same_numbers_as_events(tmp_path):
    log = metrics.Log(tmp_path, {})
    log.write(step=1, reward=0.5)
    log.write(step=2, reward=0.75, loss=-1.0)
    log.close()
    lines = metrics.read(tmp_path)
    assert [{k: v for k, v in x.items() if k != "time"} for x in lines] == [
        {"step": 1, "reward": 0.5},
        {"step": 2, "reward": 0.75, "loss": -1.0},
    ]
    assert events(tmp_path) == [
        (1, "reward", 0.5),
        (2, "reward", 0.75),
        (2, "loss", -1.0),
    ]


def test_a_log_cut_back_holds_no_line_twice_and_loses_none(tmp_path):
    log = metrics.Log(tmp_path, {})
    log.write(step=1, x=1.0)
    sizes = log.sizes()
    log.write(step=2, x=2.0)
    log.write(step=3, x=3.0)
    log.close()
    with (tmp_path / metrics.LINES).open("a") as file:
        file.write('{"step": 4, "x"')  # killed while writing
    assert [line["step"] for line in metrics.read(tmp_path)] == [1, 2, 3]
    log = metrics.Log(tmp_path, sizes)
    log.write(step=2, x=2.5)
    log.close()
    assert [(line["step"], line["x"]) for line in metrics.read(tmp_path)] == [
        (1, 1.0),
        (2, 2.5),
    ]
    assert events(tmp_path) == [(1, "x", 1.0), (2, "x", 2.5)]


def test_a_log_that_lost_lines_is_refused(tmp_path):
    log = metrics.Log(tmp_path, {})
    log.write(step=1, x=1.0)
    sizes = log.sizes()
    log.close()
    (tmp_path / metrics.LINES).write_text("")
    with pytest.raises(ValueError, match=r"has 0 bytes, but its first \d+ were"):
        metrics.Log(tmp_path, sizes)


def test_a_line_that_does_not_fit_on_the_disk_is_an_error_with_its_file(tmp_path):
    (tmp_path / metrics.LINES).symlink_to("/dev/full")
    log = metrics.Log(tmp_path, {metrics.LINES: 0})
    with pytest.raises(OSError, match="No space left") as caught:
        log.write(step=1, x=1.0)
    assert caught.value.filename.endswith(metrics.LINES)


def test_phases_and_other_add_up_to_the_time_that_passed():
    watch = metrics.Stopwatch()
    with watch("a"):
        pass
    with watch("b"), watch("b"):
        pass
    first = watch.take()
    assert set(first) == {"a", "b", "other"}
    assert all(seconds >= 0 for seconds in first.values())
    assert set(watch.take()) == {"other"}


def test_fields_that_tell_time_are_known_by_their_name():
    assert all(map(metrics.is_wall_clock, ["time", "seconds/rollout", "total/seconds"]))
    assert not metrics.is_wall_clock("total/evaluator_calls")


def test_a_phase_inside_another_counts_for_itself_alone(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 7.0, 8.0, 10.0])
    monkeypatch.setattr(metrics.time, "monotonic", lambda: next(now))
    watch = metrics.Stopwatch()
    with watch("outer"), watch("inner"):
        pass
    assert watch.take() == {"inner": 4.0, "outer": 3.0, "other": 3.0}
