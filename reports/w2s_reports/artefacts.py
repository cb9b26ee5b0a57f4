"""Reading a run: every table and summary once, checked against each other."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from w2s_data._io import read_json
from w2s_data.errors import FileFormatError, RunError, listing
from w2s_data.run import Run
from w2s_reports.palette import REGION_KEYS

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCHEMA = 1
BATCH_ROWS = 512
SCORE_COLUMNS = ("id", "region", "confidence", "alignment", "weak_label")


@dataclass(frozen=True)
class Stage:
    """What a stage after scoring writes, which stages it reads, and who runs it if not its name."""

    files: tuple[str, ...]
    inputs: tuple[str, ...]
    command: str = ""


STAGES = {
    "gain": Stage(("gain.json", "gain.parquet"), ("items", "embed", "score", "forecast")),
    "forecast": Stage(("forecast.json", "discrepancy.json"), ("items", "embed")),
    "groups": Stage(("groups.json", "spurious.json"), ("items", "embed", "score")),
    "select": Stage(("selection.json", "selection.parquet"), ("items", "embed", "score")),
    "projection": Stage(
        ("projection.json", "projection.parquet"), ("items", "embed", "score"), "report --map"
    ),
}


@dataclass(frozen=True)
class Artefacts:
    """What a run left behind.

    Attributes
    ----------
    scores : DataFrame
        One row per item, in the order of the items.
    later : dict from file name to content
        Summaries and tables of the stages after scoring that the manifest names.
    outdated : tuple of str
        Those of these stages whose inputs have changed since.
    """

    path: Path
    manifest: dict[str, Any]
    overlap: dict[str, Any]
    scores: pd.DataFrame
    has_items: bool
    later: Mapping[str, Any] = field(default_factory=dict)
    outdated: tuple[str, ...] = ()

    @property
    def data(self) -> dict[str, Any]:
        """The manifest's description of the data set."""
        return dict(self.manifest.get("data") or {})

    @property
    def kind(self) -> str:
        """What an item is: text, image or features."""
        return str(self.data.get("kind") or ("text" if self.has_items else "features"))

    def without(self, stage: str) -> Artefacts:
        """The same without what one stage left."""
        later = {n: found for n, found in self.later.items() if n not in STAGES[stage].files}
        outdated = tuple(name for name in self.outdated if name != stage)
        return replace(self, later=later, outdated=outdated)

    def scored(self) -> pd.DataFrame:
        """Rows of the split the densities are about; the index is the row in the whole table."""
        split = self.overlap.get("scored_split")
        if split is None or "split" not in self.scores:
            return self.scores
        scored: pd.DataFrame = self.scores.loc[self.scores["split"] == split]
        return scored

    def items(self, rows: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """Yield (row, item) in row order, read batch by batch so that memory stays bounded."""
        if not self.has_items:
            return
        wanted = sorted({int(row) for row in rows})
        start = cursor = 0
        with pq.ParquetFile(self.path / "items.parquet") as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=["item"]):
                column, stop = batch.column(0), start + len(batch)
                while cursor < len(wanted) and wanted[cursor] < stop:
                    yield wanted[cursor], column[wanted[cursor] - start].as_py()
                    cursor += 1
                start = stop


def read_artefacts(run: str | os.PathLike[str] | Any) -> Artefacts:
    """Read the artefacts of a scored run.

    Parameters
    ----------
    run : path or object with a `path`
        The run directory.

    Raises
    ------
    RunError
        If the directory is missing, was not scored, or its tables disagree.
    """
    folder = Path(run if isinstance(run, str | os.PathLike) else run.path)
    if not folder.is_dir():
        raise RunError(f"there is no run directory {str(folder)!r}; `w2s score` makes one")
    for name in ("overlap.json", "scores.parquet"):
        if not (folder / name).is_file():
            raise RunError(
                f"{str(folder)!r} has no {name}: score it first with `w2s score DATA -o {folder}`"
            )
    overlap = read_json(folder / "overlap.json")
    if not isinstance(overlap, dict) or overlap.get("schema") != SCHEMA:
        raise RunError(
            f"{str(folder / 'overlap.json')!r} is not of schema {SCHEMA}: "
            f"run `w2s score` again with this version"
        )
    manifest_path = folder / "manifest.json"
    manifest = read_json(manifest_path) if manifest_path.is_file() else {}
    scores = _read_scores(folder / "scores.parquet")
    items = _read_items(folder / "items.parquet", scores)
    if items is not None and "label" in items:
        scores["label"] = items["label"]
    later, outdated = _read_later(folder, manifest)
    has_items = items is not None and "item" in items
    return Artefacts(folder, manifest, overlap, scores, has_items, later, outdated)


def _read_later(folder: Path, manifest: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Content of the files of finished stages; a file that the manifest does not name is left."""
    later: dict[str, Any] = {}
    outdated = []
    for name, stage in STAGES.items():
        record = (manifest.get("stages") or {}).get(name) or {}
        named = set(record.get("files") or ())
        if not all(file in named and (folder / file).is_file() for file in stage.files):
            continue
        later |= {file: _read_result(folder / file, stage.command or name) for file in stage.files}
        if not Run(folder, manifest).follows(name, stage.inputs):
            outdated.append(name)
    return later, tuple(outdated)


def _read_result(path: Path, command: str) -> Any:
    if path.suffix == ".parquet":
        return _read_table(path)
    found = read_json(path)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise RunError(
            f"{str(path)!r} is not of schema {SCHEMA}: run `w2s {command}` again with this version"
        )
    return found


def _read_table(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    try:
        return pd.read_parquet(path, columns=columns)
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0]
        raise FileFormatError(f"cannot read {str(path)!r} as Parquet: {reason}") from error


def _read_scores(path: Path) -> pd.DataFrame:
    scores = _read_table(path)
    missing = [name for name in SCORE_COLUMNS if name not in scores]
    if missing:
        raise RunError(f"{str(path)!r} lacks the columns {listing(missing)}: run `w2s score` again")
    strange = sorted(set(scores["region"].unique()) - set(REGION_KEYS), key=str)
    if strange:
        raise RunError(
            f"{str(path)!r} has regions {listing(strange)}; expected {listing(REGION_KEYS)}"
        )
    return scores.reset_index(drop=True)


def _read_items(path: Path, scores: pd.DataFrame) -> pd.DataFrame | None:
    """Ids and labels of the items, and whether there is an item column (left unread, as null)."""
    if not path.is_file():
        return None
    try:
        names = set(pq.read_schema(path).names)
    except (OSError, pa.ArrowInvalid) as error:
        raise FileFormatError(f"cannot read {str(path)!r} as Parquet: {error}") from error
    items = _read_table(path, [name for name in ("id", "label") if name in names])
    if len(items) != len(scores) or not _same(items["id"].to_numpy(), scores["id"].to_numpy()):
        raise RunError(
            f"items.parquet and scores.parquet in {str(path.parent)!r} list different items: "
            "run `w2s score` again"
        )
    if "item" in names:
        items["item"] = None
    return items.reset_index(drop=True)


def _same(left: NDArray[Any], right: NDArray[Any]) -> bool:
    return bool((left.astype(str) == right.astype(str)).all())
