"""Which peers there are, the flags that ask for them, and how they are made.

`--peers=tunix,torch,grouper` of decode, update and tree; `trl` and `comlrl` of tree
alone. What each needs installed is in a file that its line of `PEERS` names.
"""

import argparse
import functools
import importlib
import importlib.metadata
import sys
from typing import NamedTuple

from benchmarks import agreement, bench, peers


class Entry(NamedTuple):
    """How a peer is found.

    Attributes:
        module, kind: where its class is.
        requirements: the file that says how to install it.
        packages: whose versions are worth telling.
        roles: of the team that it trains.
        phased: whether it samples and updates by themselves (`peers.Phased`), too.
    """

    module: str
    kind: str
    requirements: str
    packages: tuple[str, ...]
    roles: int = 1
    phased: bool = True


_MAIN, _MORE = "requirements-bench.txt", "requirements-bench-trainers.txt"
_TORCH = ("torch", "transformers")
PEERS = {
    "tunix": Entry("tunix_peer", "Tunix", _MAIN, ("google-tunix",)),
    "torch": Entry("torch_peer", "Torch", _MAIN, _TORCH),
    "grouper": Entry("grouper_peer", "Grouper", _MAIN, (*_TORCH, "prefix-grouper")),
    "trl": Entry("trl_peer", "Trl", _MORE, (*_TORCH, "trl"), phased=False),
    "comlrl": Entry(
        "comlrl_peer", "Comlrl", _MORE, (*_TORCH, "comlrl"), roles=2, phased=False
    ),
}


def flags(parser: argparse.ArgumentParser, phased: bool = True) -> None:
    """The flags of those benchmarks that take peers.

    Args:
        parser: gets them.
        phased: whether only those that are `peers.Phased` will do.
    """
    names = functools.partial(_names, parser, phased)
    fit = [name for name, entry in PEERS.items() if entry.phased or not phased]
    parser.add_argument("--peers", type=names, default=(), help=f"of {sorted(fit)}")
    sizes = dict(type=bench.numbers, default=(2, 4, 8))
    parser.add_argument("--micro", **sizes, help="rows of their micro-batch, to try")
    sizes = dict(type=bench.numbers, default=(16, 32, 64))
    parser.add_argument("--batch", **sizes, help="rows they sample at once, to try")


def _names(parser: argparse.ArgumentParser, phased: bool, text: str) -> tuple:
    names = tuple(name for name in text.split(",") if name)
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"--peers has {unknown}; pick from {sorted(PEERS)}")
    stiff = [name for name in names if phased and not PEERS[name].phased]
    if stiff:
        parser.error(
            f"--peers: {stiff} can only be run a whole training step at a time; "
            "python -m benchmarks.tree does."
        )
    return names


def agree(
    parser: argparse.ArgumentParser, names: tuple[str, ...], roles: int, rescore: bool
) -> None:
    """Ends with an error if a peer is of other roles, or cannot score again."""
    for name in names:
        entry = PEERS[name]
        if entry.roles != roles:
            parser.error(
                f"--peers: {name} trains {entry.roles} role(s); "
                f"it needs --roles={entry.roles}"
            )
        if rescore and not entry.phased:
            parser.error(
                f"--rescore: {name} makes no second pass for log-probabilities where "
                "a batch gets one optimiser step, and cannot be told to."
            )


def build(
    names: tuple[str, ...], case: peers.Case
) -> tuple[dict[str, peers.Peer], dict]:
    """The peers asked for, each checked to compute what c3jax computes.

    Returns:
        The peers by name; and about each, for the record, versions, and the largest
        difference of its log-probabilities to c3jax's, and the relative one of its
        gradient, on random messages.

    Raises:
        ValueError: from `agreement.gaps`.
    """
    if names and case.sampling.temperature <= 0:
        sys.exit("--peers: a peer samples only at a --temperature above 0.")
    found, about = {}, {}
    for name in names:
        entry = PEERS[name]
        try:
            module = importlib.import_module(f"benchmarks.{entry.module}")
        except ModuleNotFoundError as error:
            sys.exit(
                f"--peers={name}: {error.name} is not installed; "
                f"pip install -r {entry.requirements}"
            )
        found[name] = getattr(module, entry.kind)(case)
        versions = {each: importlib.metadata.version(each) for each in entry.packages}
        about[name] = versions | agreement.gaps(name, found[name])
    return found, about
