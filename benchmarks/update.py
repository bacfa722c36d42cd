"""The gradient of a sampled batch, prefix computed once against once per sibling.

    python -m benchmarks.update --model=tiny -G 8 -K 8 -P 512 -C 64

Both sides take the same loss of the same messages; "repeated" gives every sibling its
own copy of the prompt. Gradients are compared, too.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import bench, decode
from c3jax.core import keys
from c3jax.policy import decoder
from c3jax.train import update

OBJECTIVE = update.Objective(clip=0.2, kl=0.0, epochs=1, minibatches=1)


@functools.partial(jax.jit, static_argnums=1)
def gradient(params, team, batch):
    found, _ = jax.grad(update.loss, has_aux=True)(params, team, OBJECTIVE, batch)
    return found


def main() -> None:
    args = bench.parser(__doc__).parse_args()
    count = args.groups * args.siblings
    shared, alone = decode.team(args, args.siblings), decode.team(args, 1)
    params = jax.jit(decoder.init, static_argnums=1)(
        keys.stream(0, "init"), shared.shape
    )
    uid = jnp.arange(args.groups, dtype=jnp.uint32)
    node = keys.nodes(keys.stream(0, "rollout"), uid, 0, args.siblings)
    asked = decode.questions(args)
    turn = decode.sampled(params, shared, asked, node)

    def fold(shape):
        return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[2:]), turn)

    advantage = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    sides = {
        "shared": (shared, asked, (args.groups, 1, args.siblings)),
        "repeated": (alone, decode.questions(args, args.siblings), (count, 1, 1)),
    }
    work, programs = {}, {}
    for name, (who, heads, shape) in sides.items():
        batch = update.Scored(heads, (fold(shape),), (advantage.reshape(shape),))
        programs[name] = gradient.lower(params, who, batch).compile()
        work[name] = functools.partial(gradient, params, who, batch)
    ours, theirs = (work[name]() for name in sides)
    off = jax.tree.map(lambda a, b: a - b, ours, theirs)
    found = bench.interleaved(work, args.repeats)
    limits = bench.limits(args.dtype)
    rows = []
    for name in sides:
        flop = _flop(args, args.groups if name == "shared" else count)
        rows.append(
            {
                "side": name,
                "wall s": found[name]["wall_s"],
                "low": found[name]["low_s"],
                "high": found[name]["high_s"],
                "cpu s": found[name]["cpu_s"],
                "tokens/s": count * args.completion / found[name]["wall_s"],
                "of matmul": flop / found[name]["wall_s"] / limits["flop_per_s"],
                "temporary MiB": bench.temporary_bytes(programs[name]) / 2**20,
                "compile s": found[name]["first_s"],
            }
        )
    ratios = {
        f"{field} ratio": rows[1][field] / rows[0][field]
        for field in ("wall s", "cpu s", "temporary MiB")
    }
    bench.finish(
        args,
        f"update {args.model} G={args.groups} K={args.siblings} P={args.prefix} "
        f"C={args.completion} {args.dtype}",
        rows,
        gradient_relative=float(optax.tree.norm(off) / optax.tree.norm(theirs)),
        **ratios,
        limits=limits,
        machine=bench.machine(),
    )


def _flop(args, copies: int) -> float:
    """Forward and backward, without what remat computes again.

    2 per parameter and token for the layers, attention over what is seen, logits at
    the completion only; the backward pass costs twice the forward one.
    """
    m = bench.MODELS[args.model]
    heads = m["heads"] * m["head_dim"]
    kv = m["kv_heads"] * m["head_dim"]
    weights = m["width"] * (2 * heads + 2 * kv + 3 * m["hidden"])
    count = args.groups * args.siblings
    prefix, said = copies * args.prefix, count * args.completion
    seen = prefix * args.prefix / 2 + said * (args.prefix + args.completion / 2)
    layers = m["layers"] * (2 * weights * (prefix + said) + 4 * heads * seen)
    return 3 * (layers + 2 * m["width"] * m["vocab"] * said)


if __name__ == "__main__":
    main()
