"""What every benchmark needs: fair timing, the machine's limits, tables and JSON."""

import argparse
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np


def interleaved(
    work: Mapping[str, Callable[[], object]], repeats: int
) -> dict[str, dict]:
    """Runs each piece of work once to compile, then all of them in turn.

    Turn by turn, so that a busy moment of the machine falls on all alike.

    Returns:
        Per name: first_s, the first call with its compilation; wall_s, the median of
        the others; low_s and high_s, the extremes; cpu_s, the median of the process's
        CPU seconds, the steadier figure on a shared machine.
    """
    first, wall, cpu = {}, {n: [] for n in work}, {n: [] for n in work}
    for name, fn in work.items():
        begin = time.perf_counter()
        jax.block_until_ready(fn())
        first[name] = time.perf_counter() - begin
    for _ in range(repeats):
        for name, fn in work.items():
            begin, used = time.perf_counter(), time.process_time()
            jax.block_until_ready(fn())
            wall[name].append(time.perf_counter() - begin)
            cpu[name].append(time.process_time() - used)
    return {
        name: {
            "first_s": first[name],
            "wall_s": float(np.median(wall[name])),
            "low_s": min(wall[name]),
            "high_s": max(wall[name]),
            "cpu_s": float(np.median(cpu[name])),
        }
        for name in work
    }


def limits(dtype: str) -> dict[str, float]:
    """The machine's read bandwidth, bytes/s, and matmul rate, FLOP/s, measured."""
    rows, size = (16384, 2048) if jax.default_backend() == "cpu" else (1 << 19, 8192)
    tall, line = jnp.ones((rows, size), dtype), jnp.ones((size,), dtype)
    square = jnp.ones((size, size), dtype)
    found = interleaved(
        {
            "read": lambda: _product(tall, line),
            "matmul": lambda: _product(square, square),
        },
        5,
    )
    return {
        "bytes_per_s": tall.nbytes / found["read"]["low_s"],
        "flop_per_s": 2 * size**3 / found["matmul"]["low_s"],
    }


_product = jax.jit(jnp.matmul)


def machine() -> dict:
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "devices": jax.device_count(),
        "cores": os.cpu_count(),
        "arch": platform.machine(),
        "jax": jax.__version__,
    }


def temporary_bytes(compiled: jax.stages.Compiled) -> int:
    """Memory that a program needs beside its arguments and results."""
    return compiled.memory_analysis().temp_size_in_bytes


def parser(description: str) -> argparse.ArgumentParser:
    """Flags of every benchmark."""
    found = argparse.ArgumentParser(description=description.split("\n")[0])
    found.add_argument("--model", default="tiny", choices=sorted(MODELS))
    found.add_argument("--groups", "-G", type=int, default=8)
    found.add_argument("--siblings", "-K", type=int, default=8)
    found.add_argument("--prefix", "-P", type=int, default=512)
    found.add_argument("--completion", "-C", type=int, default=64)
    found.add_argument("--dtype", default="float32")
    found.add_argument("--repeats", type=int, default=5)
    found.add_argument("--json", type=pathlib.Path, help="append the result here")
    return found


# Qwen3's shape throughout; "peer" is the one that google-tunix was measured with.
MODELS = {
    "tiny": dict(
        vocab=8192, width=256, layers=4, heads=4, kv_heads=2, head_dim=64, hidden=1024
    ),
    "peer": dict(
        vocab=512, width=256, layers=4, heads=4, kv_heads=2, head_dim=64, hidden=1024
    ),
    "small": dict(
        vocab=8192, width=512, layers=8, heads=8, kv_heads=4, head_dim=64, hidden=1536
    ),
    "qwen3_4b": dict(
        vocab=151936,
        width=2560,
        layers=36,
        heads=32,
        kv_heads=8,
        head_dim=128,
        hidden=9728,
    ),
}


def finish(args, title: str, rows: list[dict], **about) -> None:
    """Prints a table and a line of JSON, and appends that line to --json."""
    names = list(rows[0])
    print(f"\n{title}\n")
    print("| " + " | ".join(names) + " |")
    print("|" + " --- |" * len(names))
    for row in rows:
        print("| " + " | ".join(_shown(row[name]) for name in names) + " |")
    flags = {k: v for k, v in vars(args).items() if k != "json"}
    line = json.dumps({"benchmark": title, **flags, **about, "rows": rows})
    print(f"\n{line}")
    if args.json:
        with args.json.open("a") as file:
            file.write(line + "\n")


def _shown(value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
