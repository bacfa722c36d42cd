"""One end of the talk between tests and program: questions, answers, objects by number.

Either side may ask while it owes an answer: a program calls the function that tests
handed it. Questions and answers nest like calls, so the next frame is an answer to the
last question, or a question to be answered first.
"""

import copy
import operator
import select
import time

from . import library, wire

ASK, VALUE, ERROR = 0, 1, 2
TIMEOUT, LOST = "timeout", "lost"
_MUTABLE = (list, dict, set, bytearray)
# Items of an iterator are sent one at a time first: the next may take for ever.
ALONE, MOST_AT_ONCE = 16, 4096


class Port:
    """A channel, and the objects of both sides.

    Attributes:
        by_name: whether functions of the standard library go by name.
    """

    def __init__(self, channel, serve, make, own_module: str, by_name=False, end=None):
        """Talks over a channel.

        Args:
            channel: a connected socket.
            serve: (request) -> its value; raises what the other side shall see.
            make: (port, number, kind, details) -> what stands for an object of the
                other side.
            own_module: name of the module whose classes are this side's own.
            by_name: see the class; the grader's end, which believes nothing.
            end: when the other side's time is over, on the monotonic clock; or None.
        """
        self._channel, self._serve, self._make = channel, serve, make
        self.by_name, self._own_module = by_name, own_module
        self._end, self._gone, self._waiting = end, None, select.poll()
        self._waiting.register(channel, select.POLLIN)
        self._asked, self._objects, self._numbers = 0, [], {}
        self._proxies, self._foreign, self._alive = {}, {}, []

    # --- objects by number ---------------------------------------------------------

    def ours(self, value) -> int:
        """The number of an object of this side, the same every time."""
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        return number

    def own(self, number: int):
        """The object of this side with a number.

        Raises:
            LookupError: there is none.
        """
        return self._objects[number]

    def theirs(self, value) -> int | None:
        """The number of what stands for an object of the other side."""
        return self._foreign.get(id(value))

    def proxy(self, number, kind, *details):
        """What stands for an object of the other side, the same every time."""
        if type(number) is not int or number < 0:
            raise wire.Malformed("a number of something else")
        if number not in self._proxies:
            self.remember(self._make(self, number, kind, details), number)
        return self._proxies[number]

    def remember(self, value, number):
        """Notes that a value stands for an object of the other side."""
        if type(number) is int:
            self._proxies[number] = value
            self._foreign[id(value)] = number
            self._alive.append(value)  # or its id would be another's
        return value

    def keeps(self, value) -> bool:
        """Whether a value has names of its own beside those of a builtin type."""
        kind = type(value)
        if kind.__module__ != self._own_module or not library.plain_type(value):
            return False
        fields = getattr(kind, "_fields", ())
        own = [k for k in kind.__mro__ if k.__module__ == self._own_module]
        return not library.is_enum(kind) and any(
            not name.startswith("_") and name not in fields
            for k in own
            for name in vars(k)
        )

    def guarded(self, value):
        """A value of the library, as this side has it."""
        return library.guarded(value) if self.by_name else value

    # --- questions and answers -----------------------------------------------------

    def ask(self, *request):
        """The value of a request, and the mutable arguments that it changed.

        Raises:
            Exception: what the other side raised.
            Malformed: a request that cannot be handed over.
            Gone: the other side is.
        """
        if self._gone:
            raise self._gone
        self._asked += 1
        number = self._asked
        data = wire.encode(request, self)
        try:
            wire.send(self._channel, number, ASK, data)
            while (frame := self._received())[1] == ASK:
                self.answer(frame)
            if frame[0] != number or frame[1] not in (VALUE, ERROR):
                raise wire.Malformed("an answer to another question")
            value, changed = wire.decode(frame[2], self), ()
            if frame[1] == VALUE:
                value, changed = value
                return value, changed
            if not isinstance(value, BaseException):
                raise wire.Malformed("an error of something else")
        except TimeoutError:
            self._lose(TIMEOUT)
        except (OSError, wire.Malformed, TypeError, ValueError):
            self._lose(LOST)
        raise _harmless(value) if self.by_name else value

    def _received(self):
        if self._end is not None:
            left = self._end - time.monotonic()
            if left <= 0 or not self._waiting.poll(left * 1000):
                raise TimeoutError
        frame = wire.receive(self._channel)
        if frame is None:
            raise ConnectionError
        return frame

    def _lose(self, verdict):
        """Lets every later question fail at once, so that every check is recorded."""
        self._gone = Gone(verdict)
        raise self._gone from None

    def answer(self, frame) -> None:
        """Answers a question of the other side."""
        number, _, data = frame
        try:
            reply, kind = self._serve(self, wire.decode(data, self)), VALUE
            data = wire.encode(reply, self)
        except Gone:
            raise
        except BaseException as error:
            kind, data = ERROR, self._raised(error)
        wire.send(self._channel, number, kind, data)

    def _raised(self, error) -> bytes:
        try:
            return wire.encode(error, self)
        except BaseException:
            kinds = [k for k in type(error).__mro__ if k in wire.ERRORS.values()]
            return wire.encode(kinds[0](library.text(error)))

    def listen(self) -> None:
        """Answers until the other side is gone."""
        while (frame := wire.receive(self._channel)) is not None:
            self.answer(frame)


