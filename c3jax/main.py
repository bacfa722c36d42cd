"""python -m c3jax.main --config=configs/math.py [--workdir=DIR] [--config.KEY=VALUE]

Trains the team that a config describes; any field of the config is a flag. The same
command goes on with a run that was stopped or killed. A config with `methods`, such as
configs/compare.py, is a comparison: many runs, each in a process of its own.

--mode=evaluate measures the newest checkpoint of a run on the test questions.
--mode=report makes the page of a run, finished or not.
--mode=replay certifies a run: every message of its newest saved trees is sampled
again, alone, from its context rebuilt from disk.
--mode=audit says how good credit is: of a run with its --workdir, or of any system
with --config.audit.buckets=FILE. It needs no --config.
"""

import json
import logging
import os
import pathlib
import re
import signal
import subprocess
import sys

import ml_collections
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from c3jax.core import files, hosts, memory

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The experiment: a file with get_config().", lock_config=True
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the run lives; runs/<config.name> unless given."
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "evaluate", "report", "replay", "export", "audit"],
    "What to do.",
)
_CELL = flags.DEFINE_string(
    "cell", None, "Of a comparison, the one run to make here: METHOD-SEED."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator",
    None,
    "HOST:PORT of process 0, where a run has many processes; Cloud TPU, GKE and SLURM "
    "need none of these three.",
)
_PROCESSES = flags.DEFINE_integer("processes", None, "How many processes there are.")
_PROCESS = flags.DEFINE_integer("process", None, "Which one this is, from 0.")
_CERTIFY = flags.DEFINE_bool(
    "certify",
    True,
    "Whether a run that is finished is replayed by a fresh process for its report.",
)
_CACHE = flags.DEFINE_string(
    "cache_dir",
    str(pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "c3jax"),
    "Where compiled programs and warm starts are kept for other runs; empty for none.",
)

# The page of --mode=audit where no other is given.
_AUDIT = "audit/config.py"


def main(argv: list[str]) -> None:
    """Checks the flags and the config, then does what the mode says."""
    if len(argv) > 1:
        raise app.UsageError(f"not a flag: {' '.join(argv[1:])}")
    # transformers warns of a missing PyTorch, which c3jax does not use.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    memory.keep()
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("jax").setLevel(logging.WARNING)
    try:
        modes = {
            "train": _train,
            "evaluate": _evaluate,
            "report": _report,
            "replay": _replay,
            "export": _export,
            "audit": _audit,
        }
        config, directory = _experiment()
        if "methods" in config:
            sys.exit(_compare(config, directory))
        hosts.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
        sys.exit(modes[_MODE.value](config, directory))
    except ValueError as error:
        sys.exit(f"c3jax: {error}")
    except OSError as error:
        sys.exit(
            f"c3jax: {error.strerror or error}: {error.filename}. Once that is put "
            "right, the same command goes on from the last checkpoint."
        )


# What a mode needs is imported inside it: the flags are checked first, and some of
# these take seconds.


def _train(config: ml_collections.ConfigDict, directory: pathlib.Path) -> int:
    """Trains, or goes on; returns the exit code."""
    from c3jax.audit import report
    from c3jax.core import environment, signals
    from c3jax.train import loop, memory, setup, summary, workdir

    cache = _cache()
    resolved = setup.resolve(config)
    if any(player.model for player in resolved.players.values()):
        needed = memory.estimate(resolved)
        print(needed, flush=True)
        memory.check(needed, resolved.mesh.local_devices[0])
    with workdir.held(directory), signals.Stop(hosts.largest) as stop:
        described = environment.describe(resolved.mesh)
        changes = hosts.by_first(workdir.claim, directory, config, described)
        if hosts.by_first(workdir.summary, directory) is None:
            for change in changes:
                print(f"{change}: not bit-equal to an unbroken run", flush=True)
            loop.run(resolved, directory, cache=cache, stop=stop)
        found = hosts.by_first(workdir.summary, directory)
        if found is None:
            print(f"{stop.signal.name}: the same command goes on from there")
            return 128 + signal.SIGINT if stop.signal == signal.SIGINT else 0
        page = directory / report.PAGE
        if not hosts.by_first(page.exists):
            if _CERTIFY.value and config.evaluate.trees:
                _certify(directory)
            hosts.by_first(report.write, directory)
    print(f"{summary.told(found)}\n  {page}")
    return 0


