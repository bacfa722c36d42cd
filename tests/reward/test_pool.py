import dataclasses
import functools
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from c3jax.core import types
from c3jax.reward import pool, process
from tests import support

START = functools.partial(process.Process, "tests.reward.workers")


@pytest.fixture(scope="module")
def workers():
    with pool.Pool(START, workers=2, limit_s=10) as made:
        yield made


def answers(made: pool.Pool, requests: list) -> list:
    """The answers in order; an Overrun or a Died stands where there is none."""
    lost = (pool.Overrun, pool.Died)
    futures = [made.submit(request) for request in requests]
    return [
        error if isinstance(error := future.exception(), lost) else future.result()
        for future in futures
    ]


def is_gone(pid: int, within_s: float = 5.0) -> bool:
    """Whether a process ends, or is a zombie, within some seconds."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state.split()[0] in "ZX":
            return True
        time.sleep(0.02)
    return False


def test_answers_come_in_order_whatever_is_printed(workers):
    sent = [{"do": "echo", "with": [i, "é\n", None]} for i in range(40)]
    assert answers(workers, sent) == [request["with"] for request in sent]


def test_a_request_that_overruns_is_killed_and_costs_only_itself(workers):
    slow = workers.submit({"do": "sleep"}, limit_s=0.3)
    others = answers(workers, [{"do": "echo", "with": i} for i in range(5)])
    assert others == list(range(5))
    with pytest.raises(pool.Overrun, match="0.3 s"):
        slow.result(timeout=10)


def test_a_worker_that_dies_is_replaced_and_its_item_asked_once_more(workers, tmp_path):
    found = answers(
        workers,
        [
            {"do": "die once", "mark": str(tmp_path / "mark")},
            {"do": "die"},
            {"do": "echo", "with": 1},
        ],
    )
    assert found[0] == "alive"
    assert isinstance(found[1], pool.Died)
    assert found[2] == 1


def test_a_worker_that_is_killed_from_outside_loses_nothing():
    with pool.Pool(START, workers=1, limit_s=10) as one:
        os.kill(one.submit({"do": "pid"}).result(), signal.SIGKILL)
        assert answers(one, [{"do": "echo", "with": 1}]) == [1]
        asked = one.submit({"do": "sleep"})
        time.sleep(0.1)
        (worker,) = one._workers
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(0.5)
        (worker,) = one._workers
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(pool.Died):
            asked.result(timeout=10)
        assert answers(one, [{"do": "echo", "with": 2}]) == [2]


def test_a_worker_that_is_told_to_stop_goes_on():
    with pool.Pool(START, workers=1, limit_s=10) as one:
        pid = one.submit({"do": "pid"}).result()
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(pid, number)
        assert one.submit({"do": "pid"}).result() == pid


def test_a_fault_of_the_workers_own_code_is_told_and_the_next_is_answered(workers):
    failed = workers.submit({"do": "fail"})
    assert answers(workers, [{"do": "echo", "with": 1}]) == [1]
    with pytest.raises(
        pool.Faulty, match="workers: ZeroDivisionError: a fault of ours"
    ):
        failed.result()


def test_memory_is_bounded(workers):
    assert isinstance(answers(workers, [{"do": "eat"}])[0], pool.Died)


def test_workers_import_neither_jax_nor_the_package_that_would(workers):
    modules = workers.submit({"do": "modules"}).result()
    assert "jax" not in modules and "c3jax.credit" not in modules
    start = functools.partial(process.Process, "c3jax.reward.algebra")
    with pool.Pool(start, workers=1) as one:
        rules = dataclasses.asdict(types.Rules())
        request = {"gold": "x^2", "said": "y", "rules": rules}
        assert one.submit(request).result() is False
        assert one.submit({**request, "said": "1x^2"}).result() is True
        (worker,) = one._workers
        assert "jaxlib" not in pathlib.Path(f"/proc/{worker.pid}/maps").read_text()


def test_a_worker_is_replaced_after_so_many_requests():
    with pool.Pool(START, workers=1, limit_s=10, recycle=2) as one:
        pids = answers(one, [{"do": "pid"}] * 5)
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    assert all(is_gone(pid) for pid in pids)


def test_closing_kills_what_is_running_and_all_it_started():
    one = pool.Pool(START, workers=1, limit_s=60)
    child = one.submit({"do": "child"}).result()
    running, waiting = one.submit({"do": "sleep"}), one.submit({"do": "sleep"})
    begin = time.monotonic()
    one.close()
    one.close()
    assert time.monotonic() - begin < 5
    for future in (running, waiting):
        with pytest.raises(pool.Died):
            future.result()
    assert is_gone(child)
    with pytest.raises(RuntimeError, match="closed"):
        one.submit({"do": "pid"})


def test_workers_end_with_a_parent_that_is_killed():
    code = (
        "import functools\n"
        "from c3jax.reward import pool, process\n"
        "start = functools.partial(process.Process, 'tests.reward.workers')\n"
        "one = pool.Pool(start, workers=1, limit_s=60)\n"
        "print(one.submit({'do': 'pid'}).result(), flush=True)\n"
        "one.submit({'do': 'sleep'}).result()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=support.ROOT, stdout=subprocess.PIPE
    )
    worker = int(parent.stdout.readline())
    assert not is_gone(worker, within_s=0.1)
    parent.kill()
    parent.wait()
    assert is_gone(worker)


def test_a_module_that_cannot_be_imported_is_named():
    start = functools.partial(process.Process, "tests.no_such_module")
    with (
        pool.Pool(start, workers=1) as one,
        pytest.raises(RuntimeError, match="tests.no_such_module.*No module named"),
    ):
        answers(one, [1])


def test_a_worker_that_cannot_be_started_says_why_and_nothing_waits():
    def start():
        raise OSError("no more processes")

    with pool.Pool(start, workers=1) as one, pytest.raises(OSError, match="no more"):
        answers(one, [1])


def test_a_pool_needs_a_worker():
    with pytest.raises(ValueError, match="workers=0"):
        pool.Pool(START, workers=0)
