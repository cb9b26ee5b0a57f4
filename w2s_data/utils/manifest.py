"""The manifest of a run: its shape, and the files that it vouches for."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from w2s_data.errors import RunError
from w2s_data.utils.io import jsonable, sha256_file
from w2s_data.utils.reading import reading
from w2s_data.utils.stage import StageName

# Version of the run directory; 2 was the layout before sizes and times of files were recorded.
SCHEMA = 3
MANIFEST = "manifest.json"
# Their versions are recorded, since the low digits of results depend on them.
LIBRARIES = ("numpy", "pandas", "pyarrow", "scikit-learn", "torch", "transformers")


def _inside(name: str) -> str:
    """Refuse the name of a file that would lie outside the run."""
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if not path.name or path.is_absolute() or path.drive or ".." in path.parts:
            raise ValueError("is not a file inside the run")
    return name


class _Part(BaseModel):
    # Strict, since a text in place of a number was not written by this program; other keys may be
    # added by later stages.
    model_config = ConfigDict(extra="allow", strict=True)


class FileRecord(_Part):
    """Content of a file by its hash, and the size and time by which a change is seen at once."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileRecord:
        """Describe a file as it is."""
        state = path.stat()
        return cls(sha256=sha256_file(path), size=state.st_size, mtime_ns=state.st_mtime_ns)

    def matches(self, path: Path, *, thorough: bool = False) -> bool:
        """Whether a file has this content; hashed where its time differs, or if `thorough`."""
        try:
            state = path.stat()
            if state.st_size != self.size or not path.is_file():
                return False
            # A copy has another time and the same content.
            same_time = state.st_mtime_ns == self.mtime_ns
            return (same_time and not thorough) or sha256_file(path) == self.sha256
        except OSError:
            return False


class _Stage(_Part):
    key: str
    settings: dict[str, Any]
    seconds: float = Field(ge=0)
    finished: str
    files: dict[Annotated[str, AfterValidator(_inside)], FileRecord]


class _Data(_Part):
    name: str
    source: str
    kind: Literal["text", "image", "features"]
    fingerprint: str
    n_items: int = Field(ge=0)
    class_names: list[str]
    weak_names: list[str]
    notes: list[str]


class _Features(FileRecord):
    path: str


class _Manifest(_Part):
    data: _Data
    seed: int = Field(ge=0)
    stages: dict[StageName, _Stage]
    created: str
    version: str
    versions: dict[str, str]
    features: dict[Literal["strong", "weak"], _Features] = {}


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a run, and check its shape.

    Raises
    ------
    RunError
        If it is missing, damaged, or of another schema.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise RunError(
            f"{os.fspath(folder)!r} is not a run directory (it has no {MANIFEST}); "
            "`w2s score DATA -o RUN` makes one"
        )
    advice = "restore the file, or make the run again with overwrite"
    with reading(path, "the manifest of a run", error=RunError, advice=advice):
        content = json.loads(path.read_text(encoding="utf-8"))
        _check_schema(folder, content)
        jsonable(content)  # as the keys of stages do, for which no level may be too deep
        _Manifest.model_validate(content)
    return dict(content)


def _check_schema(folder: Path, content: Any) -> None:
    name = os.fspath(folder)
    version = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise ValueError("it has no schema number")
    if version < SCHEMA:
        raise RunError(
            f"{name!r} was written by an earlier version (schema {version}, this version reads "
            f"{SCHEMA}): score the data again into another output"
        )
    if version > SCHEMA:
        raise RunError(
            f"{name!r} was written by a newer version (schema {version}, this version reads up to "
            f"{SCHEMA}): upgrade w2s-data"
        )


def owner(manifest: dict[str, Any], name: str) -> str | None:
    """Return the stage that wrote a file, None if no finished stage names it."""
    stages = manifest["stages"]
    return next((stage for stage in stages if name in stages[stage]["files"]), None)


def file_record(manifest: dict[str, Any], stage: str, name: str) -> FileRecord:
    """Return the record of one of a stage's files."""
    return FileRecord(**manifest["stages"][stage]["files"][name])


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that are installed."""
    found = {"python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