def _certify(directory: pathlib.Path) -> None:
    """Has a fresh process replay a finished run, which is over on these devices."""
    import jax
    from jax.extend import backend

    command = ["--mode=replay", f"--workdir={directory}"]
    if hosts.many():
        print(f"not replayed, as many processes made it; to: {' '.join(command)}")
        return
    if jax.default_backend() != "cpu":
        backend.clear_backends()  # Their memory is needed there.
    command += [f"--cache_dir={_CACHE.value}"]
    subprocess.run([sys.executable, "-m", "c3jax.main", *command], check=False)


def _compare(config: ml_collections.ConfigDict, directory: pathlib.Path) -> int:
    """Makes the runs of a comparison, or those that are left; returns the exit code."""
    from c3jax.core import signals
    from c3jax.train import comparison, grid, workdir

    cells, kept = comparison.cells(config), comparison.path(config, directory)
    done, told = comparison.finished(comparison.kept(kept), cells.values())
    for line in told:
        print(f"{kept}: {line}", flush=True)
    if _MODE.value == "report":
        if not done:
            raise ValueError(f"{kept} holds no finished run of this comparison yet.")
        _tell(config, directory, done)
        return 0
    if _MODE.value != "train":
        raise ValueError(
            f"{directory} holds a comparison; give --workdir of one of its runs, "
            f"{directory / comparison.CELLS}/METHOD-SEED."
        )
    if _COORDINATOR.value:
        raise ValueError(
            "--coordinator: a comparison is one process, which starts the others. To "
            "spread a run over many, give --cell=METHOD-SEED to each of them."
        )
    grid.check([cell for name, cell in cells.items() if name not in done])
    # Without a cache every run would make the policy that they all start from.
    cache = _CACHE.value or directory / "cache"
    command = [sys.executable, "-m", "c3jax.main", *sys.argv[1:]]
    command += [f"--workdir={directory}", f"--cache_dir={cache}", "--nocertify"]
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
        print(f"{stop.signal.name}: the same command goes on from there")
        return 128 + signal.SIGINT if stop.signal == signal.SIGINT else 0
    if failed:
        print(f"failed: {', '.join(failed)}; the same command tries them again")
    return 1 if failed else 0


def _tell(config, directory: pathlib.Path, done: dict[str, dict]) -> None:
    from rich import console

    from c3jax.audit import comparison_page

    tables = comparison_page.write(directory, config.to_dict(), done)
    # A file is no narrower than a table.
    screen = console.Console(width=None if sys.stdout.isatty() else 140)
    for table in tables:
        screen.print(comparison_page.shown(table))
    print(f"{comparison_page.told(tables, done)}\n  {directory / comparison_page.PAGE}")


def _evaluate(config: ml_collections.ConfigDict, directory: pathlib.Path) -> int:
    """Measures the newest checkpoint and writes what it found; returns 0."""
    from c3jax.train import checkpoint, evaluate, loop, scoring, setup

    _cache()
    resolved = setup.resolve(config)
    with checkpoint.Store(directory / "checkpoints") as store:
        state, _ = store.restore(loop.abstract_state(resolved))
    with scoring.started(resolved) as scorer:
        found = evaluate.measure(state.params, resolved, scorer)
    step = int(state.step)
    path = directory / f"evaluation-{step}.json"
    page = json.dumps({"step": step, **found.fields()}, indent=2) + "\n"
    hosts.by_first(files.write, path, page)
    print(f"step {step}  {found}\n{path}")
    return 0


def _export(config: ml_collections.ConfigDict, directory: pathlib.Path) -> int:
    """Writes the newest checkpoint as `transformers` loads it; returns 0."""
    from c3jax.train import checkpoint, export, loop, setup

    _cache()
    resolved = setup.resolve(config)
    with checkpoint.Store(directory / "checkpoints") as store:
        state, _ = store.restore(loop.abstract_state(resolved))
    print(export.write(resolved, state.params, int(state.step), directory))
    return 0


def _report(_: ml_collections.ConfigDict, directory: pathlib.Path) -> int:
    """Makes the page of a run; returns 0."""
    from c3jax.audit import report

    print(hosts.by_first(report.write, directory))
    return 0


