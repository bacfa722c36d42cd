"""Whether the maths verifier can be trusted, and how fast it is.

    python -m benchmarks.verifier --data=DIR

DIR holds `math_train`, `math_test`, `gsm8k_train`, `gsm8k_test`, `cmath_validation` and
`cmath_test`, each `.jsonl.gz` with the field "answer". Every gold answer is judged in a
box against itself and against another question's; `variants` makes other spellings,
near misses and expressions that were not worked out, `mutations` answers one slip away
and `rewritings` other hands' spellings, class by class; malformed answers, and workers
that are told to do harm, must cost themselves only. Seeds are fixed. `--peer` judges
the variants by math-verify alone, too.
`--cases=FILE` is of answers with verdicts, JSON lines of "kind", "gold", "text",
"right" and "rules", judged by both.
"""

import argparse
import collections
import functools
import gzip
import itertools
import json
import pathlib
import random
import time

from benchmarks import bench, evaluator, harmful, mutations, rewritings, variants
from c3jax.core import types
from c3jax.reward import matching, math, pool, process

SETS = {
    "MATH train": ("math_train", types.Rules()),
    "MATH test": ("math_test", types.Rules()),
    "GSM8K train": ("gsm8k_train", types.Rules()),
    "GSM8K test": ("gsm8k_test", types.Rules()),
    "CMATH validation": ("cmath_validation", types.Rules(chinese=True)),
    "CMATH test": ("cmath_test", types.Rules(chinese=True)),
}


def golds(path: pathlib.Path) -> list[str]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line)["answer"] for line in file]


def own(data: dict, verifier: math.Verifier) -> list[dict]:
    """Every gold answer against itself, and respelled against itself."""
    found = []
    for name, (answers, rules) in data.items():
        for side, spell in (("itself", str), ("itself, other spaces", respaced)):
            texts = [rf"So \boxed{{{spell(gold)}}}." for gold in answers]
            begin = time.perf_counter()
            verdicts = math.grade(texts, answers, rules, verifier)
            right = [v.correct for v in verdicts]
            wrong = [g for g, r in zip(answers, right, strict=True) if not r]
            found.append(
                _row(f"{name}, {side}", right, ">= 99.9% true", begin, false=wrong)
            )
    return found


def respaced(gold: str) -> str:
    """A gold answer as another hand would set it, not equal letter by letter."""
    return r"\displaystyle " + gold.replace(r"\frac", r"\dfrac ") + r"\, "


def shuffled(data: dict, verifier: math.Verifier) -> list[dict]:
    """Every gold answer against another question's, if that is spelled otherwise."""
    found = []
    for name, (answers, rules) in data.items():
        others = answers[:]
        random.Random(0).shuffle(others)
        pairs = [(g, s) for g, s in zip(answers, others, strict=True) if g != s]
        begin = time.perf_counter()
        verdicts = math.grade(*_boxed(pairs), rules, verifier)
        true = [p for p, v in zip(pairs, verdicts, strict=True) if v.correct]
        wrong = [p for p in true if not _truly_equal(*p)]
        found.append(
            _row(
                f"{name}, another's",
                [p in wrong for p in pairs],
                "<= 0.05% true",
                begin,
                verdicts=verdicts,
                equal=[p for p in true if p not in wrong],
                paid=wrong,
            )
        )
    return found


def _truly_equal(gold: str, said: str) -> bool:
    """By the benchmark's own evaluator, units and names taken off."""
    bare = [variants.undressed(text) for text in (gold, said)]
    return bare[0] == bare[1] or bool(evaluator.is_equal(*bare))


