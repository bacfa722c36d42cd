"""Arrays of the program's in the process of the tests.

They are NumPy's, with two differences. An array is equal to a list of the same items,
as one truth. And an array without items meets none with items: broadcast against an
expected value it would be a comparison of nothing, and that is true.
"""

import numpy


class Array(numpy.ndarray):
    """An array that came from the program."""

    __hash__ = None

    def __array_ufunc__(self, function, method, *inputs, out=None, **kwargs):
        plain = [_plain(value) for value in inputs]
        sizes = [numpy.size(value) for value in plain]
        if method == "__call__" and 0 in sizes and any(sizes):
            raise ValueError("an empty array of the program is compared with items")
        if out is not None:
            kwargs["out"] = tuple(_plain(value) for value in out)
        found = getattr(function, method)(*plain, **kwargs)
        return view_of(found) if isinstance(found, numpy.ndarray) else found

    def __eq__(self, other):
        if not isinstance(other, (list, tuple, numpy.ndarray)):
            return super().__eq__(other)
        try:
            same = numpy.shape(_plain(other)) == self.shape
        except ValueError:  # rows of several lengths
            same = False
        if not same:
            return numpy.bool_(False)
        found = numpy.asarray(numpy.equal(_plain(self), _plain(other)))
        return found.view(Truth) if isinstance(other, (list, tuple)) else view_of(found)

    def __ne__(self, other):
        if isinstance(other, (list, tuple)):
            return numpy.bool_(not (self == other))
        return numpy.logical_not(self == other)


class Truth(Array):
    """An array of truths, true if all of them are."""

    def __bool__(self):
        return bool(numpy.all(self.view(numpy.ndarray)))


def _plain(value):
    return value.view(numpy.ndarray) if isinstance(value, Array) else value


def view_of(value):
    """An array as one of the program's."""
    return value.view(Array)
