"""Teams by name: the edges of the common ones, for a config to fill in.

A team is a mapping from role name to the fields of `core.types.Role`; a config may
write any other directed acyclic graph the same way.
"""

from collections.abc import Mapping


def solo(actor: Mapping) -> dict:
    """One agent that answers."""
    return {"actor": {**actor, "depends_on": (), "answers": True}}


def duo(reasoner: Mapping, actor: Mapping) -> dict:
    """A Reasoner that plans and an Actor that reads the plan and answers."""
    return {
        "reasoner": {**reasoner, "depends_on": (), "answers": False},
        "actor": {**actor, "depends_on": ("reasoner",), "answers": True},
    }
