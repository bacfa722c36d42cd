"""Values between candidate and grader: exact builtin types, tagged, in framed bytes.

Neither side trusts the other's bytes. Values are rebuilt as fresh objects of the exact
builtin type that their tag names, so a forged `__eq__` or a subclass stays at home.
"""

import builtins
import collections
import contextlib
import datetime
import decimal
import fractions
import socket
import struct

# A frame, its nesting and the values in it; beyond them a message is refused.
MOST_BYTES, DEEPEST, MOST_VALUES = 1 << 24, 200, 1 << 21
_SIZE = struct.Struct("!I")
_FLOAT = struct.Struct("!d")

# Classes that tests and programs hand to each other by name.
_SINGLE = (bool, int, float, complex, str, bytes, object, type(None))
_CONTAINERS = (bytearray, list, tuple, dict, set, frozenset, range)
TYPES = {kind.__name__: kind for kind in _SINGLE + _CONTAINERS}
_SEQUENCES = {"l": list, "t": tuple, "s": set, "f": frozenset, "i": iter}
_TAGS = {list: "l", tuple: "t", set: "s", frozenset: "f"}
_BASES = (int, float, complex, str, bytes)
_VIEWS = (type({}.keys()), type({}.values()), type({}.items()))
# Values of the standard library: name to the class, and to what it is made from.
_MADE = {
    "fraction": (fractions.Fraction, lambda v: (v.numerator, v.denominator)),
    "decimal": (decimal.Decimal, lambda v: (str(v),)),
    "date": (datetime.date, lambda v: (v.year, v.month, v.day)),
    "datetime": (
        datetime.datetime,
        lambda v: (*v.timetuple()[:6], v.microsecond) if v.tzinfo is None else None,
    ),
    "time": (
        datetime.time,
        lambda v: (
            (v.hour, v.minute, v.second, v.microsecond) if v.tzinfo is None else None
        ),
    ),
    "timedelta": (datetime.timedelta, lambda v: (v.days, v.seconds, v.microseconds)),
}
_NAMES = {kind: name for name, (kind, _) in _MADE.items()}


class Malformed(Exception):
    """Bytes or values that cannot cross."""


class Reference:
    """An object that stays in the candidate.

    Attributes:
        number: its place in the candidate's table.
    """

    def __init__(self, number: int):
        self.number = number


def encode(value, refer=None) -> bytes:
    """A value as bytes.

    Args:
        value: an object of builtin types; containers of the standard library become
            the builtin they derive from, iterators are drawn out.
        refer: object -> number, for what has no value; None refuses it.

    Raises:
        Malformed: of a type that cannot cross, too deep, too long.
    """
    out = bytearray()
    _encode(value, out, refer, 0)
    return bytes(out)


