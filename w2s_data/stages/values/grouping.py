"""Grouping of values: the error of each group, source and point, and the cost of unequal shares."""

from __future__ import annotations

import numpy as np

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.groups import ValueGroupAnalyzer
from w2s_data.run import Run, writes
from w2s_data.stages.gold import gold_rows
from w2s_data.stages.graph import PREDICTIONS, SCORES
from w2s_data.stages.grouping import About, describe_run
from w2s_data.stages.settings import GroupSettings
from w2s_data.utils.ranges import quantile_ranges
from w2s_data.utils.stage import StageResult

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
    return describe_run(run, settings, compute, ValueGroupAnalyzer, _values)


def _values(run: Run, dataset: W2SDataset, strong: FeatureMatrix, student: str | None) -> About:
    """Return gold values, and those of teacher and student, NaN where unknown."""
    weak = run.read_table(SCORES, ["weak_value"], per_item=True)["weak_value"]
    values = None
    if student is not None:  # beside test rows its values are NaN
        column = run.read_table(PREDICTIONS, [f"{student} / value"], per_item=True).iloc[:, 0]
        values = column.to_numpy(dtype=np.float64)
    names, codes = quantile_ranges(dataset.targets, PARTS)
    return About(
        weak.to_numpy(dtype=np.float64),
        {"targets": dataset.targets, "student_values": values},
        {"value": np.array([*names, None], dtype=object)[codes]},
        CONTRADICT * np.sqrt(2) * _noise(dataset, strong),
    )


def _noise(dataset: W2SDataset, strong: FeatureMatrix) -> float:
    """Return the standard deviation of targets that strong features leave unexplained."""
    from w2s_data.probes.ridge import RidgeProbe

    rows = gold_rows(dataset).rows
    if len(rows) < 3:
        return np.inf
    return RidgeProbe().fit(strong.take(rows), dataset.targets[rows]).noise_
