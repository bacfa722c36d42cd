"""The starting policy: random, or taught the protocol by careless demonstrations."""

import dataclasses
import functools
import os
import pathlib
import random
import shutil
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from c3jax.core import checkpoint, files, finite, hosts, keys, metrics, sharding
from c3jax.core.ledger import Spent
from c3jax.core.types import Role, Turn
from c3jax.data import pipeline, problems
from c3jax.learn import update
from c3jax.policy import decoder, weights
from c3jax.protocol.graph import Protocol
from c3jax.rollout import draws
from c3jax.setup import identity, train_state
from c3jax.setup.experiment import Setup
from c3jax.setup.policy_specs import PolicySpec


def initial_params(setup: Setup) -> dict:
    """The policies on the mesh: published models, or random parameters.

    Random policies of one size are equal. In "words", numbers start as waves of n.
    """
    bare = setup.bare()
    params = {
        name: untaught(bare, setup.policies[name], bare.team.shapes[name], abstract)
        for name, abstract in bare.abstract_params().items()
    }
    return adapted(setup, params)


def untaught(
    setup: Setup, spec: PolicySpec, shape: decoder.Shape, abstract: dict
) -> dict:
    """One decoder on the mesh: a published model, or random parameters.

    Args:
        setup: the mesh, and the seed of random parameters.
        spec: the published model, if there is one.
        shape: its sizes.
        abstract: shape, dtype and sharding of each parameter.
    """
    if spec.model is not None:

        def place(p: decoder.Param):
            return sharding.parameter(setup.mesh, p.shape, p.axes)

        dtype = abstract["embed"].dtype.name
        return weights.load(spec.model, shape, place, dtype)

    def init(key):
        params = decoder.init(key, shape)
        if setup.config.data.tokenizer == "words":
            embed = _number_rows(spec.tokenizer, params["embed"], shape.embed_std)
            params = {**params, "embed": embed}
        return jax.tree.map(lambda x, like: x.astype(like.dtype), params, abstract)

    places = jax.tree.map(lambda p: p.sharding, abstract)
    key = keys.stream(setup.warm_seed, "init")
    return jax.jit(init, out_shardings=places)(key)


def adapted(setup: Setup, params: dict) -> dict:
    """Policies with fresh adapters, where their shapes have any; outputs are equal."""
    key = keys.stream(setup.warm_seed, "adapters")

    def add(name, abstract):
        if "adapters" not in abstract:
            return params[name]
        places = jax.tree.map(lambda p: p.sharding, abstract["adapters"])
        shape = setup.team.shapes[name]
        fresh = jax.jit(
            lambda key: decoder.init(key, shape)["adapters"], out_shardings=places
        )
        return {**params[name], "adapters": fresh(key)}

    return {n: add(n, abstract) for n, abstract in setup.abstract_params().items()}


