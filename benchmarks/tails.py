"""Messages of very different lengths: refilled desks against batches run to their end.

    python -m benchmarks.tails --model=tiny -G 64 -K 8 -P 512 --mean 64

Lengths are lognormal (sigma 1, cut at 8 times the mean), drawn from each node's key, so
that both sides write the same messages. "batches" grows `--max-concurrent` at a time
and waits for the longest of them, as a batched sampler does; "desks" is
`c3jax.rollout.continuous`. Both compute a prompt once for its siblings. Utilisation is
tokens written per row computed, sharing is tokens written per context read.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bench, decode
from c3jax.core import keys
from c3jax.rollout import continuous, draws, loads, replay

END = 1


def ending(mean: float, cap: int):
    """`draws.draw` of messages whose length is drawn from the node's key."""
    draw = draws.draw

    def ends(logits, key, t, s):
        normal = jax.random.normal(jax.random.fold_in(key, cap))
        length = jnp.clip(jnp.ceil(mean * jnp.exp(normal - 0.5)), 1, cap)
        drawn = draw(logits, key, t, s)
        return drawn._replace(token=jnp.where(t + 1 >= length, END, drawn.token))

    return ends


def batches(params, team, questions, key, size):
    """Messages of `size` questions at a time, each batch to its longest."""
    found = []
    for begin in range(0, questions.uid.shape[0], size):
        piece = jax.tree.map(lambda x: x[begin : begin + size], questions)  # noqa: B023
        found.append(continuous.sample(params, team, piece, key))
    turns = jax.tree.map(lambda *x: np.concatenate(x), *(t for t, _ in found))
    return turns, sum((load for _, load in found), loads.Load())


def main() -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--mean", type=int, default=64, help="tokens of a message")
    parser.add_argument("--max-concurrent", type=int, default=64, help="messages")
    parser.set_defaults(groups=64, repeats=3)
    args = parser.parse_args()
    args.completion = 8 * args.mean
    draws.draw = ending(args.mean, args.completion)
    team = decode.team(args, args.siblings, temperature=0.7, top_k=20, top_p=0.8)
    # Only `ending` ends a message.
    team = team.replace(
        sampling=draws.Sampling(
            end=(END,), temperature=0.7, top_k=20, top_p=0.8, min_tokens=1 << 30
        )
    )
    params = decode.init(team, "float32")
    asked, key = decode.questions(args), keys.stream(0, "rollout")
    size = args.max_concurrent // args.siblings
    sides = {
        "desks": functools.partial(
            continuous.sample,
            params,
            team.replace(max_concurrent=args.max_concurrent),
            asked,
            key,
        ),
        "batches": functools.partial(batches, params, team, asked, key, size),
    }
    loads, turns = {}, {}

    def run(name):
        (turns[name],), loads[name] = sides[name]()
        return turns[name]

    found = bench.interleaved(
        {name: functools.partial(run, name) for name in sides}, args.repeats
    )
    rows = [
        bench.row(
            name,
            found[name],
            loads[name].tokens,
            utilisation=loads[name].utilisation,
            sharing=loads[name].sharing,
            steps=loads[name].steps,
        )
        for name in sides
    ]
    bench.finish(
        args,
        f"tails {bench.size(args)}",
        rows,
        **_agreement(*jax.device_get((turns["desks"], turns["batches"]))),
        machine=bench.machine(),
    )


def _agreement(ours, theirs) -> dict:
    """How many messages are the same, and how many differ by more than a near tie."""
    same = (ours.tokens == theirs.tokens).all(-1)
    wrong = 0
    for at in zip(*np.nonzero(~same), strict=True):
        pair = [
            {
                name: getattr(turn, name)[at][: turn.length[at]].tolist()
                for name in ("tokens", "logp", "margin")
            }
            for turn in (theirs, ours)
        ]
        wrong += not replay.compare(*pair).agrees
    return {"messages": math.prod(same.shape), "same": int(same.sum()), "wrong": wrong}


if __name__ == "__main__":
    main()
