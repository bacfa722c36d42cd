"""What c3jax can be told to do, as functions: those of the command, and of a notebook.

Each prints what a reader at a terminal wants to see and returns the same as a record.
None reads a flag, defines one or ends the process.
"""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

import ml_collections

from c3jax.core import files, hosts, metrics, signals

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
        checkpoints: the directory of its checkpoints.
        trees: the directory of its saved trees.
        stopped: the signal that it was stopped by, saved; None if it is finished.
    """

    workdir: pathlib.Path
    summary: Mapping
    report: pathlib.Path
    metrics: pathlib.Path
    checkpoints: pathlib.Path
    trees: pathlib.Path
    stopped: signal.Signals | None


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What became of a comparison.

    Attributes:
        workdir: where it lives; each run has `cells/METHOD-SEED` there.
        summary: its finished runs by name, as `cells` keeps them.
        report: its page, made when a run is finished.
        cells: the file of finished runs, a line of JSON each.
        failed: names of the runs that failed.
        stopped: the signal that it was stopped by; None if it came to its end.
    """

    workdir: pathlib.Path
    summary: Mapping[str, Mapping]
    report: pathlib.Path
    cells: pathlib.Path
    failed: tuple[str, ...]
    stopped: signal.Signals | None


def run(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike | None = None,
    *,
    cache_dir: str | os.PathLike | None = CACHE,
    certify: bool = True,
) -> Run | Comparison:
    """Does what `python -m c3jax.main` does with a config, from Python.

    Trains, or goes on with a run that was stopped or killed; makes a comparison if the
    config has `methods`. SIGTERM and Ctrl-C have the run saved first, where this is
    called in the main thread. Processes that are one run call it alike, each after
    `c3jax.core.hosts.join`. A comparison starts processes that import the caller's
    script, which therefore calls this under `if __name__ == "__main__":`.

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
        return compare(config, directory, cache_dir)
    return train(config, directory, cache_dir, certify=certify, release=False)


def train(
    config: ml_collections.ConfigDict,
    directory: pathlib.Path,
    cache_dir: str,
    *,
    certify: bool,
    release: bool,
) -> Run:
    """Trains, or goes on.

    Args:
        config: of the run.
        directory: of the run.
        cache_dir: for `cached`.
        certify: whether a fresh process replays the finished run for its report.
        release: whether all that this process has on its devices may be given up for
            that.
    """
    from c3jax.audit import report
    from c3jax.core import environment
    from c3jax.train import loop, memory, summary, workdir

    cache = cached(cache_dir)
    resolved = _admitted(config, memory.training)
    page = directory / report.PAGE
    with workdir.held(directory), signals.Stop(hosts.largest) as stop:
        described = environment.describe(resolved.mesh)
        changes = hosts.by_first(workdir.claim, directory, config, described)
        if hosts.by_first(workdir.summary, directory) is None:
            for change in changes:
                print(f"{change}: not bit-equal to an unbroken run", flush=True)
            loop.run(resolved, directory, cache=cache, stop=stop)
        found = hosts.by_first(workdir.summary, directory)
        if found is not None and not hosts.by_first(page.exists):
            if certify and config.evaluate.trees:
                _certify(directory, cache_dir, release, stop)
            hosts.by_first(report.write, directory)
    if found is None:
        _tell_stopped(stop)
    else:
        print(f"{summary.told(found)}\n  {page}")
    return Run(
        workdir=directory,
        summary=found or {},
        report=page,
        metrics=directory / metrics.LINES,
        checkpoints=directory / "checkpoints",
        trees=directory / "trees",
        stopped=stop.signal if found is None else None,
    )


def _certify(
    directory: pathlib.Path, cache_dir: str, release: bool, stop: Callable[[], bool]
) -> None:
    """Has a fresh process replay a finished run, which is over on these devices.

    A stop ends it. A page without a certificate says how to make one.
    """
    import jax
    from jax.extend import backend

    command = ["--mode=replay", f"--workdir={directory}"]
    if hosts.many():
        print(f"not replayed, as many processes made it; to: {' '.join(command)}")
        return
    if jax.default_backend() != "cpu":
        if not release:
            print(f"not replayed, as devices are held; to: {' '.join(command)}")
            return
        backend.clear_backends()  # Their memory is needed there.
    command += [f"--cache_dir={cache_dir}"]
    with subprocess.Popen([*_COMMAND, *command], start_new_session=True) as process:
        while process.poll() is None:
            if stop():
                process.kill()
            time.sleep(_POLL_S)


_COMMAND = (sys.executable, "-m", "c3jax.main")
# Seconds between two looks at a process.
_POLL_S = 0.1


def _tell_stopped(stop: signals.Stop) -> None:
    print(f"{stop.signal.name}: the same command goes on from there")


def compare(
    config: ml_collections.ConfigDict, directory: pathlib.Path, cache_dir: str
) -> Comparison:
    """Makes the runs of a comparison, or those that are left."""
    from c3jax.train import grid, workdir

    cells, kept, done = _finished(config, directory)
    grid.check([cell for name, cell in cells.items() if name not in done])
    # A run finds the config in the workdir. Without a cache every run would make the
    # policy that they all start from.
    command = [*_COMMAND, f"--workdir={directory}", "--nocertify"]
    command += [f"--cache_dir={cache_dir or directory / 'cache'}"]
    with files.locked(directory), signals.Stop() as stop:
        workdir.describe(directory, config)
        done, failed = grid.run(
            cells,
            done,
            directory,
            kept,
            command,
            processes=config.processes,
            keep=config.keep,
            stop=stop,
        )
        if done:
            _tell(config, directory, done)
    if stop.signal:
        _tell_stopped(stop)
    elif failed:
        print(f"failed: {', '.join(failed)}; the same command tries them again")
    return _comparison(directory, done, kept, failed, stop.signal)


def compared(config: ml_collections.ConfigDict, directory: pathlib.Path) -> Comparison:
    """Makes the page of a comparison from the runs that are finished.

    Raises:
        ValueError: none is.
    """
    _, kept, done = _finished(config, directory)
    if not done:
        raise ValueError(f"{kept} holds no finished run of this comparison yet.")
    _tell(config, directory, done)
    return _comparison(directory, done, kept)


def _finished(config, directory: pathlib.Path) -> tuple[dict, pathlib.Path, dict]:
    """Cells of a comparison, the file that keeps them, and those that are finished."""
    from c3jax.train import comparison

    cells, kept = comparison.cells(config), comparison.path(config, directory)
    done, told = comparison.finished(comparison.kept(kept), cells.values())
    for line in told:
        print(f"{kept}: {line}", flush=True)
    return cells, kept, done


def _comparison(directory, done, kept, failed=(), stopped=None) -> Comparison:
    from c3jax.audit import comparison_page

    page = directory / comparison_page.PAGE
    return Comparison(directory, done, page, kept, tuple(failed), stopped)


def _tell(config, directory: pathlib.Path, done: dict[str, dict]) -> None:
    from c3jax.audit import comparison_page

    tables = comparison_page.write(directory, config.to_dict(), done)
    screen = _screen(140)
    for table in tables:
        screen.print(comparison_page.shown(table))
    print(f"{comparison_page.told(tables, done)}\n  {directory / comparison_page.PAGE}")


def _screen(width: int):
    """Where tables are printed: a file is no narrower than they are."""
    from rich import console

    return console.Console(width=None if sys.stdout.isatty() else width)


def evaluate(
    config: ml_collections.ConfigDict, directory: pathlib.Path, cache_dir: str
) -> pathlib.Path:
    """Measures the newest checkpoint of a run; the file of what it found."""
    from c3jax.train import evaluate, memory, scoring

    resolved, state = _newest(config, directory, cache_dir, memory.evaluating)
    with scoring.started(resolved) as scorer:
        found = evaluate.measure(state.params, resolved, scorer)
    step = int(state.step)
    path = directory / f"evaluation-{step}.json"
    page = json.dumps({"step": step, **found.fields()}, indent=2) + "\n"
    hosts.by_first(files.write, path, page)
    print(f"step {step}  {found}\n{path}")
    return path


def export(
    config: ml_collections.ConfigDict, directory: pathlib.Path, cache_dir: str
) -> None:
    """Writes the newest checkpoint of a run as `transformers` loads it."""
    from c3jax.train import export, memory

    resolved, state = _newest(
        config, directory, cache_dir, memory.exporting, asks=False
    )
    print(export.write(resolved, state.params, int(state.step), directory))


def _newest(
    config, directory: pathlib.Path, cache_dir: str, phases: Callable, asks: bool = True
) -> tuple:
    """A run's setup, as of `_admitted`, and the state of its newest checkpoint."""
    from c3jax.train import checkpoint, loop

    cached(cache_dir)
    resolved = _admitted(config, phases, asks)
    with checkpoint.Store(directory / "checkpoints") as store:
        state, _ = store.restore(loop.abstract_state(resolved))
    return resolved, state


