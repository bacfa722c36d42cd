"""The process that a program runs in; none of its replies is trusted."""

import functools
import importlib
import os
import re
import sys
import types

from . import library, port, remote


def main(program: int, channel, confined, prelude: str) -> None:
    """Loads the program and answers calls until the grader is gone.

    Args:
        program: descriptor of its source.
        channel: socket to the grader.
        confined: shuts this process in.
        prelude: source that runs before it, in its module.
    """
    # The program runs as a module, once, already confined.
    with open(program, "rb") as file:
        source = file.read()
    if is_async(source):
        importlib.import_module(f"{__package__}.loops").install()
    confined()
    module = types.ModuleType("program")
    sys.modules["program"] = module
    sys.argv = ["program"]
    failure = None
    try:
        exec(prelude, module.__dict__)
        exec(compile(source, "<program>", "exec"), module.__dict__)
    except BaseException as error:
        failure = error

    # A defender's `sys.exit` or a signal ends nothing here but one call.
    def serve(end, request):
        if failure is not None:
            raise failure
        return _answer(end, module, request)

    port.Port(channel, serve, remote.made, "program").listen()
    os._exit(0)


def _answer(end, module, request) -> tuple:
    """The result of a request, and the arguments that were changed in place."""
    match request:
        case ["name", name]:
            if name not in module.__dict__:
                raise NameError(f"name {name!r} is not defined")
            return module.__dict__[name], ()
        case ["offer", name, kind]:
            module.__dict__.setdefault(name, kind)
            return None, ()
        case ["get", thing, name]:
            return getattr(thing, name), ()
        case ["set", thing, name, value]:
            setattr(thing, name, value)
            return None, ()
        case ["delete", thing, name]:
            delattr(thing, name)
            return None, ()
        case ["call", function, args, kwargs]:
            return port.called(end, function, args, kwargs)
        case ["op", name, *operands]:
            return port.OPERATORS[name](*operands), ()
        case ["plain", thing]:
            return library.plain_type(thing)(thing), ()
        case ["next", number, count, sent]:
            return port.drawn(end.own(number), count, sent), ()
        case ["await", number]:
            return _run(_waited(end.own(number))), ()
        case ["aiter", thing]:
            return thing.__aiter__(), ()
        case ["anext", thing]:
            return _run(_following(thing)), ()
    raise ValueError(f"no such request: {request[0]!r}")


def is_async(source: bytes) -> bool:
    """Whether a text may need an event loop, which takes long to import."""
    return _ASYNC.search(source) is not None


_ASYNC = re.compile(rb"\b(?:async|await|asyncio)\b")


@functools.cache
def _loop():
    return importlib.import_module("asyncio").new_event_loop()


def _run(coroutine):
    """Runs a coroutine; in one loop, as a generator's next item needs its first's."""
    return _loop().run_until_complete(coroutine)


async def _waited(awaitable):
    return await awaitable


async def _following(iterator):
    try:
        return [await iterator.__anext__()]
    except StopAsyncIteration:
        return []
