"""The process that runs the tests and calls the program where they name it."""

import ast
import builtins
import json
import os
import select
import sys
import time

from . import assertions, wire

PASS, FAIL, ERROR, TIMEOUT, LOST = "pass", "fail", "error", "timeout", "lost"
# More checks than this are not told apart.
MOST_VERDICTS = 100_000


class Gone(BaseException):
    """The program does not answer any more.

    Attributes:
        verdict: TIMEOUT or LOST.
    """

    def __init__(self, verdict: str):
        super().__init__("the program does not answer any more")
        self.verdict = verdict


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
    # Confined before a test is read.
    channel.settimeout(max(0.1, end - time.monotonic()))
    confined()
    with open(tests, encoding="utf-8") as file:
        source = file.read()
    recorder = Recorder()
    try:
        names = assertions.free_names(source, entry_point)
        code = compile(assertions.instrumented(ast.parse(source)), "<tests>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        recorder.problem = f"the tests cannot be run: {error}"[:200]
    else:
        program = Program(channel, end)
        space = {"__name__": "tests", "__builtins__": builtins}
        space[assertions.HOOK] = recorder
        try:
            _bind(space, names, program)
            exec(code, space)
        except BaseException as error:
            recorder.failed(error)
    report = {"verdicts": recorder.verdicts, "problem": recorder.problem}
    with open(verdicts, "w") as file:
        json.dump(report, file)
    os._exit(0)


class Recorder:
    """The verdicts of the checks, in the order they were made.

    Attributes:
        verdicts: of PASS, FAIL, ERROR, TIMEOUT, LOST, "memory" and "forbidden".
        problem: the first exception, for a person; None if there was none.
    """

    everything = BaseException  # under a name that tests cannot redefine

    def __init__(self):
        self.verdicts, self.problem = [], None

    def checked(self, claim) -> None:
        """Records an assertion, whose claim was computed."""
        self._add(PASS if claim else FAIL)

    def failed(self, error: BaseException) -> None:
        """Records a check, or a step to one, that raised."""
        if isinstance(error, AssertionError) and not hasattr(error, "program"):
            self._add(FAIL)
            return
        if self.problem is None:
            self.problem = f"{type(error).__name__}: {error}"[:200]
        if isinstance(error, Gone):
            self._add(error.verdict)
        elif isinstance(error, MemoryError):
            self._add("memory")
        elif isinstance(error, PermissionError):
            self._add("forbidden")
        else:
            self._add(ERROR)

    def _add(self, verdict):
        if len(self.verdicts) < MOST_VERDICTS:
            self.verdicts.append(verdict)


class Program:
    """The program, to call.

    Attributes:
        channel: socket to its process.
        end: when its time is over, seconds on the monotonic clock.
    """

    def __init__(self, channel, end: float):
        self.channel, self.end = channel, end
        self._asked, self._gone = 0, None

    def ask(self, *request):
        """The result of a request, in exact builtin types or `Remote`.

        Returns:
            The value, and the mutable arguments that it changed.

        Raises:
            Gone: the program is, or its time is over.
            Exception: the program's own, as the builtin class it derives from.
            Malformed: an argument that cannot be handed over.
        """
        if self._gone:
            raise self._gone
        self._asked += 1
        data = wire.encode((self._asked, *request))
        try:
            wire.send(self.channel, data)
            reply = self._reply()
            number, kind, *parts = reply
            if number != self._asked:
                raise wire.Malformed("an answer to another question")
            if kind == "value":
                value, changed = parts
                return value, changed
            name, message = parts
        except TimeoutError:
            self._lose(TIMEOUT)
        except (OSError, wire.Malformed, TypeError, ValueError):
            self._lose(LOST)
        raise _error(name, message)

    def _reply(self):
        left = self.end - time.monotonic()
        waiting = select.poll()
        waiting.register(self.channel, select.POLLIN)
        if left <= 0 or not waiting.poll(left * 1000):
            self._lose(TIMEOUT)
        frame = wire.receive(self.channel)
        if frame is None:
            self._lose(LOST)
        return wire.decode(frame, lambda number: Remote(self, number))

    def _lose(self, verdict):
        """Lets every later call fail at once, so that every check is recorded."""
        self._gone = Gone(verdict)
        raise self._gone


def _error(name, message) -> Exception:
    """An exception of the program; none that would end the tests, or a loop in them."""
    kind = getattr(builtins, name, Exception) if isinstance(name, str) else Exception
    is_error = isinstance(kind, type) and issubclass(kind, Exception)
    if not is_error or issubclass(kind, (StopIteration, StopAsyncIteration)):
        kind = Exception
    try:
        error = kind(message)
    except TypeError:  # UnicodeDecodeError and its like want more.
        error = Exception(message)
    error.program = True
    return error


class Remote:
    """A function or an object of the program, used by name and never by value.

    It is equal to itself alone: the program's own `__eq__` does not count.
    """

    def __init__(self, program: Program, number: int):
        object.__setattr__(self, "_program", program)
        object.__setattr__(self, "_reference", wire.Reference(number))

    def __call__(self, *args, **kwargs):
        request = ("call", self._reference, _plain(args), _plain(kwargs))
        value, changed = self._program.ask(*request)
        _apply(changed, args, kwargs)
        return value

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self._program.ask("get", self._reference, name)[0]

    def __setattr__(self, name, value):
        self._program.ask("set", self._reference, name, _plain(value))

    def _method(self, name, *args):
        method = self._program.ask("get", self._reference, name)[0]
        return method(*args)

    def __len__(self):
        return self._method("__len__")

    def __getitem__(self, key):
        return self._method("__getitem__", key)

    def __iter__(self):
        return self._method("__iter__")


def _plain(value):
    """A value with references in place of the program's own objects."""
    if isinstance(value, Remote):
        return object.__getattribute__(value, "_reference")
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    return value


def _apply(changed, args, kwargs) -> None:
    """Changes arguments in place, as the program reports it."""
    places = {**dict(enumerate(args)), **kwargs}
    for place, value in changed:
        target = places.get(place)
        if type(target) is not type(value):
            continue
        if type(target) in (list, bytearray):
            target[:] = value
        elif type(target) in (dict, set):
            target.clear()
            target.update(value)


def _bind(space, names, program) -> None:
    """Gives each name that the tests leave open a meaning, if anything has it."""
    for name in names:
        if name in sys.stdlib_module_names:
            space[name] = __import__(name)
            continue
        try:
            space[name] = program.ask("name", name)[0]
        except (Gone, Exception) as error:  # every check that uses it will say so
            space[name] = _absent(error)


def _absent(error):
    """A stand-in for a name the program does not define; a use is a check's error."""

    def absent(*args, **kwargs):
        raise error

    return absent