def _replay(config: ml_collections.ConfigDict, directory: pathlib.Path) -> int:
    """Certifies a run; returns 1 if a message could not be replayed."""
    from c3jax.audit import certificate
    from c3jax.train import setup

    _cache()
    found = certificate.certify(setup.resolve(config), directory)
    print(found)
    return 1 if found.failures else 0


def _audit(_: ml_collections.ConfigDict, directory: pathlib.Path) -> int:
    """Audits a run, or logs; returns 1 if some of their lines are malformed."""
    from rich import console

    from c3jax.audit import figures_page, logs, report, runs, words
    from c3jax.core import signals

    wrong, config = [], _CONFIG.value
    if _logs(config):
        found, wrong = logs.audit(config, directory)
        page = directory / logs.PAGE
    else:
        _cache()
        with signals.Stop() as stop:
            found = runs.audit(config.audit, directory, stop)
        if found is None:
            print(f"{stop.signal.name}: the same command goes on from there")
            return 128 + signal.SIGINT if stop.signal == signal.SIGINT else 0
        page = report.write(directory)
    # A file is no narrower than a table.
    screen = console.Console(width=None if sys.stdout.isatty() else 160)
    for table in figures_page.tables(found.roles):
        screen.print(*figures_page.shown(table), sep="\n")
    for role in found.roles:
        print(words.reading(role))
    print(f"  {page}", flush=True)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


def _logs(config: ml_collections.ConfigDict | None) -> str:
    """The file of logs that a config asks to audit; "" if it does not."""
    return (config or {}).get("audit", {}).get("buckets", "")


def _experiment() -> tuple[ml_collections.ConfigDict, pathlib.Path]:
    """The config and the workdir; a run that exists has its config with it."""
    from c3jax.train import workdir

    config, name = _CONFIG.value, None
    try:
        name = config and config.name
    except OSError:  # ml_collections keeps a failure to load until it is asked.
        path = config_flags.get_config_filename(flags.FLAGS["config"])
        raise ValueError(f"--config={path}: there is no such file.") from None
    if not (name or (_WORKDIR.value and _MODE.value != "train")):
        raise ValueError("say which experiment: --config=configs/math.py")
    directory = pathlib.Path(_WORKDIR.value or f"runs/{name}")
    if _MODE.value == "audit":
        if "audit" not in config:
            raise ValueError(
                "--config is not for --mode=audit, which takes a run's from its "
                "--workdir; leave it out."
            )
        if _logs(config):
            return config, directory
        if not _WORKDIR.value:
            raise ValueError(
                "say what to audit: --workdir=DIR of a run, or "
                "--config.audit.buckets=FILE with a context a line."
            )
    if _MODE.value != "train":
        config = workdir.config(directory)
    if _CELL.value:
        from c3jax.train import comparison

        if "methods" not in config:
            raise ValueError(
                f"--cell={_CELL.value} is of a comparison; this config is of one run."
            )
        directory = directory / comparison.CELLS / _CELL.value
        config = comparison.cell(config, _CELL.value).config
    return config, directory


def _cache() -> pathlib.Path | None:
    """Sets up the cache of compiled programs; where warm starts are kept."""
    import jax

    if not _CACHE.value:
        return None
    directory = pathlib.Path(_CACHE.value).expanduser()
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(directory / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    return directory


def _parse(argv: list[str]) -> list[str]:
    """Reads the flags; what cannot be read is refused in a few words."""
    try:
        if re.search(r" --?mode[ =]audit\b", " ".join(argv)):
            flags.set_default(_CONFIG, str(pathlib.Path(__file__).parent / _AUDIT))
        return flags.FLAGS(argv)
    except flags.Error as error:
        # An error inside a config file arrives as a traceback; its end says it all.
        sys.exit(f"c3jax: {str(error).strip().splitlines()[-1]}")
    except (AttributeError, KeyError) as error:
        # What ml_collections raises for a field that a config does not have.
        words = re.sub(r"\\n|\\'|'|\n", " ", str(error.args[0])).split()
        sys.exit(f"c3jax: the config has no field {words[0]!r}. {' '.join(words[1:])}")
    except (TypeError, ValueError) as error:
        sys.exit(f"c3jax: {error}")


if __name__ == "__main__":
    app.run(main, flags_parser=_parse)
