"""Sampling with the prefix computed once against the prompt repeated per sibling.

    python -m benchmarks.decode --model=tiny -G 8 -K 8 -P 512 -C 64

Both sides are the same model and code: one prefill without logits, then one token a
step for every sibling, the same keys. "repeated" gives every sibling its own copy of
the prompt, computed and stored; "shared" has one per group. Random weights; no message
ends early.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bench
from c3jax.core import keys
from c3jax.core.types import Questions, Role, Script
from c3jax.policy import decoder
from c3jax.protocol.graph import Protocol
from c3jax.rollout import sample, tree


def team(args, siblings: int, **sampling) -> tree.Team:
    """One role that answers after a prompt of P tokens, its opener included."""
    shape = decoder.Shape(
        **bench.MODELS[args.model], dtype=args.dtype, unroll=1, remat="layer"
    )
    return tree.Team(
        shape=shape,
        protocol=Protocol((Role("actor", "", (), True, args.completion),), (siblings,)),
        scripts=(Script((), (), 1),),
        # An end token that is out of the vocabulary: every message has C tokens.
        sampling=sample.Sampling(end=(shape.vocab,), **sampling),
    )


def questions(args, repeat: int = 1) -> Questions:
    """G prompts of P tokens, or each of them `repeat` times in a row."""
    rng = np.random.default_rng(0)
    vocab = bench.MODELS[args.model]["vocab"]
    heads = rng.integers(2, vocab, (args.groups, args.prefix - 1)).astype(np.int32)
    heads = np.repeat(heads, repeat, 0)
    return Questions(
        uid=jnp.repeat(jnp.arange(args.groups, dtype=jnp.uint32), repeat),
        heads=(jnp.array(heads),),
        lengths=(jnp.full(len(heads), args.prefix - 1, jnp.int32),),
    )


@functools.partial(jax.jit, static_argnums=1)
def sampled(params, team, questions, node):
    """Messages at the keys `node`: [G, K] shared, [G * K, 1] repeated."""
    context = tree.context(params, team, 0, questions, ())
    limit = team.protocol.roles[0].max_tokens
    return tree.generate(
        params, team, team.scripts[0].opener, context, node, (tree.BATCH, 0), limit
    )


@functools.partial(jax.jit, static_argnums=1)
def prefilled(params, team, questions):
    return tree.context(params, team, 0, questions, ())


def main() -> None:
    parser = bench.parser(__doc__)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--top-p", type=float, default=0.8)
    parser.add_argument("--top-k", type=int, default=20)
    args = parser.parse_args()
    sampling = dict(temperature=args.temperature, top_k=args.top_k, top_p=args.top_p)
    count = args.groups * args.siblings
    params = jax.jit(decoder.init, static_argnums=1)(
        keys.stream(0, "init"), team(args, 1).shape
    )
    if args.dtype == "bfloat16":
        params = jax.tree.map(lambda p: p.astype(jnp.bfloat16), params)
    sides = {
        "shared": (team(args, args.siblings, **sampling), questions(args)),
        "repeated": (team(args, 1, **sampling), questions(args, args.siblings)),
    }
    uid = jnp.arange(args.groups, dtype=jnp.uint32)
    node = keys.nodes(keys.stream(0, "rollout"), uid, 0, args.siblings)
    keyed = {"shared": node, "repeated": node.reshape(count, 1)}
    work, programs = {}, {}
    for name, (who, asked) in sides.items():
        programs[name] = sampled.lower(params, who, asked, keyed[name]).compile()
        work[name] = functools.partial(sampled, params, who, asked, keyed[name])
        work[f"{name} prefill"] = functools.partial(prefilled, params, who, asked)
    ours, theirs = (work[name]() for name in sides)
    same = np.array_equal(ours.tokens.reshape(count, -1), theirs.tokens[:, 0])
    found = bench.interleaved(work, args.repeats)
    limits = bench.limits(args.dtype)
    rows = []
    for name in sides:
        whole, first = found[name], found[f"{name} prefill"]
        decode = whole["wall_s"] - first["wall_s"]
        copies = args.groups if name == "shared" else count
        rows.append(
            {
                "side": name,
                "wall s": whole["wall_s"],
                "low": whole["low_s"],
                "high": whole["high_s"],
                "cpu s": whole["cpu_s"],
                "prefill s": first["wall_s"],
                "decode s": decode,
                "tokens/s": count * args.completion / whole["wall_s"],
                "of bandwidth": _bytes(args, params, copies)
                / decode
                / limits["bytes_per_s"],
                "temporary MiB": bench.temporary_bytes(programs[name]) / 2**20,
                "compile s": whole["first_s"],
            }
        )
    ratios = {
        f"{field} ratio": rows[1][field] / rows[0][field]
        for field in ("wall s", "cpu s", "decode s", "prefill s", "temporary MiB")
    }
    bench.finish(
        args,
        f"decode {args.model} G={args.groups} K={args.siblings} P={args.prefix} "
        f"C={args.completion} {args.dtype}",
        rows,
        same_tokens=same,
        **ratios,
        limits=limits,
        machine=bench.machine(),
    )


def _bytes(args, params, copies: int) -> float:
    """What all decode steps must read: weights, prefix KV and the suffix so far."""
    m = bench.MODELS[args.model]
    width = jnp.dtype(args.dtype).itemsize
    slot = 2 * m["layers"] * m["kv_heads"] * m["head_dim"] * width
    weights = sum(p.size * p.dtype.itemsize for p in jax.tree.leaves(params))
    suffix = args.groups * args.siblings * args.completion / 2
    return args.completion * (weights + slot * (copies * args.prefix + suffix))


if __name__ == "__main__":
    main()
