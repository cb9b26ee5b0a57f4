"""Grouping: what each group, source and point holds, and what unequal shares of groups cost."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from sklearn.base import clone

from w2s_data._blocks import FeatureMatrix
from w2s_data._typing import AnyArray
from w2s_data.dataset import W2SDataset
from w2s_data.engines import Engine
from w2s_data.errors import DegenerateDataWarning, InputError, StoreError
from w2s_data.groups import GroupAnalyzer
from w2s_data.neighbors import NeighborIndex
from w2s_data.regions import Region
from w2s_data.run import Run
from w2s_data.spurious import SpuriousAnalyzer
from w2s_data.spurious.summary import summarize_spurious, unknown_spurious
from w2s_data.stages.embedding import ROLES, Role
from w2s_data.stages.notes import noting
from w2s_data.stages.scoring import check_scored, weak_proba_of

logger = logging.getLogger("w2s_data")

INPUTS = ("items", "embed", "score")
INDEX = "neighbors.faiss"


def groups_stage(
    run: Run,
    dataset: W2SDataset,
    features: dict[Role, FeatureMatrix],
    analyzer: GroupAnalyzer,
    spurious: SpuriousAnalyzer,
    engine: Engine | None = None,
) -> dict[str, Any]:
    """Describe groups, sources and points, and judge the groups; write tables and summaries.

    Groups are those of the data set, or are discovered. The neighbour index is kept in the run; the
    engine searches it.

    Returns
    -------
    dict
        The content of `groups.json`, and under "spurious" that of `spurious.json`.

    Raises
    ------
    RunError
        If the run was not scored, or not with these features.
    InputError
        If strong features are missing, or the items are pairs.
    """
    if dataset.is_paired:
        raise InputError(
            "groups of preference pairs are not analysed: what the two items share vanishes in "
            "their difference; `w2s score --group` and `w2s gain` report by group"
        )
    settings = {"analyzer": analyzer.get_params(), "spurious": spurious.get_params()}
    if run.is_fresh("groups", settings, INPUTS):
        logger.info("groups: nothing has changed since %s", run.finished("groups"))
        return _read(run)
    check_scored(run)
    if "strong" not in features:
        raise InputError("strong features are missing: name their file with --strong-features")
    scores = run.read_table("scores.parquet")
    with run.stage("groups", settings, INPUTS) as stage:
        with noting(DegenerateDataWarning) as notes:
            index = _index(run, features["strong"], analyzer)
            analyzer = clone(analyzer).fit(
                features["strong"],
                weak_proba_of(run, dataset),
                groups=dataset.groups,
                sources=dataset.sources,
                labels=dataset.labels,
                splits=dataset.splits,
                regions=scores["region"].map({r.label: int(r) for r in Region}).to_numpy(),
                index=index,
                engine=engine,
            )
        points = analyzer.points_.assign(id=dataset.ids)
        stage.write_table("groups.parquet", points[["id", *analyzer.points_.columns]])
        stage.write_summary("groups.json", _summary(analyzer, dataset, notes))
        stage.add(INDEX)
        stage.write_summary("spurious.json", _judge(dataset, features, analyzer, spurious))
    return _read(run)


def _summary(analyzer: GroupAnalyzer, dataset: W2SDataset, notes: list[str]) -> dict[str, Any]:
    """The analyzer's summary with the names of classes for their codes."""
    summary = analyzer.summary()
    for record in (*summary["groups"], *(summary["sources"] or ())):
        if record["largest_class"] is not None:
            record["largest_class"] = dataset.class_names[record["largest_class"]]
    return summary | {"notes": notes}


def _read(run: Run) -> dict[str, Any]:
    return {**run.read_summary("groups.json"), "spurious": run.read_summary("spurious.json")}


def _index(run: Run, strong: FeatureMatrix, analyzer: GroupAnalyzer) -> NeighborIndex:
    """Neighbour index of the run, built and saved if there is none of these features."""
    path = run.path / INDEX
    if path.is_file():
        try:
            return NeighborIndex.load(path, strong, "cosine", analyzer.device)
        except StoreError as error:
            logger.warning("%s; it is built again", error)
    index = NeighborIndex(device=analyzer.device, random_state=analyzer.random_state).fit(strong)
    index.save(path)
    return index


def _judge(
    dataset: W2SDataset,
    features: dict[Role, FeatureMatrix],
    analyzer: GroupAnalyzer,
    spurious: SpuriousAnalyzer,
) -> dict[str, Any]:
    """What `spurious.json` holds."""
    if "weak" not in features:
        return unknown_spurious("weak features are missing, and with them what the teacher sees")
    labelled, pool = (_mask(dataset, split) for split in ("labelled", "pool"))
    try:
        with noting(DegenerateDataWarning) as notes:
            judged = clone(spurious).fit(
                *(features[role] for role in ROLES), analyzer.group_, labelled, pool
            )
    except InputError as error:
        return unknown_spurious(str(error))
    return summarize_spurious(judged, notes)


def _mask(dataset: W2SDataset, split: str) -> AnyArray:
    return np.asarray(dataset.splits == split)
