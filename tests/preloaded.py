"""What runs of the program import before they compute; see `tests.program`.

A process that has imported it may be forked: no backend of JAX is there yet, and
threads of its libraries wait for work that comes later.
"""

import gc
import importlib
import pkgutil
import warnings

import c3jax

gc.disable()  # until all is there, which is not searched for garbage any more
# JAX warns of its threads, which start with the first computation.
warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
for _module in pkgutil.walk_packages(c3jax.__path__, prefix="c3jax."):
    # The sandbox has processes of its own; `main` defines its flags when it is run.
    if not _module.name.startswith(("c3jax.reward.sandbox.", "c3jax.main")):
        importlib.import_module(_module.name)
importlib.import_module("rich.console")
importlib.import_module("c3jax.core.metrics").tensorboard()
transformers = importlib.import_module("transformers")
_ = transformers.PreTrainedTokenizerFast  # Others would import PyTorch.
gc.freeze()
gc.enable()
gc.set_threshold(50_000, 20, 100)
