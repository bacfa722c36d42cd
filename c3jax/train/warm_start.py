"""The starting policy: random, or taught the protocol by careless demonstrations."""

import functools
import random

import jax
import numpy as np

from c3jax.core import keys, metrics
from c3jax.core import mesh as meshes
from c3jax.core.types import Turn
from c3jax.data import problems, tasks
from c3jax.policy import decoder
from c3jax.rollout import sample
from c3jax.train import update
from c3jax.train.setup import Setup


def initial_params(setup: Setup) -> dict:
    """Random parameters on the mesh; in "words", numbers start as waves of n."""
    key = keys.stream(setup.config.seed, "init")
    shape = setup.team.shape

    def init(key):
        params = decoder.init(key, shape)
        if setup.config.data.tokenizer != "words":
            return params
        embed = _number_rows(setup.tokenizer, params["embed"], shape.embed_std)
        return {**params, "embed": embed}

    places = jax.tree.map(lambda p: p.sharding, setup.abstract_params())
    return jax.jit(init, out_shardings=places)(key)


def _number_rows(tokenizer, embed: jax.Array, std: float) -> jax.Array:
    """The embedding table with rows of numbers that know what they are.

    Half of a number's row says how large it is, half which one it is. A change, +7 or
    -7, starts as its amount's row plus or minus one direction, the sign.
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


def run(setup: Setup) -> dict:
    """Parameters after `warm_start.steps` of imitation; see `problems.demonstrate`."""
    c = setup.config.warm_start
    params = initial_params(setup)
    if not c.steps:
        return params
    optimise = update.optimiser(
        lr=c.lr,
        steps=c.steps,
        warmup=c.warmup,
        b1=0.9,
        b2=0.99,
        weight_decay=0.0,
        max_grad_norm=1.0,
        final_lr=0.0,
    )
    abstract = update.abstract_state(
        optimise, (), setup.abstract_params(), meshes.whole(setup.mesh)
    )
    # Whatever the rollout's temperature is, demonstrations teach the plain softmax.
    plain = sample.Sampling(end=setup.team.sampling.end)
    team = setup.team.replace(protocol=setup.team.protocol.chain(), sampling=plain)
    imitate = update.compiled(
        functools.partial(update.imitate, team=team, optimise=optimise), abstract
    )
    state = update.initial_state(optimise, (), params)
    state = jax.device_put(state, jax.tree.map(lambda leaf: leaf.sharding, abstract))
    ordered = tasks.order(setup.task.split("train"), setup.config.seed)
    careless = problems.Carelessness(**c.careless)
    progress = metrics.Progress("warm start", c.steps)
    for step in range(c.steps):
        items = tasks.batch(ordered, step, c.batch_size)
        rngs = [
            random.Random(f"{setup.config.seed}/{step}/{i}") for i in range(len(items))
        ]
        shown = [
            setup.task.demonstrate(item, rng, careless)
            for item, rng in zip(items, rngs, strict=True)
        ]
        state, nll = imitate(state, setup.questions(items), demonstrated(setup, shown))
        if step % 10 == 9 or step + 1 == c.steps:
            progress.show(step + 1, nll=f"{float(nll):.3f}")
    return state.params


def demonstrated(setup: Setup, shown: list[problems.Demonstration]) -> tuple[Turn, ...]:
    """Demonstrations as turns: the answering role answers, every other one plans."""
    turns = []
    for role in setup.team.protocol.roles:
        texts = [d.answer if role.answers else d.plan for d in shown]
        turns.append(message(setup, texts, role.max_tokens))
    return setup.place(tuple(turns))


def message(setup: Setup, texts: list[str], limit: int) -> Turn:
    """Texts as finished messages [B, 1, 1, T], cut at the limit like any other."""
    encoded = setup.tokenizer(texts, add_special_tokens=False)["input_ids"]
    tokens = np.zeros((len(texts), 1, 1, limit), np.int32)
    length = np.zeros((len(texts), 1, 1), np.int32)
    ended = np.zeros((len(texts), 1, 1), bool)
    for row, ids in enumerate(encoded):
        ids = [*ids, setup.tokenizer.eos_token_id]
        ended[row] = len(ids) <= limit
        length[row] = min(len(ids), limit)
        tokens[row, 0, 0, : len(ids)] = ids[:limit]
    blank = np.zeros(tokens.shape, np.float32)
    return Turn(tokens=tokens, length=length, ended=ended, logp=blank, margin=blank)
