"""The process that a program runs in; none of its replies is trusted."""

import contextlib
import os
import sys
import types

from . import wire

_MUTABLE = (list, dict, set, bytearray)


def main(program: int, channel, confined) -> None:
    """Loads the program and answers calls until the grader is gone.

    Args:
        program: descriptor of its source.
        channel: socket to the grader.
        confined: shuts this process in.
    """
    # The program runs as a module, once, already confined.
    confined()
    with open(program, "rb") as file:
        source = file.read()
    module = types.ModuleType("program")
    sys.modules["program"] = module
    sys.argv = ["program"]
    failure = None
    try:
        exec(compile(source, "<program>", "exec"), module.__dict__)
    except BaseException as error:
        failure = error

    # Objects that stay here are named by their place in a table.
    table = []

    def refer(value):
        table.append(value)
        return len(table) - 1

    # A defender's `sys.exit` or a signal ends nothing here but one call.
    while (frame := wire.receive(channel)) is not None:
        try:
            if failure is not None:
                raise failure
            number, *request = wire.decode(frame, table.__getitem__)
            reply = (number, "value", *_answer(module, request, refer))
            data = wire.encode(reply, refer)
        except BaseException as error:
            number = wire.decode(frame, lambda _: None)[0]
            data = wire.encode((number, "error", *wire.raised(error)))
        wire.send(channel, data)
    os._exit(0)


def _answer(module, request, refer) -> tuple:
    """The result of a request, and the arguments that were changed in place."""
    match request:
        case ["name", name]:
            if name not in module.__dict__:
                raise NameError(f"name {name!r} is not defined")
            return module.__dict__[name], ()
        case ["get", thing, name]:
            return getattr(thing, name), ()
        case ["set", thing, name, value]:
            setattr(thing, name, value)
            return None, ()
        case ["call", function, args, kwargs]:
            places = {**dict(enumerate(args)), **kwargs}
            before = {
                place: wire.encode(value, refer)
                for place, value in places.items()
                if type(value) in _MUTABLE
            }
            value = function(*args, **kwargs)
            changed = []
            for place, data in before.items():
                with contextlib.suppress(wire.Malformed):
                    if wire.encode(places[place], refer) != data:
                        changed.append((place, places[place]))
            return value, tuple(changed)
    raise ValueError(f"no such request: {request[0]!r}")
