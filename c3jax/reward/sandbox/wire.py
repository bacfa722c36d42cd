"""Values between candidate and grader: exact builtin types, tagged, in framed bytes.

Neither side trusts the other's bytes. Values are rebuilt as fresh objects of the exact
type that their tag names, so a forged `__eq__` or a subclass stays at home. What is no
value goes by number: `h` names an object of the sender's, `y` one of the receiver's.
"""

import array
import builtins
import inspect
import socket
import struct
import types

from . import library

# A frame, its nesting and the values in it; beyond them a message is refused.
MOST_BYTES, DEEPEST, MOST_VALUES = 1 << 25, 200, 1 << 21
_SIZE = struct.Struct("!I")
_HEAD = struct.Struct("!QB")
_FLOAT = struct.Struct("!d")

# Classes that tests and programs hand to each other by name.
_SINGLE = (bool, int, float, complex, str, bytes, object, type(None))
_CONTAINERS = (bytearray, list, tuple, dict, set, frozenset, range)
TYPES = {kind.__name__: kind for kind in _SINGLE + _CONTAINERS}
ERRORS = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, BaseException)
}
_BY_NAME = {**TYPES, **ERRORS}
_SEQUENCES = {"l": list, "t": tuple, "s": set, "f": frozenset}
_TAGS = {list: "l", tuple: "t", set: "s", frozenset: "f"}
_VIEWS = (type({}.keys()), type({}.values()), type({}.items()))
# Lists of one of these types are packed: of type codes of arrays, the first that holds.
_PACKED = {int: "iq", float: "d"}


class Malformed(Exception):
    """Bytes or values that cannot cross."""


def encode(value, port=None) -> bytes:
    """A value as bytes.

    Args:
        value: an object of builtin types, or of those in `library`.
        port: knows what has no value, see `port.Port`; None refuses it.

    Raises:
        Malformed: of a type that cannot cross, too deep, too long.
    """
    out = bytearray()
    _encode(value, out, port, 0)
    return bytes(out)


def _encode(value, out, port, depth):
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
        _many(out, _TAGS[kind], value, port, depth)
    elif kind is dict:
        out += b"m"
        _many(out, "l", [*value], port, depth)
        _many(out, "l", [*value.values()], port, depth)
    elif kind is range:
        _many(out, "g", (value.start, value.stop, value.step), port, depth)
    else:
        _encode_other(value, out, port, depth)


def _encode_other(value, out, port, depth):
    """Encodes what is no plain builtin: by name, by value, or by number."""
    kind = type(value)
    if port is not None and (number := port.theirs(value)) is not None:
        _blob(out, "y", _SIZE.pack(number))
    elif isinstance(value, type) and _BY_NAME.get(value.__name__) is value:
        _blob(out, "k", value.__name__.encode())
    elif isinstance(value, BaseException):
        parts = (kind, _crossing(value.args, port), library.text(value))
        number = None if port is None else port.ours(value)
        _many(out, "e", (*parts, number), port, depth)
    elif port is not None and port.keeps(value):
        _number(value, out, port, depth)
    elif (parts := library.parts(value)) is not None:
        _many(out, "x", parts, port, depth)
    elif isinstance(value, _VIEWS) or kind.__module__ == "array":
        _many(out, "l", list(value), port, depth)
    elif plain := library.plain_type(value):
        _encode(plain(value), out, port, depth)
    elif port is not None:
        _number(value, out, port, depth)
    else:
        raise Malformed(f"a {kind.__name__} cannot be handed over")


def _number(value, out, port, depth):
    """Encodes an object of the sender's, with what the other side makes of it."""
    kind, more = "object", ()
    if port.by_name and (name := library.name_of(value)):
        kind, more = "name", name
    elif isinstance(value, types.GeneratorType):
        kind = "generator"
    elif inspect.iscoroutine(value):
        kind = "coroutine"
    elif hasattr(type(value), "__next__"):
        kind = "iterator"
    elif isinstance(value, type) and issubclass(value, BaseException):
        bases = [base for base in value.__bases__ if issubclass(base, BaseException)]
        kind, more = "error", (value.__name__, *bases)
    elif library.plain_type(value):
        kind = "valued"
    _many(out, "h", (port.ours(value), kind, *more), port, depth)


def _crossing(args, port):
    """The arguments of an exception, as text where they cannot cross."""
    try:
        encode(args, port)
    except (Malformed, RecursionError):
        return tuple(library.text(each) for each in args)
    return args


def _blob(out, tag, data):
    out += tag.encode() + _SIZE.pack(len(data)) + data


def _many(out, tag, items, port, depth):
    """Encodes items; many of one plain type at once."""
    kinds = set(map(type, items)) if len(items) > 8 else ()
    if len(kinds) == 1 and (data := _packed(*kinds, items)):
        out += tag.encode() + data
        return
    out += tag.encode() + b"*" + _SIZE.pack(len(items))
    for item in items:
        _encode(item, out, port, depth + 1)