def judged(side, target, pairs, rules, verifier, rng, wanted: bool) -> dict:
    """Pairs of (class, gold, box) that are all right, or all wrong.

    Returns:
        A row with the classes and the pairs that were judged otherwise.
    """
    texts = [variants.around(said, rng) for _, _, said in pairs]
    begin = time.perf_counter()
    verdicts = math.grade(texts, [gold for _, gold, _ in pairs], rules, verifier)
    missed = [p for p, v in zip(pairs, verdicts, strict=True) if v.correct != wanted]
    kinds = collections.Counter(kind for kind, _, _ in pairs)
    return _row(
        side,
        [v.correct for v in verdicts],
        target,
        begin,
        verdicts=verdicts,
        classes=kinds,
        missed_classes=collections.Counter(kind for kind, _, _ in missed),
        missed=missed,
    )


def alone(side: str, target: str, pairs: list[tuple], rng: random.Random) -> dict:
    """The same by math-verify alone, as its documentation calls it."""
    import math_verify  # of requirements-bench.txt

    begin, right = time.perf_counter(), []
    for _, gold, said in pairs:
        sides = [rf"\boxed{{{gold}}}", variants.around(said, rng)]
        right.append(math_verify.verify(*map(math_verify.parse, sides)))
    return _row(f"{side}, math-verify alone", right, target, begin)


def generated(data: dict, make, count: int, rng: random.Random) -> list[tuple]:
    """(class, gold, box) of as many classes as evenly as the gold answers allow."""
    classes = collections.defaultdict(list)
    every = [gold for answers, _ in data.values() for gold in answers]
    for gold in rng.sample(every, len(every)):
        for kind, said in make(gold, rng):
            # A thousand of each are enough to draw from.
            if len(classes[kind]) < 1000:
                classes[kind].append((kind, gold, said))
    found = []
    while len(found) < count and any(classes.values()):
        for kind in sorted(classes):
            if classes[kind] and len(found) < count:
                found.append(classes[kind].pop())
    return found


def told(path: pathlib.Path, verifier: math.Verifier) -> list[dict]:
    """Answers of a file whose verdicts are known, by us and by math-verify alone."""
    cases = [json.loads(line) for line in path.read_text().splitlines()]
    rows = []
    for side, judge in (("", _ours), (", math-verify alone", _theirs)):
        begin = time.perf_counter()
        found = judge(cases, verifier)
        triples = list(zip(cases, found, strict=True))
        for right, target in ((1, ">= 99% true"), (0, "none true")):
            chosen = [(c, v) for c, v in triples if c["right"] == right]
            missed = [
                (c["kind"], c["gold"], c["text"]) for c, v in chosen if v != right
            ]
            kinds = collections.Counter(kind for kind, *_ in missed)
            lists = dict(missed_classes=kinds, missed=missed if judge is _ours else [])
            name = f"{path.stem}, {'right' if right else 'wrong'}{side}"
            rows.append(_row(name, [v for _, v in chosen], target, begin, **lists))
    return rows


def _ours(cases: list[dict], verifier: math.Verifier) -> list[bool]:
    pending = [
        math.submit(
            [c["text"]], [c["gold"]], types.Rules(**c.get("rules", {})), verifier
        )
        for c in cases
    ]
    return [verdict.correct for each in pending for verdict in each.result()]


def _theirs(cases: list[dict], verifier: math.Verifier) -> list[bool]:
    import math_verify  # of requirements-bench.txt

    parsed = ([rf"\boxed{{{c['gold']}}}", c["text"]] for c in cases)
    return [math_verify.verify(*map(math_verify.parse, sides)) for sides in parsed]


def hostile(verifier: math.Verifier) -> dict:
    """Answers that are made to hang or crash whoever evaluates them."""
    pairs = [("5", ""), *harmful.MALFORMED]
    texts, answers = _boxed(pairs)
    texts += [r"\boxed{" * 150_000, "{" * 1_000_000, "\\" * 1_000_000]
    answers += ["5"] * 3
    begin, slowest, verdicts = time.perf_counter(), 0.0, []
    for text, gold in zip(texts, answers, strict=True):
        at = time.perf_counter()
        verdicts += math.grade([text], [gold], verifier=verifier)
        slowest = max(slowest, time.perf_counter() - at)
    paid = [t[:99] for t, v in zip(texts, verdicts, strict=True) if v.correct]
    row = _row("hostile", [v.correct for v in verdicts], "none true", begin, paid=paid)
    timeouts = [t[:99] for t, v in zip(texts, verdicts, strict=True) if v.timeout]
    died = [t[:99] for t, v in zip(texts, verdicts, strict=True) if v.died]
    return {**row, "slowest": slowest, "timeouts": timeouts, "died": died}


