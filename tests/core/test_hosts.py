"""Two processes on this machine that meet, and one that has nobody to meet."""

import http.server
import json
import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from c3jax.core import hosts
from tests import support


def together(module: str, *flags) -> list[subprocess.Popen]:
    """Two processes of two devices each; what they say is read from `stderr`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", module, port, "2", str(process), *flags],
            cwd=support.ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for process in range(2)
    ]


@pytest.fixture(scope="module")
def told():
    """What both processes of `hosts_process` know."""
    records, printed = [], []
    for process in together("tests.core.hosts_process"):
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        records.append(json.loads(errors.splitlines()[-1]))
        # What the library of collectives prints is not ours to drop.
        printed.append(output.count("said by"))
    assert printed == [1, 0]
    return records


def test_what_the_first_process_found_is_known_to_all(told):
    for record in told:
        assert record["first"] == "of 0"
        assert record["long"] == 5000
        assert record["errors"] == ["ValueError('no')", "OSError(28, 'full')"]


def test_a_signal_to_one_process_stops_all_at_the_same_place(told):
    assert [record["stopped"] for record in told] == [[False, True, "SIGTERM"]] * 2


def test_each_process_has_rows_of_a_batch_and_all_know_all_of_it(told):
    assert [record["rows"] for record in told] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    for record in told:
        assert record["gathered"] == [10 * row for row in range(8)]
        assert record["fetched"] == {"a": [*range(8)], "b": 28}


def test_one_process_asks_nobody():
    assert hosts.is_first()
    assert not hosts.many()
    assert hosts.by_first(divmod, 7, 2) == (3, 1)
    assert hosts.largest(5) == 5
    values = np.arange(3)
    assert hosts.gather(values, (values,)) is values
    with pytest.raises(ZeroDivisionError):
        hosts.by_first(divmod, 7, 0)


SLURM = {
    **dict(SLURM_JOB_ID="5", SLURM_STEP_NODELIST="n[1-2]", SLURM_PROCID="1"),
    **dict(SLURM_LOCALID="0", SLURM_NTASKS="2", SLURM_STEP_NUM_TASKS="2"),
}
ALONE = {"TPU_SKIP_MDS_QUERY": "1"}


@pytest.mark.parametrize(
    ("environ", "count"),
    [
        (ALONE, 1),
        (SLURM, 2),
        # A shell on one node of an allocation of many.
        (SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, 1),
        # What a batch script sees, outside of srun.
        (ALONE | {"SLURM_JOB_ID": "5", "SLURM_NTASKS": "2", "SLURM_PROCID": "0"}, 1),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, 1),
        ({"TPU_WORKER_HOSTNAMES": "a,b,c,d"}, 4),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "MEGASCALE_NUM_SLICES": "2"}, 4),
        # One machine of a slice that is to compute without its TPU.
        ({"TPU_WORKER_HOSTNAMES": "a,b", "JAX_PLATFORMS": "cpu"}, 1),
    ],
)
def test_a_run_has_as_many_processes_as_the_system_says(environ, count):
    assert hosts.announced(environ) == count


@pytest.mark.parametrize(
    ("listed", "env", "count"),
    [
        (None, "", 1),
        ("1:a:10.0.0.1", "ZONE: 'z'\n", 1),
        ("1:a:10.0.0.1,2:b:10.0.0.2", "", 2),
        # Two slices of one machine, and of two.
        ("1:a:10.0.0.1", "ZONE: 'z'\nMEGASCALE_NUM_SLICES: '2'\n", 2),
        ("1:a:10.0.0.1,2:b:10.0.0.2", "MEGASCALE_NUM_SLICES: '2'\n", 4),
    ],
)
def test_a_cloud_tpu_machine_asks_its_metadata(listed, env, count):
    told = {"worker-network-endpoints": listed, "tpu-env": env}

    class Metadata(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            place, _, name = self.path.rpartition("/")
            known = place.endswith("/attributes") and told[name]
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write((known or "").encode())

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        assert hosts.announced({"GCE_METADATA_IP": address}) == count
        server.shutdown()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("localhost:1", None, None), "go together: give all three"),
        ((None, 2, 0), "go together: give all three"),
        (("localhost:1", 2, 2), "--process=2: it must be one of 0 to 1"),
        (("localhost", 2, 1), "--coordinator=localhost is not HOST:PORT"),
    ],
)
def test_processes_that_cannot_meet_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        hosts.join(*given)
