"""A comparison from its config: its runs made, and what came of them told."""

import dataclasses
import pathlib
import signal
from collections.abc import Mapping

import ml_collections

from c3jax.compare import comparison, grid, grid_page
from c3jax.core import environment, files, signals
from c3jax.report import words
from c3jax.train import run_dir


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What became of a comparison.

    Attributes:
        workdir: where it lives; each run has `cells/METHOD-SEED` there.
        summary: its finished runs by name, as `cells` keeps them.
        report: its page, made when a run is finished.
        cells: the file of finished runs, a line of JSON each.
        stopped: the signal that it was stopped by; None if it came to its end.
    """

    workdir: pathlib.Path
    summary: Mapping[str, Mapping]
    report: pathlib.Path
    cells: pathlib.Path
    failed: tuple[str, ...]
    stopped: signal.Signals | None


def compare(
    config: ml_collections.ConfigDict, directory: pathlib.Path, cache_dir: str
) -> Comparison:
    """Makes the runs of a comparison, or those that are left."""
    config = run_dir.as_begun(directory, config)
    cells, kept, done = _finished(config, directory)
    left = [cell for name, cell in cells.items() if name not in done]
    comparison.check_begun(config, left, directory)
    grid.check(left)
    # A run finds the config in the workdir. Without a cache every run would make the
    # policy that they all start from.
    command = [*environment.COMMAND, f"--workdir={directory}", "--nocertify"]
    command += [f"--cache_dir={cache_dir or directory / 'cache'}"]
    with files.locked(directory), signals.Stop() as stop:
        run_dir.describe(directory, config)
        how = dict(processes=config.processes, keep=config.keep, stop=stop)
        done, failed = grid.run(cells, done, directory, kept, command, **how)
        if done:
            _tell(config, directory, done)
    if stop.signal:
        print(stop.advice)
    elif failed:
        print(f"failed: {', '.join(failed)}; the same command tries them again")
    return outcome(directory, done, kept, failed, stop.signal)


def compared(config: ml_collections.ConfigDict, directory: pathlib.Path) -> Comparison:
    """Makes the page of a comparison from the runs that are finished.

    Raises:
        ValueError: none is.
    """
    _, kept, done = _finished(config, directory)
    if not done:
        raise ValueError(f"{kept} holds no finished run of this comparison yet.")
    _tell(config, directory, done)
    return outcome(directory, done, kept)


def _finished(config, directory: pathlib.Path) -> tuple[dict, pathlib.Path, dict]:
    """Cells of a comparison, the file that keeps them, and those that are finished."""
    cells, kept = comparison.cells(config), comparison.path(config, directory)
    done, told = comparison.finished(comparison.kept(kept), cells.values())
    for line in told:
        print(f"{kept}: {line}", flush=True)
    return cells, kept, done


def outcome(directory, done, kept, failed=(), stopped=None) -> Comparison:
    """The record of a comparison as its directory stands."""
    page = directory / grid_page.PAGE
    return Comparison(directory, done, page, kept, tuple(failed), stopped)


def _tell(config, directory: pathlib.Path, done: dict[str, dict]) -> None:
    tables = grid_page.write(directory, config.to_dict(), done)
    screen = words.screen(140)
    for table in tables:
        screen.print(grid_page.shown(table))
    print(f"{grid_page.told(tables, done)}\n  {directory / grid_page.PAGE}")
