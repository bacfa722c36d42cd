"""A sampled batch's update, prefix computed once against once per sibling.

    python -m benchmarks.update --model=tiny -G 8 -K 8 -P 512 -C 64 --pieces=1,2,4,8
    python -m benchmarks.update --step --model=peer --peers=tunix,torch,grouper

Both sides take the same loss of the same messages; "repeated" gives every sibling its
own copy of the prompt. What is timed is the gradient, and the two are compared; with
`--step` or `--peers` it is a whole optimiser step as `train.loop` compiles it, with
AdamW, from a state that is given away and comes back. Of `--pieces`, the parts that a
gradient is summed over, each side gets the number it is fastest with; the peers' is the
rows over the best of `--micro`.
"""

import argparse
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bench, decode, lineup, peers
from c3jax.collect import batching
from c3jax.core import keys
from c3jax.core.types import Turn
from c3jax.learn import update
from c3jax.policy import decoder
from c3jax.rollout import contexts, sampler
from c3jax.setup import train_state
from c3jax.setup.objectives import Objective

OBJECTIVE = Objective(clip=peers.CLIP, kl=0.0, epochs=1, minibatches=1)


@functools.partial(jax.jit, static_argnums=1)
def gradient(params, objective, batch):
    return update.gradient(params, objective, batch)[0]


def training_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pieces", type=bench.numbers, default=(1,), help="1,2,4,..")
    parser.add_argument("--remat", default="products", choices=sorted(decoder.REMAT))
    parser.add_argument("--logits-chunk", type=int, default=0)


def trained(team: contexts.Team, args) -> contexts.Team:
    """A team as the training flags say."""
    chosen = dict(remat=args.remat, logits_chunk=args.logits_chunk)
    return team.reshaped(**chosen)


def candidates(pieces: tuple[int, ...], *batch: int) -> dict[int, Objective]:
    """Per number of pieces that divides all these batches, what is minimised."""
    fit = [n for n in pieces if not any(size % n for size in batch)]
    if not fit:
        raise ValueError(f"--pieces={pieces}: none divides {batch}; add 1.")
    return {n: dataclasses.replace(OBJECTIVE, grad_accumulation=n) for n in fit}


class Way(NamedTuple):
    """One way to do a side's work.

    Attributes:
        program: what is run.
        compile_s: seconds that it took to compile.
        run: the work.
        peak: from `bench.peaks`.
    """

    program: jax.stages.Compiled
    compile_s: float
    run: Callable[[], object]
    peak: int | None = None


def choose(
    sides: Mapping[str, Mapping[int, Way]],
) -> tuple[dict[str, tuple[int, Way]], dict]:
    """Per side its fastest number of pieces, of those that the device has room for.

    Returns:
        Number and way by side, a side without any left out; and what each took.
    """
    fit = {
        side: {n: way for n, way in ways.items() if bench.fits(way.program)}
        for side, ways in sides.items()
    }
    for side in [side for side, ways in fit.items() if not ways]:
        print(f"{side} does not fit on the device; add to --pieces", flush=True)
        del fit[side]
    each = {(side, n): way for side, ways in fit.items() for n, way in ways.items()}
    peaks = bench.peaks({key: (way.program, way.run) for key, way in each.items()})
    runs = {s: {n: way.run for n, way in ways.items()} for s, ways in fit.items()}
    best, tried = bench.fastest(runs)
    chosen = {
        side: (n, fit[side][n]._replace(peak=peaks.get((side, n))))
        for side, n in best.items()
    }
    return chosen, tried


def gradients(params, batch, wanted: Mapping[int, Objective]):
    """A `Way` per objective to compute the gradient."""
    found = {}
    for n, objective in wanted.items():
        program, seconds = bench.compiled(gradient, params, objective, batch)
        found[n] = Way(program, seconds, functools.partial(program, params, batch))
    return found


def steps(
    holder: bench.Holder,
    step: Callable,
    batch,
    wanted: Mapping[int, Objective],
) -> dict[int, Way]:
    """A `Way` per objective to advance the state, which is given away.

    Args:
        holder: of the state.
        step: (state, batch, *, objective) -> (state, statistics).
        batch: what the step reads.
        wanted: name -> objective.
    """
    found = {}
    for n, objective in wanted.items():
        fn = functools.partial(step, objective=objective)
        fn = update.compiled(fn, holder.state)
        program, seconds = bench.compiled(fn, holder.state, batch)
        run = functools.partial(holder.advance, program, batch)
        found[n] = Way(program, seconds, run)
    return found


