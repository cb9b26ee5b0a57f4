"""Formats and compressions of files by their names."""

from __future__ import annotations

from pathlib import Path

DELIMITED = (".csv", ".tsv")
JSON = (".jsonl", ".json", ".ndjson")
COLUMNAR = (".parquet", ".arrow", ".feather", ".ipc")
FORMATS = (*DELIMITED, *JSON, *COLUMNAR)
COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".jp2", ".avif"),
)


def format_of(path: Path) -> str | None:
    """Return the suffix of a table file in lower case, without .gz; None for any other name.

    >>> format_of(Path("DATA.CSV.GZ")), format_of(Path("photo.png"))
    ('.csv', None)
    """
    suffix = Path(_plain_name(path).lower()).suffix
    return suffix if suffix in FORMATS else None


def stem_of(path: Path) -> str:
    """Return the name of a table file without its suffixes.

    >>> stem_of(Path("data/part-2.jsonl.gz"))
    'part-2'
    """
    name = _plain_name(path)
    return name[: -len(kind)] if (kind := format_of(path)) else name


def compression_of(path: Path) -> str | None:
    """Return the suffix of a compression, by the name alone."""
    return next((c for c in COMPRESSIONS if path.name.lower().endswith(c)), None)


def _plain_name(path: Path) -> str:
    return path.name[: -len(compression_of(path) or "") or None]