def _admitted(config: ml_collections.ConfigDict, phases: Callable, asks: bool = True):
    """A run's setup, if there is memory for what `train.memory` says of a mode.

    `asks` is of `setup.resolve`.
    """
    from c3jax.train import admission, setup

    resolved = setup.resolve(config, asks=asks)
    admission.admit(resolved, phases(resolved))
    return resolved


def report(directory: pathlib.Path) -> None:
    """Makes the page of a run, finished or not."""
    from c3jax.audit import report

    print(hosts.by_first(report.write, directory))


def replay(
    config: ml_collections.ConfigDict, directory: pathlib.Path, cache_dir: str
) -> bool:
    """Certifies a run; whether every message could be replayed."""
    from c3jax.audit import certificate
    from c3jax.train import memory

    cached(cache_dir)
    resolved = _admitted(config, memory.replaying, asks=False)
    found = certificate.certify(resolved, directory)
    print(found)
    return not found.failures


def audit_run(
    config: ml_collections.ConfigDict, directory: pathlib.Path, cache_dir: str
) -> signal.Signals | None:
    """Audits a run; the signal that it was stopped by, if it was.

    Args:
        config: `c3jax.configs.audit`.
        directory: of the run.
        cache_dir: for `cached`.
    """
    from c3jax.audit import report, runs

    cached(cache_dir)
    with signals.Stop() as stop:
        found = runs.audit(config.audit, directory, stop)
    if found is None:
        _tell_stopped(stop)
        return stop.signal
    _tell_audit(found, report.write(directory))
    return None


def audit_logs(config: ml_collections.ConfigDict, directory: pathlib.Path) -> list[str]:
    """Audits the logs that `audit.buckets` names; what is wrong with lines of them."""
    from c3jax.audit import logs

    found, wrong = logs.audit(config, directory)
    _tell_audit(found, directory / logs.PAGE)
    for line in wrong:
        print(line, file=sys.stderr)
    return wrong


def _tell_audit(found, page: pathlib.Path) -> None:
    from c3jax.audit import figures_page, words

    screen = _screen(160)
    for table in figures_page.tables(found.roles):
        screen.print(*figures_page.shown(table), sep="\n")
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
