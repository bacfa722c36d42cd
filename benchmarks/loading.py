"""Memory that reading a published model needs beside the parameters themselves.

    python -m benchmarks.loading --layers=14 --shards=4

Writes a random Qwen3 of 16-bit numbers, then reads it in a fresh process for each row.
"Beside" is the most that was resident while it was read, less what was before and less
the parameters. On a CPU these are resident, too, and so is what the compiler holds and
what of the files is mapped: all of it is counted.
"""

import argparse
import functools
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import jax
import ml_dtypes
import numpy as np
from safetensors import numpy as safetensors

from benchmarks import bench
from c3jax import policy
from c3jax.core import host_memory
from c3jax.policy import decoder, families

ROWS = {
    "float32": ("float32", False),
    "bfloat16": ("bfloat16", False),
    "float32, as main runs it": ("float32", True),
}


def write(directory: pathlib.Path, args) -> int:
    """A random model as `transformers` saves it; bytes of its largest tensor."""
    import transformers

    config = transformers.Qwen3Config(
        vocab_size=args.vocab,
        hidden_size=args.width,
        intermediate_size=3 * args.width,
        num_hidden_layers=args.layers,
        num_attention_heads=args.width // 128,
        num_key_value_heads=max(1, args.width // 256),
        head_dim=128,
        tie_word_embeddings=True,
        dtype="bfloat16",
    )
    config.save_pretrained(directory)
    shape = families.shape(config)
    sizes = {tensor.name: _size(tensor, shape) for tensor in families.tensors(shape)}
    rng, listed = np.random.default_rng(0), {}
    for number, names in enumerate(np.array_split([*sizes], args.shards), 1):
        file = f"model-{number:05d}-of-{args.shards:05d}.safetensors"
        found = {
            str(name): rng.standard_normal(sizes[name], np.float32).astype(
                ml_dtypes.bfloat16
            )
            for name in names
        }
        safetensors.save_file(found, directory / file, metadata={"format": "pt"})
        listed |= dict.fromkeys(found, file)
    index = {"metadata": {}, "weight_map": listed}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    return 2 * max(int(np.prod(size)) for size in sizes.values())


def _size(tensor: families.Tensor, shape: decoder.Shape) -> tuple[int, ...]:
    param = functools.reduce(dict.__getitem__, tensor.path, decoder.declare(shape))
    return tensor.shape(param.shape[tensor.layer is not None :])


def resident(field: str) -> int:
    """Bytes of "VmRSS", or of "VmHWM", the most since it was last reset."""
    text = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"{field}:\s+(\d+) kB", text)[1])


def load(directory: pathlib.Path, side: str) -> dict:
    """Reads a model in this process; what it took."""
    dtype, keep = ROWS[side]
    if keep:
        host_memory.disable_malloc_trim()
    jax.block_until_ready(jax.numpy.ones(1) + 1)
    families.read_config(directory)  # imports `transformers`
    before = resident("VmRSS")
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    begin = time.perf_counter()
    params = jax.block_until_ready(policy.load(directory, dtype=dtype).params)
    seconds = time.perf_counter() - begin
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    return {
        "wall_s": seconds,
        "parameters": held,
        "beside": resident("VmHWM") - before - held,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--vocab", type=int, default=151_936)
    parser.add_argument("--width", type=int, default=2048)
    parser.add_argument("--layers", type=int, default=14)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.load:
        print(json.dumps(load(pathlib.Path(args.load[0]), args.load[1])))
        return
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        largest = write(pathlib.Path(directory), args)
        for side in ROWS:
            command = [sys.executable, "-m", "benchmarks.loading"]
            output = subprocess.check_output([*command, "--load", directory, side])
            found = json.loads(output.splitlines()[-1])
            rows.append(
                {
                    "side": side,
                    "wall s": found["wall_s"],
                    "parameters MiB": found["parameters"] / 2**20,
                    "largest tensor MiB": largest / 2**20,
                    "beside MiB": found["beside"] / 2**20,
                    "beside / largest": found["beside"] / largest,
                }
            )
    del args.load
    bench.finish(args, "loading", rows, machine=bench.machine())


if __name__ == "__main__":
    main()