def _packed(kind, items) -> bytes | None:
    if kind is str:
        lengths = array.array("i", map(len, items)).tobytes()
        text = "".join(items).encode("utf-8", "surrogatepass")
        return b"u" + _SIZE.pack(len(lengths)) + lengths + _SIZE.pack(len(text)) + text
    for code in _PACKED.get(kind, ""):
        try:
            data = array.array(code, items).tobytes()
        except OverflowError:
            continue
        return code.encode() + _SIZE.pack(len(data)) + data
    return None


def decode(data: bytes, port=None):
    """The value that bytes stand for, of exact types.

    Args:
        data: bytes of `encode`, or of an attacker.
        port: makes objects of numbers; None refuses them.

    Raises:
        Malformed: anything but one well-formed value.
    """
    reader = _Reader(data, port)
    try:
        value = reader.value(0)
    except _DAMAGE as error:
        raise Malformed("bytes that are no value") from error
    if reader.at != len(data):
        raise Malformed("bytes after the value")
    return value


# The errors that reading damaged bytes may raise.
_DAMAGE = (LookupError, TypeError, ArithmeticError, ValueError, struct.error)
_DAMAGE += (AttributeError, NameError, SyntaxError, ImportError)


class _Reader:
    """A place in some bytes."""

    def __init__(self, data, port):
        self.data, self.port, self.at, self.left = data, port, 0, MOST_VALUES

    def take(self, count):
        begin, self.at = self.at, self.at + count
        if self.at > len(self.data):
            raise Malformed("bytes that end early")
        return self.data[begin : self.at]

    def blob(self):
        return self.take(_SIZE.unpack(self.take(4))[0])

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
        if tag == "m":
            keys, values = self.value(depth + 1), self.value(depth + 1)
            return dict(zip(keys, values, strict=True))
        if tag in "ltsfgxhe":
            return self.gathered(tag, self.items(depth))
        return self.leaf(tag, self.blob())

    def items(self, depth):
        """The list of the values of a container."""
        code = chr(self.take(1)[0])
        if code == "u":
            lengths = array.array("i", self.blob())
            text, items, begin = self.blob().decode("utf-8", "surrogatepass"), [], 0
            for length in lengths:
                items.append(text[begin : begin + length])
                begin += length
            return items
        if code in ("i", "q", "d"):
            return array.array(code, self.blob()).tolist()
        if code != "*":
            raise Malformed("an unknown packing")
        size = _SIZE.unpack(self.take(4))[0]
        if size > len(self.data) - self.at:
            raise Malformed("bytes that end early")
        return [self.value(depth + 1) for _ in range(size)]

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
                return _BY_NAME[data.decode()]
            case "y":
                return self.port.own(_SIZE.unpack(data)[0])
        raise Malformed("an unknown tag")

    def gathered(self, tag, items):
        if tag == "g":
            if [type(item) for item in items] != [int] * 3:
                raise Malformed("a range of something else")
            return range(*items)
        if tag == "x":
            value = library.made(*items)
            return value if self.port is None else self.port.guarded(value)
        if tag == "h":
            return self.port.proxy(*items)
        if tag == "e":
            kind, args, message, number = items
            if not (isinstance(kind, type) and issubclass(kind, BaseException)):
                raise Malformed("an exception of something else")
            error = library.exception(kind, args, message)
            return error if self.port is None else self.port.remember(error, number)
        return _SEQUENCES[tag](items)


def send(channel: socket.socket, number: int, kind: int, data: bytes) -> None:
    """Sends a frame: its number, what kind of message it is, and a value.

    Raises:
        Malformed: it is too long.
        OSError: nobody is there.
    """
    if len(data) > MOST_BYTES:
        raise Malformed("a value too large to hand over")
    channel.sendall(
        _SIZE.pack(len(data) + _HEAD.size) + _HEAD.pack(number, kind) + data
    )


def receive(channel: socket.socket) -> tuple[int, int, bytes] | None:
    """The number, kind and value of the next frame; None at the end.

    Raises:
        Malformed: it is too long, or too short.
        OSError: nobody is there; a timeout that the socket has.
    """
    head = _exactly(channel, _SIZE.size)
    if head is None:
        return None
    size = _SIZE.unpack(head)[0]
    if not _HEAD.size <= size <= MOST_BYTES + _HEAD.size:
        raise Malformed("a frame too long or too short")
    data = _exactly(channel, size)
    if data is None:
        return None
    return *_HEAD.unpack(data[: _HEAD.size]), data[_HEAD.size :]


def _exactly(channel, size):
    data = bytearray()
    while len(data) < size:
        part = channel.recv(min(size - len(data), 1 << 20))
        if not part:
            return None
        data += part
    return bytes(data)
