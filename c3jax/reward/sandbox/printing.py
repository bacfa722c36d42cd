"""Programs that read standard input and print: the process of one case.

The program runs as `__main__`, with the case's input as its standard input and a pipe
as its standard output. The host compares what it prints; the expected output is in no
process of the sandbox.
"""

import atexit
import builtins
import contextlib
import importlib
import io
import os
import sys
import threading
import types

from . import candidate


def main(program: int, given: int, printed: int, confined, prelude: str) -> None:
    """Runs a program once; the status of the process says how it ended.

    Args:
        program: descriptor of its source.
        given: descriptor of its input.
        printed: descriptor that it prints to.
        confined: shuts this process in.
        prelude: source that runs before it, in its module.
    """
    os.dup2(given, 0)
    os.dup2(printed, 1)
    with open(program, "rb") as file:
        source = file.read()
    for descriptor in (given, printed):
        os.close(descriptor)
    if candidate.is_async(source):
        importlib.import_module(f"{__package__}.loops").install()
    confined()
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0)), "utf-8")
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w")), "utf-8", "replace"
    )
    sys.__stdin__, sys.__stdout__ = sys.stdin, sys.stdout
    printer, sys.stderr = sys.stdout, io.StringIO()
    atexit._clear()  # of what this process was forked from
    sys.argv = ["program"]
    builtins.exit = builtins.quit = sys.exit
    # There are no threads here; one that is started runs to its end at once.
    threading.Thread.start = threading.Thread.run
    threading.Thread.join = lambda self, timeout=None: None
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    status = 0
    try:
        exec(prelude, module.__dict__)
        exec(compile(source, "<program>", "exec"), module.__dict__)
    except SystemExit as end:
        status = 0 if end.code in (None, 0) else ERROR
    except BaseException as error:
        status = MEMORY if isinstance(error, MemoryError) else ERROR
        status = FORBIDDEN if isinstance(error, PermissionError) else status
    # Some programs print all they have at their exit.
    for end in (atexit._run_exitfuncs, sys.stdout.flush, printer.flush):
        with contextlib.suppress(BaseException):
            end()
    os._exit(status)


# Statuses of the process; any other number is the program's own `os._exit`.
ERROR, MEMORY, FORBIDDEN = 101, 102, 103
