"""The process that runs the tests and calls the program where they name it."""

import builtins
import functools
import importlib
import json
import os
import re
import time

from . import assertions, candidate, port, remote

PASS, FAIL, ERROR = "pass", "fail", "error"
TIMEOUT, LOST = port.TIMEOUT, port.LOST
# More checks than this are not told apart.
MOST_VERDICTS = 100_000
_CLASS = re.compile(rb"^\s*class\b", re.MULTILINE)


def main(
    tests: int, verdicts: int, channel, end: float, confined, entry_point: str
) -> None:
    """Runs the tests and writes their verdicts, as JSON.

    Args:
        tests: descriptor of their source.
        verdicts: descriptor to write to; the program does not have it.
        channel: socket to the program's process.
        end: when the program's time is over, seconds on the monotonic clock.
        confined: shuts this process in.
        entry_point: a name of the program beside those that tests leave open; or "".
    """
    # Confined before a test is parsed; what it needs of this package comes before.
    channel.settimeout(max(0.1, end - time.monotonic()))
    with open(tests, "rb") as file:
        data = file.read()
    if candidate.is_async(data):
        importlib.import_module(f"{__package__}.loops").install()
    if _CLASS.search(data):
        importlib.import_module(f"{__package__}.suites")
    confined()
    source = data.decode()
    recorder = Recorder()
    try:
        found = assertions.read(source, entry_point)
        code = compile(assertions.instrumented(found.tree), "<tests>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        recorder.problem = f"the tests cannot be run: {error}"[:200]
    else:
        _run(code, found, recorder, channel, end)
    report = {"verdicts": recorder.verdicts, "problem": recorder.problem}
    with open(verdicts, "w") as file:
        file.write(json.dumps(report))  # json.dump encodes in Python.
    os._exit(0)


def _run(code, found, recorder, channel, end) -> None:
    if not found.names:
        recorder.problem = f"the text of the tests {assertions.NOTHING_USED}"
        return
    program = port.Port(channel, serve, remote.made, "__main__", by_name=True, end=end)
    space = {"__name__": "__main__", "__builtins__": builtins}
    space[assertions.HOOK] = recorder
    recorder.offer = functools.partial(_offer, program, space)
    try:
        _bind(space, found, program)
        exec(code, space)
    except BaseException as error:
        recorder.failed(error)


class Recorder:
    """The verdicts of the checks, in the order they were made.

    Attributes:
        verdicts: of PASS, FAIL, ERROR, TIMEOUT, LOST, "memory" and "forbidden".
        problem: the first exception, for a person; None if there was none.
        offer: (name) -> gives the program a class that the tests define.
    """

    everything = BaseException  # under a name that tests cannot redefine

    def __init__(self):
        self.verdicts, self.problem, self.offer = [], None, None

    def checked(self, claim) -> None:
        """Records an assertion, whose claim was computed."""
        self._add(PASS if claim else FAIL)

    def failed(self, error: BaseException) -> None:
        """Records a check, or a step to one, that raised."""
        if isinstance(error, Absent):
            error = error.args[0]
        if isinstance(error, AssertionError) and not hasattr(error, "program"):
            self._add(FAIL)
            return
        if self.problem is None:
            self.problem = f"{type(error).__name__}: {error}"[:200]
        if isinstance(error, port.Gone):
            self._add(error.verdict)
        elif isinstance(error, MemoryError):
            self._add("memory")
        elif isinstance(error, PermissionError):
            self._add("forbidden")
        else:
            self._add(ERROR)

    def case(self, kind, names) -> None:
        """Runs methods of a class of tests, a check each."""
        importlib.import_module(f"{__package__}.suites").run(kind, names, self)

    def _add(self, verdict):
        if len(self.verdicts) < MOST_VERDICTS:
            self.verdicts.append(verdict)


def serve(end: port.Port, request) -> tuple:
    """Answers a program that uses what the tests handed it.

    It may call functions, draw from iterators, and use the objects of the classes that
    the tests define, without names in two underscores.

    Raises:
        PermissionError: it asks for more.
    """
    match request:
        case ["call", function, args, kwargs]:
            return port.called(end, function, args, kwargs)
        case ["next", int(number), int(count), sent]:
            count = min(count, port.MOST_AT_ONCE)
            return port.drawn(end.own(number), count, sent), ()
        case ["get", thing, str(name)] if _is_open(thing, name):
            return getattr(thing, name), ()
        case ["set", thing, str(name), value] if _is_field(thing, name):
            setattr(thing, name, value)
            return None, ()
        case ["op", str(name), first, *others] if any(
            _is_open(each, "") for each in (first, *others)
        ):
            return port.OPERATORS[name](first, *others), ()
    raise PermissionError("the tests do not give this to a program")


def _is_open(thing, name: str) -> bool:
    kind = thing if isinstance(thing, type) else type(thing)
    return kind.__module__ == "__main__" and not name.startswith("__")


def _is_field(thing, name: str) -> bool:
    """Whether a program may set it: a value of an object, no method and no class."""
    is_method = callable(getattr(type(thing), name, None))
    return _is_open(thing, name) and not isinstance(thing, type) and not is_method


def _offer(program, space, name) -> None:
    program.ask("offer", name, space[name])


def _bind(space, found, program) -> None:
    """Gives each name that the tests leave open a meaning, if anything has it."""
    for name in found.modules:
        space[name] = __import__(name)
    for name in found.names:
        try:
            space[name] = program.ask("name", name)[0]
        except (port.Gone, Exception) as error:  # every check that uses it will say so
            space[name] = _absent(error)
        if type(space[name]) is remote.Remote and name[:1].isupper():
            object.__setattr__(space[name], "_asks", "class")


def _absent(error):
    """A stand-in for a name the program does not define; a use is a check's error."""

    def absent(*args, **kwargs):
        raise error if isinstance(error, port.Gone) else Absent(error)

    return absent


class Absent(BaseException):
    """A name that the program does not define was used.

    Args:
        error: what asking for it raised.

    No test that expects an exception takes it for one of the program's.
    """