def messages(args, params: dict, team: contexts.Team) -> Turn:
    """Sampled messages of G groups: what both sides are updated with, [G, K, ..]."""
    uid = jnp.arange(args.groups, dtype=jnp.uint32)
    node = keys.nodes(keys.stream(0, "rollout"), uid, 0, args.siblings)
    return decode.sampled(params, team, decode.questions(args), node)


def sides(args, shared: contexts.Team, turn: Turn, advantage: np.ndarray) -> dict:
    """Per side what its update reads."""
    count = args.groups * args.siblings

    def scored(team, repeat, shape):
        turns = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[2:]), (turn,))
        credit = (jnp.array(advantage.reshape(shape)),)
        tree = sampler.whole(team, turns)
        return batching.Batch(decode.questions(args, repeat), (tree,), (credit,))

    alone = shared.replace(protocol=shared.protocol.chain())
    return {
        "shared": scored(shared, 1, (args.groups, 1, args.siblings)),
        "repeated": scored(alone, args.siblings, (count, 1, 1)),
    }


def main() -> None:
    parser = bench.parser(__doc__)
    training_flags(parser)
    lineup.flags(parser)
    parser.add_argument("--step", action="store_true", help="a whole optimiser step")
    args = parser.parse_args()
    args.step = args.step or bool(args.peers)
    count = args.groups * args.siblings
    team = trained(decode.team(args, args.siblings), args)
    params = decode.init(team, "float32")
    turn = messages(args, params, team)
    tokens = np.asarray(turn.tokens).reshape(count, -1)
    advantage = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    # Before the parameters are given away, for they copy them.
    heads = decode.prompts(decode.questions(args))
    others, facts = lineup.build(args.peers, peers.case(args, team, params, heads))
    optimise = update.optimiser(**peers.OPTIMISER)
    if args.step:
        holder = bench.Holder(train_state.initial_state(optimise, (), params))
    ways = {}
    for name, batch in sides(args, team, turn, advantage).items():
        wanted = candidates(args.pieces, batch.questions.uid.shape[0])
        if args.step:
            step = functools.partial(update.update, optimise=optimise)
            ways[name] = steps(holder, step, batch, wanted)
        else:
            ways[name] = gradients(params, batch, wanted)
    chosen, tried = choose(ways)
    tried |= peers.tune(others, tokens, advantage)
    exact = {}
    if not args.step and len(chosen) == 2:
        slopes = [way.run() for _, way in chosen.values()]
        exact["gradient_relative"] = float(bench.difference(*slopes))
        del slopes
    work = {name: way.run for name, (_, way) in chosen.items()}
    for name, peer in others.items():
        work[name] = functools.partial(peer.update, tokens, advantage)
    found = bench.interleaved(work, args.repeats)
    limits = bench.limits(args.dtype)
    copies = {"shared": args.groups, "repeated": count}
    copies |= {name: peer.copies for name, peer in others.items()}
    rows = []
    for name in work:
        flop = _flop(args, copies[name])
        rate = flop / found[name]["wall_s"] / limits["flop_per_s"]
        columns = {"of matmul": rate, **about(name, chosen, others)}
        rows.append(bench.row(name, found[name], count * args.completion, **columns))
    bench.finish(
        args,
        f"{'step' if args.step else 'update'} {bench.size(args)}",
        rows,
        **exact,
        tried=tried,
        peers_about=facts,
        limits=limits,
        machine=bench.machine(),
    )


def about(name: str, chosen: Mapping, others: Mapping[str, peers.Peer]) -> dict:
    """What `bench.row` is told about one side's update."""
    if name in chosen:
        pieces, way = chosen[name]
        found = dict(program=way.program, peak=way.peak, compile_s=way.compile_s)
        return {"pieces": pieces, **found}
    peer = others[name]
    return {"pieces": peer.pieces, "program": peer.update_program}


def _flop(args, copies: int) -> float:
    """Forward and backward, without what remat computes again.

    2 per parameter and token for the layers, attention over what is seen, logits at
    the completion only; the backward pass costs twice the forward one.
    """
    m = bench.MODELS[args.model]
    heads = m["heads"] * m["head_dim"]
    weights = bench.weights(args.model)
    count = args.groups * args.siblings
    prefix, said = copies * args.prefix, count * args.completion
    seen = prefix * args.prefix / 2 + said * (args.prefix + args.completion / 2)
    layers = m["layers"] * (2 * weights * (prefix + said) + 4 * heads * seen)
    return 3 * (layers + 2 * m["width"] * m["vocab"] * said)


if __name__ == "__main__":
    main()
