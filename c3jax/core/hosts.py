"""Several processes of one run: how they meet and share values.

Each process runs the same program on its own devices and has its share of every batch.
Where one has to act for all (`by_first`), or all have to agree (`largest`, `gather`,
`fetch`), every process calls the same function at the same place. In a run of one
process none of these does anything.
"""

import os
import pickle
import re
import sys
import urllib.request
from collections.abc import Callable, Mapping, Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

# Variables of SLURM from which JAX works out the rest.
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")
# The variable with the number of TPU slices, where there are several.
_SLICES = "MEGASCALE_NUM_SLICES"
# Seconds that a finished process waits for the others, before it ends them; and until
# one that sends no sign of life, every few seconds, counts as lost.
_LEAVE_S, _LOST_S = 20, 30


def join(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> None:
    """Meets the other processes of the run, if there are any; before any computation.

    Without arguments, Cloud TPU, GKE or SLURM announce them. Output of all processes
    but the first is dropped.

    Args:
        coordinator: HOST:PORT where process 0 listens.
        process: the index of this one, from 0.

    Raises:
        ValueError: some arguments are missing, or do not fit together.
    """
    # The process's place, from the arguments or the system.
    arguments = (coordinator, processes, process)
    if None not in arguments:
        if not 0 <= process < processes:
            raise ValueError(
                f"--process={process}: it must be one of 0 to {processes - 1}, for "
                f"--processes={processes}."
            )
        if not coordinator.rpartition(":")[2].isdigit():
            raise ValueError(f"--coordinator={coordinator} is not HOST:PORT.")
    elif arguments != (None, None, None):
        raise ValueError(
            "--coordinator=HOST:PORT, --processes=N and --process=I go together: give "
            "all three to every process, or none where there is one."
        )
    elif announced(os.environ) == 1:
        return

    # JAX's service would handle SIGTERM, which `signals.Stop` does.
    jax.config.update("jax_enable_preemption_service", False)
    waits = dict(shutdown_timeout_seconds=_LEAVE_S, heartbeat_timeout_seconds=_LOST_S)
    jax.distributed.initialize(*arguments, **waits)
    if not is_first():
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115


def announced(environ: Mapping[str, str]) -> int:
    """The number of processes that the system announces for this run; 1 by default.

    Args:
        environ: variables of the environment, after JAX was imported.
    """
    if all(name in environ for name in _SLURM):
        return int(environ.get("SLURM_STEP_NUM_TASKS", 1))
    platforms = environ.get("JAX_PLATFORMS")
    if platforms and "tpu" not in platforms.split(","):
        return 1
    workers = environ.get("TPU_PROCESS_ADDRESSES") or environ.get(
        "TPU_WORKER_HOSTNAMES"
    )
    count = slices(environ)
    if workers is None:
        # Of Cloud TPU; JAX looks for both there, too. A line is NAME: 'VALUE'.
        workers = _metadata(environ, "worker-network-endpoints")
        if workers and _SLICES not in environ:
            lines = _metadata(environ, "tpu-env")
            count = int(*re.findall(rf"^{_SLICES}: *'?(\d+)", lines, re.M)[:1] or "1")
    return count * len(workers.split(","))


def slices(environ: Mapping[str, str]) -> int:
    """The number of TPU slices that the environment announces; 1 by default."""
    return int(environ.get(_SLICES) or 1)


def _metadata(environ: Mapping[str, str], attribute: str) -> str:
    """What the metadata server of a Cloud TPU machine says; "" elsewhere."""
    # JAX sets it where there is no TPU.
    if "TPU_SKIP_MDS_QUERY" in environ:
        return ""
    server = environ.get("GCE_METADATA_IP", "metadata.google.internal")
    request = urllib.request.Request(
        f"http://{server}/computeMetadata/v1/instance/attributes/{attribute}",
        headers={"Metadata-Flavor": "Google"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read().decode()
    except OSError:  # A TPU outside of Google's cloud.
        return ""


def many() -> bool:
    """Whether the run has more processes than this one."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def is_first() -> bool:
    """Whether this process does the work of all, such as writing files."""
    return not many() or jax.process_index() == 0


def by_first(act: Callable, *args):
    """The result of `act(*args)` in the first process, returned in all of them.

    Only the first process calls it; the others wait for it. A ValueError or an OSError
    is raised in all. It must not call any function of this module.
    """
    if not many():
        return act(*args)
    result, error = None, None
    if is_first():
        try:
            result = act(*args)
        except (OSError, ValueError) as raised:
            error = raised
    result, error = _broadcast((result, error))
    if error is not None:
        raise error
    return result


def _broadcast(value):
    """The first process's value, sent to all as a pickle."""
    pickled = np.frombuffer(pickle.dumps(value), np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(pickled))))
    # Padded to powers of two, since each size compiles a program.
    padded = np.zeros(max(1024, 1 << (size - 1).bit_length()), np.uint8)
    if is_first():
        padded[:size] = pickled
    return pickle.loads(multihost_utils.broadcast_one_to_all(padded)[:size].tobytes())


def largest(value: int) -> int:
    """The largest of all processes' values."""
    if not many():
        return value
    return int(multihost_utils.process_allgather(np.int32(value)).max())


def gather(values: np.ndarray, rows: Sequence[np.ndarray]) -> np.ndarray:
    """The rows of all processes in one array, in all of them.

    Args:
        values: [rows of this process, ..].
        rows: per process, the indices of its rows in the whole, equally many.
    """
    if not many():
        return values
    parts = multihost_utils.process_allgather(values)
    whole = np.zeros((1 + max(map(max, rows)), *values.shape[1:]), values.dtype)
    # The first process's copy of a shared row is taken, so that all agree.
    for indices, part in reversed([*zip(rows, parts, strict=True)]):
        whole[indices] = part
    return whole


def fetch(tree):
    """A tree of arrays, on any process's devices, as NumPy in all processes."""

    def one(x):
        if not isinstance(x, jax.Array) or x.is_fully_addressable:
            return jax.device_get(x)
        if x.is_fully_replicated:
            return np.asarray(x)
        return multihost_utils.process_allgather(x, tiled=True)

    return jax.tree.map(one, tree) if many() else jax.device_get(tree)
