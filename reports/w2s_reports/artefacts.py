"""Reading a run: every table and summary once, checked against each other."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from w2s_data.data.pairs import PAIR_CLASSES
from w2s_data.errors import FileFormatError, InputError, RunError, listing
from w2s_data.run import Run
from w2s_data.stages.graph import (
    DISCREPANCY,
    FORECAST,
    FORECAST_SUMMARY,
    GAIN,
    GAIN_SUMMARY,
    GAIN_TABLE,
    GROUPS,
    GROUPS_SUMMARY,
    NEXT,
    NEXT_SUMMARY,
    OVERLAP,
    PLAN,
    PLAN_SUMMARY,
    POSTERIOR,
    POSTERIOR_SUMMARY,
    PROJECTION,
    RELABELLED_SUMMARY,
    RELIABILITY,
    SCORE,
    SCORES,
    SELECT,
    SELECTION,
    SHIFT_SUMMARY,
    SPURIOUS,
    SWEEP,
    SWEEP_SUMMARY,
    TEACH,
    TEACHERS_SUMMARY,
    stage_of,
)
from w2s_data.utils import lock
from w2s_data.utils.manifest import owner, read_manifest
from w2s_data.utils.reading import parsing
from w2s_data.utils.stage import ITEMS_TABLE, ROUNDS, WEAK_VALUES, Stage, again
from w2s_reports.discovered import with_groups
from w2s_reports.palette import REGION_KEYS

# Rows in memory at once; items may be images of a megabyte each.
BATCH_ROWS = 512
# A reading is some hundred characters; longer ones come from damaged or hostile files.
LONGEST_TEXT = 2_000
COMMIT_SECONDS = 10  # within which a writer moves its files into place, with room for a slow disk
SCORE_COLUMNS = ("id", "region", "confidence", "alignment", "weak_label")
VALUE_COLUMNS = (*SCORE_COLUMNS[:-1], "weak_value")  # of runs whose labels are values
OTHER_COLUMNS = ("split", "source", "group", "weak_correct", "trust")
ITEM_COLUMNS = ("id", "split", "source", "group", "label")


# Stages after scoring, in the order in which outdated ones are listed.
# Loaded in any combination: every stage after scoring is optional.
LATER = (GAIN, FORECAST, GROUPS, SELECT, NEXT, PLAN, SWEEP, PROJECTION)


@dataclass(frozen=True)
class Artefacts:
    """Files of a run, read and checked; an unscored run has the items in place of scores."""

    path: Path
    manifest: dict[str, Any]
    overlap: dict[str, Any]
    scores: pd.DataFrame
    has_items: bool
    later: Mapping[str, Any] = field(default_factory=dict)
    outdated: tuple[str, ...] = ()

    @property
    def is_scored(self) -> bool:
        """Whether there are scores of the items as they are."""
        return bool(self.overlap)

    @property
    def data(self) -> dict[str, Any]:
        """The manifest's description of the data set."""
        return dict(self.manifest.get("data") or {})

    @property
    def kind(self) -> str:
        """Kind of an item: text, image or features."""
        return str(self.data.get("kind") or ("text" if self.has_items else "features"))

    @property
    def is_regression(self) -> bool:
        """Whether labels are values instead of classes."""
        return self.data.get("task") == "regression"

    @property
    def sureness(self) -> str:
        """Name of the weak model's confidence; that of classes is a margin of probabilities."""
        return "confidence" if self.is_regression else "margin"

    @property
    def is_paired(self) -> bool:
        """Whether an item is a pair of texts, of which one was preferred."""
        return tuple(self.data.get("class_names") or ()) == PAIR_CLASSES

    @property
    def outdated_results(self) -> dict[str, str]:
        """The commands that run stages again whose results are older than their inputs, by name.

        Without those that need no word.
        """
        # The map is redrawn with the page, and rows to label are chosen by earlier labels.
        names = self.without(PROJECTION.name).without(NEXT.name).outdated
        return {name: again(name, place_of(self.path), self.manifest["stages"]) for name in names}

    def without(self, stage: str) -> Artefacts:
        """Return the artefacts without the files of one stage."""
        later = {n: results for n, results in self.later.items() if n not in stage_of(stage).files}
        outdated = tuple(name for name in self.outdated if name != stage)
        return replace(self, later=later, outdated=outdated)

    def scored(self) -> pd.DataFrame:
        """Rows of the split the densities are about; the index is the row in the whole table."""
        if not self.is_scored:
            return self.scores.iloc[:0]
        split = self.overlap.get("scored_split")
        if split is None or "split" not in self.scores:
            return self.scores
        scored: pd.DataFrame = self.scores.loc[self.scores["split"] == split]
        return scored

    def items(self, rows: Sequence[int], column: str = "item") -> Iterator[tuple[int, Any]]:
        """Yield (row, item) in row order, batch by batch; "other" is the second of a pair."""
        if not self.has_items:
            return
        wanted = sorted({int(row) for row in rows})
        start = cursor = 0
        with pq.ParquetFile(self.path / ITEMS_TABLE) as file:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[column]):
                values, stop = batch.column(0), start + len(batch)
                while cursor < len(wanted) and wanted[cursor] < stop:
                    yield wanted[cursor], values[wanted[cursor] - start].as_py()
                    cursor += 1
                start = stop


