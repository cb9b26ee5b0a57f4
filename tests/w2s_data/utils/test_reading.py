"""Files that are not what they seem: one line that names the file, and nothing hangs."""

import contextlib
import io
import os
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_data.errors import FeatureError, FileFormatError, InputError, StoreError
from w2s_data.utils.io import load_npy, read_json
from w2s_data.utils.reading import check_regular, reading
from w2s_data.utils.text import printable, printable_json


def npy(array, **settings):
    file = io.BytesIO()
    np.save(file, array, **settings)
    return file.getvalue()


def with_header(shape, descr="<f4", rest=b""):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n" + rest


def zipped(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def torch_file(value):
    import torch

    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


GOOD = np.arange(12, dtype=np.float32).reshape(4, 3)


@pytest.mark.parametrize(
    "array",
    [
        GOOD,
        np.asfortranarray(GOOD),
        GOOD.astype(">f8"),
        GOOD.astype(np.float16),
        GOOD.astype(">i2"),
        GOOD.astype(np.uint8),
    ],
    ids=lambda array: f"{array.dtype.str}{array.flags['F_CONTIGUOUS']}",
)
def test_layouts_of_npy_give_the_same_numbers(tmp_path, array):
    (tmp_path / "a.npy").write_bytes(npy(array))
    np.testing.assert_array_equal(load_npy(tmp_path / "a.npy", 4).astype(float), GOOD)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", FileFormatError, "does not begin as a .npy file"),
        (zipped(a=GOOD), FileFormatError, "it is a zip, as numpy.savez and torch.save write"),
        (zipped(a=GOOD)[:40], FileFormatError, "it is a zip"),
        (lambda: torch_file({"a": 1}), FileFormatError, "it is a zip"),
        (b"\x80\x04}q\x00.", FileFormatError, "it is a pickle, which is not read"),
        (npy(GOOD)[:-1], FileFormatError, "mmap length is greater than file size"),
        (npy(GOOD) + b"\x00", FileFormatError, "more bytes than its shape (4, 3) takes"),
        (with_header("(-4, 3)", rest=GOOD.tobytes()), FileFormatError, "cannot read"),
        (with_header("(4000000000000, 3)"), FileFormatError, "cannot read"),
        (with_header("(9223372036854775807, 9223372036854775807)"), FileFormatError, "cannot read"),
        (with_header("(99999999999999999999999, 3)"), FileFormatError, "cannot read"),
        (with_header("(4, 3", rest=GOOD.tobytes()), FileFormatError, "cannot read"),
        (with_header("(" * 5000), FileFormatError, "cannot read"),
        (with_header("(4.0, 3)", rest=GOOD.tobytes()), FileFormatError, "cannot read"),
        (npy(np.array([{"a": 1}]), allow_pickle=True), FileFormatError, "cannot read"),
        (npy(GOOD[0]), FeatureError, "of shape (3,)"),
        (npy(GOOD[:, :, None]), FeatureError, "of shape (4, 3, 1)"),
        (npy(np.float32(1)), FeatureError, "of shape ()"),
        (npy(GOOD.astype(complex)), FeatureError, "complex128"),
        (npy(GOOD.astype(str)), FeatureError, "<U"),
        (npy(GOOD.astype("m8[s]")), FeatureError, "timedelta64"),
        (npy(np.zeros((4, 3), [("a", "f4")])), FeatureError, "('a', '<f4')"),
        (npy(GOOD[:, :0]), FeatureError, "has no columns: its shape is (4, 0)"),
        (npy(GOOD[:0]), FeatureError, "0 rows, the data set 4 items"),
        (npy(GOOD[:2]), FeatureError, "2 rows, the data set 4 items"),
    ],
)
def test_npy_files_that_cannot_be_used(tmp_path, content, error, words):
    path = tmp_path / "a.npy"
    path.write_bytes(content() if callable(content) else content)
    with pytest.raises(error) as caught:
        load_npy(path, 4)
    assert words in str(caught.value)
    assert "a.npy" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe{\x00", "it is not UTF-8"),
        (b"{", "line 1 column 2"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"a":' * 100_000, "it is nested too deeply"),
        (b"9" * 5000, "cannot read"),
    ],
)
def test_json_files_that_cannot_be_used(tmp_path, content, words):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FileFormatError, match=r"a\.json") as caught:
        read_json(tmp_path / "a.json")
    assert words in str(caught.value)


def test_what_is_not_a_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, words in [
        (tmp_path, "it is a folder"),
        (tmp_path / "pipe", "it is a pipe or a device; copy its content into a file"),
        ("/dev/zero", "it is a pipe or a device"),
        (tmp_path / "missing", "no such file or directory"),
        (tmp_path / ("x" * 300), "file name too long"),
        ("nul\x00", "null"),
    ]:
        for read in (read_json, load_npy):
            with pytest.raises(FileFormatError) as caught:
                read(path)
            assert words in str(caught.value)
    link = tmp_path / "loop"
    link.symlink_to(link)
    with pytest.raises(FileFormatError, match="symbolic link"):
        read_json(link)
    (tmp_path / "file").touch()
    check_regular(tmp_path / "file")


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (zipfile.BadZipFile("not a zip"), "not a zip"),
        (struct.error("unpack requires 4 bytes"), "unpack requires 4 bytes"),
        (TypeError("'int' object is not subscriptable"), "its structure is another one"),
        (KeyError("schema"), "it has no 'schema'"),
        (MemoryError(), "more memory than there is"),
        (EOFError(), "EOFError"),
    ],
    ids=repr,
)
def test_failures_of_parsers_become_one_error(tmp_path, reason, words):
    (tmp_path / "a").touch()
    with (
        pytest.raises(StoreError, match=r"^cannot read .*a' as store: .*; embed again$") as caught,
        reading(tmp_path / "a", "store", error=StoreError, advice="embed again"),
    ):
        raise reason
    assert words in str(caught.value)
    assert caught.value.__cause__ is reason


def test_errors_of_bad_input_pass_through(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(FeatureError, match=r"^row 3$"), reading(tmp_path / "a", "a store"):
        raise FeatureError("row 3")


@given(content=st.binary(max_size=300))
def test_random_bytes_are_no_npy_and_no_json(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "random"
    for start, read in [(b"", read_json), (b"", load_npy), (b"\x93NUMPY\x01\x00", load_npy)]:
        path.write_bytes(start + content)
        with contextlib.suppress(InputError):
            read(path)


@given(text=st.text(st.characters(codec=None)))
def test_printable_texts_are_plain_and_readable(text):
    shown = printable(text)
    shown.encode("utf-8")
    assert not any(c < " " or "\x7f" <= c < "\xa0" for c in shown)
    plain = text.isprintable() and text.isascii()
    assert (shown == text) or not plain


def test_json_stays_the_same_value():
    import json

    text = json.dumps({"a\u202e": "\x9b\u2028é👩‍👩‍👧"}, ensure_ascii=False, indent=2)
    shown = printable_json(text)
    assert json.loads(shown) == json.loads(text)
    assert printable(shown, lines=True) == shown
