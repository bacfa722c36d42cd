"""python -m c3jax.main --config=math [--workdir=DIR] [--config.KEY=VALUE]

Trains the team that a config describes; any field of the config is a flag. The same
command goes on with a run that was stopped or killed. A config with `methods`, such as
`compare`, is a comparison: many runs, each in a process of its own.

--config=NAME[:ARG], without / and .py, is always a page that comes with c3jax, such as
math, code or compare. --config=FILE.py[:ARG] is a file of one's own.

--mode=evaluate measures the newest checkpoint of a run on the test questions.
--mode=report makes the page of a run, finished or not.
--mode=replay certifies a run: every message of its newest saved trees is sampled
again, from its context rebuilt from disk.
--mode=audit says how good credit is: of a run with its --workdir, or of any system
with --config.audit.buckets=FILE. It needs no --config.
--mode=describe tells every field of a config, or of a run with its --workdir, or what a
published model is with --model. `c3jax describe WHAT` is short for any of these, and
`c3jax describe` the table of all fields.
"""

import gc
import logging
import os
import pathlib
import re
import signal
import sys
import traceback
from typing import NoReturn

import ml_collections
from absl import app, flags
from absl import logging as absl_logging
from ml_collections import config_flags

from c3jax import configs, modes
from c3jax.core import checks, host_memory, hosts


def _pages() -> dict[str, str]:
    """The pages that come with c3jax: their files by name."""
    places = pathlib.Path(configs.__file__).parent.glob("[!_]*.py")
    return {place.stem: str(place) for place in places}


class Pages(flags.ArgumentParser):
    """Reads a page that comes with c3jax, by its name, or a file."""

    def __init__(self, files: flags.ArgumentParser):
        self._files = files

    def parse(self, argument: str):
        name, *arg = argument.split(":", 1)
        if "/" not in name and not name.endswith(".py"):
            pages = _pages()
            if name not in pages:
                near = checks.suggest(name, pages).removesuffix(".")
                raise ValueError(f"no such page; {near}, or give a file, FILE.py.")
            argument = ":".join([pages[name], *arg])
        return self._files.parse(argument)


CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The experiment: a page that comes with c3jax, by its name, or a file.",
    lock_config=True,
)
flags.FLAGS["config"].parser = Pages(flags.FLAGS["config"].parser)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Where the run lives; runs/<config.name> unless given."
)
MODE = flags.DEFINE_enum(
    "mode",
    "train",
    ["train", "evaluate", "report", "replay", "export", "audit", "describe"],
    "What to do.",
)
_MODEL = flags.DEFINE_string(
    "model", None, "What to describe: a directory, GGUF, package or name on the hub."
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
_DEVICES = flags.DEFINE_integer(
    "expect_devices",
    None,
    "Refuse to train on fewer devices, or more, in all.",
    lower_bound=1,
)
_PROFILE = flags.DEFINE_string(
    "profile", "", "FROM:TO, steps to trace for TensorBoard and XProf, such as 10:12."
)
_CERTIFY = flags.DEFINE_bool(
    "certify",
    True,
    "Whether a run that is finished is replayed by a fresh process for its report.",
)
_CACHE = flags.DEFINE_string(
    "cache_dir",
    modes.CACHE,
    "Where compiled programs and warm starts are kept for other runs; empty for none.",
)


# Up to here it was measured that freed memory should be kept; see `memory.keep`.
_WIDEST = 576


def main(argv: list[str]) -> None:
    """Checks the flags and the config, then does what the mode says."""
    if len(argv) > 1:
        raise app.UsageError(f"not a flag: {' '.join(argv[1:])}")
    # transformers warns of a missing PyTorch, which c3jax does not use.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # Imports and traces make millions of objects that stay. To search them for garbage
    # again and again is a fifth of a start.
    gc.set_threshold(50_000, 20, 100)
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("jax").setLevel(logging.WARNING)
    try:
        if MODE.value == "describe":
            modes.describe(_described())
            return
        config, directory = _checked()
        if "methods" in config:
            sys.exit(_compare(config, directory))
        if _is_small(config):
            host_memory.disable_malloc_trim()
        hosts.join(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
        sys.exit(_act(config, directory))
    except (ArithmeticError, ValueError) as error:
        sys.exit(f"c3jax: {error}")
    except OSError as error:
        sys.exit(
            f"c3jax: {error.strerror or error}: {error.filename}. Once that is put "
            "right, the same command goes on from the last checkpoint."
        )


def _checked() -> tuple[ml_collections.ConfigDict, pathlib.Path]:
    """`_experiment`, refused where a value could never be right."""
    from c3jax.setup import defaults, fields

    try:
        config, directory = _experiment()
        fields.check(config, defaults.declared(config))
        check_of_training(config)
    except ValueError as error:
        _refuse(str(error))
    return config, directory


def check_of_training(config: ml_collections.ConfigDict) -> None:
    """Refuses flags of training one run where none is trained here."""
    asked = {"--expect_devices": _DEVICES.value, "--profile": _PROFILE.value}
    for flag in (flag for flag, value in asked.items() if value):
        if MODE.value != "train":
            raise ValueError(f"{flag} is for training; leave it out of this mode.")
        if "methods" in config:
            raise ValueError(
                f"{flag} is of one run; give it to one of the comparison's, with "
                "--cell=METHOD-SEED."
            )


def _refuse(text: str) -> NoReturn:
    """Ends the process; the same command would be refused again.

    The exit code is 1, or what C3JAX_REFUSED says: launch/worker.sh has a code of its
    own for it, so that machines do not begin again and again.
    """
    if not (code := os.environ.get("C3JAX_REFUSED")):
        sys.exit(f"c3jax: {text}")
    print(f"c3jax: {text}", file=sys.stderr)
    sys.exit(int(code))


def _act(config: ml_collections.ConfigDict, directory: pathlib.Path) -> int:
    """Does what the mode says; returns the exit code."""
    cache, asked, code = _CACHE.value, CONFIG.value, 0
    match MODE.value:
        case "train":
            asked = dict(devices=_DEVICES.value, profile=_PROFILE.value)
            found = modes.train(
                config, directory, cache, certify=_CERTIFY.value, release=True, **asked
            )
            code = _stopped(found.stopped)
        case "evaluate":
            modes.evaluate(config, directory, cache)
        case "report":
            modes.report(directory)
        case "replay":
            code = int(not modes.replay(config, directory, cache))
        case "export":
            modes.export(config, directory, cache)
        case "audit" if _logs(asked):
            code = int(bool(modes.audit_logs(asked, directory)))
        case "audit":
            code = _stopped(modes.audit_run(asked, directory, cache))
    return code


def _is_small(config: ml_collections.ConfigDict) -> bool:
    """Whether all policies are our own, and no wider than was measured."""
    policies = [config.get("policy"), *config.get("policies", {}).values()]
    policies.append(config.get("critic", {}).get("policy"))
    widths = [each.get("width", _WIDEST + 1) for each in policies if each]
    return bool(widths) and max(widths) <= _WIDEST


def _stopped(by: signal.Signals | None) -> int:
    """The exit code of what was stopped, or was not."""
    return 128 + by if by == signal.SIGINT else 0


def _compare(config: ml_collections.ConfigDict, directory: pathlib.Path) -> int:
    """Makes a comparison, or its page; returns the exit code."""
    from c3jax.compare import mode  # As in `modes`: it takes seconds.

    if MODE.value == "report":
        mode.compared(config, directory)
        return 0
    if MODE.value != "train":
        raise ValueError(
            f"{directory} holds a comparison; give --workdir of one of its runs, "
            f"{directory}/cells/METHOD-SEED."
        )
    if _COORDINATOR.value:
        raise ValueError(
            "--coordinator: a comparison is one process, which starts the others. To "
            "spread a run over many, give --cell=METHOD-SEED to each of them."
        )
    found = mode.compare(config, directory, _CACHE.value)
    if found.stopped:
        return _stopped(found.stopped)
    return 1 if found.failed else 0


def _logs(config: ml_collections.ConfigDict | None) -> str:
    """The file of logs that a config asks to audit; "" if it does not."""
    return (config or {}).get("audit", {}).get("buckets", "")


def _described() -> ml_collections.ConfigDict | str | None:
    """What --mode=describe is to describe; None for the fields that there are."""
    from c3jax.train import run_dir

    if _WORKDIR.value and CONFIG.value is None:
        return run_dir.config(pathlib.Path(_WORKDIR.value).expanduser())
    return _MODEL.value or _loaded()


def _loaded() -> ml_collections.ConfigDict | None:
    """The config that --config names; None without one."""
    if (config := CONFIG.value) is not None:
        config.get("name")  # ml_collections keeps a failure to load until it is asked.
    return config


def _experiment() -> tuple[ml_collections.ConfigDict, pathlib.Path]:
    """The config and the workdir; a run that exists has its config with it."""
    from c3jax.train import run_dir

    config = _loaded()
    name = config and config.name
    there = MODE.value != "train" or (_CELL.value and config is None)
    if not (name or (_WORKDIR.value and there)):
        raise ValueError("say which experiment: --config=math")
    directory = pathlib.Path(_WORKDIR.value or f"runs/{name}").expanduser()

    # An audit has a page of its own, and the run that it is of.
    if MODE.value == "audit":
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

    # What is there already says what it is.
    if there:
        config = run_dir.config(directory)

    # One run of a comparison.
    if _CELL.value:
        from c3jax.compare import comparison

        if "methods" not in config:
            raise ValueError(
                f"--cell={_CELL.value} is of a comparison; this config is of one run."
            )
        directory = directory / comparison.CELLS / _CELL.value
        config = comparison.cell(config, _CELL.value).config
    return config, directory


def worded(argv: list[str]) -> list[str]:
    """`describe WHAT` as flags; any other command as it is."""
    if argv[1:2] != ["describe"]:
        return argv
    named = argv[2:3] if not argv[2:3] or argv[2][0] != "-" else []
    flag = [f"--{_kind(what)}={what}" for what in named]
    return [argv[0], "--mode=describe", *flag, *argv[2 + len(named) :]]


def _kind(what: str) -> str:
    """The flag for what is described: a page, the directory of a run, or a model."""
    from c3jax.train import run_dir

    name = what.partition(":")[0]
    if name in _pages() or name.endswith(".py"):
        return "config"
    return "workdir" if run_dir.is_run(pathlib.Path(what)) else "model"


def parse(argv: list[str]) -> list[str]:
    """Reads the flags; what cannot be read is refused in a sentence."""
    from c3jax.setup import overrides

    argv, nones = overrides.without_none(worded(argv))
    sys.argv = argv  # Where config_flags looks for fields of the config.
    try:
        if re.search(r" --?mode[ =]audit\b", " ".join(argv)):
            flags.set_default(CONFIG, "audit")
        rest = flags.FLAGS(argv)
        if (config := _loaded()) is not None:
            overrides.set_none(config, nones)
            overrides.expand_home(config)
        return rest
    except Exception as error:
        if not (said := _refusal(error, argv)):
            raise  # A fault of ours, with its traceback.
        _refuse(said)


def _refusal(error: Exception, argv: list[str]) -> str:
    """What to say of an error from reading the flags; "" if it is not the user's."""
    from c3jax.setup import overrides

    given = [flag.partition("=")[2] for flag in argv if re.match("--?config=", flag)]
    name = given[-1].partition(":")[0] if given else ""
    place = _pages().get(name, name)
    said = (f"{error}".strip() or repr(error)).splitlines()[-1]
    said = said.rpartition("earlier failure to load: ")[2]

    # The page's own code. config_flags wraps its error, the kind before the words.
    if place and (line := _line(error, place)):
        kind, _, words = said.rpartition("Error: ")
        if not kind:
            kind, words = type(error).__name__.removesuffix("Error"), said
        if kind == "Value" and place in _pages().values():
            return words  # What a page of ours refuses is no fault in it.
        return f"{place}, line {line}: {kind}Error: {words[:300]}"
    if place and isinstance(error, OSError):
        is_there = pathlib.Path(place).exists()
        return f"--config={place}: {said if is_there else 'there is no such file.'}"

    if place and said.endswith("has no attribute 'get_config'"):
        return f"--config={place}: it defines no get_config()."

    # A value that its field's type cannot be read from, or a field that there is not.
    if found := re.match(r"flag --config\.([\w.]+)=(.*?): ", said):
        return overrides.refusal(found[1], found[2])
    if isinstance(error, AttributeError | KeyError):
        config = flags.FLAGS["config"].parser.parse(given[-1] if given else "audit")
        missing = [n for n, _ in overrides.given(argv) if not overrides.has(config, n)]
        return overrides.unknown(missing[0], config) if missing else ""
    return said if isinstance(error, flags.Error | TypeError | ValueError) else ""


def _line(error: BaseException | None, place: str) -> int:
    """The line of a file that an error comes from; 0 for another file."""
    while error is not None:
        if isinstance(error, SyntaxError) and error.filename == place:
            return error.lineno or 0
        frames = traceback.extract_tb(error.__traceback__)
        if lines := [frame.lineno for frame in frames if frame.filename == place]:
            return lines[-1] or 0
        error = error.__cause__ or error.__context__
    return 0


if __name__ == "__main__":
    app.run(main, flags_parser=parse)