def read_artefacts(run: str | os.PathLike[str] | Any, *, thorough: bool = True) -> Artefacts:
    """Read the artefacts of a run, whichever of its stages are finished; refuse damaged ones.

    Every file is hashed first if `thorough`, else those whose size or time is not the recorded one.
    """
    folder = Path(run if isinstance(run, str | os.PathLike) else run.path)
    if not folder.is_dir():
        raise RunError(f"there is no run directory {str(folder)!r}; `w2s score` makes one")
    return _at_one_moment(folder, thorough=thorough)


def _at_one_moment(folder: Path, *, thorough: bool) -> Artefacts:
    """Read the files of a run as they were at one moment, while another process may write it."""
    deadline = time.monotonic() + COMMIT_SECONDS
    while True:
        run = Run.open(folder, thorough=thorough)
        try:
            result = _read(run)
        except InputError:
            # Files may have been moved into place for a manifest that is written next.
            in_work = lock.holder(run.path) is not None and time.monotonic() < deadline
            if not in_work and run.manifest == read_manifest(run.path):
                raise
            time.sleep(lock.POLL_SECONDS)
        else:
            if run.manifest == read_manifest(run.path):
                return result


def _read(run: Run) -> Artefacts:
    folder, manifest = run.path, writable(run.manifest)
    scored = SCORE.name in manifest["stages"]
    overlap = _read_result(run, OVERLAP, SCORE) if scored else {}
    regression = (manifest.get("data") or {}).get("task") == "regression"
    columns = VALUE_COLUMNS if regression else SCORE_COLUMNS
    scores = _read_scores(run.file(SCORES), columns) if scored else None
    items = _read_items(run.file(ITEMS_TABLE))
    later, outdated = _read_later(run)
    if owner(manifest, ROUNDS) is not None:
        later[ROUNDS] = writable(run.read_summary(ROUNDS))
    if scores is not None and not run.follows(SCORE):
        outdated = (SCORE.name, *outdated)
    if scores is not None and not _same_ids(items, scores):
        if SCORE.name not in outdated:
            raise RunError(
                f"items.parquet and scores.parquet in {str(folder)!r} list different items: "
                "run `w2s score` again"
            )
        overlap, scores = {}, None
    if scores is None:
        scores = _unscored(items, columns)
    else:
        overlap |= _read_others(run, scores, regression)
        if "label" in items:
            scores["target" if regression else "label"] = items["label"]
        scores = with_groups(scores, later)
    return Artefacts(folder, manifest, overlap, scores, "item" in items, later, outdated)


def place_of(path: Path) -> str:
    """Return a run's path as a command takes it, without folders above the present one.

    >>> place_of(Path("runs/demo"))
    'runs/demo'
    """
    relative = os.path.relpath(path)
    # A page may be sent on: the name of a home folder is nobody's business.
    place = path.resolve().name if relative.startswith("..") else relative
    return shlex.quote(place)


def parsing_results(place: str | os.PathLike[str]) -> AbstractContextManager[None]:
    """Turn a failure on results of another version, or edited ones, into one RunError."""
    advice = "run its stages again with this version"
    return parsing(os.fspath(place), "results of this version", error=RunError, advice=advice)


def stage_artefacts(name: str, result: Mapping[str, Any]) -> Artefacts:
    """Hold what one stage returned as artefacts, with empty tables."""
    content = dict(result)
    later: dict[str, dict[str, Any]] = {
        "forecast": {FORECAST_SUMMARY: content, DISCREPANCY: content.get("discrepancy")},
        "groups": {GROUPS_SUMMARY: content, SPURIOUS: content.get("spurious")},
        "select": {SELECTION: content},
        "gain": {
            GAIN_SUMMARY: content,
            GAIN_TABLE: pd.DataFrame(columns=["role", "student", "gain"]),
        },
        "next": {NEXT_SUMMARY: content},
        "plan": {PLAN_SUMMARY: content},
        "export": {RELABELLED_SUMMARY: content},
        "sweep": {SWEEP_SUMMARY: content},
    }
    overlap = content if name == "score" else {}
    manifest = {"data": {"task": content["task"]}} if "task" in content else {}
    columns = VALUE_COLUMNS if manifest else SCORE_COLUMNS
    scores = pd.DataFrame(columns=[*columns, "split"])
    return Artefacts(Path(), manifest, overlap, scores, False, later.get(name, {}))


