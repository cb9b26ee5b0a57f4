"""Exporting: labelled rows and pool with the label to train on, its weight, and why."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.tables import WRITTEN, check_table_name, write_table
from w2s_data.errors import InputError, WriteError, find, require
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.graph import (
    EXPORT,
    RELABELLED,
    RELABELLED_SUMMARY,
    SELECT,
    SELECTION,
    check_scored,
)
from w2s_data.stages.posterior import posterior_of
from w2s_data.stages.preferences import check_preferences, preference_table
from w2s_data.stages.settings import ExportSettings
from w2s_data.stages.weak_labels import weak_proba_of
from w2s_data.utils.io import make_folder
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray
from w2s_data.utils.votes import chance, votes

# On a scale from chance to certainty: below the first a label says next to nothing, from the
# second on a changed label is more than a hunch.
LEAST_WEIGHT, STRONG_WEIGHT = 0.1, 0.5
PREFERENCES = "preferences"  # name of the file for TRL
SAVED = "dataset_info.json"  # is in every folder that `save_to_disk` wrote


@writes
def export_stage(
    run: Run,
    settings: ExportSettings | None = None,
    compute: Compute | None = None,  # noqa: ARG001 - as every stage takes it
) -> StageResult:
    """Write `relabelled.parquet`, and a copy in another format or place where one is asked for.

    Sources that a selection of the run has stopped are left out.

    Returns
    -------
    StageResult
        The content of `relabelled.json`, and the `path` of the copy or of the table.

    Raises
    ------
    MissingExtraError
        If the format is "hf" and the `datasets` library is not installed.
    NotApplicableError
        If `trl` is set and the items are not pairs of texts.
    WriteError
        If a folder of that name holds something else.
    """

    def made(dataset: W2SDataset) -> tuple[pd.DataFrame, dict[str, Any]]:
        weak_proba, posterior = weak_proba_of(run, dataset), posterior_of(run, dataset)
        table = relabel(dataset, weak_proba, posterior, stopped_sources(run))
        return table, _summary(table)

    recorded = {"least_weight": LEAST_WEIGHT, "strong_weight": STRONG_WEIGHT}
    return export_made(run, settings or ExportSettings(), recorded, made)


def export_made(
    run: Run,
    settings: ExportSettings,
    recorded: Mapping[str, Any],
    make: Callable[[W2SDataset], tuple[pd.DataFrame, dict[str, Any]]],
) -> StageResult:
    """Run the stage by a function that makes its table and summary, and copy the table."""
    dataset = run.dataset()
    check_scored(run)
    check_export(settings, Known(dataset))
    result = run.earlier(EXPORT, recorded)
    if result is None:
        with run.stage(EXPORT, recorded) as stage:
            table, summary = make(dataset)
            stage.write_table(RELABELLED, table)
            stage.write_summary(RELABELLED_SUMMARY, summary)
        result = StageResult(run.read(EXPORT))
    path = _copied(run, dataset, settings)
    return StageResult(result.summary | {"path": str(path)}, fresh=result.fresh)


def check_export(settings: ExportSettings, known: Known) -> None:
    """Raise for a name of another format, a missing library, and items that a format cannot hold.

    Before anything is written.
    """
    kind = _format(settings)
    if kind == "hf":
        find("datasets", "hub")
        if settings.to is not None:
            _check_folder(Path(settings.to))
    elif settings.to is not None:
        check_table_name(Path(settings.to))
        if Path(settings.to).suffix.lower() != f".{kind}":
            raise InputError(f"format {kind!r} does not fit the name {str(settings.to)!r}")
    if settings.trl and kind == "csv":
        raise InputError("csv cannot hold messages: set format to jsonl, parquet or hf for trl")
    dataset = known.dataset
    if settings.trl and dataset is not None:
        check_preferences(dataset)
    if dataset is not None and kind in ("csv", "tsv", "jsonl") and _holds_bytes(dataset):
        raise InputError(f"{kind} cannot hold images: set format to parquet or hf")


def stopped_sources(run: Run) -> list[str]:
    """Return the sources that the run's selection stopped; none without a selection."""
    return list(run.read_summary(SELECTION)["stopped"]) if run.follows(SELECT) else []


