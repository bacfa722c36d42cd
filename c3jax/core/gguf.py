"""GGUF files: their header, and rows of their tensors as float32.

A vocabulary is two long lists in the header. This reader takes a thirtieth of the time
of the package `gguf` and names the damage of a file; the package unpacks numbers.

Source: docs/gguf.md of github.com/ggml-org/ggml, versions 2 and 3 of the format.
"""

import dataclasses
import importlib.machinery
import math
import mmap
import pathlib
import struct
from importlib import metadata
from typing import NamedTuple

import numpy as np

SUFFIX = ".gguf"
# The packings of numbers that are read, by the format's names: single, in blocks of 32,
# and in blocks of 256.
_BLOCKS = ("Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1")
KINDS = ("F32", "F16", "BF16", *_BLOCKS, "Q4_K", "Q5_K", "Q6_K")
_MAGIC, _VERSIONS = b"GGUF", (2, 3)
# The format's types of values that are one number.
_NUMBERS = dict(zip((*range(8), 10, 11, 12), "BbHhIif?Qqd", strict=True))
_FLOAT32, _STRING, _ARRAY = 6, 8, 9
_ALIGN = "general.alignment"


class Tensor(NamedTuple):
    """The place of a tensor in a file.

    Attributes:
        shape: its sizes, rows first.
        kind: the packing of its numbers, a name of `KINDS`.
        begin: its first byte in the file.
    """

    shape: tuple[int, ...]
    kind: str
    begin: int


@dataclasses.dataclass(frozen=True)
class File:
    """The header of a file.

    Attributes:
        fields: the model's metadata, by the format's names.
        tensors: shape, packing and place of each tensor, by its name.
    """

    path: pathlib.Path
    fields: dict[str, object]
    tensors: dict[str, Tensor]

    def field(self, name: str, kind: type):
        """A field that must be there.

        Raises:
            ValueError: it is not, or is no `kind`, or a number that is not positive.
        """
        value = self.fields.get(name)
        # A bool is an int to Python, not to the format.
        if type(value) is not kind or (kind in (int, float) and value <= 0):
            state = "is missing" if value is None else f"is {str(value)[:50]!r}"
            wanted = {int: "a count", float: "a number", str: "text", list: "a list"}
            raise ValueError(f"{self.path}: {name} {state}; it must be {wanted[kind]}.")
        return value

    def rows(self, name: str, begin: int, end: int) -> np.ndarray:
        """Some rows of a table, [end - begin, width] float32, or numbers of a vector.

        Only these rows are read into memory; a vector is read whole.
        """
        shape, kind, start = self.tensors[name]
        known, size = _packing(kind, shape[-1])
        count = end - begin
        if len(shape) == 1:
            return self._unpacked(start, (1, size), known)[0, begin:end]
        return self._unpacked(start + begin * size, (count, size), known)

    def _unpacked(self, begin: int, shape: tuple[int, int], kind) -> np.ndarray:
        raw = np.fromfile(self.path, np.uint8, math.prod(shape), offset=begin)
        return _package().quants.dequantize(raw.reshape(shape), kind)


def _packing(kind: str, numbers: int):
    """A packing as the package `gguf` knows it, and the bytes of a row of `numbers`."""
    package = _package()
    known = package.GGMLQuantizationType[kind]
    block, size = package.GGML_QUANT_SIZES[known]
    if numbers % block:
        raise ValueError(f"rows of {numbers} numbers are no whole blocks of {kind}")
    return known, numbers // block * size


def _package():
    try:
        import gguf
    except ImportError:
        raise ValueError(
            "reading a GGUF needs the package gguf: `pip install gguf`."
        ) from None
    return gguf


def read(path: pathlib.Path) -> File:
    """The header of a file.

    Raises:
        ValueError: the file is missing, no GGUF, cut, or has a version, byte order or
            packing that is not read; says which.
    """
    _package()
    if not path.is_file():
        raise ValueError(f"{path} is no file.")
    with path.open("rb") as file:
        if file.read(4) != _MAGIC:
            raise ValueError(f"{path} is no GGUF; its first bytes are not 'GGUF'.")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            try:
                return _read(path, _Cursor(buffer, len(_MAGIC)))
            except (struct.error, IndexError):
                damage = f"is cut: its header goes on beyond its {len(buffer)} bytes"
            except UnicodeDecodeError as error:
                damage = f"is damaged: its header has text that is no UTF-8, {error}"
            except KeyError as error:
                damage = f"is damaged: a field's value is of the unknown type {error}"
    raise ValueError(f"{path} {damage}; get the file again.")


