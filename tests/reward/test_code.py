"""Programs in messages, tests of every shape, values that cross."""

import subprocess
import sys

import pytest

from c3jax.reward import code
from c3jax.reward.sandbox import client, wire


@pytest.fixture(scope="module")
def scorer():
    with code.Scorer(client.Settings(timeout_s=2.0), workers=1) as scorer:
        yield scorer


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("def f(): return 1", "def f(): return 1"),
        ("Here it is:\n```python\ndef f(): pass\n```\nDone.", "def f(): pass\n"),
        ("```py\nx = 1\n```", "x = 1\n"),
        ("```\ndef f(): pass", "def f(): pass"),
        ("```python\ndef f(): pass\n```\n```\nf()\n```", "def f(): pass\n"),
        ("```python\ndef f(): 1\n```\n```python\ndef f(): 2\n```", "def f(): 2\n"),
        ("```bash\nls\n```\ndef f(): pass", "def f(): pass"),
        ("Sure.\n\nimport re\ndef f(): pass<|im_end|>", "import re\ndef f(): pass"),
        ("def f(): pass</s>", "def f(): pass"),
        ("R = 3\ndef f(): return R", "R = 3\ndef f(): return R"),
        ("", None),
        ("```python\n```", None),
        ("<|endoftext|>", None),
    ],
)
def test_the_program_is_found_in_a_message(text, program):
    found = code.extract(text)
    assert (found and found.strip()) == (program and program.strip())


@pytest.mark.parametrize(
    ("tests", "verdicts"),
    [
        ("assert f(1) == 1\nassert f(2) == 3\nassert f(3) == 3", "pass fail pass"),
        ("for i in range(3):\n    assert f(i) == i", "pass pass pass"),
        ("for i in range(3):\n    assert f(i) == 1", "fail pass fail"),
        ("def check(candidate):\n    assert candidate(1) == 1\ncheck(f)", "pass"),
        (
            "def check(g):\n    assert g(1) == 2\n    assert g(2) == 2\ncheck(f)",
            "fail pass",
        ),
        (
            "def is_(a, b):\n    assert a == b\nfor i in (0, 1):\n    is_(f(i), 1)",
            "fail pass",
        ),
        ("def test_it():\n    assert f(1) == 1\n    assert f(1) == 2", "pass fail"),
        ("def test_it():\n    assert f(1) == 1\ntest_it()", "pass"),
        ("x = f(1)\nassert x == 1", "pass"),
        ("assert f(1) == 1 and f('a') == 'a', 'said'", "pass"),
        ("if f(1):\n    assert f(0) == 0\nelse:\n    assert False", "pass"),
        (
            "try:\n    g(1)\n    assert 0\nexcept ValueError:\n    pass\nassert f(1)",
            "pass pass",
        ),
        ("import math\nassert math.isclose(f(.1 + .2), .3)", "pass"),
        ("assert math.floor(f(1.5)) == 1", "pass"),
        ("assert missing(1) == 1\nassert f(1) == 1", "error pass"),
        ("x = missing(1)\nassert x == 1\nassert f(1) == 1", "error error pass"),
        ("assert g(2) == 2\nassert f(1) == 1", "error pass"),
        ("assert f(set('ab')) == {'a', 'b'}", "pass"),
    ],
)
def test_every_check_has_a_verdict(scorer, tests, verdicts):
    program = "def f(x): return x\ndef g(x): raise ValueError(x)"
    assert list(scorer.submit(program, tests).result().verdicts) == verdicts.split()


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("def f(): return 1", "pass"),
        ("def f(): return 2", "fail"),
        ("def f(): return 1 / 0", "error"),
        ("def f():\n    while True: pass", "timeout"),
        ("def f(): return bytearray(1 << 40)", "memory"),
        ("def f(): return open('/etc/passwd')", "forbidden"),
    ],
)
def test_a_verdict_says_what_happened(scorer, program, verdict):
    found = scorer.submit(program, "assert f() == 1").result()
    assert found.verdicts == (verdict,)
    assert found.passed_fraction == float(verdict == "pass")
    assert (found.problem is None) == (verdict in ("pass", "fail"))


def test_a_program_that_stops_fails_every_check_that_is_left(scorer):
    program = "import os\ndef f(x):\n    if x > 1: os._exit(0)\n    return x"
    tests = "for i in range(10):\n    assert f(i) == i"
    found = scorer.submit(program, tests).result()
    assert found.verdicts == ("pass",) * 2 + ("error",) * 8
    assert found.passed_fraction == 0.2


