"""Benchmarks at their smallest: they run to their end and print a row of JSON."""

import argparse
import importlib
import json

import numpy as np
import pytest

from benchmarks import lineup, numerals
from tests import support

SIZES = ("-G", "2", "-K", "4", "-P", "8", "-C", "4", "--repeats=1")
SAMPLED = ("--trials=2", "--tokens=2", "--max-concurrent=4")
SMALLEST = {
    "certificate": ("--dtype=float32", "--ways=together", *SAMPLED),
    "decode": SIZES,
    "tails": (*SIZES[:6], "--mean=2", "--max-concurrent=4"),
    "tree": (*SIZES, "--pieces=1"),
    "update": (*SIZES, "--pieces=2"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_a_benchmark_runs_to_its_end(name, tmp_path, monkeypatch, capsys):
    path = tmp_path / "found.json"
    flags = (*SMALLEST[name], f"--json={path}")
    monkeypatch.setattr("sys.argv", [f"benchmarks.{name}", *flags])
    importlib.import_module(f"benchmarks.{name}").main()
    assert "| side |" in capsys.readouterr().out
    assert json.loads(path.read_text())["rows"]


@pytest.mark.parametrize("entry", lineup.PEERS.values(), ids=lineup.PEERS)
def test_a_peer_has_a_module_and_a_file_that_pins_its_packages(entry):
    assert (support.ROOT / "benchmarks" / f"{entry.module}.py").is_file()
    text = (support.ROOT / entry.requirements).read_text()
    text += (support.ROOT / "requirements-bench.txt").read_text()
    text += (support.ROOT / "requirements.txt").read_text()
    for package in entry.packages:
        assert f"\n{package}" in text


def parsed(phased, *flags):
    parser = argparse.ArgumentParser()
    lineup.flags(parser, phased)
    args = parser.parse_args(flags)
    lineup.agree(parser, args.peers, roles=1, rescore="trl" in args.peers)
    return args.peers


def test_peers_are_asked_for_by_name():
    assert parsed(True, "--peers=torch,tunix") == ("torch", "tunix")


@pytest.mark.parametrize(
    ("phased", "name", "told"),
    [
        (True, "nobody", "pick from"),
        (True, "trl", "benchmarks.tree"),
        (False, "comlrl", "--roles=2"),
        (False, "trl", "--rescore"),
    ],
)
def test_a_peer_that_cannot_do_the_work_is_refused(phased, name, told, capsys):
    with pytest.raises(SystemExit):
        parsed(phased, f"--peers={name}")
    assert told in capsys.readouterr().err


def test_numerals_are_read_as_they_were_written():
    tokens = np.random.default_rng(0).integers(0, 300, (3, 5))
    tokenizer = numerals.tokenizer(300)
    texts = [numerals.written(row) for row in tokens]
    assert (np.array(tokenizer(texts)["input_ids"]) == tokens).all()
    assert (numerals.read(tokenizer.batch_decode(tokens)) == tokens).all()
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == 300
