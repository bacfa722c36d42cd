"""Eight simulated devices for every test; a test uses one unless it says otherwise."""

import os
import tempfile

import pytest

# Most of the tests' time is spent compiling small programs that run once.
QUICK = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=8 {QUICK}"
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
# Programs that several tests or their subprocesses compile are compiled once, by
# whichever of pytest's workers comes first.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _CACHE = tempfile.TemporaryDirectory(prefix="c3jax-tests-")
    os.environ["XDG_CACHE_HOME"] = _CACHE.name
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _CACHE.name
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"


def pytest_collection_modifyitems(items):
    """The longest files first, so that no worker is left alone with one at the end."""
    items.sort(key=lambda item: item.path.parent.name != "train")


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Compiled programs are given back: a process may map only so much memory."""
    yield
    import jax

    jax.clear_caches()
