"""Write files that are either whole or absent, read them, and hash their content."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import json
import math
import os
import platform
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from w2s_data.errors import FeatureError, WriteError, first_line
from w2s_data.utils.reading import reading, reason_of
from w2s_data.utils.typing import FloatArray

_NPY = b"\x93NUMPY"
_SAVE = "numpy.save(path, array) writes one"
TEMPORARY_SUFFIX = ".partial"  # of hidden files, which no glob over results finds
# .NAME.PROCESS@HOST.partial
_WRITER = re.compile(rf"\.(\d+)(?:@([\w.-]*))?{re.escape(TEMPORARY_SUFFIX)}$")
# A file of another machine, whose processes cannot be asked for, counts as left behind after a day.
FOREIGN_SECONDS = 86_400
CACHE = "W2S_CACHE"  # environment variable: the folder instead of the user's own
CLOCK_SECONDS = 2  # by which the clocks of a file system and of the processes may differ


@contextmanager
def atomic_path(final: str | os.PathLike[str], *, durable: bool = True) -> Iterator[Path]:
    """Yield a path beside `final`; it is moved into place only if the block succeeds.

    Raise WriteError if the file cannot be written; an existing file stays unchanged. A file that
    is not `durable` may be empty after a power failure, and costs no wait for the disk.
    """
    target = Path(final)
    make_folder(target.parent)
    # In the same folder, hence on the same disk, or the move would be a copy. Process and host
    # keep two writers apart.
    partial = target.with_name(f".{target.name}.{os.getpid()}@{_host()}{TEMPORARY_SUFFIX}")
    try:
        yield partial
        if durable:
            flush(partial)  # before it gets its name, or a power failure could leave it empty
        partial.replace(target)
    except OSError as error:
        raise WriteError(
            f"cannot write {os.fspath(target)!r}: {reason_of(error)}; finished files are kept, and "
            "the same command resumes after them"
        ) from error
    finally:
        with suppress(OSError):  # the folder itself may be gone
            partial.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents; raise WriteError if that is not possible."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(
            f"cannot make the folder {os.fspath(folder)!r}: {reason_of(error)}; choose another one"
        ) from error


def cache_folder() -> Path:
    """Return the folder for what can be made again at any time."""
    given = os.environ.get(CACHE)
    if given:
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "w2s-data"


def flush(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def remove_partial_files(folder: Path, *, alone: bool = False) -> None:
    """Delete the files that processes which ended left unfinished in `folder` and below.

    A caller that is `alone`, which only a lock can tell, need not ask whether they have ended.
    """
    for leftover in folder.rglob(f".*{TEMPORARY_SUFFIX}") if alone else partial_files(folder):
        with suppress(OSError):  # on a disk that only others may write
            leftover.unlink(missing_ok=True)


def remove_partial_files_of(final: Path) -> None:
    """Delete what processes which ended left unfinished of one file."""
    for leftover in final.parent.glob(f".{glob.escape(final.name)}.*{TEMPORARY_SUFFIX}"):
        if not _in_work(leftover):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)


def partial_files(folder: Path) -> list[Path]:
    """Return the unfinished files in `folder` and below whose processes have ended."""
    return sorted(path for path in folder.rglob(f".*{TEMPORARY_SUFFIX}") if not _in_work(path))


def _in_work(path: Path) -> bool:
    """Whether the process that writes an unfinished file still runs."""
    try:
        modified = path.stat().st_mtime
    except OSError:  # finished in the meantime
        return True
    named = _WRITER.search(path.name)
    if named is None:
        return False
    if (named[2] or _host()) != _host():
        return time.time() - modified < FOREIGN_SECONDS
    import psutil

    try:
        process = psutil.Process(int(named[1]))
        # A process that began after the file was written got the number of the one that wrote it.
        began = process.create_time()
        lives = process.status() != psutil.STATUS_ZOMBIE
        return bool(lives and began <= modified + CLOCK_SECONDS)
    except (psutil.Error, OverflowError):
        return False


def _host() -> str:
    # Short, since names of files are limited to 255 bytes.
    return re.sub(r"[^\w.-]", "-", platform.node(), flags=re.ASCII)[:32]


def jsonable(value: Any) -> Any:
    """Convert to JSON types; dataclasses and arrays unfold, NaN and infinities become None.

    >>> jsonable({"density": np.float32(0.5), "ids": np.arange(2), "interval": (0.1, math.nan)})
    {'density': 0.5, 'ids': [0, 1], 'interval': [0.1, None]}
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):  # recursion, since its NaN must become None as well
        return jsonable(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(item) for item in value]
    if isinstance(value, np.generic):
        return jsonable(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON has neither NaN nor infinity
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    content = json_bytes(value)
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def json_bytes(value: Any) -> bytes:
    """Return the bytes that `write_json` writes.

    >>> json_bytes({"density": 0.5})
    b'{\\n  "density": 0.5\\n}\\n'
    """
    # Not only ASCII, so that names in any script stay readable.
    text = json.dumps(jsonable(value), indent=2, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; raise FileFormatError if it is missing or damaged."""
    with reading(path, "JSON"):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def load_npy(path: str | os.PathLike[str], n_rows: int | None = None) -> FloatArray:
    """Map a .npy file of numbers of shape (N, D) into memory.

    Raise FileFormatError if it is not a whole .npy file, FeatureError if it holds something else
    than numbers (N, D), no column, or N is not `n_rows`.
    """
    name = repr(os.fspath(path))
    with reading(path, "a .npy file of numbers (N, D)", advice=_SAVE), warnings.catch_warnings():
        with Path(path).open("rb") as file:
            _check_magic(file.read(len(_NPY)))
        # numpy warns, but goes on, where a damaged header multiplies to more than an integer holds.
        warnings.simplefilter("error", RuntimeWarning)
        # Without pickles: an array of objects could run code when it is loaded.
        array: np.memmap[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        if Path(path).stat().st_size != array.offset + array.nbytes:
            raise ValueError(f"it holds more bytes than its shape {array.shape} takes")
    if array.ndim != 2 or array.dtype.kind not in "fiub":  # floats, integers, booleans
        raise FeatureError(
            f"{name} must hold numbers of shape (N, D); it holds {first_line(array.dtype)} of "
            f"shape {array.shape}"
        )
    if array.shape[1] == 0:
        raise FeatureError(f"{name} has no columns: its shape is {array.shape}")
    if n_rows is not None and len(array) != n_rows:
        raise FeatureError(
            f"row counts disagree: {name} has {len(array):,} rows, the data set {n_rows:,} items"
        )
    return array


def _check_magic(start: bytes) -> None:
    """Raise ValueError, with the likely reason, if a file does not begin as .npy files do."""
    if start == _NPY:
        return
    if start.startswith(b"PK"):
        raise ValueError("it is a zip, as numpy.savez and torch.save write")
    if start.startswith(b"\x80"):
        raise ValueError("it is a pickle, which is not read")
    raise ValueError("it does not begin as a .npy file")


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_parts(parts: Iterable[bytes]) -> str:
    """Return a hash of several contents in their order, in hex."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        # With its length: "ab", "c" and "a", "bc" are different parts.
        digest.update(len(part).to_bytes(8) + part)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Return the SHA-256 of a value's canonical JSON, so that equal settings have equal keys."""
    text = json.dumps(jsonable(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
