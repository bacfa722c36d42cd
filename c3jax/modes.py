"""What c3jax can be told to do, as functions: those of the command, and of a notebook.

Each prints what a reader at a terminal wants to see and returns the same as a record.
None reads a flag, defines one or ends the process.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import ml_collections

from c3jax.core import files, hosts, metrics, signals, watchdog

if TYPE_CHECKING:
    from c3jax.compare import mode

# Where compiled programs and warm starts are kept unless it is said otherwise.
CACHE = str(pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "c3jax")

# What a mode needs is imported inside it: flags are checked first, `import c3jax` stays
# quick, and some of these take seconds.


@dataclasses.dataclass(frozen=True)
class Run:
    """What became of a run.

    Attributes:
        workdir: where it lives.
        summary: of a finished run, as in `summary.json`; {} before.
        report: its page, made when it is finished.
        metrics: a line of JSON a step and an evaluation.
        checkpoints, trees: the directories of its checkpoints and saved trees.
        stopped: the signal that it was stopped by, saved; None if it is finished.
    """

    workdir: pathlib.Path
    summary: Mapping
    report: pathlib.Path
    metrics: pathlib.Path
    checkpoints: pathlib.Path
    trees: pathlib.Path
    stopped: signal.Signals | None


def run(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike | None = None,
    *,
    cache_dir: str | os.PathLike | None = CACHE,
    certify: bool = True,
) -> "Run | mode.Comparison":
    """Does what `python -m c3jax.main` does with a config, from Python.

    Trains, or goes on with a run that was stopped or killed; makes a comparison if the
    config has `methods`. SIGTERM and Ctrl-C have the run saved first, where this is
    called in the main thread. Processes that are one run call it alike, each after
    `c3jax.core.hosts.join`. A comparison starts processes that import the caller's
    template, which therefore calls this under `if __name__ == "__main__":`.

    Args:
        config: as a page makes it, such as `c3jax.configs.math.get_config()`.
        workdir: where the run lives; runs/<config.name> unless given.
        cache_dir: where compiled programs and warm starts are kept for other runs;
            None for nowhere.
        certify: whether a finished run is replayed by a fresh process for its report.
            On an accelerator, which this process goes on holding, it is not.

    Raises:
        ValueError: what came, what was wanted, what to change.
        OSError: a file cannot be read or written; the same call goes on from the last
            checkpoint.
    """
    if not isinstance(config, ml_collections.ConfigDict) or "name" not in config:
        raise ValueError(
            f"config={config!r:.60}: wanted what a page makes, such as "
            "c3jax.configs.math.get_config()."
        )
    config = config.copy_and_resolve_references().lock()
    directory = pathlib.Path(workdir or f"runs/{config.name}")
    cache_dir = str(cache_dir or "")
    if "methods" in config:
        from c3jax.compare import mode

        return mode.compare(config, directory, cache_dir)
    return train(config, directory, cache_dir, certify=certify, release=False)


def train(
    config: ml_collections.ConfigDict,
    directory: pathlib.Path,
    cache_dir: str,
    *,
    certify: bool,
    release: bool,
    devices: int | None = None,
    profile: str = "",
) -> Run:
    """Trains, or goes on with a run.

    Args:
        cache_dir: see `cached`.
        certify: whether a fresh process replays the finished run for its report.
        release: whether this process may give up its arrays on an accelerator for
            that replay.
        devices: how many there must be in all processes; None for any number.
        profile: FROM:TO of steps to trace; "" for none.
    """
    from c3jax.core import environment
    from c3jax.report import run_page
    from c3jax.setup import identity
    from c3jax.train import device_memory, loop, run_dir, summary
    from c3jax.train import profile as tracing

    profiled, cache = tracing.steps(profile, config.train.steps), cached(cache_dir)
    config = run_dir.as_begun(directory, config)
    page = directory / run_page.PAGE
    with contextlib.ExitStack() as stack:
        dog = stack.enter_context(watchdog.Watchdog())
        environment.check_devices(devices)
        resolved = _admitted(config, device_memory.training)
        stack.enter_context(run_dir.lock(directory))
        stop = stack.enter_context(signals.Stop(hosts.largest))
        heard = dog.heard(stop)
        described = environment.describe(resolved.mesh)
        contents = hosts.by_first(identity.contents, resolved)
        args = (directory, config, described, contents)
        changes = hosts.by_first(run_dir.check_or_create, *args)
        if is_open := hosts.by_first(run_dir.summary, directory) is None:
            for change in changes:
                print(change, flush=True)
            args = (resolved, directory)
            loop.run(*args, cache=cache, profiled=profiled, stop=heard)
        outcome = hosts.by_first(run_dir.summary, directory)

        # A finished run is replayed for its page, which is made once. A page that is
        # there already may be that of the unfinished run.
        if outcome is not None and (is_open or not hosts.by_first(page.exists)):
            if certify and config.evaluate.trees:
                certify_run(directory, cache_dir, release, heard)
            hosts.by_first(run_page.write, directory)
    if outcome is None:
        print(stop.advice)
    else:
        print(f"{summary.told(outcome)}\n  {page}")
    return Run(
        workdir=directory,
        summary=outcome or {},
        report=page,
        metrics=directory / metrics.LINES,
        checkpoints=directory / "checkpoints",
        trees=directory / "trees",
        stopped=stop.signal if outcome is None else None,
    )


def certify_run(
    directory: pathlib.Path, cache_dir: str, release: bool, stop: Callable[[], bool]
) -> None:
    """Has a fresh process replay a finished run, when this one needs no device more.

    A stop ends the replay. A page without a certificate says how to make one.
    """
    import jax
    from jax.extend import backend

    from c3jax.core import environment

    command = ["--mode=replay", f"--workdir={directory}"]

    # Nobody else may hold the devices.
    if hosts.many():
        print(f"not replayed, as many processes made it; to: {' '.join(command)}")
        return
    if jax.default_backend() != "cpu":
        if not release:
            print(f"not replayed, as devices are held; to: {' '.join(command)}")
            return
        backend.clear_backends()  # The fresh process needs their memory.

    # The replay, until it is done or a stop is asked for.
    command += [f"--cache_dir={cache_dir}"]
    with subprocess.Popen(
        [*environment.COMMAND, *command], start_new_session=True
    ) as process:
        while process.poll() is None:
            if stop():
                process.kill()
            time.sleep(_POLL_S)


# Seconds between two looks at a process.
_POLL_S = 0.1


def evaluate(
    config: ml_collections.ConfigDict, directory: pathlib.Path, cache_dir: str
) -> pathlib.Path:
    """Measures the newest checkpoint of a run; returns the file of its figures."""
    from c3jax.collect import evaluate, scorers
    from c3jax.train import device_memory

    resolved, state = _newest(config, directory, cache_dir, device_memory.evaluating)
    with scorers.started(resolved) as scorer:
        result = evaluate.measure(state.params, resolved, scorer)
    step = int(state.step)
    path = directory / f"evaluation-{step}.json"
    page = json.dumps({"step": step, **result.fields()}, indent=2) + "\n"
    hosts.by_first(files.write, path, page)
    print(f"step {step}  {result}\n{path}")
    return path


def export(
    config: ml_collections.ConfigDict, directory: pathlib.Path, cache_dir: str
) -> None:
    """Writes the newest checkpoint of a run as `transformers` loads it."""
    from c3jax.train import device_memory, export

    resolved, state = _newest(
        config, directory, cache_dir, device_memory.exporting, asks=False
    )
    print(export.write(resolved, state.params, int(state.step), directory))


def _newest(
    config, directory: pathlib.Path, cache_dir: str, phases: Callable, asks: bool = True
) -> tuple:
    """A run's setup from `_admitted`, and the state of its newest checkpoint."""
    from c3jax.core import checkpoint
    from c3jax.learn import training

    cached(cache_dir)
    resolved = _admitted(config, phases, asks)
    with checkpoint.Store(directory / "checkpoints") as store:
        state, _ = store.restore(training.abstract_state(resolved))
    return resolved, state


