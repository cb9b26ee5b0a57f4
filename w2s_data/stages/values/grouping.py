"""Grouping of values: the error of each group, source and point, and the cost of unequal shares."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from w2s_data.compute.context import Compute
from w2s_data.compute.kept import KeepingEngine
from w2s_data.compute.memory import release_freed
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.regions import Region
from w2s_data.errors import DegenerateDataWarning
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.groups import ValueGroupAnalyzer
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import required
from w2s_data.stages.gold import gold_rows
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
from w2s_data.stages.grouping import (
    MOST_PAIRS,
    check_groups,
    count_pairs,
    describe_content,
    finished_blocks,
    forget_blocks,
    judge_shares,
    list_pairs,
    make_analyzers,
    neighbour_index,
)
from w2s_data.stages.room import check_room
from w2s_data.stages.settings import GroupSettings
from w2s_data.stages.shared import group_features
from w2s_data.stages.warnings import data_warnings
from w2s_data.utils.ranges import quantile_ranges
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.warnings import collect_warnings

# Standard deviations of the difference of two values of the same item, beyond which they
# contradict each other: by chance one pair in 370 does.
CONTRADICT = 3.0
PARTS = 4  # of the targets, by which a group is described


@writes
def group_values(
    run: Run, settings: GroupSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Describe groups, sources and points by squared errors, and judge the groups.

    As `groups_stage`, with the same files.

    Returns
    -------
    StageResult
        The content of `groups.json`, and under "spurious" that of `spurious.json`.

    Raises
    ------
    RunError
        If the run was not scored, or not with these features.
    NotApplicableError
        If strong features are missing.
    """
    settings, compute = settings or GroupSettings(), compute or Compute(seed=run.seed)
    dataset = run.dataset()
    check_groups(settings, Known(dataset))
    analyzer, spurious, recorded = make_analyzers(ValueGroupAnalyzer, settings, compute)
    student, student_values = _student(run)
    if student:  # a setting and not an input: groups that were described before stay valid
        recorded["student"] = student
    if (earlier := run.earlier(GROUPS, recorded)) is not None:
        forget_blocks(run)
        return earlier
    check_scored(run)
    features = group_features(run, compute)
    strong = required(features, "strong")
    check_room(GROUPS, dataset, compute.memory, strong.shape[1])
    scores = run.read_table(SCORES, per_item=True)
    weak = scores["weak_value"].to_numpy(dtype=np.float64)
    with run.stage(GROUPS, recorded) as stage:
        with collect_warnings(DegenerateDataWarning) as notes:
            index = neighbour_index(run, strong, compute)
            blocks = finished_blocks(run, run.key(GROUPS, recorded), index)
            analyzer = clone(analyzer).fit(
                strong,
                weak,
                groups=dataset.groups,
                sources=dataset.sources,
                targets=dataset.targets,
                splits=dataset.splits,
                regions=scores["region"].map({r.label: int(r) for r in Region}).to_numpy(),
                student_values=student_values,
                index=index,
                engine=KeepingEngine(compute.engine, blocks),
                progress=compute.progress,
            )
            noise = CONTRADICT * np.sqrt(2) * _noise(dataset, strong)
        points = analyzer.points_.assign(id=dataset.ids)
        stage.write_table(GROUPS_TABLE, points[["id", *analyzer.points_.columns]])
        pairs = list_pairs(analyzer.duplicates_, dataset, noise)
        stage.write_table(DUPLICATES, pairs.head(MOST_PAIRS))
        summary = analyzer.to_dict() | {"notes": notes, "student": student.get("method")}
        summary["duplicates"] = count_pairs(pairs, analyzer.n_neighbors) | {"noise": noise}
        summary["data_warnings"] = data_warnings(dataset, weak)
        names, codes = quantile_ranges(dataset.targets, PARTS)
        known = {"value": np.array([*names, None], dtype=object)[codes]}
        summary["portraits"] = describe_content(dataset, strong, analyzer, known, compute.seed)
        stage.write_summary(GROUPS_SUMMARY, summary)
        stage.add(NEIGHBORS)
        del index, analyzer.index_  # its vectors are in the file, and not needed any more
        release_freed()
        judged = judge_shares(dataset, features, analyzer.group_, spurious)
        stage.write_summary(SPURIOUS, {"task": dataset.task, **judged})
    forget_blocks(run)
    return StageResult(run.read(GROUPS))


def _student(run: Run) -> tuple[dict[str, str], FloatArray | None]:
    """Return the best method of the run's gain, and its student's values, NaN beside test rows."""
    files = run.manifest["stages"].get(GAIN.name, {}).get("files", {})
    if PREDICTIONS not in files or not run.follows(GAIN):
        return {}, None
    methods = run.read_summary(GAIN_SUMMARY)["methods"]
    if not methods:
        return {}, None
    best = str(methods[0]["name"])
    column = f"{best} / value"
    values = run.read_table(PREDICTIONS, [column], per_item=True)[column]
    found = {"method": best, "gain": run.manifest["stages"][GAIN.name]["key"]}
    return found, values.to_numpy(dtype=np.float64)


def _noise(dataset: W2SDataset, strong: FeatureMatrix) -> float:
    """Return the standard deviation of targets that strong features leave unexplained."""
    from w2s_data.probes.ridge import RidgeProbe

    rows = gold_rows(dataset).rows
    if len(rows) < 3:
        return np.inf
    return RidgeProbe().fit(strong.take(rows), dataset.targets[rows]).noise_
