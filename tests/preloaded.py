"""What runs of the program import before they compute; see `tests.program`.

A process that has imported it may be forked: no backend of JAX is there yet, and
threads of its libraries wait for work that comes later.
"""

import importlib
import pkgutil
import warnings

import c3jax

# JAX warns of its threads, which start with the first computation.
warnings.filterwarnings("ignore", r"os\.fork\(\) was called", RuntimeWarning)
for _module in pkgutil.walk_packages(c3jax.__path__, prefix="c3jax."):
    # The sandbox has processes of its own; `main` defines its flags when it is run.
    if not _module.name.startswith(("c3jax.reward.sandbox.", "c3jax.main")):
        importlib.import_module(_module.name)
importlib.import_module("rich.console")
transformers = importlib.import_module("transformers")
_ = transformers.AutoTokenizer, transformers.PreTrainedTokenizerFast
