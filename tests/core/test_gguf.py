"""GGUF files: numbers as the package `gguf` unpacks them, damage said by name."""

import sys

import gguf
import numpy as np
import pytest

from c3jax.core import gguf as files
from tests import ggufs

FIELDS = {
    "a.text": "é",
    "a.eps": 1e-5,
    "a.base": 1e6,
    "a.flag": True,
    "a.count": 7,
    "a.counts": [1, 2, 3],
    "a.names": ["x", "yz"],
}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file with a field of every sort and two tensors."""
    path = tmp_path_factory.mktemp("small") / "small.gguf"
    tensors = {"one": np.ones((3, 4), np.float32), "two": np.ones(5, np.float32)}
    return ggufs.write(path, "llama", FIELDS, tensors)


def test_every_kind_of_packing_is_unpacked_as_the_package_does(tmp_path):
    rng = np.random.default_rng(0)
    tensors = {}
    for name in files.KINDS:
        kind = gguf.GGMLQuantizationType[name]
        block, size = gguf.GGML_QUANT_SIZES[kind]
        # Any bytes are numbers, some of them no finite ones.
        raw = rng.integers(0, 256, (6, 512 // block * size), np.uint8)
        tensors[name], tensors[f"{name} alone"] = (raw, kind), (raw[0], kind)
    path = ggufs.write(tmp_path / "kinds.gguf", "llama", {}, tensors)
    file = files.read(path)
    for theirs in gguf.GGUFReader(path).tensors:
        with np.errstate(invalid="ignore"):
            wanted = gguf.dequantize(theirs.data, theirs.tensor_type)
        assert file.tensors[theirs.name].shape == wanted.shape
        for begin, end in ((0, len(wanted)), (2, 5)):
            with np.errstate(invalid="ignore"):
                found = file.rows(theirs.name, begin, end)
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, wanted[begin:end], theirs.name)


def test_fields_are_what_was_written(small):
    found = files.read(small).fields
    assert found == {"general.architecture": "llama", **FIELDS}


def test_a_file_that_is_cut_anywhere_is_refused(small, tmp_path):
    whole, path = small.read_bytes(), tmp_path / "cut.gguf"
    padding = 12  # after the last tensor's five numbers
    for size in range(4, len(whole) - padding, 3):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="is cut: .*; get the file again"):
            files.read(path)
    with pytest.raises(ValueError, match="is cut: two ends at byte"):
        files.read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: b"", "is no GGUF"),
        (lambda raw: b"PK" + raw[2:], "is no GGUF"),
        (lambda raw: raw[:4] + b"\x09" + raw[5:], "is GGUF version 9"),
        (lambda raw: raw.replace(b"llama", b"ll\xffma"), "is damaged: .* no UTF-8"),
        (lambda raw: raw.replace(b"a.flag\x07", b"a.flag\x63"), "unknown type 99"),
        (lambda raw: raw.replace(b"two", b"one"), "has one twice"),
    ],
)
def test_what_is_no_such_file_is_refused(small, tmp_path, change, message):
    path = tmp_path / "changed.gguf"
    path.write_bytes(change(small.read_bytes()))
    with pytest.raises(ValueError, match=message):
        files.read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="none.gguf is no file"):
        files.read(tmp_path / "none.gguf")


def test_a_file_of_the_other_byte_order_is_refused(tmp_path):
    big = dict(endianess=gguf.GGUFEndian.BIG)
    path = ggufs.write(tmp_path / "big.gguf", "llama", {}, {}, **big)
    with pytest.raises(ValueError, match="big-endian"):
        files.read(path)


@pytest.mark.parametrize(("number", "name"), [(20, "IQ4_NL"), (999, "type 999")])
def test_packing_that_is_not_read_is_named(tmp_path, number, name):
    raw = np.zeros((2, 18), np.uint8), gguf.GGMLQuantizationType.IQ4_NL
    path = ggufs.write(tmp_path / "iq.gguf", "llama", {}, {"blk.0.x": raw})
    whole, end = path.read_bytes(), b"blk.0.x" + (2).to_bytes(4, "little")
    at = whole.index(end) + len(end) + 16
    path.write_bytes(whole[:at] + number.to_bytes(4, "little") + whole[at + 4 :])
    with pytest.raises(ValueError, match=f"blk.0.x is packed as .*{name}; F32, F16"):
        files.read(path)


def test_a_missing_package_is_asked_for(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ValueError, match="`pip install gguf`"):
        files.read(small)


def test_a_package_is_searched_and_not_imported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "c3jax_carrier"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    with pytest.raises(ValueError, match="should have one .gguf file, and has none"):
        files.packaged("c3jax_carrier")
    model = package / "model.gguf"
    model.touch()
    assert files.packaged("c3jax-carrier") == model
    # Installed by another name than it is imported by.
    about = tmp_path / "c3jax_wheel-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: c3jax-wheel\nVersion: 1.0\n")
    (about / "RECORD").write_text("c3jax_carrier/model.gguf,,\n")
    assert files.packaged("c3jax-wheel") == model
    (package / "other.gguf").touch()
    with pytest.raises(ValueError, match="and has model.gguf, other.gguf"):
        files.packaged("c3jax_carrier")
    assert files.packaged("c3jax_nothing") is None
    assert "c3jax_carrier" not in sys.modules
