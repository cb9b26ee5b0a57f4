"""The map of the strong features as a stage of a run, so that every report reuses it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.errors import RunError
from w2s_data.features.matrix import FeatureView
from w2s_data.run import Run, writes
from w2s_data.stages.embedding import load_features, required
from w2s_data.stages.graph import MAP, OVERLAP, POSITIONS, PROJECTION, SCORES, check_scored
from w2s_data.utils.stage import StageResult
from w2s_reports.points import MAX_POINTS, sample_rows
from w2s_reports.projection import N_NEIGHBORS, project
from w2s_reports.umap import N_EPOCHS


def projection_stage(
    run: Run, compute: Compute | None = None, *, max_points: int = MAX_POINTS
) -> StageResult:
    """Project the drawn points of a scored run, and write their positions into it.

    `projection.parquet` has the columns id, pca_x, pca_y, umap_x and umap_y (null without UMAP),
    with one row per point of the proportional sample that reports draw; the principal axes are
    those of every scored point.
    """
    compute = compute or Compute(seed=run.seed)
    settings = {
        "max_points": max_points,
        "seed": compute.seed,
        "n_neighbors": N_NEIGHBORS,
        "n_epochs": N_EPOCHS,
    }
    # Before the run is locked: a report need not wait for a stage that is running. Where that one
    # is just moving files into place, the answer comes after it.
    with suppress(RunError):
        if (earlier := run.earlier(PROJECTION, settings)) is not None:
            return earlier
    return _project(run, compute, settings)


@writes
def _project(run: Run, compute: Compute, settings: dict[str, Any]) -> StageResult:
    if (earlier := run.earlier(PROJECTION, settings)) is not None:  # by another process
        return earlier
    check_scored(run)
    strong = required(load_features(run, compute), "strong")
    scores = run.read_table(SCORES, per_item=True)
    # The index stays that of the whole table, whose rows the features have.
    scored = scores[scores["split"] == run.read_summary(OVERLAP)["scored_split"]]
    rows = sample_rows(scored, settings["max_points"])
    with run.stage(PROJECTION, settings) as stage:
        result = project(
            FeatureView(strong, scored.index.to_numpy()),
            rows,
            rng=np.random.default_rng(compute.seed),
        )
        positions: dict[str, Any] = {"pca": result.pca, "umap": result.umap}
        columns = {
            f"{name}_{axis}": np.nan if xy is None else xy[:, i]
            for name, xy in positions.items()
            for i, axis in enumerate("xy")
        }
        ids = scored["id"].to_numpy()[rows]
        stage.write_table(POSITIONS, pd.DataFrame({"id": ids, **columns}))
        stage.write_summary(MAP, {"n_scored": len(scored), **result.to_dict(), **settings})
    return StageResult(run.read(PROJECTION))
