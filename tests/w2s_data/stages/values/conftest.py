"""A run whose labels are values, with features and weak values of known parts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from w2s_data import Run, load_dataset
from w2s_data.compute.context import Compute
from w2s_data.stages.embedding import embed_stage
from w2s_data.stages.models import EmbedSettings

COEFFICIENTS = np.array([3.0, -2.0, 1.0, 0.5])


@pytest.fixture
def world(rng):
    """Return a table of 240 texts, and strong features that hold all of the targets."""
    strong = rng.normal(size=(240, 4))
    y = strong @ COEFFICIENTS + 10 + 0.5 * rng.normal(size=240)
    table = pd.DataFrame(
        {
            "text": [f"text {i}" for i in range(240)],
            "y": y,
            "far": 2 * y + 5 + rng.normal(size=240),
            "near": y + rng.normal(size=240),
            "near_se": 1.0 + (np.arange(240) % 3),
            "site": np.where(np.arange(240) // 4 % 2, "a", "b"),
            "split": np.resize(["labelled", "pool", "pool", "test"], 240),
        }
    )
    return table, strong.astype(np.float32)


@pytest.fixture
def run_of(world, tmp_path):
    """Return a function that makes an embedded run of the table, with arguments for its columns."""

    def make(table: pd.DataFrame | None = None, weak: bool = True, **roles: object) -> Run:
        own, strong = world
        data = load_dataset(
            own if table is None else table,
            **{"item": "text", "label": "y", "split": "split", **roles},
        )
        run = Run.create(tmp_path / "run", data, overwrite=True)
        features = {"strong_features": strong} | ({"weak_features": strong[:, :2]} if weak else {})
        embed_stage(run, EmbedSettings.model_construct(**features), Compute(seed=0))
        return run

    return make
