"""The environment of a run: versions, program, devices, as `config.json` has them."""

import functools
import hashlib
import json
import os
import pathlib
import platform
from importlib import metadata

import jax

import c3jax

# Those that can change a run's numbers.
_PACKAGES = (
    *("jax", "jaxlib", "flax", "optax", "orbax-checkpoint"),
    *("numpy", "grain", "transformers"),
    *("math-verify", "latex2sympy2-extended", "sympy"),
)


def describe(mesh: jax.sharding.Mesh) -> dict:
    """Equal descriptions on one machine promise bit-equal runs."""
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


def rounding(mesh: jax.sharding.Mesh) -> str:
    """A digest of everything two computations must share to round bit for bit alike."""
    cores = pathlib.Path("/proc/cpuinfo")
    described = cores.read_text().partition("\n\n")[0] if cores.exists() else ""
    kind = [x for x in described.splitlines() if x.startswith(("model name", "flags"))]
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
