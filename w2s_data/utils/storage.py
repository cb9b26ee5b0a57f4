"""Folders of files, on a disk or at a URL that fsspec reads and writes.

A file is written whole or not at all: by the object store, or on a disk by `atomic_path`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from w2s_data.errors import FileFormatError, MissingExtraError
from w2s_data.utils import lock
from w2s_data.utils.io import atomic_path, make_folder, remove_partial_files
from w2s_data.utils.reading import check_regular

# Packages that fsspec imports by protocol, named in the error where one is missing.
_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}


class Storage:
    """A flat folder of files at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._files, self._root = filesystem_of(self.url)

    def __str__(self) -> str:
        return self.url

    @property
    def is_file(self) -> bool:
        """Whether a file lies in the place of the folder."""
        return bool(self._files.isfile(self._root))

    def names(self) -> list[str]:
        """Return the names of entries that are not hidden; empty if the folder is missing."""
        self._files.invalidate_cache()  # another process may have written since
        if not self._files.isdir(self._root):
            return []
        paths = map(str, self._files.ls(self._root, detail=False))
        names = (path.rstrip("/").rpartition("/")[2] for path in paths)
        return [name for name in names if name and not name.startswith(".")]

    def read(self, name: str) -> bytes:
        """Return the content of a file; OSError if it cannot be read."""
        return bytes(self._files.cat_file(self._place(name)))

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which is then whole or absent."""
        self._files.makedirs(self._root, exist_ok=True)
        self._files.pipe_file(self._place(name), content)

    def remove(self, name: str) -> None:
        """Delete a file."""
        self._files.rm_file(self._place(name))

    def writing(self) -> AbstractContextManager[None]:
        """Keep other processes from writing; an object store cannot."""
        return nullcontext()

    def tidy(self) -> None:
        """Delete the files that a killed process left unfinished; an object store has none."""

    def _place(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


class DiskFolder(Storage):
    """A folder on a disk."""

    def __init__(self, path: Path) -> None:
        from fsspec.implementations.local import LocalFileSystem

        self.path = path
        # Absolute, since fsspec would read a leading "~" as the home folder.
        self._files, self._root = LocalFileSystem(), path.absolute().as_posix()

    def __str__(self) -> str:
        return str(self.path)

    def read(self, name: str) -> bytes:
        check_regular(self.path / name)
        return super().read(name)

    def write(self, name: str, content: bytes) -> None:
        with atomic_path(self.path / name) as partial:
            partial.write_bytes(content)

    @contextmanager
    def writing(self) -> Iterator[None]:
        make_folder(self.path)
        with lock.writing(self.path, f"the feature store {str(self.path)!r}"):
            yield

    def tidy(self) -> None:
        remove_partial_files(self.path)


def is_url(place: object) -> bool:
    """Return whether a place is a URL, not a path.

    >>> is_url("s3://bucket/table.parquet"), is_url("data/table.parquet"), is_url("C:/data")
    (True, False, False)
    """
    return isinstance(place, str) and re.match(r"[a-zA-Z][\w+.-]+://", place) is not None


def is_pattern(name: str) -> bool:
    """Return whether a name holds a mark of the shell's patterns.

    >>> is_pattern("data/part-*.parquet"), is_pattern("data/part-0.parquet")
    (True, False)
    """
    return any(mark in name for mark in "*?[")


def storage_at(place: str | os.PathLike[str]) -> Storage:
    """Return the folder at a path or a URL; `filesystem_of` lists the errors."""
    if is_url(place):
        return Storage(str(place))
    return DiskFolder(Path(place))


def filesystem_of(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it.

    Raise MissingExtraError without the package for the protocol, FileFormatError if it is unknown.
    """
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0].lower()
    try:
        filesystem, path = url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(protocol, f"fsspec[{protocol}]")
        raise MissingExtraError(
            f"{protocol}:// requires {package!r}, which is not installed: pip install '{package}'"
        ) from error
    except ValueError as error:
        raise FileFormatError(f"cannot read {url!r}: {error}") from error
    return filesystem, str(path)


@contextmanager
def local_copy(url: str, wanted: Callable[[str], bool]) -> Iterator[Path]:
    """Yield a copy of the file at a URL, or of the files that a folder or pattern there holds.

    Copies of a folder lie in a folder, below each other as they do at the URL; only those whose
    name is `wanted` are made. Raise FileFormatError if there are none, or they cannot be read.
    """
    filesystem, path = filesystem_of(url)
    try:
        files, root = _files_at(filesystem, path, wanted)
        if not files:
            raise FileFormatError(f"no table file at {url!r}, nor in a folder there")
        with TemporaryDirectory() as folder:
            top = Path(folder) / "copy"
            for file in files:
                # Without the query of a web address, which would hide the suffix.
                copy = top / file.removeprefix(root).lstrip("/").partition("?")[0]
                copy.parent.mkdir(parents=True, exist_ok=True)
                filesystem.get_file(file, str(copy))
            yield copy if files == [path] else top
    except OSError as error:
        raise FileFormatError(f"cannot read {url!r}: {error}") from error


def _files_at(filesystem: Any, path: str, wanted: Callable[[str], bool]) -> tuple[list[str], str]:
    """Return the files at a place, and the folder that holds all of them."""
    if filesystem.isdir(path):
        found, root = filesystem.find(path), path
    elif filesystem.exists(path):
        return [path], path.rpartition("/")[0]
    else:
        # Not a file, hence the marks of a pattern are no part of a name.
        found = filesystem.glob(path) if is_pattern(path) else []
        root = os.path.commonpath([file.rpartition("/")[0] for file in found]) if found else path
    return sorted(file for file in found if wanted(file.rpartition("/")[2])), root
