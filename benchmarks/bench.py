"""What every benchmark needs: fair timing, the machine's limits, tables and JSON."""

import argparse
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Hashable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax


def interleaved(
    work: Mapping[Hashable, Callable[[], object]], repeats: int
) -> dict[Hashable, dict]:
    """Runs each piece of work once to warm it up, then all of them in turn.

    Turn by turn, so that a busy moment of the machine falls on all alike.

    Returns:
        Per name: first_s, the first call, with what it compiles; wall_s, the median of
        the others; low_s and high_s, the extremes; cpu_s, the median of the process's
        CPU seconds over all threads, the steadier figure on a shared machine.
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


def compiled(fn: Callable, *args) -> tuple[jax.stages.Compiled, float]:
    """A jitted function's program for these arguments, and the seconds it took."""
    begin = time.perf_counter()
    program = fn.lower(*args).compile()
    return program, time.perf_counter() - begin


def temporary_bytes(program: jax.stages.Compiled) -> int:
    """Memory that a program needs beside its arguments and results."""
    return program.memory_analysis().temp_size_in_bytes


def fits(program: jax.stages.Compiled) -> bool:
    """Whether the device has room to run a program beside what it holds already.

    True where the device does not tell; its arguments are taken to be held.
    """
    memory = _device_memory()
    if "bytes_limit" not in memory:
        return True
    return memory["bytes_in_use"] + _new_bytes(program) <= memory["bytes_limit"]


def peaks(
    work: Mapping[Hashable, tuple[jax.stages.Compiled, Callable[[], object]]],
) -> dict[Hashable, int]:
    """The most memory that was held while each program ran, where the device tells.

    It keeps one maximum for the life of the process, so each program runs once, the
    one that needs least first.

    Args:
        work: per name a program and the call that runs it.

    Returns:
        Bytes by name; {}, and nothing is run, where the device does not tell.
    """
    found = {}
    if "peak_bytes_in_use" in _device_memory():
        for name in sorted(work, key=lambda name: _new_bytes(work[name][0])):
            jax.block_until_ready(work[name][1]())
            found[name] = _device_memory()["peak_bytes_in_use"]
    return found


def _new_bytes(program: jax.stages.Compiled) -> int:
    """Memory that a program needs beside its arguments."""
    needs = program.memory_analysis()
    new = needs.output_size_in_bytes - needs.alias_size_in_bytes
    return needs.temp_size_in_bytes + new


def _device_memory() -> dict[str, int]:
    return jax.devices()[0].memory_stats() or {}


@jax.jit
def difference(ours: dict, theirs: dict) -> jax.Array:
    """Norm of the difference of two gradients over the norm of the second."""
    off = jax.tree.map(lambda a, b: a - b, ours, theirs)
    return optax.tree.norm(off) / optax.tree.norm(theirs)


class Holder:
    """The training state, handed to donating programs in turn and taken back.

    One for all sides: a large state does not fit twice.
    """

    def __init__(self, state):
        self.state = state

    def advance(self, program: Callable, *args):
        """Runs (state, *args) -> (state, result); the result."""
        self.state, result = program(self.state, *args)
        return result


def fastest(
    candidates: Mapping[str, Mapping[int, Callable[[], object]]],
) -> tuple[dict[str, int], dict[str, dict[int, float]]]:
    """Tries several ways to do each side's work, all of them in turn.

    Args:
        candidates: per side, name of the way -> the work.

    Returns:
        Per side, the name of the fastest; and the seconds each took, best of two.
    """
    work = {(s, n): fn for s, ways in candidates.items() for n, fn in ways.items()}
    if all(len(ways) == 1 for ways in candidates.values()):
        return {side: next(iter(ways)) for side, ways in candidates.items()}, {}
    found = interleaved(work, 2)
    tried = {
        side: {name: found[side, name]["low_s"] for name in ways}
        for side, ways in candidates.items()
    }
    return {side: min(each, key=each.get) for side, each in tried.items()}, tried


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


