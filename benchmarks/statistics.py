"""Whether intervals, ceilings and influence are what they claim, on made-up truths.

    python -m benchmarks.statistics [--audits 200] [--json=FILE]

Coverage: how often a 95% interval of an accuracy holds the truth, least over 50 means
in [0, 1]. Ceilings: what exactly true credit reaches in simulated audits of 200
contexts, and what the audits say it could. Influence: the estimate less the truth on
channels of 8 messages.
"""

import argparse
import concurrent.futures
import functools
import json
import pathlib
import time

import numpy as np
from scipy import special
from scipy import stats as distributions

from c3jax.audit import buckets, ceiling, diagnostics
from c3jax.core import stats

WORTHS = ("even", "rare", "two-valued", "mixed")
CHANNELS = ("independent", "uneven", "noisy", "weak", "sharp")
MESSAGES, EXTRA = 8, 16


def counts(mean: float, correlation: float, samples: int) -> np.ndarray:
    """[samples + 1], how probable so many right answers to a question are."""
    right = np.arange(samples + 1)
    if mean in (0, 1) or correlation == 1:
        ends = np.zeros(samples + 1)
        ends[0], ends[-1] = 1 - mean, mean
        return ends
    if correlation == 0:
        return distributions.binom.pmf(right, samples, mean)
    size = 1 / correlation - 1
    law = distributions.betabinom(samples, mean * size, (1 - mean) * size)
    return law.pmf(right)


def covered(samples: int, correlation: float, questions: int, draws: int) -> tuple:
    """Least coverage over means, where it is, and width at 1/2 over the bootstrap's."""
    rng, grid, held = np.random.default_rng(0), np.linspace(0, 1, 50), []
    rates = np.arange(samples + 1) / samples

    def intervals(mean):
        chances = counts(mean, correlation, samples)
        drawn = rng.multinomial(questions, chances / chances.sum(), draws)
        found = drawn @ rates / questions
        variance = (drawn @ rates**2 / questions - found**2).clip(0)
        rarer = questions - np.maximum(drawn[:, 0], drawn[:, -1])
        spread = variance * questions / (questions - 1)
        count = stats.effective(questions, samples, found, spread, rarer)
        return *stats.clopper_pearson(found, count), np.sqrt(variance / questions)

    for mean in grid:
        low, high, _ = intervals(mean)
        held.append(((low <= mean + 1e-12) & (mean <= high + 1e-12)).mean())
    # Of that many questions, a percentile bootstrap's ends are those of a normal.
    low, high, error = intervals(0.5)
    width = (high - low).mean() / (2 * special.ndtri(0.975) * error.mean())
    return float(min(held)), float(grid[np.argmin(held)]), float(width)


def audited(worths: str, contexts: int, returns: int, seed: int) -> tuple:
    """An audit's samples, and [C, J] what each message is truly worth."""
    rng, size = np.random.default_rng(seed), (contexts, MESSAGES)
    if worths in ("even", "rare"):
        value, spread = rng.uniform(0.1, 0.9, contexts), 4
        if worths == "rare":
            value, spread = rng.beta(0.5, 8, contexts).clip(1e-4), 2
        shape = value[:, None] * spread
        chance = rng.beta(shape, spread - shape, size)
    elif worths == "two-valued":
        share = rng.uniform(0.1, 0.9, contexts)
        chance = np.where(rng.random(size) < share[:, None], 0.8, 0.2)
        value = 0.2 + 0.6 * share
    else:  # Hopeless, solved, or anything.
        kind = rng.choice(3, contexts, p=(0.45, 0.45, 0.1))
        value = np.array([0.02, 0.98, 0.5])[kind]
        chance = np.where((kind == 2)[:, None], rng.random(size), value[:, None])
    outcomes = 1.0 * (rng.random((*size, returns)) < chance[..., None])
    extra = 1.0 * (rng.random((contexts, EXTRA)) < value[:, None])
    worth = np.round(chance - value[:, None], 9)
    return buckets.Arrays(outcomes, extra, {}, {}), worth


def reached(arrays: buckets.Arrays, worth: np.ndarray) -> tuple[float, float]:
    """Pearson's and Spearman's correlation of exactly true credit."""
    measured = np.round(arrays.worth, 9).ravel()
    ranks = diagnostics.Ranks(worth.ravel(), measured)
    linear = np.corrcoef(worth.ravel(), measured)[0, 1]
    return float(linear), ranks.correlation(np.ones(worth.size))