def test_arguments_changed_in_place_are_seen(scorer):
    program = "def f(x, y):\n    x.sort()\n    y['n'] = len(x)"
    tests = "a, b = [3, 1, 2], {}\nf(a, b)\nassert a == [1, 2, 3]\nassert b == {'n': 3}"
    assert scorer.submit(program, tests).result().passed_fraction == 1


def test_objects_of_the_program_are_used_by_reference(scorer):
    program = """
class Node:
    def __init__(self, value): self.value, self.next = value, None
    def total(self): return self.value + (self.next.total() if self.next else 0)
def total(node): return node.total()
"""
    tests = """
a, b = Node(1), Node(2)
a.next = b
assert total(a) == 3
assert a.total() == 3
assert a.next.value == 2
assert Node(1) == Node(1)
"""
    assert scorer.submit(program, tests).result().verdicts == ("pass",) * 3 + ("fail",)


def test_a_name_that_is_local_somewhere_is_still_the_programs(scorer):
    tests = """
def reference(x):
    f = x
    return f
assert f(1) == reference(1)
assert [f for f in (1,)] == [f(1)]
"""
    assert scorer.submit("def f(x): return x", tests).result().passed_fraction == 1


@pytest.mark.parametrize("error", ["StopIteration", "StopAsyncIteration"])
def test_a_program_cannot_end_a_loop_of_the_tests(scorer, error):
    program = f"def f(x): raise {error}"
    tests = "assert all(map(f, [1, 2]))\nassert list(map(f, [1])) == []"
    assert scorer.submit(program, tests).result().verdicts == ("error",) * 2


def test_a_program_may_be_called_like_a_builtin(scorer):
    program = "def sum(a, b): return a * b"
    assert scorer.submit(program, "assert sum(2, 5) == 10").result().passed_fraction
    found = scorer.submit(program, "assert sum(len([1]), 5) == 5", "sum").result()
    assert found.passed_fraction == 1
    # Not where the tests need the builtin for themselves.
    tests = "assert sum(f(x) for x in (1, 2)) == 3"
    program = "def f(x): return 0\ndef sum(x): return 3"
    assert scorer.submit(program, tests).result().verdicts == ("fail",)


def test_a_program_does_not_run_its_main(scorer):
    program = "def f(): return __name__\nif __name__ == '__main__': raise SystemExit"
    assert scorer.submit(program, "assert f() == 'program'").result().passed_fraction


@pytest.mark.parametrize(
    "program",
    [
        "import numpy as np\ndef f(x): return np.array(x)[::-1]",
        "from collections import deque\ndef f(x): return deque(reversed(x))",
        "def f(x): return [y for y in reversed(x)]",
        "from array import array\ndef f(x): return array('i', reversed(x))",
    ],
)
def test_containers_become_the_builtin_they_stand_for(scorer, program):
    tests = "assert f([1, 2, 3]) == [3, 2, 1]"
    assert scorer.submit(program, tests).result().passed_fraction == 1


def test_strings_hash_alike_in_every_run(scorer):
    command = [sys.executable, "-c", "print(hash('a'))"]
    known = subprocess.check_output(command, env={"PYTHONHASHSEED": "0"}, text=True)
    tests = f"assert f() == {known}"
    assert scorer.submit("def f(): return hash('a')", tests).result().passed_fraction


def test_tests_that_cannot_be_run_say_so(scorer):
    found = scorer.submit("def f(): return 1", "assert f( == 1").result()
    assert found.passed_fraction == 0
    assert "the tests cannot be run" in found.problem


def test_tests_that_check_nothing_pay_nothing(scorer):
    assert scorer.submit("def f(): return 1", "f()").result().passed_fraction == 0


def test_a_message_without_a_program_is_no_item(scorer):
    found = scorer.submit("", "assert f()").result()
    assert found == code.Result((), "there is no program")


def test_results_come_in_the_order_of_the_texts():
    texts = [f"def f(): return {i}" for i in range(30)]
    found = code.scores(texts, [f"assert f() == {i - i % 2}" for i in range(30)])
    assert [result.passed_fraction for result in found] == [1, 0] * 15


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, False, 0, -1, 10**40, -(10**40), 1.5, float("inf"), 2j),
        *("", "añ\ud800", b"\0x", bytearray(b"y"), [1, [2]], (1, (2,)), {1: {2: 3}}),
        *({1, 2}, frozenset({1}), range(1, 9, 2), int),
    ],
)
def test_a_value_comes_back_as_it_was(value):
    found = wire.decode(wire.encode(value), None)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "data", [b"", b"z", b"l\0\0\0\5n", b"d\0\0\0\1", b"nn", b"k\0\0\0\4eval", b"g" * 9]
)
def test_bytes_that_are_no_value_are_refused(data):
    with pytest.raises(wire.Malformed):
        wire.decode(data, None)
