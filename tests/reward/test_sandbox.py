"""What a program must not be able to do, and that it is not believed."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from c3jax.reward import code
from c3jax.reward.sandbox import client, confine
from tests.reward import attacks

SETTINGS = client.Settings(timeout_s=1.0, memory_mb=256)
HONEST = "def square(x):\n    return x * x"


@pytest.fixture(scope="module")
def scorer():
    with code.Scorer(SETTINGS, workers=2) as scorer:
        yield scorer


@pytest.fixture(scope="module")
def cheats(scorer):
    """The result of every cheat, each followed by an honest program."""
    asked = {
        name: (
            scorer.submit(f"```python\n{program}\n```", attacks.SQUARES),
            scorer.submit(HONEST, attacks.SQUARES),
        )
        for name, program in attacks.CHEATS.items()
    }
    return {name: [f.result() for f in pair] for name, pair in asked.items()}


@pytest.fixture(scope="module")
def escapes(scorer):
    texts = attacks.ESCAPES.values()
    found = scorer.scores([*texts], [attacks.ESCAPED] * len(texts))
    return dict(zip(attacks.ESCAPES, found, strict=True))


@pytest.mark.parametrize("name", attacks.CHEATS)
def test_a_cheat_passes_nothing(cheats, name):
    cheat, _ = cheats[name]
    assert cheat.passed_fraction == 0, cheat


@pytest.mark.parametrize("name", attacks.CHEATS)
def test_the_program_after_a_cheat_is_scored(cheats, name):
    _, honest = cheats[name]
    assert honest.verdicts == ("pass",) * 3, honest


@pytest.mark.parametrize("name", attacks.ESCAPES)
def test_nothing_escapes(escapes, name):
    assert escapes[name].passed_fraction == 0, escapes[name]


@pytest.mark.parametrize("name", attacks.DUCK)
def test_an_object_is_never_compared_with_a_value_of_the_tests_by_itself(scorer, name):
    found = scorer.scores([attacks.DUCK[name]] * len(attacks.DUCKS), attacks.DUCKS)
    paid = [t for t, r in zip(attacks.DUCKS, found, strict=True) if r.passed_fraction]
    assert paid == []


def test_a_context_of_the_program_hides_no_failure_of_the_tests(scorer):
    program = (
        "class C:\n    def __enter__(self): return 1\n"
        "    def __exit__(self, *error): return True"
    )
    tests = "def run():\n    with C() as c:\n        assert c == 2\nx = run()"
    assert scorer.submit(program, tests).result().passed_fraction == 0


def test_what_tests_hand_over_does_not_show_the_tests(scorer):
    program = """
def f(g):
    for name in ('__globals__', '__code__', 'gi_frame'):
        try: return getattr(g, name).f_globals['expected']
        except Exception: pass
        try: return getattr(g, name)['expected']
        except Exception: pass
"""
    for handed in ("lambda x: x", "(x for x in [1])", "iter([1])"):
        tests = f"expected = 5\nassert f({handed}) == expected"
        assert scorer.submit(program, tests).result().passed_fraction == 0


def test_a_class_of_the_tests_that_may_know_answers_is_not_given_away(scorer):
    program = """
def f(x):
    try: return Solution().solve(x)
    except NameError: pass
    return Data.answers[x]
"""
    tests = """
class Solution:
    def solve(self, x): return 9
class Data:
    answers = {3: 9}
assert f(3) == Solution().solve(3)
assert f(3) == Data.answers[3]
"""
    assert scorer.submit(program, tests).result().passed_fraction == 0


def test_a_name_that_is_not_there_is_no_error_that_tests_wait_for(scorer):
    wanted = [
        "try:\n    f(-1)\nexcept Exception:\n    pass\nelse:\n    raise ValueError",
        "import unittest\nclass T(unittest.TestCase):\n    def test_f(self):\n"
        "        with self.assertRaises(Exception):\n            f(-1)",
    ]
    for program in ("def g(): pass", "def f(x) return x"):
        for found in scorer.scores([program] * 2, wanted):
            assert found.passed_fraction == 0 and "Error" in found.problem
    right = "def f(x):\n    raise ValueError"
    assert all(found.all_passed for found in scorer.scores([right] * 2, wanted))


def test_methods_of_the_tests_objects_stay_theirs(scorer):
    node = (
        "class Node:\n    next = None\n    def __init__(self, v): self.v = v\n"
        "    def same(self, o): return self.v == o.v\n"
    )
    asked = node + "assert f(Node(3)).same(Node(9))"
    for patch in ("n.same = lambda o: True", "type(n).same = lambda *o: True"):
        found = scorer.submit(f"def f(n):\n    {patch}\n    return n", asked).result()
        assert found.passed_fraction == 0
    linked = node + "assert f(Node(3)).next.v == 3"
    program = "def f(n):\n    n.next = n\n    return n"
    assert scorer.submit(program, linked).result().all_passed


def test_there_are_at_least_sixty_attacks():
    assert len(attacks.CHEATS) + len(attacks.ESCAPES) >= 60


def test_an_attack_would_be_seen(scorer):
    found = scorer.submit("def f(): return 'escaped'", attacks.ESCAPED).result()
    assert found.passed_fraction == 1


def test_nothing_is_left_for_the_next_program(scorer):
    program = """