class _Cursor:
    """Reads a header's values one after another."""

    def __init__(self, buffer: mmap.mmap, at: int):
        self.buffer, self.at = buffer, at

    def numbers(self, form: str, count: int = 1) -> tuple:
        form = f"<{count}{form}"
        values = struct.unpack_from(form, self.buffer, self.at)
        self.at += struct.calcsize(form)
        return values

    def text(self) -> str:
        (size,) = self.numbers("Q")
        end = self.at + size
        if end > len(self.buffer):
            raise IndexError
        text = self.buffer[self.at : end].decode()
        self.at = end
        return text

    def value(self, kind: int):
        if kind == _STRING:
            return self.text()
        if kind == _FLOAT32:  # As the shortest decimal: 1e-05, not 9.9999997e-06.
            return float(str(np.float32(self.numbers("f")[0])))
        if kind == _ARRAY:
            (kind,), (count,) = self.numbers("I"), self.numbers("Q")
            if kind in _NUMBERS:
                return list(self.numbers(_NUMBERS[kind], count))
            return [self.value(kind) for _ in range(count)]
        return self.numbers(_NUMBERS[kind])[0]


def _read(path: pathlib.Path, cursor: _Cursor) -> File:
    (version,) = cursor.numbers("I")
    if not version & 0xFFFF:
        raise ValueError(
            f"{path} is a big-endian GGUF; only little-endian ones are read."
        )
    if version not in _VERSIONS:
        raise ValueError(f"{path} is GGUF version {version}; {_VERSIONS} are read.")

    # The metadata, then the list of tensors.
    tensors, pairs = cursor.numbers("Q", 2)
    fields, listed = {}, []
    for _ in range(pairs):
        name, (kind,) = cursor.text(), cursor.numbers("I")
        fields[name] = cursor.value(kind)
    for _ in range(tensors):
        name = cursor.text()
        sizes = cursor.numbers("Q", cursor.numbers("I")[0])
        listed.append((name, sizes[::-1], *cursor.numbers("I"), *cursor.numbers("Q")))

    # Numbers begin at the next multiple of the alignment.
    file = File(path, fields, {})
    align = file.field(_ALIGN, int) if _ALIGN in fields else 32
    start = -(-cursor.at // align) * align
    placed = _tensors(path, listed, start, len(cursor.buffer))
    return dataclasses.replace(file, tensors=placed)


def _tensors(path: pathlib.Path, listed: list, start: int, size: int):
    """Every tensor, if its packing is read and the file holds all of it."""
    known = {kind.value: kind.name for kind in _package().GGMLQuantizationType}
    tensors = {}
    for name, shape, number, offset in listed:
        kind = known.get(number, f"the unknown type {number}")
        if kind not in KINDS:
            raise ValueError(
                f"{path}: {name} is packed as {kind}; {', '.join(KINDS)} are read."
            )
        try:
            row = _packing(kind, shape[-1] if shape else 1)[1]
        except ValueError as error:
            raise ValueError(f"{path}: {name} is damaged: {error}.") from None

        # All of its bytes are there.
        end = start + offset + row * math.prod(shape[:-1])
        if end > size:
            raise ValueError(
                f"{path} is cut: {name} ends at byte {end}, and the file has {size}; "
                "get the file again."
            )
        if name in tensors:
            raise ValueError(f"{path} has {name} twice.")
        tensors[name] = Tensor(shape, kind, start + offset)
    return tensors


def packaged(name: str) -> pathlib.Path | None:
    """The GGUF of an installed Python package, which is not imported.

    Args:
        name: the package's name in pip, or in an import.

    Returns:
        Its path; None if there is no such package.

    Raises:
        ValueError: it has none, or several.
    """
    # Files of the distribution, or else of the module: pip does not list those of an
    # editable package.
    paths, is_there = set(), False
    try:
        files = metadata.distribution(name).files or ()
        is_there = True
        paths = {pathlib.Path(f.locate()) for f in files if f.suffix == SUFFIX}
    except metadata.PackageNotFoundError:
        pass

    # Without a distribution, its module.
    module = name.replace("-", "_")
    if not paths and module.isidentifier():
        spec = importlib.machinery.PathFinder.find_spec(module)
        for place in (spec and spec.submodule_search_locations) or ():
            is_there = True
            paths |= {*pathlib.Path(place).rglob(f"*{SUFFIX}")}
    if not is_there:
        return None
    if len(paths) != 1:
        names = ", ".join(sorted(path.name for path in paths)) or "none"
        raise ValueError(
            f"the installed package {name} should have one {SUFFIX} file, and has "
            f"{names}; give the path of a file."
        )
    return paths.pop()
