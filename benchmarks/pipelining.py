"""A training step whose answers are slow to score: how much of that it hides.

    python -m benchmarks.pipelining

The step of `configs/math.py`, with a scorer that takes a set time an answer, two at a
time. "devices" is what a step takes when scoring takes none, with one group; "scoring"
what all its answers take by themselves. A step with `train.groups` is compared with the
longer of the two.
"""

import argparse
import concurrent.futures
import importlib.util
import pathlib
import statistics
import time

import jax

from benchmarks import bench
from c3jax.collect import rollouts, scorers
from c3jax.core import metrics
from c3jax.learn import training, warm_start
from c3jax.setup import experiment

CONFIG = pathlib.Path(__file__).parent.parent / "configs" / "math.py"


class Slow:
    """A scorer that takes its time over each answer, `workers` at a time."""

    def __init__(self, seconds: float, workers: int = 2):
        self.seconds = seconds
        self._threads = concurrent.futures.ThreadPoolExecutor(workers)

    def submit(self, texts, items):
        futures = [self._threads.submit(time.sleep, self.seconds) for _ in texts]

        def grades():
            concurrent.futures.wait(futures)
            # Alternately right and wrong, so that there is something to learn.
            return [scorers.Grade(float(i % 2)) for i in range(len(texts))]

        return grades


def resolved(groups: int, batch_size: int) -> experiment.Setup:
    spec = importlib.util.spec_from_file_location("config", CONFIG)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = module.get_config().copy_and_resolve_references()
    config.train.groups, config.train.batch_size = groups, batch_size
    return experiment.resolve(config, jax.devices()[:1])


class Step:
    """A training step that is run again and again."""

    def __init__(self, groups: int, batch_size: int):
        self.setup = resolved(groups, batch_size)
        self.update = training.compiled_update(self.setup)
        source = self.setup.task.split("train")
        self.items = [source[i] for i in range(batch_size)]
        params = warm_start.initial_params(self.setup)
        self.state = training.initial_state(self.setup, params)

    def __call__(self, scorer) -> None:
        watch = metrics.Stopwatch()
        args = self.setup, self.state, 0, self.items, scorer, watch
        rollout = rollouts.sample(*args)
        setup, state = self.setup, self.state
        args = setup.estimator, setup.ancestors, rollout, state.memory
        advantages, _ = rollouts.credit(*args)
        args = rollout, advantages, state.params, None, watch
        batches = rollouts.batches(setup.objective, setup.mesh, *args)
        self.state, stats = self.update(
            self.setup.objective, self.state, rollout, batches
        )
        jax.block_until_ready(stats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--groups", type=bench.numbers, default=(1, 4, 8))
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=pathlib.Path, help="append the result here")
    args = parser.parse_args()
    steps = {groups: Step(groups, args.batch_size) for groups in args.groups}
    answers = args.batch_size * resolved(1, args.batch_size).config.protocol.budget
    devices = {g: _seconds(step, Slow(0.0), args.repeats) for g, step in steps.items()}
    alone = devices[args.groups[0]]
    found = []
    for share in (0.5, 1.0, 2.0):
        slow = Slow(2 * share * alone / answers)
        # A thread sleeps longer than it is told, so it is measured, too.
        begin = time.perf_counter()
        slow.submit([""] * answers, None)()
        scoring_s = time.perf_counter() - begin
        for groups, step in steps.items():
            seconds = _seconds(step, slow, args.repeats)
            found.append(
                {
                    "side": f"scoring {share} of devices, groups {groups}",
                    "devices s": alone,
                    "grouped s": devices[groups],
                    "scoring s": scoring_s,
                    "step s": seconds,
                    "step / longer": seconds / max(alone, scoring_s),
                }
            )
    bench.finish(args, "pipelining", found, machine=bench.machine())


def _seconds(step: Step, scorer: Slow, repeats: int) -> float:
    """The median of some steps, after one to warm up."""
    step(scorer)
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        step(scorer)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
