"""Where files lie: a folder of this machine's disk, or a URL that fsspec reads and writes.

An object store writes a file whole or not at all; on a disk `atomic_path` sees to that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from w2s_data.errors import FileFormatError, MissingExtraError
from w2s_data.utils.io import atomic_path, remove_partial_files

_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
}


class Storage(Protocol):
    """A flat folder of files."""

    def __str__(self) -> str: ...

    @property
    def is_file(self) -> bool:
        """Whether a file lies where the folder should."""
        ...

    def names(self) -> list[str]:
        """Names of its entries that are not hidden; empty if it does not exist."""
        ...

    def read(self, name: str) -> bytes:
        """Content of a file; OSError if it cannot be read."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a file, which is then whole or absent."""
        ...

    def remove(self, name: str) -> None:
        """Delete a file."""
        ...

    def tidy(self) -> None:
        """Delete what a killed process left unfinished."""
        ...


class DiskFolder:
    """A folder on a disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def is_file(self) -> bool:
        """Whether a file lies where the folder should."""
        return self.path.is_file()

    def names(self) -> list[str]:
        """Names of its entries that are not hidden; empty if it does not exist."""
        return [entry.name for entry in self.path.glob("*") if not entry.name.startswith(".")]

    def read(self, name: str) -> bytes:
        """Content of a file; OSError if it cannot be read."""
        return (self.path / name).read_bytes()

    def write(self, name: str, content: bytes) -> None:
        """Write a file beside its final name, and move it into place."""
        with atomic_path(self.path / name) as partial:
            partial.write_bytes(content)

    def remove(self, name: str) -> None:
        """Delete a file."""
        (self.path / name).unlink()

    def tidy(self) -> None:
        """Delete what a killed process left unfinished."""
        remove_partial_files(self.path)


class UrlFolder:
    """A folder at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._files, self._root = filesystem_of(self.url)

    def __str__(self) -> str:
        return self.url

    @property
    def is_file(self) -> bool:
        """Whether a file lies where the folder should."""
        return bool(self._files.isfile(self._root))

    def names(self) -> list[str]:
        """Names of its entries that are not hidden; empty if it does not exist."""
        self._files.invalidate_cache()
        if not self._files.isdir(self._root):
            return []
        found = (str(path).rstrip("/").rpartition("/")[2] for path in self._listed())
        return [name for name in found if name and not name.startswith(".")]

    def read(self, name: str) -> bytes:
        """Content of a file; OSError if it cannot be read."""
        return bytes(self._files.cat_file(self._place(name)))

    def write(self, name: str, content: bytes) -> None:
        """Write a file in one piece."""
        self._files.makedirs(self._root, exist_ok=True)
        self._files.pipe_file(self._place(name), content)

    def remove(self, name: str) -> None:
        """Delete a file."""
        self._files.rm_file(self._place(name))

    def tidy(self) -> None:
        """An object store has no halves of files."""

    def _listed(self) -> list[str]:
        return list(self._files.ls(self._root, detail=False))

    def _place(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"


def is_url(place: object) -> bool:
    """Tell a URL from a path.

    >>> is_url("s3://bucket/table.parquet"), is_url("data/table.parquet"), is_url("C:/data")
    (True, False, False)
    """
    return isinstance(place, str) and re.match(r"[a-zA-Z][\w+.-]+://", place) is not None


def storage_at(place: str | os.PathLike[str]) -> Storage:
    """The folder at a path or a URL.

    Raises
    ------
    MissingExtraError, FileFormatError
        See `filesystem_of`.
    """
    if is_url(place):
        return UrlFolder(str(place))
    return DiskFolder(Path(place))


def filesystem_of(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises
    ------
    MissingExtraError
        If a package is missing that reads such URLs.
    FileFormatError
        If nothing reads them.
    """
    from fsspec.core import url_to_fs

    protocol = url.partition("://")[0].lower()
    try:
        filesystem, path = url_to_fs(url)
    except ImportError as error:
        package = _PACKAGES.get(protocol, f"fsspec[{protocol}]")
        raise MissingExtraError(
            f"{protocol}:// needs {package!r}, which is not installed: pip install '{package}'"
        ) from error
    except ValueError as error:
        raise FileFormatError(f"cannot read {url!r}: {error}") from error
    return filesystem, str(path)


@contextmanager
def local_copies(url: str, suffix: str) -> Iterator[list[Path]]:
    """Yield copies of the file at a URL, or of a folder's files with a suffix, by name.

    Raises
    ------
    FileFormatError
        If there is none, or it cannot be read.
    """
    filesystem, path = filesystem_of(url)
    try:
        found = [path]
        if filesystem.isdir(path):
            found = sorted(file for file in filesystem.find(path) if file.endswith(suffix))
        elif not filesystem.exists(path):
            found = []
        if not found:
            raise FileFormatError(f"there is no file {url!r}, nor *{suffix} in a folder there")
        with TemporaryDirectory() as folder:
            copies = []
            for number, file in enumerate(found):
                copy = Path(folder) / str(number) / file.rpartition("/")[2]
                copy.parent.mkdir()
                filesystem.get_file(file, str(copy))
                copies.append(copy)
            yield copies
    except OSError as error:
        raise FileFormatError(f"cannot read {url!r}: {error}") from error