def _admitted(config: ml_collections.ConfigDict, phases: Callable, asks: bool = True):
    """A run's setup, if there is memory for the phases of a mode.

    `phases` is a function of `train.device_memory`; `asks` is for `experiment.resolve`.
    """
    from c3jax.setup import experiment
    from c3jax.train import admission

    resolved = experiment.resolve(config, asks=asks)
    admission.admit(resolved, phases(resolved))
    return resolved


def report(directory: pathlib.Path) -> None:
    """Makes the page of a run, finished or not."""
    from c3jax.report import run_page

    print(hosts.by_first(run_page.write, directory))


def replay(
    config: ml_collections.ConfigDict, directory: pathlib.Path, cache_dir: str
) -> bool:
    """Certifies a run; whether every message could be replayed."""
    from c3jax.audit import certificate
    from c3jax.train import device_memory

    cached(cache_dir)
    resolved = _admitted(config, device_memory.replaying, asks=False)
    replayed = certificate.certify(resolved, directory)
    print(replayed)
    return not replayed.failures


def audit_run(
    config: ml_collections.ConfigDict, directory: pathlib.Path, cache_dir: str
) -> signal.Signals | None:
    """Audits a run; returns the signal that stopped it, if one did.

    Args:
        config: as `c3jax.configs.audit` makes it.
        cache_dir: see `cached`.
    """
    from c3jax.report import run_audit, run_page

    cached(cache_dir)
    with signals.Stop() as stop:
        found = run_audit.audit(config.audit, directory, stop)
    if found is None:
        print(stop.advice)
        return stop.signal
    _tell_audit(found, run_page.write(directory))
    return None


def audit_logs(config: ml_collections.ConfigDict, directory: pathlib.Path) -> list[str]:
    """Audits the logs that `audit.buckets` names; returns what is wrong with lines."""
    from c3jax.report import log_audit

    found, wrong = log_audit.audit(config, directory)
    _tell_audit(found, directory / log_audit.PAGE)
    for line in wrong:
        print(line, file=sys.stderr)
    return wrong


def _tell_audit(found, page: pathlib.Path) -> None:
    from c3jax.report import audit_section, words

    screen = words.screen(160)
    for table in audit_section.tables(found.roles):
        screen.print(*audit_section.shown(table), sep="\n")
    for role in found.roles:
        print(words.reading(role))
    print(f"  {page}", flush=True)


def describe(what: ml_collections.ConfigDict | str | None = None) -> str:
    """Says what a config or a model is; without either, what fields there are.

    Args:
        what: a config, or a published model: a directory, a GGUF, an installed Python
            package, or a name on the hub.
    """
    from c3jax.train import describe

    if what is None:
        text = describe.tables()
    elif isinstance(what, str):
        text = describe.model(what)
    else:
        text = describe.config(what)
    print(text)
    return text


def cached(directory: str) -> pathlib.Path | None:
    """Sets up the cache of compiled programs; where warm starts are kept.

    Args:
        directory: for both, perhaps in ~; "" for none.
    """
    import jax

    if not directory:
        return None
    path = pathlib.Path(directory).expanduser()
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(path / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return path
