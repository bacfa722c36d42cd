"""Other libraries at the same work: the same weights, prompts, sampling and optimiser.

Not run by itself: `--peers=tunix,torch` of decode, update and tree; they need
`pip install -r requirements-bench.txt`. A peer runs as its own user would run it, at
the fastest of its settings that were tried, on prompts repeated per sibling.
"""

import abc
import argparse
import dataclasses
import functools
import importlib
import importlib.metadata
import sys
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bench
from c3jax.policy import decoder
from c3jax.rollout import contexts, draws

# Name -> module, class, and the packages whose versions are worth telling.
PEERS = {
    "tunix": ("benchmarks.tunix_peer", "Tunix", ("google-tunix",)),
    "torch": ("benchmarks.torch_peer", "Torch", ("torch", "transformers")),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """What a peer is to do.

    Attributes:
        shape: of the policy.
        params: c3jax's, which the peer copies.
        prompts: [rows, P] int32, every prompt once per sibling.
        completion: C, tokens of every message; none ends early.
        sampling: temperature, top_k and top_p.
        micro: rows of a micro-batch of the update, of which `tune` takes the fastest;
            they divide the rows.
        batch: rows sampled at once, of which `tune_sampling` takes the fastest; they
            divide the rows.
        optimiser: keyword arguments of `update.optimiser`, with a constant lr.
        clip: half-width of the trusted interval of the probability ratio.
    """

    shape: decoder.Shape
    params: dict
    prompts: np.ndarray
    completion: int
    sampling: draws.Sampling
    micro: tuple[int, ...]
    batch: tuple[int, ...]
    optimiser: dict
    clip: float


class Peer(abc.ABC):
    """One library, holding a policy, its sampler and its optimiser.

    Attributes:
        case: what it is to do.
        micro: rows of a micro-batch of `score` and `update`.
        batch: rows that `sample` takes at once.
    """

    def __init__(self, case: Case):
        self.case = case
        self.micro, self.batch = case.micro[0], case.batch[0]

    @property
    @abc.abstractmethod
    def parameters(self) -> int:
        """How many numbers its policy holds."""

    @abc.abstractmethod
    def sample(self) -> np.ndarray:
        """[rows, C] tokens, drawn after the prompts."""

    @abc.abstractmethod
    def score(self, tokens: np.ndarray) -> np.ndarray:
        """[n, C] log-probabilities of messages of the first n rows, in micro-batches.

        Under the whole softmax at the temperature: neither peer renormalises over what
        top-k and top-p kept.
        """

    @abc.abstractmethod
    def update(
        self,
        tokens: np.ndarray,
        advantage: np.ndarray,
        old_logp: np.ndarray | None = None,
    ) -> float:
        """One optimiser step on messages of all rows; the loss.

        Args:
            tokens: [rows, C].
            advantage: [rows].
            old_logp: [rows, C] from `score`; None takes the policy's own, which it is
                at the only optimiser step on a batch.
        """

    @property
    def update_program(self) -> jax.stages.Compiled | None:
        """What the last update ran, where it is one program."""
        return None

    def step(self, credit: Callable, watch: Callable, rescore: bool = False) -> float:
        """A whole training step; the loss.

        Args:
            credit: [rows, C] tokens to [rows] advantages.
            watch: a context manager by phase, as `metrics.Stopwatch` is.
            rescore: whether old log-probabilities are computed again. Both libraries
                leave that out where a batch gets one optimiser step, as here.
        """
        with watch("grow"):
            tokens = self.sample()
        with watch("score"):
            advantage = credit(tokens)
            old_logp = self.score(tokens) if rescore else None
        with watch("update"):
            return self.update(tokens, advantage, old_logp)


# The rate is too small to change a weight, so every repeat does the same work.
OPTIMISER = dict(
    lr=1e-30,
    steps=1,
    warmup=0,
    b1=0.9,
    b2=0.99,
    weight_decay=0.01,
    max_grad_norm=1.0,
    final_lr=1.0,
)
CLIP = 0.2


def case(args, team: contexts.Team, params: dict, prompts: np.ndarray) -> Case:
    """What peers are to do beside a team of one role."""
    return Case(
        shape=team.policies[0].shape,
        params=params["shared"],
        prompts=prompts,
        completion=args.completion,
        sampling=team.sampling,
        micro=_dividing(args.micro, len(prompts)),
        batch=_dividing(args.batch, len(prompts)),
        optimiser=OPTIMISER,
        clip=CLIP,
    )


def _dividing(sizes: tuple[int, ...], rows: int) -> tuple[int, ...]:
    """The sizes that divide the rows; all the rows, if none does."""
    return tuple(size for size in sizes if rows % size == 0) or (rows,)


def whole(tokens: np.ndarray, case: Case) -> np.ndarray:
    """Tokens of a sampler, which must not have ended a message early.

    Raises:
        ValueError: it has.
    """
    wanted = (len(case.prompts), case.completion)
    if tokens.shape != wanted:
        raise ValueError(f"{wanted} tokens were to be sampled, {tokens.shape} came.")
    return tokens


def flags(parser: argparse.ArgumentParser) -> None:
    """The flags of those benchmarks that take peers."""
    names = functools.partial(_names, parser)
    parser.add_argument("--peers", type=names, default=(), help=f"of {sorted(PEERS)}")
    sizes = dict(type=bench.numbers, default=(2, 4, 8))
    parser.add_argument("--micro", **sizes, help="rows of their micro-batch, to try")
    sizes = dict(type=bench.numbers, default=(16, 32, 64))
    parser.add_argument("--batch", **sizes, help="rows they sample at once, to try")


def _names(parser: argparse.ArgumentParser, text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    if unknown := [name for name in names if name not in PEERS]:
        parser.error(f"--peers has {unknown}; pick from {sorted(PEERS)}")
    return names


def build(names: tuple[str, ...], case: Case) -> tuple[dict[str, Peer], dict]:
    """The peers asked for, each checked to compute what c3jax computes.

    Returns:
        The peers by name; and about each, for the record, its version and the largest
        difference of its log-probabilities to c3jax's on random messages.

    Raises:
        ValueError: a peer has another number of parameters, or, in float32, other
            log-probabilities; its time would mean nothing.
    """
    if names and case.sampling.temperature <= 0:
        sys.exit("--peers: a peer samples only at a --temperature above 0.")
    found, about = {}, {}
    for name in names:
        module, kind, packages = PEERS[name]
        try:
            made = getattr(importlib.import_module(module), kind)(case)
        except ModuleNotFoundError as error:
            sys.exit(
                f"--peers={name}: {error.name} is not installed; "
                "pip install -r requirements-bench.txt"
            )
        found[name] = made
        about[name] = {
            **{package: importlib.metadata.version(package) for package in packages},
            "logp_gap": _checked(name, made),
        }
    return found, about


def tune(peers: dict[str, Peer], tokens: np.ndarray, advantage: np.ndarray) -> dict:
    """Gives each peer the micro-batch that its update is fastest with.

    Args:
        peers: by name.
        tokens: [rows, C] messages to try with.
        advantage: [rows].

    Returns:
        By peer, the seconds each size took.
    """

    def update(peer, size):
        peer.micro = size
        return peer.update(tokens, advantage)

    sizes = {name: peer.case.micro for name, peer in peers.items()}
    best, tried = _fastest(peers, sizes, update)
    for name, peer in peers.items():
        peer.micro = best[name]
    return tried


def tune_sampling(peers: dict[str, Peer]) -> dict:
    """Gives each peer the batch that it samples fastest with.

    Returns:
        By peer, the seconds each size took.
    """

    def sample(peer, size):
        peer.batch = size
        return peer.sample()

    sizes = {name: peer.case.batch for name, peer in peers.items()}
    best, tried = _fastest(peers, sizes, sample)
    for name, peer in peers.items():
        peer.batch = best[name]
    return tried


def _fastest(peers: dict[str, Peer], sizes: dict, work: Callable) -> tuple[dict, dict]:
    """`bench.fastest` of `work(peer, size)`."""
    return bench.fastest(
        {
            name: {n: functools.partial(work, peer, n) for n in sizes[name]}
            for name, peer in peers.items()
        }
    )


def _checked(name: str, peer: Peer) -> float:
    case = peer.case
    wanted = sum(x.size for x in jax.tree.leaves(case.params))
    if peer.parameters != wanted:
        raise ValueError(
            f"{name} has {peer.parameters:,} parameters for this model where c3jax has "
            f"{wanted:,}; the two would not do the same work."
        )
    size = (peer.micro, case.completion)
    tokens = np.random.default_rng(1).integers(0, case.shape.vocab, size, np.int32)
    ours = _logp(
        case.params,
        case.shape,
        case.sampling.temperature,
        case.prompts[: peer.micro],
        tokens,
    )
    gap = float(np.abs(peer.score(tokens) - np.asarray(ours)).max())
    if case.shape.dtype == "float32" and not gap < _TOLERANCE:
        raise ValueError(
            f"{name} gives log-probabilities up to {gap:.2g} nats from c3jax's with "
            "the same weights; the two would not do the same work."
        )
    return gap


_TOLERANCE = 1e-3


@functools.partial(jax.jit, static_argnums=(1, 2))
def _logp(params, shape, temperature, prompts, tokens):
    """[n, C], every row read as one block, by nothing but the decoder."""

    def one(row):
        prompt, message = row
        ids = jnp.concatenate([prompt, message])
        hidden, _ = decoder.forward(params, shape, ids[:-1])
        scores = decoder.logits(params, shape, hidden[-message.shape[0] :])
        logp = jax.nn.log_softmax(scores / temperature)
        return jnp.take_along_axis(logp, message[:, None], -1)[:, 0]

    return jax.lax.map(one, (prompts, tokens))
