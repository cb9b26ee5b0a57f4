"""Grouping: what each group, source and point holds, and what unequal shares of groups cost."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from sklearn.base import clone

from w2s_data._version import __version__
from w2s_data.compute.context import Compute
from w2s_data.compute.kept import KeepingEngine
from w2s_data.compute.memory import release_freed
from w2s_data.data.load import W2SDataset
from w2s_data.data.meaning.classes import class_codes
from w2s_data.data.prompts import embedded_prompts
from w2s_data.data.regions import Region
from w2s_data.errors import DegenerateDataWarning, InputError, StoreError
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.groups import GroupAnalyzer
from w2s_data.groups.base import BaseGroupAnalyzer
from w2s_data.neighbors.index import NeighborIndex
from w2s_data.run import Run, writes
from w2s_data.spurious import SpuriousAnalyzer
from w2s_data.spurious.analyzer import unknown_spurious
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import Role, required
from w2s_data.stages.graph import (
    DUPLICATES,
    GAIN,
    GAIN_SUMMARY,
    GROUPS,
    GROUPS_SUMMARY,
    GROUPS_TABLE,
    NEIGHBORS,
    PREDICTIONS,
    SCORES,
    SPURIOUS,
    check_scored,
)
from w2s_data.stages.portraits import portray_groups
from w2s_data.stages.room import check_room
from w2s_data.stages.settings import GroupSettings
from w2s_data.stages.shared import check_shared, forget_orders, group_features, shared_notes
from w2s_data.stages.teacher_store import teacher_names
from w2s_data.stages.warnings import data_warnings
from w2s_data.stages.weak_labels import weak_proba_of
from w2s_data.utils.io import sha256_json
from w2s_data.utils.manifest import owner
from w2s_data.utils.progress import progress
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import AnyArray, FloatArray
from w2s_data.utils.warnings import collect_warnings

logger = logging.getLogger("w2s_data")

Groups = TypeVar("Groups", bound=BaseGroupAnalyzer)

BLOCKS = "groups"  # folder of the finished blocks of a search
MOST_PAIRS = 200  # of near-duplicates that are listed
# Words of the analyzer, which knows no pairs, and what they mean where prompts are compared.
PROMPTS = {
    "points leak: each has a near-duplicate": "pairs share a prompt",
    "in another split, which need not be an exact copy": "with a pair of another split",
}


@writes
def groups_stage(
    run: Run, settings: GroupSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Describe groups, sources and points, and judge the groups; write tables and summaries.

    Groups are those of the data set, or are discovered. The neighbour index is kept in the run; its
    vectors take at most a quarter of the memory, see `NeighborIndex`. Where the run has a gain of
    its present scores, the student of the best method is described too; a later gain makes the
    stage run again, but does not make it out of date. A search that was interrupted resumes after
    its last finished block.

    Returns
    -------
    StageResult
        The content of `groups.json`, and under "spurious" that of `spurious.json`.

    Raises
    ------
    RunError
        If the run was not scored, or not with these features.
    NotApplicableError
        If strong features are missing, or are differences of pairs.
    """
    return describe_run(run, settings, compute, GroupAnalyzer, _labels)


@dataclass(frozen=True)
class About:
    """Labels by which groups are described: classes, or values."""

    weak: FloatArray  # (N, C), or values (N,)
    fitted: Mapping[str, Any]  # gold labels and those of a student, as an analyzer takes them
    known: Mapping[str, AnyArray]  # names of each row, such as its class, by what they say
    noise: float | None = None  # beyond which values of equal items contradict each other


