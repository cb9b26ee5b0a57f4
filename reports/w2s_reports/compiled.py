"""Templates as Python compiled them, kept from one process to the next.

To compile those of a page takes half a second, which every command that writes one would spend.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from jinja2 import FileSystemBytecodeCache
from jinja2.bccache import Bucket

from w2s_data._version import __version__
from w2s_data.utils.io import cache_folder


class CompiledTemplates(FileSystemBytecodeCache):
    """Compiled templates in a folder; stale and damaged ones are made again."""

    def __init__(self, folder: Path, kind: str) -> None:
        super().__init__(str(folder), f"{kind}-%s.cache")
        # A compiled template holds what filters made of its constants, so that these count as well.
        newest = max(file.stat().st_mtime_ns for file in Path(__file__).parent.glob("*.py"))
        self.made_by = f"{__version__} {newest}"

    def get_source_checksum(self, source: str) -> str:
        """Return what tells whether a compiled template is that of a source."""
        return super().get_source_checksum(f"{self.made_by}\n{source}")

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep a compiled template, unless it cannot be written."""
        with suppress(OSError):
            super().dump_bytecode(bucket)


def compiled_templates(kind: str) -> CompiledTemplates | None:
    """Return the compiled templates of one format, or None if no folder can be made for them."""
    # RuntimeError is that of a user without a home.
    with suppress(OSError, RuntimeError):
        folder = cache_folder() / "templates"
        folder.mkdir(parents=True, exist_ok=True)
        return CompiledTemplates(folder, kind)
    return None