import builtins, sys
found = hasattr(builtins, 'left') or 'left' in sys.modules
builtins.left = sys.modules['left'] = True
def f(): return found
"""
    for result in scorer.scores([program] * 4, ["assert f() is False"] * 4):
        assert result.passed_fraction == 1


def test_no_file_and_no_process_is_left(scorer, cheats, escapes):
    assert not [*pathlib.Path("/tmp").glob("c3jax-escaped")]
    servers = [w._process.pid for w in scorer._pool._workers]
    assert [child for pid in servers for child in _children(pid)] == []


def test_what_a_program_overruns_does_not_delay_the_next(scorer):
    began = time.monotonic()
    programs = [attacks.CHEATS["ignores signals"]] * 2 + [HONEST] * 2
    found = scorer.scores(programs, [attacks.SQUARES] * 4)
    assert [result.passed_fraction for result in found] == [0, 0, 1, 1]
    assert time.monotonic() - began < 2 * (SETTINGS.timeout_s + 2)


def test_a_server_that_is_killed_loses_no_result(scorer):
    futures = [scorer.submit(HONEST, attacks.SQUARES) for _ in range(20)]
    for worker in [*scorer._pool._workers]:
        os.kill(worker._process.pid, signal.SIGKILL)
    assert [f.result().passed_fraction for f in futures] == [1] * 20


def test_nothing_outlives_a_trainer_that_is_killed():
    trainer = subprocess.Popen(
        [sys.executable, "-c", _TRAINER], stdout=subprocess.PIPE, text=True
    )
    server = int(trainer.stdout.readline())
    end = time.monotonic() + 20
    while len(_children(server)) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    alive = [server, *_children(server)]
    assert len(alive) == 3
    trainer.kill()
    trainer.wait()
    while any(map(_is_alive, alive)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(map(_is_alive, alive))


_TRAINER = """
from c3jax.reward.sandbox import client
server = client.Server(client.Settings(timeout_s=60))
print(server._process.pid, flush=True)
server.ask(client.Item("while True: pass", "assert f()"), 90)
"""


@pytest.mark.root
def test_an_ordinary_user_is_confined_as_well():
    settings = client.Settings(timeout_s=1.0, memory_mb=256, user=65534)
    with code.Scorer(settings, workers=2) as scorer:
        assert scorer.layers == ("landlock", "seccomp")
        cheats = [*attacks.CHEATS.values()]
        for found in scorer.scores(cheats, [attacks.SQUARES] * len(cheats)):
            assert found.passed_fraction == 0
        escapes = [*attacks.ESCAPES.values()]
        for found in scorer.scores(escapes, [attacks.ESCAPED] * len(escapes)):
            assert found.passed_fraction == 0
        assert scorer.submit(HONEST, attacks.SQUARES).result().passed_fraction == 1


@pytest.mark.root
def test_root_without_its_rights_must_be_able_to_read_the_packages(
    tmp_path, monkeypatch
):
    package = tmp_path / "theirs"
    package.mkdir()
    (package / "__init__.py").write_text("")
    os.chown(package, 12345, 12345)
    package.chmod(0o700)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="cannot read all of .*theirs.* let others"):
        code.Scorer(client.Settings(preload=("theirs",)), workers=1)


@pytest.mark.root
def test_bubblewrap_goes_around_it_all():
    with code.Scorer(client.Settings(bubblewrap=True), workers=1) as scorer:
        assert "seccomp" in scorer.layers
        assert scorer.submit(HONEST, attacks.SQUARES).result().passed_fraction == 1


def test_both_machines_allow_the_same_calls():
    tables = {name: {*m.calls} for name, m in confine.MACHINES.items()}
    # Calls that the newer machine was given under their newer names only.
    old = {"stat", "lstat", "poll", "access", "select", "readlink", "time"}
    assert tables["x86_64"] - tables["aarch64"] == old
    assert not tables["aarch64"] - tables["x86_64"]
    for machine in confine.MACHINES.values():
        assert len({*machine.calls.values()}) == len(machine.calls)


def test_a_system_without_seccomp_is_refused_unless_accepted(monkeypatch):
    class Bare(client.Server):
        def __init__(self, settings):
            super().__init__(settings)
            self.layers = ("landlock",)

    monkeypatch.setattr(client, "Server", Bare)
    with pytest.raises(ValueError, match="seccomp.*accept the risk"):
        code.Scorer(SETTINGS, workers=1)
    with code.Scorer(SETTINGS, workers=1, accept=code.UNCONFINED) as scorer:
        assert scorer.layers == ("landlock",)


def test_bubblewrap_that_is_missing_is_an_error(monkeypatch):
    monkeypatch.setattr(client.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="bwrap"):
        client.Server(client.Settings(bubblewrap=True))


def test_a_package_that_is_not_installed_cannot_be_preloaded():
    with pytest.raises(ValueError, match="no package 'nonesuch'"):
        client.Server(client.Settings(preload=("nonesuch",)))


def _children(pid: int) -> list[int]:
    try:
        found = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in found.split()]


def _is_alive(pid: int) -> bool:
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return False
    return state[0] != "Z"
