import platform
import resource
import subprocess
import sys

import pytest

from c3jax.core import host_memory

# Faults of pages while two large blocks are taken and given back again and again: in a
# thread, an arena of its own has each in a heap of its own, and unmaps the second.
_FAULTS = """
import resource, sys, threading
from c3jax.core import host_memory
sys.argv[1] == "keep" and host_memory.disable_malloc_trim()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def use():
    for count in range(20):
        if count == 10:
            before = faults()
        blocks = [bytearray(40 << 20) for _ in range(2)]
        del blocks
    print(faults() - before)
if sys.argv[2] == "thread":
    threading.Thread(target=use).start()
else:
    use()
"""


def faults(*how: str) -> int:
    return int(subprocess.check_output([sys.executable, "-c", _FAULTS, *how]))


def test_memory_that_is_freed_is_kept_where_the_c_library_can():
    told = (
        "from c3jax.core import host_memory; print(host_memory.disable_malloc_trim())"
    )
    output = subprocess.check_output([sys.executable, "-c", told], text=True)
    assert output.strip() == str(platform.libc_ver()[0] == "glibc")


@pytest.mark.parametrize("where", ["main", "thread"])
def test_what_is_kept_is_not_taken_again_page_by_page(where):
    pages = (40 << 20) // resource.getpagesize()
    kept, left = faults("keep", where), faults("leave", where)
    # Another C library than glibc keeps what it keeps, whatever it is told.
    is_glibc = platform.libc_ver()[0] == "glibc"
    assert (kept < pages < 10 * pages <= left) == is_glibc


def test_a_process_knows_what_it_has():
    block = bytearray(b"." * (64 << 20))
    assert len(block) < host_memory.resident() < 64 << 30


V2 = {
    "proc/self/cgroup": "0::/a/b\n",
    "sys/fs/cgroup/a/b/memory.max": "max\n",
    "sys/fs/cgroup/a/memory.max": f"{5 << 30}\n",
    "sys/fs/cgroup/a/memory.current": f"{4 << 30}\n",
    "sys/fs/cgroup/a/memory.stat": f"anon 7\ninactive_file {1 << 30}\n",
}
V1 = {
    "proc/self/cgroup": "4:memory:/not/mounted\n2:cpu,cpuacct:/\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{3 << 30}\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{2 << 30}\n",
    "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 0\n",
}
NO_LIMIT = {**V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{1 << 63}\n"}


@pytest.mark.parametrize(("groups", "left"), [({}, 8), (V2, 2), (V1, 1), (NO_LIMIT, 8)])
def test_what_is_left_is_the_machines_or_that_of_a_group(tmp_path, groups, left):
    told = f"MemFree: 7 kB\nMemAvailable:  {8 << 20} kB\nHugePages_Free: 0\n"
    for name, text in {"proc/meminfo": told, **groups}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert host_memory.available(tmp_path) == left << 30


def test_where_the_system_tells_nothing_nothing_is_known(tmp_path):
    assert host_memory.available(tmp_path) is None
