"""Objects of the other side, used by number and never by value.

Where tests use an object of the program, its methods and operators run in the
program's process. What it answers is believed as far as the answer of a function is:
the program may say what it likes, and must not learn what it should say. So

- two objects of the program are compared, added and so on by the program;
- an object and a value of the tests are never compared by it: they are not equal, and
  `<` is a TypeError. (The instance of a subclass of a builtin is compared by its
  builtin value, in the grader.)
- an object and a value of the tests are added and so on when the result is used as an
  object: an attribute of it, its text, a comparison with another object. As a number
  (`abs(f(2) - 5) < 1e-6`) it is never computed, so `5` stays in the grader;
- `5 in thing` goes through the items of `thing` in the grader, but if `thing` was made
  by a class that the tests call by a capitalised name, it is asked.
"""

import datetime

from . import library, port, wire

_SHOWN = ("__name__", "__qualname__", "__dict__", "__annotations__", "__members__")


def made(end: port.Port, number: int, kind, details):
    """What stands for an object of the other side."""
    if kind in ("object", "valued"):
        return Remote(end, number, kind)
    if kind in ("generator", "iterator"):
        return port.items_of(lambda *asked: end.ask("next", number, *asked)[0])
    if kind == "coroutine":
        return _awaited(end, number)
    if kind == "error":
        return _error_class(end, *details)
    if kind == "name" and not end.by_name:
        return library.named_function(*details)
    raise wire.Malformed("an object of no kind")


async def _awaited(end, number):
    return end.ask("await", number)[0]


def _error_class(end, name, *bases):
    """A class of exceptions like one of the other side's."""
    bases = [b for b in bases if isinstance(b, type) and issubclass(b, Exception)]
    space = {"message_": "", "__str__": _message, "__getattr__": _attribute}
    space |= {"_end": end, "__module__": "program"}
    try:
        return type(name, (*bases,) or (Exception,), space)
    except TypeError:  # bases that do not go together here
        return type(name, (bases[0],), space)


def _message(error):
    return error.message_


def _attribute(error, name):
    """An attribute of an exception of the other side, which is asked for it."""
    if name.startswith("__") or error._end.theirs(error) is None:
        raise AttributeError(name)
    return error._end.ask("get", error, name)[0]


class Remote:
    """An object of the other side.

    Attributes:
        _end: the port that it came through.
        _number: its number on the other side.
        _kind: "object", or "valued" for an instance of a subclass of a builtin type.
        _asks: whether it is asked what is in it.
    """

    __slots__ = ("_asks", "_end", "_kind", "_number")
    __array_ufunc__ = None  # An array leaves its operators to this class, too.

    def __init__(self, end: port.Port, number: int, kind: str = "object"):
        object.__setattr__(self, "_end", end)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_kind", kind)
        object.__setattr__(self, "_asks", not end.by_name)

    def __call__(self, *args, **kwargs):
        args = tuple(map(_settled, args))
        value, changed = self._end.ask("call", self, args, kwargs)
        port.apply(changed, args, kwargs)
        if type(value) is Remote and self._asks == "class":
            object.__setattr__(value, "_asks", True)
        return value

    def __getattr__(self, name):
        if name.startswith("__") and name.endswith("__") and name not in _SHOWN:
            raise AttributeError(name)
        return self._end.ask("get", self, name)[0]

    def __setattr__(self, name, value):
        self._end.ask("set", self, name, _settled(value))

    def __delattr__(self, name):
        self._end.ask("delete", self, name)

    def __getitem__(self, key):
        return _asked(self, "getitem", key)

    def __setitem__(self, key, value):
        _asked(self, "setitem", key, _settled(value))

    def __delitem__(self, key):
        _asked(self, "delitem", key)

    def __contains__(self, item):
        if self._asks is True or _is_remote(item):
            return _asked(self, "contains", item)
        return any(each is item or each == item for each in self)

    def __copy__(self):
        return _asked(self, "copy")

    def __deepcopy__(self, _):
        return _asked(self, "deepcopy")

    def __round__(self, *digits):
        return _asked(self, "round", *digits)

    def __format__(self, form):
        return _asked(self, "format", form)

    def __iadd__(self, other):
        if not _is_remote(other) and self._end.by_name:
            return NotImplemented
        return _asked(self, "iadd", other)

    def __instancecheck__(self, value):
        is_value = self._end.by_name and self._end.theirs(value) is None
        if is_value and not hasattr(type(value), "_fields"):
            return False
        return self._end.ask("op", "isinstance", value, self)[0] is True

    def __subclasscheck__(self, kind):
        if self._end.by_name and self._end.theirs(kind) is None:
            return False
        return self._end.ask("op", "issubclass", kind, self)[0] is True

    def __exit__(self, kind, error, trace):
        # An exception of the tests is neither shown to the program nor held back by it.
        mine = error is not None and hasattr(error, "program")
        told = (kind, error, None) if mine else (None, None, None)
        return bool(_asked(self, "exit", *told)) and mine

    def __await__(self):
        return self._end.ask("await", self._number)[0]
        yield

    def __aiter__(self):
        return self._end.ask("aiter", self)[0]

    async def __anext__(self):
        items = self._end.ask("anext", self)[0]
        if not items:
            raise StopAsyncIteration
        return items[0]


