"""Folders of files, on a disk or at a URL that fsspec reads and writes.

A file is written whole or not at all: by the object store, or on a disk by `atomic_path`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from w2s_data.errors import FileFormatError, MissingExtraError
from w2s_data.utils.io import atomic_path, remove_partial_files
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

    def tidy(self) -> None:
        remove_partial_files(self.path)


def is_url(place: object) -> bool:
    """Return whether a place is a URL, not a path.

    >>> is_url("s3://bucket/table.parquet"), is_url("data/table.parquet"), is_url("C:/data")
    (True, False, False)
    """
    return isinstance(place, str) and re.match(r"[a-zA-Z][\w+.-]+://", place) is not None


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
def local_copies(url: str, suffix: str) -> Iterator[list[Path]]:
    """Yield copies of the file at a URL, or of a folder's files with a suffix, by name.

    Raise FileFormatError if there is no file, or it cannot be read.
    """
    filesystem, path = filesystem_of(url)
    try:
        files = [path]
        if filesystem.isdir(path):
            files = sorted(file for file in filesystem.find(path) if file.endswith(suffix))
        elif not filesystem.exists(path):
            files = []
        if not files:
            raise FileFormatError(f"no file at {url!r}, nor *{suffix} in a folder there")
        with TemporaryDirectory() as folder:
            copies = []
            for number, file in enumerate(files):
                copy = Path(folder) / str(number) / file.rpartition("/")[2]
                copy.parent.mkdir()
                filesystem.get_file(file, str(copy))
                copies.append(copy)
            yield copies
    except OSError as error:
        raise FileFormatError(f"cannot read {url!r}: {error}") from error