def writable(value: Any) -> Any:
    """Replace lone surrogates and cut endless texts, which no page can show."""
    if isinstance(value, str):
        # JSON may hold half a surrogate pair, which UTF-8 cannot encode.
        text = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"
    if isinstance(value, Mapping):
        return {key: writable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [writable(inner) for inner in value]
    return value


def _unscored(items: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the items with the columns of scores, all unknown."""
    table = items.drop(columns="item", errors="ignore")
    if columns is VALUE_COLUMNS:
        table = table.rename(columns={"label": "target"})
    for name in columns:
        if name not in table:
            table[name] = None if name in ("region", "weak_label") else np.nan
    return table


def _read_later(run: Run) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Read the files of finished stages; a file that the manifest does not name is ignored."""
    later: dict[str, Any] = {}
    outdated = []
    for stage in LATER:
        record = run.manifest["stages"].get(stage.name) or {}
        named = set(record.get("files", ()))
        # The summaries make a section; a table that the manifest lacks leaves out its part only.
        if not record or not named.issuperset(stage.summaries):
            continue
        readable = [n for n in (*stage.files, *stage.optional) if n.endswith((".json", ".parquet"))]
        later |= {file: _read_result(run, file, stage) for file in readable if file in named}
        if not run.follows(stage):
            outdated.append(stage.name)
    return later, tuple(outdated)


def _read_result(run: Run, file: str, stage: Stage) -> Any:
    if file.endswith(".parquet"):
        return _read_table(run.file(file))
    return writable(run.read_summary(file, stage.schema))


def _read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a table, or those of these columns that it has."""
    try:
        if columns is not None:
            present = set(pq.read_schema(path).names)
            # Reading only these columns keeps items, which may be large, on disk.
            columns = [name for name in columns if name in present]
        return pd.read_parquet(path, columns=columns)
    except (OSError, pa.ArrowException) as error:
        # Arrow appends its own traceback to the first line.
        reason = str(error).splitlines()[0]
        raise FileFormatError(f"cannot read {str(path)!r} as Parquet: {reason}") from error


def _read_scores(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    scores = _read_table(path, (*columns, *OTHER_COLUMNS))
    missing = [name for name in columns if name not in scores]
    if missing:
        raise RunError(f"{str(path)!r} lacks the columns {listing(missing)}: run `w2s score` again")
    strange = sorted(set(scores["region"].unique()) - set(REGION_KEYS), key=str)
    if strange:
        raise RunError(
            f"{str(path)!r} has regions {listing(strange)}; expected {listing(REGION_KEYS)}"
        )
    return scores.reset_index(drop=True)


def _read_others(run: Run, scores: pd.DataFrame, regression: bool) -> dict[str, Any]:
    """Return the summaries beside that of the overlap by name; add the posterior's labels."""
    named = run.manifest["stages"][SCORE.name]["files"]
    if POSTERIOR in named and regression:
        table = run.read_table(POSTERIOR, ["value", "error"], per_item=True)
        scores[["posterior_value", "posterior_error"]] = table[["value", "error"]].to_numpy()
    elif POSTERIOR in named:
        labels = run.read_table(POSTERIOR, ["label"], per_item=True)["label"]
        scores["posterior_label"] = labels.to_numpy(dtype=object)
    others = {}
    if regression and owner(run.manifest, WEAK_VALUES) is not None:
        others[Path(WEAK_VALUES).stem] = run.read_table(WEAK_VALUES, per_item=True)
    if owner(run.manifest, TEACHERS_SUMMARY) is not None and run.follows(TEACH):
        others[Path(TEACHERS_SUMMARY).stem] = _read_result(run, TEACHERS_SUMMARY, TEACH)
    return others | {
        name.removesuffix(".json"): _read_result(run, name, SCORE)
        for name in (POSTERIOR_SUMMARY, RELIABILITY, SHIFT_SUMMARY)
        if name in named
    }


def _read_items(path: Path) -> pd.DataFrame:
    """Read the columns of the items but their content, which is left null."""
    items = _read_table(path, ITEM_COLUMNS)
    if "id" not in items:
        raise RunError(f"{str(path)!r} lacks the column 'id'")
    if "item" in pq.read_schema(path).names:
        items["item"] = None
    return items.reset_index(drop=True)


def _same_ids(items: pd.DataFrame, scores: pd.DataFrame) -> bool:
    # As columns: as lists a million ids take a hundred megabytes.
    ids, scored = (table["id"].astype(str).reset_index(drop=True) for table in (items, scores))
    return ids.equals(scored)
