"""The environment of a run: versions, program, devices, as `config.json` has them."""

import functools
import hashlib
import json
import os
import pathlib
import platform
import sys
from importlib import metadata

import jax
import numpy as np

import c3jax

# What starts the program in a process of its own.
COMMAND = (sys.executable, "-m", "c3jax.main")
# Packages that can change a run's numbers.
_JAX = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint")
_MATHS = ("mpmath", "sympy")
_PACKAGES = (*_JAX, "numpy", "grain", "transformers", *_MATHS)


def describe(mesh: jax.sharding.Mesh) -> dict:
    """The environment of a run; equal ones on one machine promise bit-equal runs."""
    devices = mesh.devices.flatten()
    return {
        "versions": {
            "python": platform.python_version(),
            "c3jax": c3jax.__version__,
            **{name: metadata.version(name) for name in _PACKAGES},
        },
        "program": _program(),
        "devices": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": int(devices.size),
            "processes": jax.process_count(),
            "mesh": {name: int(size) for name, size in mesh.shape.items()},
        },
    }


def check_devices(wanted: int | None = None) -> None:
    """Refuses devices that are not as many as they should be, or that miscalculate.

    Args:
        wanted: devices of all processes; None for any number.

    Raises:
        ValueError: names what is there, or the device.
    """
    there, processes = jax.device_count(), jax.process_count()
    if wanted is not None and there != wanted:
        raise ValueError(
            f"--expect_devices={wanted}: JAX has {there} of "
            f"{jax.devices()[0].device_kind!r} in {processes} processes; look for a "
            "machine that is missing or a driver that fails, or correct the number."
        )
    # A product of small whole numbers, which is exact in any precision.
    x = np.arange(64 * 64).reshape(64, 64) % 7
    for device in jax.local_devices():
        on_device = jax.device_put(x.astype(np.float32), device)
        if not np.array_equal(on_device @ on_device, x @ x):
            raise ValueError(
                f"{device} in process {jax.process_index()} multiplies wrongly; take "
                "its machine out of the run."
            )


def rounding(mesh: jax.sharding.Mesh) -> str:
    """A digest of everything two computations must share to round bit for bit alike."""
    # The kind of the first core stands for all.
    cores = pathlib.Path("/proc/cpuinfo")
    core = cores.read_text().partition("\n\n")[0] if cores.exists() else ""
    kind = [x for x in core.splitlines() if x.startswith(("model name", "flags"))]
    shared = [describe(mesh), kind, os.cpu_count(), os.environ.get("XLA_FLAGS")]
    return hashlib.sha256(json.dumps(shared).encode()).hexdigest()[:16]


@functools.cache
def _program() -> str:
    """A digest of c3jax's own files: a checkout may differ from its version."""
    root = pathlib.Path(c3jax.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.relative_to(root).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