def relabel(
    dataset: W2SDataset,
    weak_proba: FloatArray,
    posterior: FloatArray | None,
    stopped: Sequence[str] = (),
) -> pd.DataFrame:
    """Return labelled rows and pool with the label to train on, its weight, trust, and why.

    The weight is on a scale from chance (0) to certainty (1), (C max q − 1) / (C − 1) of the
    posterior q; gold labels have 1. Rows below .1, and weak labels of sources in `stopped`, are
    left out: they have no label and weight 0.
    """
    gold = np.where(dataset.splits == "labelled", dataset.labels, -1)
    rows = np.flatnonzero((gold >= 0) | (dataset.splits == "pool"))
    names = np.array([*dataset.class_names, None], dtype=object)
    proba = (weak_proba if posterior is None else posterior)[rows].copy()
    gold, weak = gold[rows], votes(weak_proba)[rows]
    trust = np.full(len(rows), np.nan) if posterior is None else chance(proba, weak)
    is_gold = gold >= 0
    proba[is_gold] = np.eye(len(dataset.class_names))[gold[is_gold]]
    n_classes = proba.shape[1]
    weight = (n_classes * proba.max(axis=1) - 1) / (n_classes - 1)
    # All of a stopped source, bought or not: the evidence is about the source.
    aside = np.zeros(len(rows), dtype=np.bool_)
    if dataset.sources is not None:
        aside = pd.Series(dataset.sources[rows]).isin(stopped).to_numpy() & ~is_gold
    label = np.where(aside | (weight < LEAST_WEIGHT), -1, proba.argmax(axis=1))
    kept = [name for name in ("source", "group", "split") if name in dataset.table]
    table = dataset.table.loc[rows, ["id", *kept]].reset_index(drop=True)
    table = table.assign(
        label=names[label],
        weight=np.where(label < 0, 0.0, weight),
        trust=trust,
        weak_label=names[weak],
        why=_reasons(label, weak, weight, is_gold, aside, posterior is not None),
    )
    return table.join(pd.DataFrame(proba, columns=[f"p_{name}" for name in dataset.class_names]))


def _reasons(
    label: IntArray,
    weak: IntArray,
    weight: FloatArray,
    is_gold: BoolArray,
    aside: BoolArray,
    checked: bool,
) -> AnyArray:
    kept = "weak label kept" if checked else "weak label kept: no gold labels to check it"
    conditions = {
        "gold": is_gold,
        "left out: source stopped by the selection": aside,
        "left out: no evidence": label < 0,
        kept: label == weak,
        "no weak label: labelled by the posterior": weak < 0,
        "weak label changed: strong evidence": weight >= STRONG_WEIGHT,
    }
    return np.select(
        list(conditions.values()), list(conditions), "weak label changed: weak evidence"
    )


def _summary(table: pd.DataFrame) -> dict[str, Any]:
    counts = table["why"].value_counts()
    by_class = table["label"].value_counts()
    return {
        "n": len(table),
        "total_weight": float(table["weight"].sum()),
        "by_reason": [{"why": str(why), "n": int(n)} for why, n in counts.items()],
        "by_class": [{"name": str(name), "n": int(n)} for name, n in by_class.items()],
    }


def _format(settings: ExportSettings) -> str:
    if settings.format is not None:
        return settings.format
    suffix = "" if settings.to is None else Path(settings.to).suffix.lower()
    return suffix[1:] if suffix in WRITTEN else "parquet"


def _copied(run: Run, dataset: W2SDataset, settings: ExportSettings) -> Path:
    """Write the table with its items in the format and place asked for; return the path."""
    kind, own = _format(settings), run.path / RELABELLED
    if settings.to is None and kind == "parquet" and not settings.trl:
        return own
    stem = PREFERENCES if settings.trl else own.stem
    name = stem if kind == "hf" else f"{stem}.{kind}"
    path = run.path / name if settings.to is None else Path(settings.to)
    table = run.read_table(RELABELLED)
    table = preference_table(table, dataset) if settings.trl else _with_items(table, dataset)
    if kind == "hf":
        _check_folder(path)
        _save_folder(table, dataset.class_names, path)
    else:
        write_table(table, path)
    return path


def _with_items(table: pd.DataFrame, dataset: W2SDataset) -> pd.DataFrame:
    """Add texts or images; vectors stay in the data set, where the id finds them."""
    rows = pd.Index(dataset.ids).get_indexer(pd.Index(table["id"]))
    for at, name in enumerate(("item", "other"), start=1):
        if name in dataset.table:
            table.insert(at, name, dataset.table[name].to_numpy(dtype=object)[rows])
    return table


def _holds_bytes(dataset: W2SDataset) -> bool:
    return dataset.kind == "image" and isinstance(dataset.table["item"].iloc[0], bytes)


def _check_folder(path: Path) -> None:
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not (path / SAVED).is_file()):
        raise WriteError(f"{str(path)!r} exists and is not a saved data set: choose another folder")


def _save_folder(table: pd.DataFrame, class_names: tuple[str, ...], path: Path) -> None:
    """Write a folder that `datasets.load_from_disk` opens; whole, or not at all."""
    datasets = require("datasets", "hub")
    saved = datasets.Dataset.from_pandas(table, preserve_index=False)
    if "label" in saved.column_names:
        saved = saved.cast_column("label", datasets.ClassLabel(names=list(class_names)))
    make_folder(path.parent)
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        saved.save_to_disk(str(partial))
        if path.is_dir():
            shutil.rmtree(path)
        partial.rename(path)
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise WriteError(f"cannot write {str(path)!r}: {error}") from error
