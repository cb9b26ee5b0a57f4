"""The map that a second process draws while other stages run."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

from w2s_data.compute.context import Compute
from w2s_data.data.load import load_dataset
from w2s_data.run import Run
from w2s_data.stages.scoring import score_stage
from w2s_data.stages.settings import ScoreSettings
from w2s_reports import projection
from w2s_reports.ahead import drawing
from w2s_reports.map import projection_stage

TABLE = "projection.parquet"


@pytest.fixture
def scored_run(tmp_path: Path) -> Run:
    run = Run.create(tmp_path / "run", load_dataset("example:gaussian_overlap?n=60"))
    score_stage(run)
    return run


@pytest.mark.slow
def test_map_is_the_one_that_this_process_would_draw(
    scored_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "umap", raising=False)
    compute = Compute(seed=3)
    with drawing(scored_run, compute) as ahead:
        assert ahead is not None
        # Drawn from the scores as they are; those that replace them below get a map of their own.
        ahead.process.wait()
        early = pd.read_parquet(ahead.folder / TABLE)
        projection_stage(scored_run, compute)
        pd.testing.assert_frame_equal(pd.read_parquet(scored_run.path / TABLE), early)

        score_stage(scored_run, ScoreSettings(reference=True))
        monkeypatch.setattr(projection, "_umap", lambda taken, *_: taken[:, :2])
        ahead.finish()
        late = pd.read_parquet(scored_run.path / TABLE)
        assert not late[["umap_x"]].equals(early[["umap_x"]])


def test_no_process_is_started_where_umap_is_at_hand(
    scored_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", object())
    with drawing(scored_run, Compute()) as ahead:
        assert ahead is None