def _number_rows(tokenizer, embed: jax.Array, std: float) -> jax.Array:
    """The embedding table with rows of numbers that encode their values.

    Half of a number's row encodes its size, half is random. A change, +7 or -7, starts
    as its amount's row plus or minus one direction, the sign.
    """
    width = embed.shape[1]

    def ids(names):
        return np.array(tokenizer.convert_tokens_to_ids(names))

    waves = problems.number_features(width // 2) * std
    numbers = ids([str(n) for n in problems.NUMBERS])
    embed = embed.at[numbers, : width // 2].set(waves)
    changes = ids([f"{n:+d}" for n in problems.CHANGES])
    amounts = numbers[np.abs(problems.CHANGES)]
    sign = np.sign(problems.CHANGES)[:, None] * embed[changes[0]]
    return embed.at[changes].set(embed[amounts] + sign)


@dataclasses.dataclass(frozen=True)
class Warmed:
    """A starting policy, and its cost.

    Attributes:
        params: the policies.
        spent: on imitation.
        seconds: of wall-clock, when it was made.
        nll: of the last batch, nats a token; None without imitation.
    """

    params: dict
    spent: Spent = dataclasses.field(default_factory=Spent)
    seconds: float = 0.0
    nll: float | None = None

    def seconds_by_phase(self) -> dict[str, float]:
        """Seconds as the ledger counts them; empty without imitation."""
        return {"warm_start": self.seconds} if self.seconds else {}

    def fields(self) -> dict[str, float]:
        """As fields of the log."""
        if self.nll is None:
            return {}
        return {
            "warm_start/nll": self.nll,
            "warm_start/trained_tokens": self.spent.trained_tokens,
            "seconds/warm_start": self.seconds,
        }


def run(
    setup: Setup,
    directory: pathlib.Path,
    cache: pathlib.Path | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Warmed | None:
    """Imitates demonstrations for `warm_start.steps`: the task's, or the user's own.

    Args:
        setup: `config.warm_start` is read.
        directory: for checkpoints, to resume from after a stop.
        cache: directory of results for other runs that start in the same way.
        stop: asked after every step.

    Returns:
        The starting policy; None if it was stopped.
    """
    if not setup.warm_steps:
        if setup.config.warm_start.steps:
            print("no warm start: the task has no demonstrations", flush=True)
        return Warmed(initial_params(setup))
    warmed = _run(setup.bare(), directory, cache, stop)
    if warmed is None:
        return None
    return dataclasses.replace(warmed, params=adapted(setup, warmed.params))


def _run(setup, directory, cache, stop) -> Warmed | None:
    """The warm start of every policy, also of those that training will not change."""
    c = setup.config.warm_start
    optimise = _optimiser(c)
    abstract = train_state.abstract_state(
        optimise,
        (),
        setup.abstract_params(),
        sharding.replicated(setup.mesh),
        tuple(setup.policies),
    )
    kept = cache and cache / "warm_start" / hosts.by_first(identity.warm_start, setup)
    # A cache that only some processes see is none.
    if kept and not hosts.largest(not kept.exists()):
        warmed = _read(kept, abstract)
        if warmed is not None:
            print(f"warm start from {kept}", flush=True)
            return warmed
    with checkpoint.Store(directory) as store:
        warmed = _imitate(setup, store, optimise, abstract, stop)
    if kept and warmed is not None:
        hosts.by_first(_keep, store.path(c.steps), kept)
    return warmed


def _optimiser(c) -> optax.GradientTransformation:
    return update.optimiser(
        lr=c.lr,
        steps=c.steps,
        warmup=c.warmup,
        b1=0.9,
        b2=0.99,
        weight_decay=0.0,
        max_grad_norm=1.0,
        final_lr=0.0,
    )


def _imitate(setup, store, optimise, abstract, stop) -> Warmed | None:
    """The imitation steps, from the last checkpoint on; None if it was stopped."""
    c = setup.config.warm_start
    # Whatever the rollout's temperature is, demonstrations teach the plain softmax.
    plain = draws.Sampling(end=setup.team.sampling.end)
    team = setup.team.replace(protocol=setup.team.protocol.chain(), sampling=plain)
    step = functools.partial(
        update.imitate,
        team=team,
        optimise=optimise,
        grad_accumulation=c.grad_accumulation,
    )
    imitate = update.compiled(step, abstract)

    # Resume, or begin.
    if store.steps():
        state, record = store.restore(abstract)
        begin = int(state.step)
        print(f"warm start goes on from step {begin} of {c.steps}", flush=True)
    else:
        state = train_state.init_sharded(optimise, (), initial_params(setup), abstract)
        record, begin = {"nll": 0.0, "trained_tokens": 0, "seconds": 0.0}, 0

    # Batches depend on the step alone, so a resumed warm start is the unbroken one.
    source = setup.task.demonstrations or setup.task.split("train")
    ordered = pipeline.order(source, setup.warm_seed)
    batches = pipeline.Batches(ordered, c.batch_size)
    share = setup.share(c.batch_size)
    progress = metrics.Progress("warm start", c.steps)
    since, worst = time.monotonic(), jnp.float32(0)
    for step in range(begin, c.steps):
        items = batches[step * c.batch_size]
        turns = _turns(setup, items, step)
        record["trained_tokens"] += sum(int(turn.length.sum()) for turn in turns)
        # Demonstrations cost so little that every process makes all of them.
        questions = setup.questions([items[row] for row in share])
        turns = setup.place(jax.tree.map(lambda x: x[share], turns))
        state, nll = imitate(state, questions, turns)

        # The log and the checkpoint.
        done, stopping = step + 1, stop()
        worst = jnp.maximum(worst, nll)  # Of a NaN and a number, the NaN.
        is_saved = done % c.checkpoint_every == 0 or done == c.steps or stopping
        if is_saved or done % 10 == 0:
            finite.check(
                worst, f"warm start, up to step {done}: with lr={c.lr} the loss"
            )
            progress.show(done, nll=f"{float(nll):.3f}")
        if is_saved:
            record["nll"] = float(nll)
            record["seconds"] += time.monotonic() - since
            since = time.monotonic()
            store.save(done, state, record)
        if stopping:
            print(f"saved at warm start step {done} of {c.steps}", flush=True)
            return None
    return _warmed(state, record)


def _turns(setup: Setup, items: list, step: int) -> tuple[Turn, ...]:
    """Every role's demonstrated messages, on all questions of a step."""
    if setup.task.demonstrations:
        return own(setup, items)
    careless = setup.task.generator.careless(**setup.config.warm_start.careless)
    rounds = []
    for row, item in enumerate(items):
        rng = random.Random(f"{setup.warm_seed}/{step}/{row}")
        rounds.append(_shown(setup, item, rng, careless))
    return demonstrated(setup, rounds)


def _warmed(state: train_state.TrainState, record: dict) -> Warmed:
    spent = Spent(trained_tokens=record["trained_tokens"])
    return Warmed(state.params, spent, record["seconds"], record["nll"])


def _read(kept: pathlib.Path, abstract) -> Warmed | None:
    try:
        with checkpoint.Store(kept) as store:
            return _warmed(*store.restore(abstract))
    except ValueError:
        print(f"the cached warm start {kept} is damaged; it is made again", flush=True)
        hosts.by_first(files.remove, kept)


def _keep(finished: pathlib.Path, kept: pathlib.Path) -> None:
    """Copies a finished warm start to the cache, where another run may be first."""
    unfinished = kept.with_name(f"{kept.name}.{os.getpid()}.unfinished")
    try:
        shutil.copytree(finished, unfinished / finished.name)
        unfinished.rename(kept)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not kept.exists():
            print(f"the warm start is not cached: {error}", flush=True)


# How often a dialogue that might finish goes on, whether its answer is right or not.
_GOES_ON = 0.5


def _shown(setup, item, rng, careless) -> list[problems.Demonstration]:
    """One demonstration; one per round of a dialogue that may finish early."""
    demonstrate = setup.task.generator.demonstrate
    rounds = [demonstrate(item, rng, careless)]
    while setup.team.finishes and rng.random() < _GOES_ON:
        rounds.append(demonstrate(item, rng, careless))
    return rounds


def demonstrated(
    setup: Setup, shown: list[Sequence[problems.Demonstration]]
) -> tuple[Turn, ...]:
    """Demonstrations as turns: a role that solves writes the answer, others the plan.

    A later solver repeats the answer it reads. Vote counters write nothing. A role that
    may end the dialogue either continues with the next demonstration or, if none is
    left, writes its end mark; its readers then write nothing.

    Args:
        setup: the team and its tokenizers.
        shown: per question, one demonstration or several.
    """
    turns, protocol = [], setup.team.protocol
    rounds = _rounds(protocol)
    for level, role in enumerate(protocol.roles):
        texts = [_says(role, rounds[level], question) for question in shown]
        tokenizer = setup.prompts[level].tokenizer
        turns.append(message(tokenizer, texts, role.max_tokens))
    return tuple(turns)


def own(setup: Setup, items: Sequence) -> tuple[Turn, ...]:
    """Demonstrations of the user's own as turns; see `data.demonstrations`."""
    return tuple(
        message(
            setup.prompts[level].tokenizer,
            [item.messages.get(role.name) for item in items],
            role.max_tokens,
        )
        for level, role in enumerate(setup.team.protocol.roles)
    )


def _rounds(protocol: Protocol) -> list[int]:
    """Per role, its round: how often the dialogue could have finished by its turn."""
    rounds = []
    for role, ancestors in zip(protocol.roles, protocol.ancestors, strict=True):
        answered = any(protocol.roles[index].solves for index in ancestors)
        before = max((rounds[index] for index in ancestors), default=0)
        rounds.append(before + bool(role.finishes and answered))
    return rounds


def _says(role: Role, turn: int, shown: Sequence) -> str | None:
    """The text that a role writes in its round; None for no message."""
    if turn < len(shown):
        solves = role.answers or role.solves
        return shown[turn].answer if solves else shown[turn].plan
    return role.finishes if role.finishes and turn == len(shown) else None


def message(tokenizer, texts: list[str | None], limit: int) -> Turn:
    """Texts as finished messages [B, 1, 1, T], cut at the limit like any other.

    Without a text a message has no token, not even the end.
    """
    filled = [text or "" for text in texts]
    encoded = tokenizer(filled, add_special_tokens=False)["input_ids"]
    tokens = np.zeros((len(texts), 1, 1, limit), np.int32)
    length = np.zeros((len(texts), 1, 1), np.int32)
    ended = np.zeros((len(texts), 1, 1), bool)
    for row, ids in enumerate(encoded):
        if texts[row] is None:
            continue
        ids = [*ids, tokenizer.eos_token_id]
        ended[row] = len(ids) <= limit
        length[row] = min(len(ids), limit)
        tokens[row, 0, 0, : len(ids)] = ids[:limit]
    blank = np.zeros(tokens.shape, np.float32)
    return Turn(tokens=tokens, length=length, ended=ended, logp=blank, margin=blank)
