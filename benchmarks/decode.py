"""Sampling with the prefix computed once against the prompt repeated per sibling.

    python -m benchmarks.decode --model=tiny -G 8 -K 8 -P 512 -C 64
    python -m benchmarks.decode --model=peer --peers=tunix,torch

Both sides are the same model and code: one prefill without logits, then one token a
step for every sibling, the same keys. "repeated" gives every sibling its own copy of
the prompt, computed and stored; "shared" has one per group. Random weights; no message
ends early. `--peers` are other libraries on the same weights and repeated prompts. A
side that the device has no memory for is left out.
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bench, lineup, peers
from c3jax.core import keys
from c3jax.core.types import ContextTemplate, Questions, Role
from c3jax.policy import decoder
from c3jax.protocol.graph import Protocol
from c3jax.rollout import contexts, decode, draws

# The last id of every prompt.
OPENER = 1


def team(args, siblings: int, **sampling) -> contexts.Team:
    """One role that answers after a prompt of P tokens, its opener included."""
    shape = decoder.Shape(
        **bench.MODELS[args.model],
        dtype=args.dtype,
        attention=args.attention,
        unroll=1,
        remat="layer",
    )
    return contexts.Team(
        policies=(contexts.PolicyRef(shape),),
        protocol=Protocol((Role("actor", "", (), True, args.completion),), (siblings,)),
        templates=(ContextTemplate((), (), OPENER),),
        # An end token that is out of the vocabulary: every message has C tokens.
        sampling=draws.Sampling(end=(shape.vocab,), **sampling),
    )


def questions(args, repeat: int = 1, roles: int = 1) -> Questions:
    """G prompts of P tokens a role, or each of them `repeat` times in a row."""
    rng = np.random.default_rng(0)
    vocab, size = bench.MODELS[args.model]["vocab"], (args.groups, args.prefix - 1)
    heads = [rng.integers(2, vocab, size).astype(np.int32) for _ in range(roles)]
    count = args.groups * repeat
    return Questions(
        uid=jnp.repeat(jnp.arange(args.groups, dtype=jnp.uint32), repeat),
        prompts=tuple(jnp.array(np.repeat(head, repeat, 0)) for head in heads),
        lengths=(jnp.full(count, args.prefix - 1, jnp.int32),) * roles,
    )


def prompts(questions: Questions) -> tuple[np.ndarray, ...]:
    """Per role [G, P], the prompts as one would write them, opener included."""
    return tuple(
        np.pad(np.asarray(heads), ((0, 0), (0, 1)), constant_values=OPENER)
        for heads in questions.prompts
    )


@functools.partial(jax.jit, static_argnums=1)
def sampled(params, team, questions, node):
    """Messages at the keys `node`: [G, K] shared, [G * K, 1] repeated."""
    context = contexts.read(params, team, 0, questions, ())
    axes = (contexts.BATCH, 0)
    return decode.generate(params, team, 0, context, node, axes)


@functools.partial(jax.jit, static_argnums=1)
def prefilled(params, team, questions):
    return contexts.read(params, team, 0, questions, ())


@functools.partial(jax.jit, static_argnums=(0, 1))
def init(team: contexts.Team, dtype: str) -> dict:
    """Random weights of the policy that all roles share, kept in the given dtype."""
    params = decoder.init(keys.stream(0, "init"), team.policies[0].shape)
    return {"shared": jax.tree.map(lambda leaf: leaf.astype(dtype), params)}


def sampling_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--top-p", type=float, default=0.8)
    parser.add_argument("--top-k", type=int, default=20)


def sampling(args) -> dict:
    return dict(temperature=args.temperature, top_k=args.top_k, top_p=args.top_p)


def main() -> None:
    parser = bench.parser(__doc__)
    sampling_flags(parser)
    lineup.flags(parser)
    args = parser.parse_args()
    count = args.groups * args.siblings
    said = count * args.completion
    ours = team(args, args.siblings, **sampling(args))
    alone = team(args, 1, **sampling(args))
    asked = questions(args)
    params = init(ours, args.dtype)
    case = peers.case(args, ours, params, prompts(asked))
    others, facts = lineup.build(args.peers, case)
    uid = jnp.arange(args.groups, dtype=jnp.uint32)
    node = keys.nodes(keys.stream(0, "rollout"), uid, 0, args.siblings)
    sides = {
        "shared": (ours, asked, node),
        "repeated": (alone, questions(args, args.siblings), node.reshape(count, 1)),
    }
    work, programs, compile_s = {}, {}, {}
    for name, (who, heads, at) in sides.items():
        program, seconds = bench.compiled(sampled, params, who, heads, at)
        first, more = bench.compiled(prefilled, params, who, heads)
        if not (bench.fits(program) and bench.fits(first)):
            print(f"{name} does not fit on the device and is left out", flush=True)
            continue
        programs[name], compile_s[name] = program, seconds + more
        work[name] = functools.partial(program, params, heads, at)
        work[f"{name} prefill"] = functools.partial(first, params, heads)
    peaks = bench.peaks({n: (program, work[n]) for n, program in programs.items()})
    tokens = [np.asarray(work[name]().tokens).reshape(count, -1) for name in programs]
    tried = peers.tune_sampling(others)
    work |= {name: peer.sample for name, peer in others.items()}
    found = bench.interleaved(work, args.repeats)
    limits = bench.limits(args.dtype)
    rows = []
    for name, program in programs.items():
        prefill = found[f"{name} prefill"]["wall_s"]
        decode = found[name]["wall_s"] - prefill
        copies = args.groups if name == "shared" else count
        read = _bytes(args, params, copies) / decode
        columns = {
            "prefill s": prefill,
            "decode s": decode,
            "of bandwidth": read / limits["bytes_per_s"],
        }
        rows.append(
            bench.row(
                name,
                found[name],
                said,
                program=program,
                peak=peaks.get(name),
                compile_s=compile_s[name],
                **columns,
            )
        )
    rows += [bench.row(name, found[name], said) for name in others]
    bench.finish(
        args,
        f"decode {bench.size(args)}",
        rows,
        same_tokens=all(np.array_equal(tokens[0], each) for each in tokens),
        tried=tried,
        peers_about=facts,
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
