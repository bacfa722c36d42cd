"""Reference programs and mutants of them in the sandbox, and how many a second.

    python -m benchmarks.sandbox --data=DIR

DIR holds `mbpp_train.jsonl.gz` and others with the fields "id", "reference", "tests".
Each reference is scored as it is, with every function returning None, and with the
first whole number in a function, or else the first comparison, off by one. A mutant
that passes all is run on the tests without a sandbox, too: "weak tests" counts those
that pass there as well. References that take long are named and left out of the rate.
Programs that read standard input and print are made here, half of them wrong; their
rate is of cases.
"""

import argparse
import ast
import contextlib
import gzip
import io
import json
import pathlib
import time

from benchmarks import bench
from c3jax.reward import code
from c3jax.reward.sandbox import client

SETS = {
    "MBPP": [f"mbpp_{part}" for part in ("train", "validation", "test", "prompt")],
    "MBPP+": ["mbppplus_test"],
}


def rows(path: pathlib.Path) -> list[dict]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


OTHER = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}


class Nothing(ast.NodeTransformer):
    """Every function returns None."""

    def visit_FunctionDef(self, node):
        node.body = [ast.Return(ast.Constant(None))]
        return node


class OffByOne(ast.NodeTransformer):
    """The first whole number in a function is one more, or its first `<` is `<=`."""

    def __init__(self, kind: type):
        self.kind, self.done, self._inside = kind, False, 0

    def visit_FunctionDef(self, node):
        self._inside += 1
        node.body = [self.visit(each) for each in node.body]
        self._inside -= 1
        return node

    def visit_Constant(self, node):
        if self.kind is int and type(node.value) is int and not self._spent():
            self.done = True
            return ast.Constant(node.value + 1)
        return node

    def visit_Compare(self, node):
        self.generic_visit(node)
        other = OTHER.get(type(node.ops[0]))
        if self.kind is ast.Compare and other and not self._spent():
            self.done = True
            node.ops[0] = other()
        return node

    def _spent(self):
        return self.done or not self._inside


def mutants(program: str) -> dict[str, str]:
    """Per kind, the program changed; none where there is nothing to change."""
    tree = ast.fix_missing_locations(Nothing().visit(ast.parse(program)))
    found = {"returns None": ast.unparse(tree)}
    for kind in (int, ast.Compare):
        mutation = OffByOne(kind)
        tree = ast.fix_missing_locations(mutation.visit(ast.parse(program)))
        if mutation.done:
            found["off by one"] = ast.unparse(tree)
            break
    return found


def passes_unconfined(program: str, tests: str) -> bool:
    """Whether a program passes in this very process; only for trusted ones."""
    space = {"__name__": "program"}
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            exec(program, space)
            exec(tests, space)
        except Exception:
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--timeout", type=float, default=5.0, help="for a mutant")
    parser.add_argument("--slow", type=float, default=1.0, help="for a reference")
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    args = parser.parse_args()
    files = [name for names in SETS.values() for name in names]
    if missing := [n for n in files if not (args.data / f"{n}.jsonl.gz").exists()]:
        parser.error(f"--data={args.data} has no {missing}.")
    found = []
    patient = client.Settings(timeout_s=120.0, memory_mb=2048)
    usual = client.Settings(timeout_s=args.timeout)
    with (
        code.Scorer(patient, args.workers) as first,
        code.Scorer(usual, args.workers) as second,
    ):
        for scorer in (first, second):
            scorer.submit("def f(): return 1", "assert f() == 1").result()
        for name, parts in SETS.items():
            some = [r for part in parts for r in rows(args.data / f"{part}.jsonl.gz")]
            found += _rows(first, second, name, some, args)
        layers = second.layers
    with code.Scorer(usual, args.workers, tests="stdio") as third:
        found.append(_printing(third))
    args.data = args.data.name
    bench.finish(args, "sandbox", found, layers=layers, machine=bench.machine())


def _printing(scorer, problems: int = 40, count: int = 20) -> dict:
    """Small cases of programs that read and print: sums of numbers, half wrong."""
    programs = [
        f"n = int(input())\nprint(sum(map(int, input().split())) + {i} % 2)"
        for i in range(problems)
    ]
    numbers = [[*range(i, i + 20)] for i in range(count)]
    inputs = [f"{len(some)}\n{' '.join(map(str, some))}\n" for some in numbers]
    outputs = [f"{sum(some)}\n" for some in numbers]
    tests = json.dumps({"inputs": inputs, "outputs": outputs})
    scorer.submit("print(1)", tests).result()
    begin = time.perf_counter()
    results = scorer.scores(programs, [tests] * problems)
    rate = problems * count / (time.perf_counter() - begin)
    full = [str(i) for i, result in enumerate(results) if _is_right(result)]
    wrong = [name for name in full if int(name) % 2]
    row = _row("cases that print", results, full, [], wrong)
    return row | {"per s": rate, "which": "", "slow": ""}


def _rows(patient, usual, name, some, args) -> list[dict]:
    """One row for the references, one for each kind of mutant."""
    results, seconds = _timed(patient, some)
    slow = [r["id"] for r, s in zip(some, seconds, strict=True) if s > args.slow]
    brisk = [row for row in some if row["id"] not in slow]
    begin = time.perf_counter()
    for future in [_submitted(usual, row, row["reference"]) for row in brisk]:
        future.result()
    rate = len(brisk) / (time.perf_counter() - begin)
    full = [row["id"] for row, x in zip(some, results, strict=True) if _is_right(x)]
    failing = [row["id"] for row in some if row["id"] not in full]
    found = [
        _row(f"{name} reference", some, full, [], failing)
        | {"per s": rate, "which": " ".join(failing), "slow": " ".join(slow)}
    ]
    changed = [(row, mutants(row["reference"])) for row in brisk]
    for kind in ("returns None", "off by one"):
        these = [(row, made[kind]) for row, made in changed if kind in made]
        futures = [_submitted(usual, *pair) for pair in these]
        pairs = zip(these, (future.result() for future in futures), strict=True)
        alive = [(row, mutant) for (row, mutant), x in pairs if _is_right(x)]
        weak = [r["id"] for r, m in alive if passes_unconfined(m, r["tests"])]
        wrong = [row["id"] for row, _ in alive if row["id"] not in weak]
        full = [row["id"] for row, _ in alive]
        found.append(
            _row(f"{name} {kind}", these, full, weak, wrong) | {"which": " ".join(full)}
        )
    return found


def _row(side, some, full, weak, wrong) -> dict:
    return {
        "side": side,
        "count": len(some),
        "score 1": len(full),
        "weak tests": len(weak),
        "wrong": len(wrong),
    }


def _is_right(result: code.Result) -> bool:
    return result.passed_fraction == 1


def _submitted(scorer, row, program):
    return scorer.submit(program, row["tests"], row["entry_point"])


def _timed(scorer, some):
    """Results of references, and the seconds between one result and the next."""
    futures = [_submitted(scorer, row, row["reference"]) for row in some]
    results, seconds, since = [], [], time.perf_counter()
    for future in futures:
        results.append(future.result())
        now = time.perf_counter()
        seconds.append(now - since)
        since = now
    return results, seconds


if __name__ == "__main__":
    main()