def guarded(workers: int) -> dict:
    """Workers that sleep, end or take memory, among others that answer at once."""
    start = functools.partial(process.Process, "benchmarks.harmful")
    harms = {"sleep": pool.Overrun, "end": pool.Died, "take memory": pool.Died}
    asked = [*harms] * 5 + ["nothing"] * 500
    random.Random(0).shuffle(asked)
    begin = time.perf_counter()
    with pool.Pool(start, workers, limit_s=1.0) as made:
        futures = [made.submit({"do": harm}) for harm in asked]
        # What is wanted: an error of its kind for each harm, the others answered.
        found = [
            isinstance(future.exception(), harms[harm])
            if harm in harms
            else future.result() == harm
            for harm, future in zip(asked, futures, strict=True)
        ]
    return _row("harm by stand-ins, 15 of 515", found, "all as wanted", begin)


def ordinary(data: dict, right: list[tuple], wrong: list[tuple]) -> list[tuple]:
    """4,000 answers to MATH questions as a policy may give them: gold answer, box.

    Of each twenty, nine are right, half of them in another spelling than the gold
    answer; nine are another question's answer or a near miss; two have no box.
    """
    answers = data["MATH test"][0]
    rng, pairs = random.Random(1), []
    for i in range(4000):
        gold = rng.choice(answers)
        kind = i % 20
        if kind < 9:
            pairs.append((gold, gold) if kind % 2 else rng.choice(right)[1:])
        elif kind < 18:
            other = rng.choice(answers)
            pairs.append((gold, other) if kind % 2 else rng.choice(wrong)[1:])
        else:
            pairs.append((gold, None))
    rng.shuffle(pairs)
    return pairs


def undecided(data: dict) -> list[tuple]:
    """1,000 pairs of answers to MATH questions that all need an algebra system."""
    rng, answers = random.Random(2), data["MATH train"][0]
    pairs = ((rng.choice(answers), rng.choice(answers)) for _ in iter(int, 1))
    return list(itertools.islice((p for p in pairs if _needs_algebra(*p)), 1000))


def throughput(side: str, target: str, pairs: list[tuple], workers: int) -> dict:
    """Answers a second from when the workers are ready, nothing remembered."""
    texts = ["Hm." if said is None else rf"So \boxed{{{said}}}." for _, said in pairs]
    begin = time.perf_counter()
    verifier = math.Verifier(workers, remembered=0)
    try:
        math.grade([r"\boxed{\sqrt{8}}"] * 9, [r"2\sqrt{2}"] * 9, verifier=verifier)
        started = time.perf_counter() - begin
        begin = time.perf_counter()
        verdicts = math.grade(texts, [gold for gold, _ in pairs], verifier=verifier)
        row = _row(side, [v.correct for v in verdicts], target, begin)
    finally:
        verifier.close()
    asked = sum(_needs_algebra(*pair) for pair in pairs if pair[1] is not None)
    return {**row, "by algebra": asked, "ready after": started}


def _needs_algebra(gold: str, said: str) -> bool:
    try:
        matching.same(gold, said, types.Rules())
    except matching.Undecided:
        return True
    return False


def _boxed(pairs) -> tuple[list[str], list[str]]:
    texts = [rf"So \boxed{{{said}}}." for _, said in pairs]
    return texts, [gold for gold, _ in pairs]