def _encode(value, out, refer, depth):
    if depth > DEEPEST or len(out) > MOST_BYTES:
        raise Malformed("a value too large to hand over")
    kind = type(value)
    if value is None:
        out += b"n"
    elif kind is bool:
        out += b"1" if value else b"0"
    elif kind is int:
        _blob(out, "d", value.to_bytes(value.bit_length() // 8 + 1, signed=True))
    elif kind is float:
        out += b"r" + _FLOAT.pack(value)
    elif kind is complex:
        out += b"c" + _FLOAT.pack(value.real) + _FLOAT.pack(value.imag)
    elif kind is str:
        _blob(out, "u", value.encode("utf-8", "surrogatepass"))
    elif kind is bytes:
        _blob(out, "b", value)
    elif kind is bytearray:
        _blob(out, "a", bytes(value))
    elif kind in _TAGS:
        _many(out, _TAGS[kind], value, refer, depth)
    elif kind is dict:
        pairs = [part for pair in value.items() for part in pair]
        _many(out, "m", pairs, refer, depth)
    elif kind is range:
        _many(out, "g", (value.start, value.stop, value.step), refer, depth)
    elif kind is Reference:
        _blob(out, "h", _SIZE.pack(value.number))
    elif kind is type and TYPES.get(value.__name__) is value:
        _blob(out, "k", value.__name__.encode())
    else:
        _encode_other(value, out, refer, depth)


def _encode_other(value, out, refer, depth):
    """Encodes a non-builtin as the builtin it stands for, or by reference."""
    kind = type(value)
    if kind in _NAMES and (parts := _MADE[_NAMES[kind]][1](value)) is not None:
        _many(out, "x", (_NAMES[kind], *parts), refer, depth)
    elif hasattr(kind, "__next__"):
        _many(out, "i", _drawn(value), refer, depth)
    elif isinstance(value, _VIEWS):
        _many(out, "l", list(value), refer, depth)
    elif isinstance(value, (collections.deque, tuple, list, set, frozenset)):
        plain = next((t for t in _TAGS if isinstance(value, t)), list)
        _many(out, _TAGS[plain], list(value), refer, depth)
    elif isinstance(value, dict):
        _encode(dict(value), out, refer, depth)
    elif plain := next((t for t in _BASES if isinstance(value, t)), None):
        _encode(plain(value), out, refer, depth)
    elif kind.__module__ == "numpy" and hasattr(value, "tolist"):
        _encode(value.tolist(), out, refer, depth)
    elif kind.__module__ == "array":
        _encode(list(value), out, refer, depth)
    elif refer is not None:
        _blob(out, "h", _SIZE.pack(refer(value)))
    else:
        raise Malformed(f"a {type(value).__name__} cannot be handed over")


def _drawn(iterator):
    """The items of an iterator, which may have no end."""
    items = []
    for item in iterator:
        items.append(item)
        if len(items) > MOST_VALUES:
            raise Malformed("an iterator with too many items")
    return items


def _blob(out, tag, data):
    out += tag.encode() + _SIZE.pack(len(data)) + data


def _many(out, tag, items, refer, depth):
    out += tag.encode() + _SIZE.pack(len(items))
    for item in items:
        _encode(item, out, refer, depth + 1)


def decode(data: bytes, resolve):
    """The value that bytes stand for, of exact builtin types.

    Args:
        data: bytes of `encode`, or of an attacker.
        resolve: number -> the object that a reference becomes.

    Raises:
        Malformed: anything but one well-formed value.
    """
    reader = _Reader(data, resolve)
    try:
        value = reader.value(0)
    except _ERRORS as error:
        raise Malformed("bytes that are no value") from error
    if reader.at != len(data):
        raise Malformed("bytes after the value")
    return value


# The errors that reading damaged bytes may raise.
_ERRORS = (IndexError, KeyError, TypeError, ArithmeticError, ValueError, struct.error)


class _Reader:
    """A place in some bytes."""

    def __init__(self, data, resolve):
        self.data, self.resolve, self.at, self.left = data, resolve, 0, MOST_VALUES

    def take(self, count):
        begin, self.at = self.at, self.at + count
        if self.at > len(self.data):
            raise Malformed("bytes that end early")
        return self.data[begin : self.at]

    def value(self, depth):
        self.left -= 1
        if depth > DEEPEST or self.left < 0:
            raise Malformed("a value too large to take over")
        tag = chr(self.take(1)[0])
        if tag in "n10":
            return {"n": None, "1": True, "0": False}[tag]
        if tag == "r":
            return _FLOAT.unpack(self.take(8))[0]
        if tag == "c":
            return complex(*(_FLOAT.unpack(self.take(8))[0] for _ in range(2)))
        size = _SIZE.unpack(self.take(4))[0]
        if tag in _SEQUENCES or tag in "mgx":
            if size > len(self.data) - self.at:
                raise Malformed("bytes that end early")
            return _gathered(tag, [self.value(depth + 1) for _ in range(size)])
        return self.leaf(tag, self.take(size))

    def leaf(self, tag, data):
        match tag:
            case "d":
                return int.from_bytes(data, signed=True)
            case "u":
                return data.decode("utf-8", "surrogatepass")
            case "b":
                return bytes(data)
            case "a":
                return bytearray(data)
            case "k":
                return TYPES[data.decode()]
            case "h":
                return self.resolve(_SIZE.unpack(data)[0])
        raise Malformed("an unknown tag")


def _gathered(tag, items):
    if tag == "m":
        pairs = iter(items)
        return dict(zip(pairs, pairs, strict=True))
    if tag == "g":
        if [type(item) for item in items] != [int] * 3:
            raise Malformed("a range of something else")
        return range(*items)
    if tag == "x":
        name, *parts = items
        return _MADE[name][0](*parts)
    return _SEQUENCES[tag](items)


def send(channel: socket.socket, data: bytes) -> None:
    """Sends a frame.

    Raises:
        Malformed: it is too long.
        OSError: nobody is there.
    """
    if len(data) > MOST_BYTES:
        raise Malformed("a value too large to hand over")
    channel.sendall(_SIZE.pack(len(data)) + data)


def receive(channel: socket.socket) -> bytes | None:
    """The next frame; None at the end.

    Raises:
        Malformed: it is too long.
        OSError: nobody is there; a timeout that the socket has.
    """
    head = _exactly(channel, _SIZE.size)
    if head is None:
        return None
    size = _SIZE.unpack(head)[0]
    if size > MOST_BYTES:
        raise Malformed("a frame too long")
    return _exactly(channel, size)


def _exactly(channel, size):
    data = bytearray()
    while len(data) < size:
        part = channel.recv(min(size - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return bytes(data)


def raised(error: BaseException) -> tuple[str, str]:
    """The name of the builtin class an exception belongs to, and its message."""
    names = (kind.__name__ for kind in type(error).__mro__)
    name = next(name for name in names if hasattr(builtins, name))
    message = ""
    with contextlib.suppress(Exception):
        message = str(error)[:200]
    return name, message
