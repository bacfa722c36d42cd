"""The runs of a comparison, each a process of its own: one that fails fails alone."""

import concurrent.futures
import contextlib
import io
import multiprocessing
import pathlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

from c3jax.compare import comparison
from c3jax.compare.comparison import Cell
from c3jax.core import files, metrics
from c3jax.setup import experiment
from c3jax.train import run_dir

LOG = "log.txt"
_TAIL, _LOOK_S = 15, 0.2


def check(cells: Sequence[Cell]) -> None:
    """Refuses a comparison with a run that could not begin.

    The check needs the devices, and a TPU has room for one process only; so it is a
    process of its own, which ends before the runs begin.

    Raises:
        ValueError: names the method.
    """
    if not cells:
        return
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        pool.submit(_resolve, cells).result()


def _resolve(cells: Sequence[Cell]) -> None:
    for cell in cells:
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                experiment.resolve(cell.config)
        except ValueError as error:
            raise ValueError(f"methods.{cell.label}: {error}") from None


def run(
    cells: Mapping[str, Cell],
    done: Mapping[str, dict],
    directory: pathlib.Path,
    kept: pathlib.Path,
    command: Sequence[str],
    *,
    processes: int,
    keep: bool,
    stop: Callable[[], bool],
) -> tuple[dict[str, dict], list[str]]:
    """Makes the runs of a comparison that are not finished.

    Args:
        cells: by name, in the order in which they are run.
        done: finished runs by name; from `comparison.finished`.
        directory: the comparison's own; each run has `cells/<name>` there.
        kept: the file of finished runs; see `comparison.distilled`.
        command: the command that trains a cell, without `--cell=<name>` at its end.
        processes: runs made at a time.
        keep: whether the checkpoints of finished runs stay.
        stop: asked now and then; once it is True, runs save and stop.

    Returns:
        The finished runs by name, and the names of those that failed.
    """
    done = dict(done)
    waiting = [name for name in cells if name not in done]
    running: dict[str, subprocess.Popen] = {}
    failed: list[str] = []
    try:
        while waiting or running:
            # Runs that are asked to stop save first.
            stopped = stop()
            if stopped:
                waiting = []
                for process in running.values():
                    process.terminate()
                for process in running.values():
                    process.wait()

            # One run at a time until each has made or found the starting policy.
            ready = len(running) < processes and not _warming(running, directory)
            if waiting and ready:
                name = waiting.pop(0)
                print(f"{name}: {len(done)} of {len(cells)} finished", flush=True)
                running[name] = _started(directory / comparison.CELLS / name, command)
            time.sleep(_LOOK_S)

            # Finished runs are kept at once, so that a kill loses none.
            ended = [n for n, process in running.items() if process.poll() is not None]
            for name in ended:
                process, place = running.pop(name), directory / comparison.CELLS / name
                if process.returncode or run_dir.summary(place) is None:
                    if not stopped:
                        failed.append(name)
                        print(_failure(name, process.returncode, place), flush=True)
                else:
                    done[name] = comparison.distilled(cells[name], place)
                    comparison.keep(kept, done[name])
                    if not keep:
                        files.remove(place / "checkpoints")
                    print(_told(done[name]), flush=True)
    finally:
        for process in running.values():
            process.kill()
    return {name: done[name] for name in cells if name in done}, failed


def _warming(running: Mapping[str, subprocess.Popen], directory: pathlib.Path) -> bool:
    """Whether a run has not logged yet: it may be making the policy of the others."""
    places = (directory / comparison.CELLS / name for name in running)
    return any(not metrics.read(place) for place in places)


def _started(place: pathlib.Path, command: Sequence[str]) -> subprocess.Popen:
    place.mkdir(parents=True, exist_ok=True)
    with (place / LOG).open("ab") as log:
        return subprocess.Popen(
            [*command, f"--cell={place.name}"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the comparison alone, which tells its runs once.
            start_new_session=True,
        )


def _failure(name: str, code: int, place: pathlib.Path) -> str:
    """The end of a run's log, and how its process ended."""
    lines = (place / LOG).read_text(errors="replace").splitlines()[-_TAIL:]
    ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return "\n    ".join([f"{name}: failed, {ended}; {place / LOG} ends", *lines])


def _told(record: Mapping) -> str:
    """The line about a finished run."""
    last = record["test"]
    seconds = metrics.clock(sum(record["seconds_by_phase"].values()))
    text = f"{record['cell']}: sampled {last['pass_at_1']:.1%}, greedy "
    text += f"{last['greedy']:.1%} after {last['step']} steps, {seconds}"
    lacking = [n for n, at in record["budgets"].items() if at["step"] is None]
    return text + "".join(f"; budget of {name} not crossed" for name in lacking)
