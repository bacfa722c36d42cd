"""Eight simulated devices for every test; a test uses one unless it says otherwise."""

import gc
import itertools
import os
import pathlib
import re
import tempfile

import jaxlib.version
import pytest

# Most of the tests' time is spent compiling small programs that run once.
QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_parallel_codegen_split_count=1"
)
# Kernels of the emitters take twice as long to compile. XLA ends a process that is told
# of a flag it does not know, and does not know this one since 0.11.2.
if jaxlib.version.__version_info__ < (0, 11, 1):
    QUICK += " --xla_cpu_use_fusion_emitters=false"
# Eight devices on few cores may wait for each other longer than XLA expects, and need
# more threads than those that wait, or they wait forever.
PATIENT = "--xla_cpu_collective_call_terminate_timeout_seconds=200"
os.environ["PJRT_NPROC"] = "32"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=8 {PATIENT} {QUICK}"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
# Programs that several tests or their subprocesses compile are compiled once, by
# whichever of pytest's workers comes first. The gate gives its runs one place for them.
if "PYTEST_XDIST_WORKER" not in os.environ:
    if not (_place := os.environ.get("C3JAX_TESTS_CACHE")):
        _temporary = tempfile.TemporaryDirectory(prefix="c3jax-tests-")
        _place = _temporary.name
    os.environ["XDG_CACHE_HOME"] = os.environ["JAX_COMPILATION_CACHE_DIR"] = _place
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# A process may map memory this often, by default 65,530 times on Linux, and compiled
# programs take their share of it.
MAPPINGS = 30_000


MARKERS = ("slow", "model", "browser", "root")


def pytest_ignore_collect(collection_path, config):
    """Whether a file has no test of the kind that `-m` asks for.

    It is not imported then, nor is what it imports.
    """
    asked = config.option.markexpr
    if collection_path.suffix != ".py" or not re.fullmatch(r"[\w\s()]+", asked):
        return None
    text = collection_path.read_text(encoding="utf-8")
    used = [name for name in MARKERS if f"mark.{name}" in text]
    for chosen in itertools.product((False, True), repeat=len(used)):
        has = dict.fromkeys(MARKERS, False) | dict(zip(used, chosen, strict=True))
        try:
            if eval(asked, {}, has):
                return None
        except (NameError, SyntaxError, TypeError):
            return None  # pytest says what is wrong.
    return True


def pytest_collection_modifyitems(items):
    """The longest files first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.path.parent.name != "train")


def pytest_collection_finish():
    """What was imported stays, so that it need not be searched for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Compiled programs are given back before there are too many."""
    yield
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and len(maps.read_text().splitlines()) > MAPPINGS:
        import jax

        jax.clear_caches()