def parser(description: str) -> argparse.ArgumentParser:
    """Flags of every benchmark."""
    found = argparse.ArgumentParser(description=description.split("\n")[0])
    found.add_argument("--model", default="tiny", choices=sorted(MODELS))
    found.add_argument("--groups", "-G", type=int, default=8)
    found.add_argument("--siblings", "-K", type=int, default=8)
    found.add_argument("--prefix", "-P", type=int, default=512)
    found.add_argument("--completion", "-C", type=int, default=64)
    found.add_argument("--dtype", default="float32", help="of activations and KV")
    found.add_argument("--attention", default="fused", help="see decoder.ATTENTION")
    found.add_argument("--repeats", type=int, default=5)
    found.add_argument("--json", type=pathlib.Path, help="append the result here")
    return found


def weights(model: str) -> int:
    """The numbers of one layer's matrix products."""
    m = MODELS[model]
    heads, kv = m["heads"] * m["head_dim"], m["kv_heads"] * m["head_dim"]
    return m["width"] * (2 * heads + 2 * kv + 3 * m["hidden"])


def numbers(text: str) -> tuple[int, ...]:
    """The value of a flag that names several sizes to try: 1,2,4."""
    return tuple(int(number) for number in text.split(","))


# Qwen3's shape throughout, in SmolLM2-135M's sizes, too; "peer" is the one that
# google-tunix was measured with.
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
    "smollm2": dict(
        vocab=49152, width=576, layers=30, heads=9, kv_heads=3, head_dim=64, hidden=1536
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


def row(
    side: str,
    found: Mapping,
    tokens: int,
    *,
    program: jax.stages.Compiled | None = None,
    peak: int | None = None,
    compile_s: float | None = None,
    **columns,
) -> dict:
    """One side's line of the table.

    Args:
        side: its name.
        found: its figures from `interleaved`.
        tokens: generated, or trained on, by one call.
        program: whose temporary memory is shown.
        peak: from `peaks`.
        compile_s: seconds of compilation, where they were measured apart.
        columns: shown between the common ones.
    """
    line = {
        "side": side,
        "wall s": found["wall_s"],
        "low": found["low_s"],
        "high": found["high_s"],
        "cpu s": found["cpu_s"],
        "tokens/s": tokens / found["wall_s"],
        **columns,
    }
    if program is not None:
        line["temporary MiB"] = temporary_bytes(program) / 2**20
    if peak is not None:
        line["peak MiB"] = peak / 2**20
    if compile_s is not None:
        line["compile s"] = compile_s
    return line


def ratios(rows: list[dict]) -> dict[str, dict[str, float]]:
    """Every other side's seconds and memory over the first side's."""
    first, *others = rows
    return {
        line["side"]: {
            field: line[field] / first[field]
            for field in line
            if field.endswith((" s", " MiB"))
            and field != "compile s"
            and first.get(field)
        }
        for line in others
    }


def finish(args, title: str, rows: list[dict], **about) -> None:
    """Prints a table and a line of JSON, and appends that line to --json.

    The columns are those of the first row; "-" is what another row does not have.
    """
    names = list(rows[0])
    print(f"\n{title}\n")
    print("| " + " | ".join(names) + " |")
    print("|" + " --- |" * len(names))
    for line in rows:
        print("| " + " | ".join(_shown(line.get(name, "-")) for name in names) + " |")
    flags = {k: v for k, v in vars(args).items() if k != "json"}
    found = {"benchmark": title, **flags, "ratios": ratios(rows), **about, "rows": rows}
    text = json.dumps(found)
    print(f"\n{text}")
    if args.json:
        with args.json.open("a") as file:
            file.write(text + "\n")


def size(args) -> str:
    """The sizes of a run, for its title."""
    return (
        f"{args.model} G={args.groups} K={args.siblings} P={args.prefix} "
        f"C={args.completion} {args.dtype}"
    )


def _shown(value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
