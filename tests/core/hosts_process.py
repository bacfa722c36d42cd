"""What one of the processes of `test_hosts` does: argv is PORT, PROCESSES, PROCESS."""

import errno
import json
import os
import signal
import sys

import jax
import numpy as np

from c3jax.core import hosts, sharding, signals


def main(port: str, processes: int, process: int) -> None:
    """Says what this process knows, one JSON record; only the first may print."""
    hosts.join(f"127.0.0.1:{port}", processes, process)
    print("said by", process)
    with signals.Stop(hosts.largest) as stop:
        before = stop()
        if process == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        stopped = [stop(), stop.signal.name]
    devices = sharding.make(-1, 1, 1)
    rows = sharding.rows(devices, 8)
    spread = jax.make_array_from_process_local_data(
        sharding.batch(devices), np.float32(rows[process])
    )
    record = {
        "first": hosts.by_first(lambda: f"of {process}"),
        "long": len(hosts.by_first(lambda: "x" * 5000)),
        "errors": [_raised(ValueError("no")), _raised(OSError(errno.ENOSPC, "full"))],
        "stopped": [before, *stopped],
        "rows": rows[process].tolist(),
        "gathered": hosts.gather(10 * rows[process], rows).tolist(),
        "fetched": hosts.fetch({"a": spread, "b": spread.sum()}),
    }
    record["fetched"] = {k: v.tolist() for k, v in record["fetched"].items()}
    print(json.dumps(record), file=sys.stderr)
    hosts.by_first(int)


def _raised(error: Exception) -> str:
    def fail():
        raise error

    try:
        hosts.by_first(fail)
    except type(error) as found:
        return repr(found)
    return "nothing"


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
