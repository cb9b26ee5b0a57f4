"""Formats of files by their names."""

from __future__ import annotations

from pathlib import Path

# The first five may be gzipped; the others hold compressed data themselves.
FORMATS = (".csv", ".tsv", ".jsonl", ".json", ".ndjson", ".parquet", ".arrow", ".feather", ".ipc")
IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".jp2", ".avif"),
)


def format_of(path: Path) -> str | None:
    """Return the suffix of a table file, without .gz; None for any other name."""
    name = path.name.lower()
    plain = name.removesuffix(".gz")
    suffix = Path(plain).suffix
    if suffix not in FORMATS or (name != plain and FORMATS.index(suffix) > 4):
        return None
    return suffix
