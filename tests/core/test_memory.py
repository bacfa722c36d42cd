import platform
import resource
import subprocess
import sys

from c3jax.core import memory

# Faults of pages while a large block is taken and given back again and again.
_FAULTS = """
import resource, sys
from c3jax.core import memory
sys.argv[1] == "keep" and memory.keep()
def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for count in range(40):
    if count == 20:
        before = faults()
    bytearray(1 << 26)
print(faults() - before)
"""


def faults(how: str) -> int:
    return int(subprocess.check_output([sys.executable, "-c", _FAULTS, how]))


def test_memory_that_is_freed_is_kept_where_the_c_library_can():
    assert memory.keep() == (platform.libc_ver()[0] == "glibc")
    pages = (1 << 26) // resource.getpagesize()
    if platform.libc_ver()[0] == "glibc":
        assert faults("keep") < pages < 20 * pages <= faults("leave")
