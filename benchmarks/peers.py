"""Other libraries at the same work: the same weights, prompts, sampling and optimiser.

`lineup` has their names. A peer runs as its own user would run it, at the fastest of
its settings that were tried; on prompts repeated per sibling, but for `grouper`, which
reads the prompt of a group once in its update.
"""

import abc
import contextlib
import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from benchmarks import bench
from c3jax.policy import decoder
from c3jax.rollout import contexts, draws


@dataclasses.dataclass(frozen=True)
class Case:
    """What a peer is to do.

    Attributes:
        shape: of the policy.
        params: c3jax's, which the peer copies.
        heads: per role, [G, P] int32, every question's prompt once.
        siblings: K, messages after each prompt of the first role.
        messages: of all roles after a question.
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
    heads: tuple[np.ndarray, ...]
    siblings: int
    messages: int
    completion: int
    sampling: draws.Sampling
    micro: tuple[int, ...]
    batch: tuple[int, ...]
    optimiser: dict
    clip: float

    @functools.cached_property
    def prompts(self) -> np.ndarray:
        """[rows, P], every prompt of the first role once per sibling."""
        return np.repeat(self.heads[0], self.siblings, 0)


class Judge(NamedTuple):
    """How messages are judged.

    Attributes:
        reward: [n, C] tokens of n answers to [n] rewards.
        credit: [rows, C] tokens of one role to [rows] advantages.
    """

    reward: Callable
    credit: Callable


class Peer(abc.ABC):
    """One library, holding a policy and its optimiser.

    Attributes:
        case: what it is to do.
        sizes: rows of a micro-batch, of which `tune` takes the fastest.
        micro: the one it has.
    """

    def __init__(self, case: Case):
        self.case = case
        self.sizes = case.micro
        self.micro = self.sizes[0]

    @property
    @abc.abstractmethod
    def parameters(self) -> int:
        """How many numbers a policy of it holds."""

    @property
    def messages(self) -> int:
        """How many it writes and learns on in a step."""
        return len(self.case.prompts)

    @property
    def pieces(self) -> int:
        """Micro-batches of a step."""
        return len(self.case.prompts) // self.micro

    @property
    def update_program(self) -> jax.stages.Compiled | None:
        """What the last update ran, where it is one program."""
        return None

    @property
    def copies(self) -> int:
        """How many prompts its update reads."""
        return len(self.case.prompts)

    @property
    def learned(self) -> int:
        """Of how many tokens of a message, from its first on, its loss is."""
        return self.case.completion

    @abc.abstractmethod
    def score(self, tokens: np.ndarray) -> np.ndarray:
        """[n, C] log-probabilities of messages of the first n rows, in micro-batches.

        Under the whole softmax at the temperature: no peer renormalises over what
        top-k and top-p kept.
        """

    def gradient(self, tokens: np.ndarray, advantage: np.ndarray) -> dict | None:
        """Of its loss, laid out as c3jax's parameters are; None where it has no such.

        The loss is the negative mean, over the learned tokens, of advantage times
        log-probability, or one of the same gradient.

        Args:
            tokens: [n, C], after the first n rows' prompts.
            advantage: [n].
        """
        return None

    @abc.abstractmethod
    def step(self, judge: Judge, watch: Callable, rescore: bool = False) -> float:
        """A whole training step; the loss.

        Args:
            judge: what the library takes of it, its credit or the rewards alone.
            watch: a context manager by phase, as `metrics.Stopwatch` is.
            rescore: whether old log-probabilities are computed again. The libraries
                leave that out where a batch gets one optimiser step, as here.
        """


class Phased(Peer):
    """A library whose sampler and whose update can be called by themselves.

    Attributes:
        batch: rows that `sample` takes at once.
    """

    def __init__(self, case: Case):
        super().__init__(case)
        self.batch = case.batch[0]

    @abc.abstractmethod
    def sample(self) -> np.ndarray:
        """[rows, C] tokens, drawn after the prompts."""

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

    def step(self, judge: Judge, watch: Callable, rescore: bool = False) -> float:
        with watch("grow"):
            tokens = self.sample()
        with watch("score"):
            advantage = judge.credit(tokens)
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


def case(
    args, team: contexts.Team, params: dict, heads: tuple[np.ndarray, ...]
) -> Case:
    """What peers are to do beside a team, with `decode.prompts`."""
    rows = len(heads[0]) * args.siblings
    protocol = team.protocol
    return Case(
        shape=team.policies[0].shape,
        params=params["shared"],
        heads=heads,
        siblings=args.siblings,
        messages=sum(
            protocol.contexts(level) * size
            for level, size in enumerate(protocol.branching)
        ),
        completion=args.completion,
        sampling=team.sampling,
        micro=_dividing(args.micro, rows),
        batch=_dividing(args.batch, rows),
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


def tune(
    peers: dict[str, Peer],
    tokens: np.ndarray,
    advantage: np.ndarray,
    judge: Judge | None = None,
) -> dict:
    """Gives each peer the micro-batch that its update is fastest with.

    Args:
        peers: by name.
        tokens: [rows, C] messages to try with.
        advantage: [rows].
        judge: for whole steps, which those take that are not `Phased`.

    Returns:
        By peer, the seconds each size took.
    """

    def update(peer, size):
        peer.micro = size
        if isinstance(peer, Phased):
            return peer.update(tokens, advantage)
        return peer.step(judge, lambda phase: contextlib.nullcontext())

    sizes = {name: peer.sizes for name, peer in peers.items()}
    best, tried = _fastest(peers, sizes, update)
    for name, peer in peers.items():
        peer.micro = best[name]
    return tried


def tune_sampling(peers: dict[str, Peer]) -> dict:
    """Gives each `Phased` peer the batch that it samples fastest with.

    Returns:
        By peer, the seconds each size took.
    """

    def sample(peer, size):
        peer.batch = size
        return peer.sample()

    peers = {n: peer for n, peer in peers.items() if isinstance(peer, Phased)}
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
