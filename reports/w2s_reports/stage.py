"""The projection of the strong features as a stage of a run, so that every report reuses it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.run import Run
from w2s_data.stages import stored_features
from w2s_data.stages.graph import MAP, OVERLAP, POSITIONS, PROJECTION, SCORES, check_scored
from w2s_reports.points import MAX_POINTS, sample_rows
from w2s_reports.projection import N_EPOCHS, N_NEIGHBORS, project


def projection_stage(
    run: Run, features: FeatureMatrix, max_points: int = MAX_POINTS
) -> dict[str, Any]:
    """Project the drawn points of a scored run, and write their positions into it.

    `projection.parquet` has the columns id, pca_x, pca_y, umap_x and umap_y (null without UMAP),
    a row for each point of the proportional sample that reports draw; the principal axes are those
    of every scored point. The seed is the run's.

    Parameters
    ----------
    features : FeatureMatrix
        Strong features (N, D) of all items of the run, see `w2s_data.stages.stored_features`.
    max_points : int
        Points projected at most.

    Returns
    -------
    dict
        The content of `projection.json`.

    Raises
    ------
    RunError
        If the run was not scored, or not with these features.
    """
    # Positions depend on the sample and on the seed, and on nothing of the page.
    settings = _settings(run, max_points)
    if not run.is_fresh(PROJECTION, settings):
        check_scored(run)
        scored = _scored(run)
        rows = sample_rows(scored, max_points)
        with run.stage(PROJECTION, settings) as stage:
            result = project(
                FeatureView(features, scored.index.to_numpy()),
                rows,
                rng=np.random.default_rng(run.seed),
            )
            positions: dict[str, Any] = {"pca": result.pca, "umap": result.umap}
            columns = {
                f"{name}_{axis}": np.nan if xy is None else xy[:, i]
                for name, xy in positions.items()
                for i, axis in enumerate("xy")
            }
            ids = scored["id"].to_numpy()[rows]
            stage.write_table(POSITIONS, pd.DataFrame({"id": ids, **columns}))
            text = {"n_scored": len(scored), **result.to_dict(), **settings}
            stage.write_summary(MAP, text)
    return dict(run.read_summary(MAP))


def ensure_projection(run: Run, file: Path | None = None) -> None:
    """Project a run from the features that it was scored with, unless that was done.

    Parameters
    ----------
    file : path, optional
        The file that the strong features came from, where they came from one.

    Raises
    ------
    InputError
        If the run is not scored, or its strong features are not at hand.
    """
    if run.is_fresh(PROJECTION, _settings(run, MAX_POINTS)):
        return
    check_scored(run)
    projection_stage(run, stored_features(run, run.dataset(), "strong", file))


def _scored(run: Run) -> pd.DataFrame:
    """Read the scores of the split that reports draw; the index is the row in the whole table."""
    scores = run.read_table(SCORES)
    split = run.read_summary(OVERLAP)["scored_split"]
    scored: pd.DataFrame = scores.loc[scores["split"] == split]
    return scored


def _settings(run: Run, max_points: int) -> dict[str, Any]:
    return {
        "max_points": max_points,
        "seed": run.seed,
        "n_neighbors": N_NEIGHBORS,
        "n_epochs": N_EPOCHS,
    }