class Deferred:
    """An operator between an object of the program and a value of the tests.

    The program carries it out once the result is used as an object.
    """

    __slots__ = ("_left", "_name", "_result", "_right")
    __array_ufunc__ = None

    def __init__(self, name: str, left, right):
        self._name, self._left, self._right, self._result = name, left, right, None

    def __getattr__(self, name):
        ends = (self._left, self._right, datetime.timedelta)
        if any(not _is_remote(end) and hasattr(end, name) for end in ends):
            raise AttributeError(name)  # The result was to be a value like this.
        return getattr(_object(self), name)

    def __str__(self):
        return str(_object(self))

    def __repr__(self):
        return repr(_object(self))

    def __hash__(self):
        return hash(_object(self))

    def __bool__(self):
        raise TypeError(_NO_VALUE)


_NO_VALUE = (
    "an operator between an object of the program and a value of the tests gives no "
    "value, only an object"
)


def _is_remote(value) -> bool:
    return type(value) in (Remote, Deferred)


def _settled(value):
    """A value to hand over: a deferred result is computed."""
    if type(value) is not Deferred:
        return value
    if value._result is None:
        left, right = _settled(value._left), _settled(value._right)
        end = next((v._end for v in (left, right) if type(v) is Remote), None)
        if end is None:
            raise TypeError(_NO_VALUE)
        value._result = [end.ask("op", value._name, left, right)[0]]
    return value._result[0]


def _object(deferred):
    found = _settled(deferred)
    if type(found) is not Remote:
        raise TypeError(_NO_VALUE)
    return found


def _asked(self, name, *args):
    return self._end.ask("op", name, self, *args)[0]


def _plain(self):
    """The builtin value of an instance of a subclass of a builtin."""
    value = self._end.ask("plain", self)[0]
    if _is_remote(value):
        raise TypeError("a value that is none")
    return value


def _combined(name, left, right):
    """An operator of two, one of which is an object of the other side."""
    remotes = [value for value in (left, right) if _is_remote(value)]
    guarded = any(type(v) is Deferred or v._end.by_name for v in remotes)
    if guarded and len(remotes) < 2:
        (one,) = remotes
        if type(one) is Remote and one._kind == "valued":
            pair = [_plain(v) if v is one else v for v in (left, right)]
            return port.BINARY[name](*pair)
        return Deferred(name, left, right)
    left, right = _settled(left), _settled(right)
    first = left if type(left) is Remote else right
    if type(first) is not Remote:
        raise TypeError(_NO_VALUE)
    found = first._end.ask("op", name, left, right)[0]
    if type(found) is Remote and any(getattr(v, "_asks", 0) is True for v in remotes):
        object.__setattr__(found, "_asks", True)
    return found


def _compared(name, self, other):
    guarded = type(self) is Deferred or self._end.by_name
    if guarded and not _is_remote(other):
        if type(self) is Remote and self._kind == "valued":
            return port.COMPARED[name](_plain(self), other)
        return NotImplemented
    if type(self) is Deferred:
        self = _object(self)
    if type(other) is Deferred:
        other = _object(other)
    return _asked(self, name, other)


def _with_operators() -> None:
    """Gives both classes the methods behind Python's operators."""

    def unary(name):
        return lambda self: _asked(self, name)

    def binary(name):
        def forward(self, other, *_):
            return _combined(name, self, other)

        def reflected(self, other, *_):
            return _combined(name, other, self)

        return forward, reflected

    def compared(name):
        return lambda self, other: _compared(name, self, other)

    methods = {"truth": "bool"}
    for name in port.UNARY:
        setattr(Remote, f"__{methods.get(name, name)}__", unary(name))
    for kind in (Remote, Deferred):
        for name in port.BINARY:
            forward, reflected = binary(name)
            setattr(kind, f"__{name.strip('_')}__", forward)
            setattr(kind, f"__r{name.strip('_')}__", reflected)
        for name in port.COMPARED:
            setattr(kind, f"__{name}__", compared(name))


_with_operators()
