"""Values of the standard library and of NumPy, taken apart and made again."""

import builtins
import collections
import datetime
import decimal
import enum
import fractions
import functools
import itertools
import math
import operator
import sys
import types

_BASES = (list, tuple, set, frozenset, dict, int, float, complex, str, bytes)
# Modules whose functions tests hand over by name: both sides have them.
_MODULES = {m.__name__: m for m in (builtins, math, operator, itertools, functools)}
_FUNCTIONS = (types.BuiltinFunctionType, types.FunctionType, type)


def _zoneless(value, *parts):
    return parts if value.tzinfo is None else None


# Name to the class, and to what it is made from; None for what cannot be.
_MADE = {
    "fraction": (fractions.Fraction, lambda v: (v.numerator, v.denominator)),
    "decimal": (decimal.Decimal, lambda v: (str(v),)),
    "date": (datetime.date, lambda v: (v.year, v.month, v.day)),
    "datetime": (
        datetime.datetime,
        lambda v: _zoneless(v, *v.timetuple()[:6], v.microsecond),
    ),
    "time": (
        datetime.time,
        lambda v: _zoneless(v, v.hour, v.minute, v.second, v.microsecond),
    ),
    "timedelta": (datetime.timedelta, lambda v: (v.days, v.seconds, v.microseconds)),
    "slice": (slice, lambda v: (v.start, v.stop, v.step)),
    "counter": (collections.Counter, lambda v: (dict(v),)),
    "default": (
        collections.defaultdict,
        lambda v: (v.default_factory, dict(v)),
    ),
    "ordered": (collections.OrderedDict, lambda v: (dict(v),)),
}
_NAMES = {kind: name for name, (kind, _) in _MADE.items()}


class Deque(collections.deque):
    """A deque of the program's; equal to a list of the same items, too."""

    __hash__ = None

    def __eq__(self, other):
        if type(other) is list:
            return list(self) == other
        return super().__eq__(other)


Deque.__name__ = Deque.__qualname__ = "deque"


def parts(value) -> tuple | None:
    """What `made` takes to make a value again; None for other objects."""
    kind = type(value)
    if kind in _NAMES:
        pieces = _MADE[_NAMES[kind]][1](value)
        return None if pieces is None else (_NAMES[kind], *pieces)
    if kind in (collections.deque, Deque):
        return ("deque", list(value), value.maxlen)
    if isinstance(value, tuple) and _is_named(kind):
        _OWN[kind.__name__, kind._fields] = kind
        return ("named", kind.__name__, kind._fields, tuple(value))
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        if value.dtype.kind in "biufcSUmM":
            return ("array", value.dtype.str, value.shape, value.tobytes())
        if value.dtype.kind == "O":
            return ("array", "O", value.shape, [*value.flat])
    return None


def _is_named(kind) -> bool:
    fields = kind.__dict__.get("_fields")
    return type(fields) is tuple and {*map(type, fields)} <= {str}


def made(name: str, *pieces):
    """A value of its pieces, which may be an attacker's.

    Raises:
        LookupError, TypeError, ValueError, ArithmeticError: they are no such value's.
    """
    if name == "deque":
        items, most = pieces
        return collections.deque([*items], most)
    if name == "named":
        return _named(*pieces)
    if name == "array":
        return _array(*pieces)
    if name in ("counter", "ordered", "default") and type(pieces[-1]) is not dict:
        raise TypeError("a mapping of something else")
    return _MADE[name][0](*pieces)


# Classes of named tuples that this process has, by name and fields.
_OWN: dict = {}


def _named(name, fields, items):
    key = (name, fields)
    if {*map(type, (name, *fields))} != {str} or len(fields) != len(items):
        raise TypeError("a named tuple of something else")
    if key not in _OWN:
        _OWN[key] = collections.namedtuple(name, fields)
    return tuple.__new__(_OWN[key], items)


def _array(kind, shape, content):
    numpy = sys.modules["numpy"]
    if kind == "O":
        flat = numpy.empty(len(content), object)
        flat[:] = content
    else:
        dtype = numpy.dtype(kind)
        if dtype.kind not in "biufcSUmM" or type(content) is not bytes:
            raise TypeError("an array of something else")
        flat = numpy.frombuffer(content, dtype).copy()
    return flat.reshape(shape)


def guarded(value):
    """A value of the program's, as the tests compare it."""
    if type(value) is collections.deque:
        return Deque(value, value.maxlen)
    if type(value).__name__ == "ndarray":
        from . import ndarrays  # Where there is NumPy only.

        return ndarrays.view_of(value)
    return value


def plain_type(value) -> type | None:
    """The builtin that a value's class derives from, or stands for."""
    kind = type(value)
    if kind.__module__ == "numpy" and hasattr(value, "tolist"):
        return type(value).tolist
    if isinstance(value, collections.deque):
        return list
    return next((base for base in _BASES if isinstance(value, base)), None)


def name_of(value) -> tuple[str, str] | None:
    """The module and name of a function that every Python has."""
    if not isinstance(value, _FUNCTIONS):
        return None
    module = getattr(value, "__module__", None)
    name = getattr(value, "__name__", "")
    if type(module) is str and module.startswith("_"):
        module = module[1:]
    found = getattr(_MODULES.get(module), name, None) if type(name) is str else None
    return (module, name) if found is value else None


def named_function(module: str, name: str):
    """The function that `name_of` named; only for a side that trusts the other."""
    return getattr(_MODULES[module], name)


def text(value) -> str:
    """A short text of a value, however it behaves."""
    try:
        return str(value)[:200]
    except Exception:
        return ""


def exception(kind: type, args: tuple, message: str) -> BaseException:
    """An exception of a class, not raised; its initialiser may refuse the arguments."""
    try:
        error = kind.__new__(kind, *args)
    except Exception:
        error = Exception.__new__(Exception)
    error.args = tuple(args)
    if isinstance(getattr(error, "message_", None), str):
        error.message_ = str(message)
    return error


def is_enum(kind: type) -> bool:
    """Whether a class is an enumeration."""
    return isinstance(kind, enum.EnumMeta)


def is_mutable(value) -> bool:
    """Whether a value of the library can be changed in place."""
    is_array = type(value).__name__ in ("ndarray", "Array")
    return is_array or isinstance(value, _CHANGED)


_CHANGED = (collections.deque, *(k for k, _ in _MADE.values() if issubclass(k, dict)))


def change(target, value) -> None:
    """Changes a value of the library in place to another of its kind."""
    if isinstance(target, _CHANGED) and isinstance(value, type(target).__mro__[-2]):
        target.clear()
        (target.extend if isinstance(value, collections.deque) else target.update)(
            value
        )
    elif getattr(target, "shape", None) == getattr(value, "shape", ()):
        target[...] = value
