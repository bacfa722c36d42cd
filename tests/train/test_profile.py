"""Traces of steps."""

import contextlib

import jax
import jax.numpy as jnp
import pytest

from c3jax.train import profile


def test_steps_are_named_from_one():
    assert profile.steps("10:12", 20) == range(10, 13)
    assert not profile.steps("", 20)
    for wrong in ("0:1", "3", "3:2", "a:b", "1:", "1:2:3", "-1:2"):
        with pytest.raises(ValueError, match=r"--profile=.*: it must be FROM:TO"):
            profile.steps(wrong, 20)


def test_a_trace_of_some_steps_is_read_back(tmp_path, capsys):
    trace = profile.Profile(tmp_path, profile.steps("2:3", 9))
    for step in range(1, 6):
        trace.at(step)
        jnp.arange(step).sum().block_until_ready()
        [*found] = tmp_path.rglob("*.xplane.pb")
        assert bool(found) == (step > 3)
    trace.close()
    assert capsys.readouterr().out.startswith("profile of steps 2 to 3: ")
    [path] = tmp_path.glob("plugins/profile/*/*.xplane.pb")
    planes = jax.profiler.ProfileData.from_file(str(path)).planes
    assert any("host:CPU" in plane.name for plane in planes)


def test_a_run_that_ends_inside_of_its_profile_has_what_there_was(tmp_path):
    trace = profile.Profile(tmp_path, range(4, 9))
    trace.at(5)  # it goes on from a checkpoint
    trace.close()
    assert [*tmp_path.rglob("*.xplane.pb")]


def test_steps_that_a_run_does_not_have_are_no_steps(tmp_path, capsys):
    assert profile.steps("5:9", 6) == range(5, 7)
    with pytest.raises(ValueError, match="--profile=7:8: the run has 6 steps"):
        profile.steps("7:8", 6)
    with profile.Profile(tmp_path, range(2, 4)) as trace:
        trace.at(5)  # it goes on from a later checkpoint
    assert capsys.readouterr().out == "profile: none of steps 2 to 3 ran\n"


def test_an_error_ends_a_trace(tmp_path):
    traced = profile.Profile(tmp_path, range(1, 4))
    with contextlib.suppress(FloatingPointError), traced as trace:
        trace.at(1)
        raise FloatingPointError
    assert [*tmp_path.rglob("*.xplane.pb")]
