"""Benchmarks at their smallest: they run to their end and print a row of JSON."""

import importlib
import json

import pytest

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
