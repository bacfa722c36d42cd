"""A whole training step, grown and updated with shared prefixes against repeated ones.

    python -m benchmarks.tree --roles=2 -G 8 -K 8 -P 512 -C 64 --pieces=1,2,4,8
    python -m benchmarks.tree --roles=1 --model=peer --peers=tunix,torch
    python -m benchmarks.tree --model=smollm2 -G 4 -K 8 -P 72 -C 32 --peers=trl
    python -m benchmarks.tree --roles=2 --model=peer --peers=comlrl --temperature=1 \
        --top-k=0 --top-p=1

Grow the trees, score and credit them on the host, update with AdamW from a state that
is given away. One role has K siblings; two are a Reasoner and an Actor that reads it,
K leaves in all, (4, 2) for 8. "repeated" writes the same messages, each after a prompt
of its own: P tokens a reasoner's row, and for an actor's the reasoner's message, too.
Random weights and prompts, no message ends early, and the reward is made up: the share
of even ids in an answer. Log-probabilities are those recorded while sampling. Training
takes them over what top-k and top-p kept, the peers take them over the vocabulary.

Phases: "grow", "score" (reward and credit; with `--rescore` a peer also computes its
old log-probabilities again, which for one step a batch it does not need), "update".
"of matmul" is the useful part of the machine's rate for products of large matrices, in
the same process: 2 operations a weight and token read, 6 a token learned on, and the
logits of what was sampled. tokens/s counts what a side itself wrote.
"""

import argparse
import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import bench, decode, lineup, peers, update
from c3jax.core import keys, metrics
from c3jax.core.types import ContextTemplate, Evidence, Questions, Role, Turn
from c3jax.credit import api, branchings
from c3jax.learn import update as updates
from c3jax.protocol.graph import Protocol
from c3jax.rollout import contexts, prefill, sampler, tree
from c3jax.setup import train_state

# What stands between the reasoner's message and the opener.
GLUE = (0,)
PHASES = ("grow", "score", "update")


def team(args) -> contexts.Team:
    """One role, or a Reasoner and an Actor."""
    solo = decode.team(args, args.siblings, **decode.sampling(args))
    solo = update.trained(solo, args)
    if args.roles == 1:
        return solo
    roles = (
        Role("reasoner", "", max_tokens=args.completion),
        Role("actor", "", ("reasoner",), True, args.completion),
    )
    return solo.replace(
        policies=solo.policies * 2,
        protocol=Protocol(roles, branchings.default_branching(2, args.siblings)),
        templates=(*solo.templates, ContextTemplate((0,), (GLUE,), decode.OPENER)),
    )


def counts(team: contexts.Team) -> tuple[int, ...]:
    """Messages of each role, per question."""
    protocol = team.protocol
    return tuple(
        protocol.contexts(level) * size for level, size in enumerate(protocol.branching)
    )


def alone(team: contexts.Team, level: int) -> contexts.Team:
    """One role of a team as one row: a single message after a prompt of its own."""
    role = dataclasses.replace(team.protocol.roles[level], depends_on=())
    return team.replace(
        policies=(team.policies[level],),
        protocol=Protocol((role,), (1,)),
        templates=(ContextTemplate((), (), decode.OPENER),),
    )