class Gone(BaseException):
    """The program does not answer any more.

    Attributes:
        verdict: of the checks that are left.
    """

    def __init__(self, verdict: str):
        super().__init__("the program does not answer any more")
        self.verdict = verdict


def called(port, function, args, kwargs):
    """The value of a call, and the arguments that it changed in place, by place."""
    places = {**dict(enumerate(args)), **kwargs}
    before = {
        place: wire.encode(value, port)
        for place, value in places.items()
        if type(value) in _MUTABLE or library.is_mutable(value)
    }
    value = function(*args, **kwargs)
    changed = []
    for place, data in before.items():
        try:
            if wire.encode(places[place], port) != data:
                changed.append((place, places[place]))
        except wire.Malformed:
            continue
    return value, tuple(changed)


def apply(changed, args, kwargs) -> None:
    """Changes arguments in place, as the other side reports it."""
    places = {**dict(enumerate(args)), **kwargs}
    for place, value in changed:
        target = places.get(place)
        if type(target) is type(value) and type(target) in (list, bytearray):
            target[:] = value
        elif type(target) is type(value) and type(target) in (dict, set):
            target.clear()
            target.update(value)
        elif library.is_mutable(target):
            library.change(target, value)


def drawn(iterator, count: int, sent):
    """The next items of an iterator, and how it ended.

    Returns:
        The items; then True at the end, an exception that was raised after them, or
        False.
    """
    items = []
    try:
        if sent is not None:
            items.append(iterator.send(sent))
        while len(items) < count:
            items.append(next(iterator))
    except StopIteration:
        return items, True
    except Exception as error:
        return items, error
    return items, False


def items_of(ask):
    """A generator over an iterator of the other side.

    Args:
        ask: (count, what is sent to it) -> as `drawn`.
    """
    count, seen, ended, sent = 1, 0, False, None
    while ended is False:
        items, ended = ask(count, sent)
        sent = None
        for item in items:
            sent = yield item
        seen += len(items)
        count = 1 if seen < ALONE else min(2 * count, MOST_AT_ONCE)
    if isinstance(ended, Exception):
        raise _harmless(ended)


def _harmless(error: BaseException) -> Exception:
    """An exception of the program; none that would end the tests, or a loop in them."""
    ends = (StopIteration, StopAsyncIteration)
    if not isinstance(error, Exception) or isinstance(error, ends):
        error = Exception(library.text(error))
    error.program = True
    return error


_split = str.split
UNARY = {
    "truth": bool,
    "neg": operator.neg,
    "pos": operator.pos,
    "invert": operator.invert,
    "index": operator.index,
    "enter": lambda value: value.__enter__(),
    **{f.__name__: f for f in (abs, len, str, repr, hash, int, float, complex)},
    **{f.__name__: f for f in (iter, reversed, library.math.trunc)},
    **{f.__name__: f for f in (library.math.floor, library.math.ceil)},
}
BINARY = {
    name: getattr(operator, name)
    for name in _split(
        "add sub mul truediv floordiv mod matmul and_ or_ xor lshift rshift pow"
    )
} | {"divmod": divmod}
COMPARED = {n: getattr(operator, n) for n in _split("eq ne lt le gt ge")}
OTHERS = {
    n: getattr(operator, n) for n in _split("getitem setitem delitem contains iadd")
} | {"isinstance": isinstance, "issubclass": issubclass, "round": round}
OTHERS |= {"format": format, "exit": lambda value, *error: value.__exit__(*error)}
OTHERS |= {"copy": copy.copy, "deepcopy": copy.deepcopy}
OPERATORS = UNARY | BINARY | COMPARED | OTHERS