def ceilings(worths: str, returns: int, seed: int) -> tuple[float, ...]:
    """Both correlations reached, and what one audit says they could."""
    arrays, worth = audited(worths, 200, returns, seed)
    limit = 1 - arrays.noise.mean() / arrays.worth.var()
    found = ceiling.ranks(arrays)
    return *reached(arrays, worth), np.sqrt(max(limit, 0)), *found


def channel(kind: str, symbols: int) -> tuple[np.ndarray, float]:
    """[messages, symbols] chances of replies, and their mutual information."""
    own = np.arange(symbols) == np.arange(MESSAGES)[:, None] % symbols
    kept = {"independent": 0, "uneven": 0, "noisy": 0.6, "weak": 0.1, "sharp": 1}[kind]
    rest = 1 / np.arange(1, symbols + 1) if kind == "uneven" else np.ones(symbols)
    rates = kept * own + (1 - kept) * rest / rest.sum()
    alone = special.entr(rates).sum(1).mean()
    return rates, float(special.entr(rates.mean(0)).sum() - alone)


def influence(kind: str, symbols: int, replies: int) -> float:
    """The bias of corrected influence in nats; NaN where it is not identifiable."""
    rates, truth = channel(kind, symbols)
    contexts = max(24, 6000 // replies)
    draws = np.random.default_rng(0).random((contexts, MESSAGES, replies))
    edges = np.cumsum(rates, 1)[:, :-1]
    said = np.stack(
        [np.searchsorted(edges[j], draws[:, j], side="right") for j in range(MESSAGES)],
        1,
    )
    try:
        found = diagnostics.influence(said, correct=True, shuffles=1)
    except ValueError:
        return float("nan")
    return found.value.mean - truth


def _coverage(pool, args) -> list[dict]:
    """Least coverage by number of questions; the width is that at 500."""
    rows, sizes = [], (30, 100, 300, 1000, 500)
    for samples in (1, 2, 10):
        for correlation in (0, 0.3, 1):
            each = functools.partial(covered, samples, correlation, draws=args.draws)
            found = [*pool.map(each, sizes)]
            row = {"samples": samples, "correlation": correlation}
            row |= {f"n={n}": f"{x[0]:.3f}" for n, x in zip(sizes, found, strict=True)}
            rows.append({**row, "width / bootstrap's": found[-1][2]})
    return rows


def _ceilings(pool, args) -> list[dict]:
    """Means over audits."""
    rows = []
    for returns in (8, 2):
        for worths in WORTHS:
            each = functools.partial(ceilings, worths, returns)
            found = [*pool.map(each, range(args.audits), chunksize=5)]
            linear, rank, limit, mean, low, high = np.mean(found, 0)
            said = f"{low:.3f} to {high:.3f}" if np.isnan(mean) else f"{mean:.3f}"
            row = {"worths": worths, "M": returns, "Pearson": f"{linear:.3f}"}
            row |= {"ceiling": f"{limit:.3f}", "Spearman": f"{rank:.3f}"}
            rows.append({**row, "its ceiling": said})
    return rows


def _influence() -> list[dict]:
    rows = []
    for replies in (2, 4, 8, 16, 64, 256):
        for symbols in (2, 4, 16, 64):
            biases = [influence(kind, symbols, replies) for kind in CHANNELS]
            shown = ["–" if np.isnan(bias) else f"{bias:+.3f}" for bias in biases]
            enough = "yes" if replies >= 4 * symbols else "no"
            row = {"M": replies, "symbols": symbols, "M >= 4 symbols": enough}
            rows.append(row | dict(zip(CHANNELS, shown, strict=True)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--audits", type=int, default=200, help="of each kind of worths"
    )
    parser.add_argument("--draws", type=int, default=3000, help="of each mean")
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    args = parser.parse_args()
    begin = time.perf_counter()
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        tables = {
            "least coverage of 95% intervals": _coverage(pool, args),
            "ceilings": _ceilings(pool, args),
            "bias of influence, nats": _influence(),
        }
    for title, rows in tables.items():
        print(f"\n{title}\n\n| " + " | ".join(rows[0]) + " |")
        print("|" + " --- |" * len(rows[0]))
        for row in rows:
            shown = (
                f"{x:.3g}" if isinstance(x, float) else str(x) for x in row.values()
            )
            print("| " + " | ".join(shown) + " |")
    found = {"benchmark": "statistics", **tables, "s": time.perf_counter() - begin}
    print(f"\n{found['s']:.0f} s")
    if args.json:
        with args.json.open("a") as file:
            file.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