def describe_run(
    run: Run,
    settings: GroupSettings | None,
    compute: Compute | None,
    kind: type[Groups],
    read: Callable[[Run, W2SDataset, FeatureMatrix, str | None], About],
) -> StageResult:
    """Run the stage by an analyzer, and a function of strong features and the student's method."""
    settings, compute = settings or GroupSettings(), compute or Compute(seed=run.seed)
    dataset = run.dataset()
    check_groups(settings, Known(dataset))
    analyzer, spurious, recorded = _analyzers(kind, settings, compute)
    student = _best_student(run, dataset)
    if student:  # a setting and not an input: groups that were described before stay valid
        recorded["student"] = student
    if (earlier := run.earlier(GROUPS, recorded)) is not None:
        _forget_blocks(run)
        return earlier
    check_scored(run)
    features = group_features(run, compute)
    strong = required(features, "strong")
    n_bytes = strong.shape[1]  # vectors of a byte a number
    check_room(GROUPS, dataset, compute.memory, n_bytes, len(teacher_names(run)))
    regions = run.read_table(SCORES, ["region"], per_item=True)["region"]
    with run.stage(GROUPS, recorded) as stage:
        with collect_warnings(DegenerateDataWarning) as notes:
            about = read(run, dataset, strong, student.get("method"))
            index = _neighbour_index(run, strong, compute)
            blocks = _finished_blocks(run, run.key(GROUPS, recorded), index)
            analyzer = clone(analyzer).fit(
                strong,
                about.weak,
                groups=dataset.groups,
                sources=dataset.sources,
                splits=dataset.splits,
                regions=regions.map({r.label: int(r) for r in Region}).to_numpy(),
                index=index,
                engine=KeepingEngine(compute.engine, blocks),
                progress=compute.progress,
                **about.fitted,
            )
        points = analyzer.points_.assign(id=dataset.ids)
        if dataset.is_paired:
            points["agreement"] = np.nan
        stage.write_table(GROUPS_TABLE, points[["id", *analyzer.points_.columns]])
        pairs = _list_pairs(analyzer.duplicates_, dataset, about.noise or 0.0)
        stage.write_table(DUPLICATES, pairs.head(MOST_PAIRS))
        summary = _summary(analyzer, dataset, notes) | {"student": student.get("method")}
        summary["duplicates"] = _count_pairs(pairs, analyzer.n_neighbors)
        if dataset.is_paired and embedded_prompts(dataset.table) is not None:
            _name_prompts(summary)
        if about.noise is not None:
            summary["duplicates"]["noise"] = about.noise
        summary["data_warnings"] = data_warnings(dataset, about.weak)
        summary["portraits"] = portray_groups(dataset, strong, analyzer, about.known, compute.seed)
        stage.write_summary(GROUPS_SUMMARY, summary)
        stage.add(NEIGHBORS)
        del index, analyzer.index_  # its vectors are in the file, and not needed any more
        release_freed()
        judged = _judge_shares(dataset, features, analyzer.group_, spurious)
        of_values = {"task": dataset.task} if dataset.is_regression else {}
        stage.write_summary(SPURIOUS, of_values | judged)
    _forget_blocks(run)
    return StageResult(run.read(GROUPS))


def _analyzers(
    kind: type[Groups], settings: GroupSettings, compute: Compute
) -> tuple[Groups, SpuriousAnalyzer, dict[str, Any]]:
    """Return the analyzers of groups and of unequal shares, and what is recorded of both."""
    analyzer = kind(
        n_groups=settings.n_groups,
        discovery=settings.discovery,
        duplicate_threshold=settings.duplicates,
        device=compute.device,
        random_state=compute.seed,
    )
    spurious = SpuriousAnalyzer(
        settings.strong_components, settings.weak_components, random_state=compute.seed
    )
    recorded = {"analyzer": analyzer.get_params(), "spurious": spurious.get_params()}
    return analyzer, spurious, recorded


def check_groups(settings: GroupSettings, known: Known) -> None:
    """Raise for pairs of vectors, and for more groups than there are items."""
    dataset = known.dataset
    if dataset is None:
        return
    check_shared(dataset)
    if settings.n_groups != "auto" and settings.n_groups > len(dataset):
        raise InputError(f"n_groups is {settings.n_groups}, more than the {len(dataset)} items")


def _forget_blocks(run: Run) -> None:
    """Remove what an interrupted search left."""
    shutil.rmtree(run.path / BLOCKS, ignore_errors=True)  # needed by a resumed search only


def _best_student(run: Run, dataset: W2SDataset) -> dict[str, str]:
    """Return the best method of the run's gain, and the gain's key; empty without one."""
    files = run.manifest["stages"].get(GAIN.name, {}).get("files", {})
    if PREDICTIONS not in files or not run.follows(GAIN):
        return {}
    students = run.read_summary(GAIN_SUMMARY)["methods" if dataset.is_regression else "students"]
    if not students:
        return {}
    key = run.manifest["stages"][GAIN.name]["key"]
    return {"method": str(students[0]["name"]), "gain": key}


def _labels(
    run: Run,
    dataset: W2SDataset,
    strong: FeatureMatrix,  # noqa: ARG001 - of which values have their noise
    student: str | None,
) -> About:
    """Return gold labels, and those of teacher and student as probabilities."""
    proba = None
    if student is not None:
        labels = run.read_table(PREDICTIONS, [f"{student} / label"], per_item=True).iloc[:, 0]
        codes = class_codes(labels.astype(object), dataset.class_names, "student's label")
        proba = np.eye(len(dataset.class_names))[codes]
        proba[codes < 0] = np.nan
    known = {"class": dataset.table["label"].to_numpy(dtype=object)}
    fitted = {"labels": dataset.labels, "student_proba": proba}
    return About(weak_proba_of(run, dataset), fitted, known)


