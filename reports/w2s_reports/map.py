"""The map of the strong features as a stage of a run, so that every report reuses it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.errors import RunError
from w2s_data.features.matrix import FeatureView
from w2s_data.run import Run, writes
from w2s_data.stages.embedding import load_features, required
from w2s_data.stages.graph import MAP, OVERLAP, POSITIONS, PROJECTION, SCORES, check_scored
from w2s_data.utils.io import read_json, write_json
from w2s_data.utils.stage import StageResult
from w2s_reports.points import MAX_POINTS, sample_rows
from w2s_reports.projection import N_EPOCHS, N_NEIGHBORS, project


def projection_stage(
    run: Run,
    compute: Compute | None = None,
    *,
    max_points: int = MAX_POINTS,
    drawn: Path | None = None,
) -> StageResult:
    """Project the drawn points of a scored run, and write their positions into it.

    `projection.parquet` has the columns id, pca_x, pca_y, umap_x and umap_y (null without UMAP),
    with one row per point of the proportional sample that reports draw; the principal axes are
    those of every scored point. A map of the run as it is now, which `draw_into` left in the folder
    `drawn`, is taken from there.
    """
    compute = compute or Compute(seed=run.seed)
    settings = settings_of(compute, max_points)
    # Before the run is locked: a report need not wait for a stage that is running. Where that one
    # is just moving files into place, the answer comes after it.
    with suppress(RunError):
        if (earlier := run.earlier(PROJECTION, settings)) is not None:
            return earlier
    return _project(run, compute, settings, drawn)


def settings_of(compute: Compute, max_points: int = MAX_POINTS) -> dict[str, Any]:
    """Return what a map depends on beside the run."""
    return {
        "max_points": max_points,
        "seed": compute.seed,
        "n_neighbors": N_NEIGHBORS,
        "n_epochs": N_EPOCHS,
    }


@writes
def _project(
    run: Run, compute: Compute, settings: dict[str, Any], drawn: Path | None
) -> StageResult:
    if (earlier := run.earlier(PROJECTION, settings)) is not None:  # by another process
        return earlier
    check_scored(run)
    found = _read_drawn(drawn, run.key(PROJECTION, settings)) if drawn else None
    positions, summary = found or _draw(run, compute, settings)
    with run.stage(PROJECTION, settings) as stage:
        stage.write_table(POSITIONS, positions)
        stage.write_summary(MAP, summary)
    return StageResult(run.read(PROJECTION))


def draw_into(folder: Path, run: Run, compute: Compute) -> None:
    """Draw the map of a scored run into a folder, for `projection_stage` to take from there."""
    settings = settings_of(compute)
    positions, summary = _draw(run, compute, settings)
    positions.to_parquet(folder / POSITIONS)
    # Written last: it vouches for the other.
    write_json(folder / MAP, {"key": run.key(PROJECTION, settings), "summary": summary})


def _read_drawn(folder: Path, key: str) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """Return a map from a folder, None if it is not there or the run has changed since."""
    if not (folder / MAP).exists() or (record := read_json(folder / MAP))["key"] != key:
        return None
    return pd.read_parquet(folder / POSITIONS), record["summary"]


def _draw(
    run: Run, compute: Compute, settings: dict[str, Any]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the positions of the drawn points, and the summary of the map."""
    strong = required(load_features(run, compute), "strong")
    scores = run.read_table(SCORES, per_item=True)
    # The index stays that of the whole table, whose rows the features have.
    scored = scores[scores["split"] == run.read_summary(OVERLAP)["scored_split"]]
    rows = sample_rows(scored, settings["max_points"])
    result = project(
        FeatureView(strong, scored.index.to_numpy()), rows, rng=np.random.default_rng(compute.seed)
    )
    maps: dict[str, Any] = {"pca": result.pca, "umap": result.umap}
    columns = {
        f"{name}_{axis}": np.nan if xy is None else xy[:, i]
        for name, xy in maps.items()
        for i, axis in enumerate("xy")
    }
    positions = pd.DataFrame({"id": scored["id"].to_numpy()[rows], **columns})
    return positions, {"n_scored": len(scored), **result.to_dict(), **settings}