@functools.partial(jax.jit, static_argnums=1)
def grow_repeated(
    params: dict, team: contexts.Team, questions: Questions, key: jax.Array
) -> tuple[tuple[Questions, ...], tuple[Turn, ...]]:
    """The tree of `tree.sample`, every message from a row of its own.

    Returns:
        Per role, its rows' prompts, and its messages [rows, 1, 1, ..].
    """
    asked, turns = [], []
    for level, count in enumerate(counts(team)):
        heads, template = questions.prompts[level], team.templates[level]
        heads = jnp.repeat(heads, count, 0)
        for index, separator in zip(template.reads, template.separators, strict=True):
            message = contexts.splice(turns[index], separator)[0]
            message = message.reshape(message.shape[0], -1)
            message = jnp.repeat(message, heads.shape[0] // message.shape[0], 0)
            heads = jnp.concatenate([heads, message], 1)
        rows = Questions(
            uid=jnp.repeat(questions.uid, count),
            prompts=(heads,),
            lengths=(jnp.full(heads.shape[0], heads.shape[1], jnp.int32),),
        )
        node = keys.nodes(key, questions.uid, level, count).reshape(-1, 1)
        turn = decode.sampled(params, alone(team, level), rows, node)
        asked.append(rows)
        turns.append(jax.tree.map(lambda x: x[:, None], turn))
    return tuple(asked), tuple(turns)


def update_repeated(state, batches: tuple, *, objective, optimise):
    """`update.update` of rows: one batch a role, each token counting once."""
    rows = [batch.questions.uid.shape[0] for batch in batches]
    slopes = [updates.gradient(state.params, objective, batch)[0] for batch in batches]
    # All messages have one length, so rows weigh as their tokens do.
    weights = [count / sum(rows) for count in rows]
    grads = jax.tree.map(
        lambda *parts: sum(w * part for w, part in zip(weights, parts, strict=True)),
        *slopes,
    )
    (params, opt_state), stats = updates.apply_gradients(
        optimise, grads, state.params, state.opt_state, jnp.float32(0)
    )
    state = state.replace(step=state.step + 1, params=params, opt_state=opt_state)
    return state, stats


def reward(answers: np.ndarray) -> np.ndarray:
    """Made-up rewards of [n, C] tokens: [n], the share of even ids."""
    return (answers % 2 == 0).mean(-1, dtype=np.float32)


def credit(team: contexts.Team, answers: np.ndarray) -> tuple[np.ndarray, ...]:
    """C3's advantages for made-up rewards.

    Args:
        team: static description.
        answers: [G * leaves, C] tokens of the last role.

    Returns:
        Per role, [G, N, K] float32.
    """
    rewards = reward(answers).reshape(-1, *team.protocol.branching)
    evidence = Evidence(rewards, team.protocol.ancestors)
    return api.ESTIMATORS["c3"].fn(evidence, (), std=False)[0]


class Side(NamedTuple):
    """How one side does the phases of a step.

    Attributes:
        grow: parameters to what `read` and `batch` are given.
        grow_s: seconds it took to compile.
        read: the turns of that, one a role.
        batch: that and [G, N, K] advantages a role to what the update reads.
        step: (state, batch, *, objective) to the new state and statistics.
        rows: what the pieces of an update must divide.
        prefilled: grown to tokens that are read before messages.
    """

    sample: Callable
    grow_s: float
    read: Callable
    batch: Callable
    step: Callable
    rows: tuple[int, ...]
    prefilled: Callable


def shared(team, params, questions, key, optimise) -> Side:
    program, seconds = bench.compiled(tree.sample, params, team, questions, key)

    def batch(turns, advantage):
        tree = sampler.whole(team, turns)
        return updates.Batch(questions, (tree,), (jax.tree.map(jnp.array, advantage),))

    return Side(
        sample=lambda params: program(params, questions, key),
        grow_s=seconds,
        read=lambda turns: turns,
        batch=batch,
        step=functools.partial(updates.update, optimise=optimise),
        rows=(questions.uid.shape[0],),
        prefilled=lambda turns: prefill.slots(
            team, questions, jax.tree.map(np.asarray, turns)
        ),
    )


def repeated(team, params, questions, key, optimise) -> Side:
    program, seconds = bench.compiled(grow_repeated, params, team, questions, key)
    teams = tuple(alone(team, level) for level in range(len(team.templates)))

    def batch(grown, advantage):
        return tuple(
            updates.Batch(
                rows,
                (sampler.whole(one, (turn,)),),
                ((jnp.array(each.reshape(-1, 1, 1)),),),
            )
            for one, rows, turn, each in zip(teams, *grown, advantage, strict=True)
        )

    return Side(
        sample=lambda params: program(params, questions, key),
        grow_s=seconds,
        read=lambda grown: grown[1],
        batch=batch,
        step=functools.partial(update_repeated, optimise=optimise),
        rows=tuple(questions.uid.shape[0] * count for count in counts(team)),
        prefilled=lambda grown: sum(rows.prompts[0].size for rows in grown[0]),
    )


def step(
    side: Side,
    program: Callable,
    team: contexts.Team,
    holder: bench.Holder,
    watch: metrics.Stopwatch,
) -> dict:
    """One training step by its phases; its statistics."""
    with watch("grow"):
        grown = jax.block_until_ready(side.sample(holder.state.params))
    with watch("score"):
        answers = np.asarray(side.read(grown)[-1].tokens)
        advantage = credit(team, answers.reshape(-1, answers.shape[-1]))
    with watch("update"):
        return jax.block_until_ready(
            holder.advance(program, side.batch(grown, advantage))
        )


def phased(run: Callable, seconds: list[dict]) -> Callable:
    """The work `run(watch)`, which notes the seconds of its phases in a list."""

    def work():
        watch = metrics.Stopwatch()
        result = run(watch)
        seconds.append(watch.take())
        return result

    return work


def arguments() -> argparse.Namespace:
    parser = bench.parser(__doc__)
    decode.sampling_flags(parser)
    update.training_flags(parser)
    lineup.flags(parser, phased=False)
    parser.add_argument("--roles", type=int, default=1, choices=(1, 2))
    parser.add_argument("--rescore", action="store_true", help="see above")
    pairs = "pairs of messages a question of a peer of two roles; 0: as many in all"
    parser.add_argument("--pairs", type=int, default=0, help=pairs)
    args = parser.parse_args()
    lineup.agree(parser, args.peers, args.roles, args.rescore)
    return args


def main() -> None:
    args = arguments()
    ours, optimise = team(args), updates.optimiser(**peers.OPTIMISER)
    judge = peers.Judge(reward, lambda tokens: credit(ours, tokens)[-1].reshape(-1))
    questions = decode.questions(args, roles=args.roles)
    params = decode.init(ours, "float32")
    heads = decode.prompts(questions)
    # Before the parameters are given away, for they copy them.
    case = peers.case(args, ours, params, heads)
    if args.pairs:
        case = dataclasses.replace(case, messages=args.pairs * args.roles)
    others, facts = lineup.build(args.peers, case)
    given = (ours, params, questions, keys.stream(0, "rollout"), optimise)
    made = {"shared": shared(*given), "repeated": repeated(*given)}
    grown = {name: side.sample(params) for name, side in made.items()}
    tokens = {
        name: [np.asarray(turn.tokens).reshape(-1) for turn in side.read(grown[name])]
        for name, side in made.items()
    }
    holder = bench.Holder(train_state.initial_state(optimise, (), params))
    candidates = {}
    for name, side in made.items():
        answers = tokens[name][-1].reshape(-1, args.completion)
        batch = side.batch(grown[name], credit(ours, answers))
        wanted = update.candidates(args.pieces, *side.rows)
        candidates[name] = update.steps(holder, side.step, batch, wanted)
    chosen, tried = update.choose(candidates)
    stats = {name: way.run() for name, (_, way) in chosen.items()}
    norms = [float(each["grad_norm"]) for each in stats.values()]
    if others:
        answers = tokens["shared"][-1].reshape(-1, args.completion)
        sampling = peers.tune_sampling(others)
        tried |= {f"{name} grow": each for name, each in sampling.items()}
        tried |= peers.tune(others, answers, judge.credit(answers), judge)
    prefilled = {name: side.prefilled(grown[name]) for name, side in made.items()}
    del grown, candidates
    seconds = {name: [] for name in (*chosen, *others)}
    work = {}
    for name, (_, way) in chosen.items():
        run = functools.partial(step, made[name], way.program, ours, holder)
        work[name] = phased(run, seconds[name])
    for name, peer in others.items():
        run = functools.partial(peer.step, judge, rescore=args.rescore)
        work[name] = phased(run, seconds[name])
    found = bench.interleaved(work, args.repeats)
    limits = bench.limits(args.dtype)
    said, rows = args.groups * sum(counts(ours)) * args.completion, []
    written = {name: peer.messages * args.completion for name, peer in others.items()}
    for name in work:
        columns = {
            f"{phase} s": float(np.median([each[phase] for each in seconds[name][1:]]))
            for phase in PHASES
        } | update.about(name, chosen, others)
        if name in made:
            columns["compile_s"] += made[name].grow_s
            rate = _flop(args, prefilled[name], said) / found[name]["wall_s"]
            columns["of matmul"] = rate / limits["flop_per_s"]
        line = bench.row(name, found[name], written.get(name, said), **columns)
        rows.append(line)
    bench.finish(
        args,
        f"tree roles={args.roles} {bench.size(args)}",
        rows,
        branching=ours.protocol.branching,
        same_tokens=all(
            np.array_equal(a, b) for a, b in zip(*tokens.values(), strict=True)
        ),
        grad_norm_relative=abs(norms[0] / norms[-1] - 1),
        tried=tried,
        peers_about=facts,
        limits=limits,
        machine=bench.machine(),
    )


def _flop(args, read: int, said: int) -> float:
    """Of a step that reads and writes some tokens, and learns on both.

    Without attention, and without what remat computes again.
    """
    m = bench.MODELS[args.model]
    layers = 2 * m["layers"] * bench.weights(args.model) * (read + said)
    return (1 + 3) * layers + 2 * m["width"] * m["vocab"] * said


if __name__ == "__main__":
    main()