def _list_pairs(found: pd.DataFrame, dataset: W2SDataset, noise: float = 0.0) -> pd.DataFrame:
    """List near-duplicates by id: those across splits first, then those of unlike labels.

    Values are unlike where they differ by more than `noise`.
    """
    table = pd.DataFrame()
    for side, rows in (("a", found["i"]), ("b", found["j"])):
        table[f"id_{side}"] = dataset.ids[rows]
        table[f"split_{side}"] = dataset.splits[rows]
        table[f"label_{side}"] = dataset.table["label"].to_numpy(dtype=object)[rows]
    table["similarity"] = found["similarity"].to_numpy()
    table["leaks"] = table["split_a"] != table["split_b"]
    known = table["label_a"].notna() & table["label_b"].notna()
    # The order of a pair is drawn: that of another pair says nothing about it.
    known &= not dataset.is_paired
    if dataset.is_regression:
        first, second = (table[name].to_numpy(dtype=np.float64) for name in ("label_a", "label_b"))
        table["labels_differ"] = np.abs(first - second) > noise
    else:
        table["labels_differ"] = known & (table["label_a"] != table["label_b"])
    return table.sort_values(
        ["leaks", "labels_differ", "similarity"], ascending=False, kind="stable", ignore_index=True
    )


def _count_pairs(pairs: pd.DataFrame, n_neighbors: int) -> dict[str, Any]:
    """Count near-duplicates, those across splits, and those of unlike labels."""
    return {
        "n_pairs": len(pairs),
        "n_leaking": int(pairs["leaks"].sum()),
        "n_labels_differ": int(pairs["labels_differ"].sum()),
        "n_neighbors": n_neighbors,
    }


def _summary(analyzer: BaseGroupAnalyzer, dataset: W2SDataset, notes: list[str]) -> dict[str, Any]:
    """Return the analyzer's summary with names of classes in place of codes."""
    summary = analyzer.to_dict()
    for record in (*summary["groups"], *(summary["sources"] or ())):
        if record.get("largest_class") is not None:
            record["largest_class"] = dataset.class_names[record["largest_class"]]
        if dataset.is_paired:
            forget_orders(record)
    return summary | {"notes": [*shared_notes(dataset), *notes]}


def _name_prompts(summary: dict[str, Any]) -> None:
    """Say that near-duplicate pairs share a prompt: it alone was compared."""
    summary["duplicates"]["of"] = "prompts"

    def reworded(text: str) -> str:
        for said, meant in PROMPTS.items():
            text = text.replace(said, meant)
        return text

    summary["warnings"] = [reworded(text) for text in summary["warnings"]]
    summary["reading"] = reworded(summary["reading"])


def _neighbour_index(run: Run, strong: FeatureMatrix, compute: Compute) -> NeighborIndex:
    """Return the run's neighbour index; build and save it if none of these features fits."""
    path, memory = run.path / NEIGHBORS, compute.memory
    # The file holds links as well as vectors; beyond twice the limit it was made for more memory.
    if path.is_file() and path.stat().st_size <= 2 * memory.resident_bytes:
        try:
            # That of a search which was interrupted is in no manifest yet.
            if owner(run.manifest, NEIGHBORS) and not run.is_whole(NEIGHBORS):
                raise StoreError(f"{NEIGHBORS} has changed")
            return NeighborIndex.load(path, strong, "cosine", compute.device)
        except StoreError as error:
            logger.warning("%s; it is built again", error)
    n, dim = strong.shape
    fits = 4 * n * dim <= memory.resident_bytes  # then the limit is not a setting of the index
    index = NeighborIndex(
        device=compute.device,
        max_bytes=None if fits else memory.resident_bytes,
        random_state=compute.seed,
    )
    with progress("index", total=n, enabled=compute.progress) as advance:
        index.fit(strong, advance=advance)
    index.save(path)
    release_freed()
    return index


def _finished_blocks(run: Run, key: str, index: NeighborIndex) -> Path:
    """Return the folder of the finished blocks of an interrupted search; remove all others.

    Its name hashes everything the neighbours depend on, and the release, which cuts the blocks.
    """
    settings = [__version__, key, index.kind_, index.bits_, index.n_lists_, index.n_probe_]
    folder = run.path / BLOCKS / sha256_json(settings)[:12]
    for other in (run.path / BLOCKS).glob("*"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
    return folder


def _judge_shares(
    dataset: W2SDataset,
    features: dict[Role, FeatureMatrix],
    groups: AnyArray,
    spurious: SpuriousAnalyzer,
) -> dict[str, Any]:
    """Return the content of `spurious.json`: the cost of unequal shares, or why it is unknown."""
    if "weak" not in features:
        return unknown_spurious("weak features are missing, and with them what the teacher sees")
    labelled, pool = (_mask(dataset, split) for split in ("labelled", "pool"))
    try:
        with collect_warnings(DegenerateDataWarning) as notes:
            judged = clone(spurious).fit(
                features["strong"],
                features["weak"],
                groups=groups,
                labelled=labelled,
                pool=pool,
            )
    except InputError as error:
        return unknown_spurious(str(error))
    summary: dict[str, Any] = judged.to_dict() | {"warnings": notes}
    return summary


def _mask(dataset: W2SDataset, split: str) -> AnyArray:
    return np.asarray(dataset.splits == split)