def _row(side, right, target, begin, verdicts=(), **lists) -> dict:
    took = time.perf_counter() - begin
    return {
        "side": side,
        "answers": len(right),
        "true": sum(right),
        "percent": f"{100 * sum(right) / max(1, len(right)):.3f}",
        "target": target,
        "answers/s": len(right) / took,
        **({"timeouts": sum(v.timeout for v in verdicts)} if verdicts else {}),
        **({"died": sum(v.died for v in verdicts)} if verdicts else {}),
        **lists,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--equivalents", type=int, default=2000)
    parser.add_argument("--near-misses", type=int, default=4000)
    parser.add_argument("--mutations", type=int, default=15_000)
    parser.add_argument("--rewritings", type=int, default=10_000)
    parser.add_argument("--cases", type=pathlib.Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--peer", action="store_true")
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    args = parser.parse_args()
    files = {name: args.data / f"{file}.jsonl.gz" for name, (file, _) in SETS.items()}
    if missing := [path.name for path in files.values() if not path.exists()]:
        parser.error(f"--data={args.data} has no {missing}.")
    every = {name: golds(path) for name, path in files.items()}
    data = {n: ([g for g in a if g.strip()], SETS[n][1]) for n, a in every.items()}
    empty = {n: len(every[n]) - len(data[n][0]) for n in data}
    rng, rules = random.Random(0), types.Rules()
    right = generated(data, variants.equivalents, args.equivalents, rng)
    cmath = {name: found for name, found in data.items() if "CMATH" in name}
    chinese = generated(cmath, variants.chinese, 1000, rng)
    wrong = generated(data, variants.near_misses, args.near_misses, rng)
    undone = generated(data, variants.unfinished, 1000, rng)
    latin = {name: found for name, found in data.items() if "CMATH" not in name}
    slips = generated(latin, mutations.mutations, args.mutations, rng)
    rewritten = generated(latin, rewritings.rewritings, args.rewritings, rng)
    begin = time.perf_counter()
    # First, while no answer was seen before.
    usual = ordinary(data, right, wrong)
    speed = throughput("ordinary answers", ">= 200/s", usual, args.workers)
    hard = throughput("by algebra only", "-", undecided(data), args.workers)
    verifier = math.Verifier(args.workers)
    try:
        rows = [
            *own(data, verifier),
            *shuffled(data, verifier),
            judged("other spellings", ">= 98% true", right, rules, verifier, rng, True),
            judged(
                *("Chinese spellings", ">= 98% true", chinese),
                *(types.Rules(chinese=True), verifier, rng, True),
            ),
            judged("near misses", "<= 0.05% true", wrong, rules, verifier, rng, False),
            judged("not worked out", "none true", undone, rules, verifier, rng, False),
            judged("mutations", "<= 0.1% true", slips, rules, verifier, rng, False),
            judged("rewritings", ">= 99% true", rewritten, rules, verifier, rng, True),
            *(told(args.cases, verifier) if args.cases else ()),
            hostile(verifier),
            guarded(args.workers),
            speed,
            hard,
        ]
    finally:
        verifier.close()
    if args.peer:
        rows += [
            alone("other spellings", ">= 98% true", right, rng),
            alone("near misses", "<= 0.05% true", wrong, rng),
            alone("not worked out", "none true", undone, rng),
            alone("mutations", "<= 0.1% true", slips, rng),
            alone("rewritings", ">= 99% true", rewritten, rng),
        ]
    args.data, args.cases = args.data.name, args.cases and args.cases.name
    lists = {
        row["side"]: {
            k: row.pop(k) for k in list(row) if isinstance(row[k], list | dict)
        }
        for row in rows
    }
    lists = {side: found for side, found in lists.items() if any(found.values())}
    bench.finish(
        args,
        "verifier",
        rows,
        empty_golds=empty,
        listed=lists,
        seconds=time.perf_counter() - begin,
    )


if __name__ == "__main__":
    main()
