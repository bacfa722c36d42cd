"""What a run starts from, by content: its files, and a name for its warm start."""

import dataclasses
import hashlib
import json
import pathlib
import platform

from c3jax.core import environment, files
from c3jax.data import tokenizer
from c3jax.policy import families
from c3jax.setup.experiment import Setup

# Sections of a config that decide a warm start.
_DECIDING = ("mesh", "policy", "policies", "data", "warm_start")


def warm_start(setup: Setup) -> str:
    """A hash of everything that decides the bits of a warm start on one machine."""
    c = setup.config
    roles = [dataclasses.astuple(role) for role in setup.team.protocol.roles]
    decides = {
        "config": {part: c[part].to_dict() for part in _DECIDING},
        "seed": setup.warm_seed,
        "files": [files.sha256(path) for path in _read_files(setup)],
        "roles": [roles, [repr(template) for template in setup.team.templates]],
        "cast": [part.name for part in setup.team.policies],
        "environment": environment.describe(setup.mesh),
        "machine": platform.node(),
    }
    del decides["config"]["warm_start"]["seed"]  # Already there, as "seed".
    text = json.dumps(decides, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def contents(setup: Setup) -> dict[str, list[str]]:
    """Digests of the data, models and tokenizers that a run reads, by files' names.

    Files of one name, such as those of two models, are in the order of their reading.
    """
    found = {}
    for path in _read_files(setup):
        found.setdefault(path.name, []).append(files.sampled_sha256(path))
    return found


def _read_files(setup: Setup) -> list[pathlib.Path]:
    """Files that a run reads; their contents may change at the same path."""
    c = setup.config
    named = c.warm_start.demonstrations
    tables = [*setup.task.files, *([pathlib.Path(named)] if named else [])]
    models = [p.model for p in setup.policies.values() if p.model is not None]
    if c.data.tokenizer not in ("", *tokenizer.EMBEDDED):
        models.append(pathlib.Path(c.data.tokenizer))
    return tables + [path for model in models for path in families.files(model)]
