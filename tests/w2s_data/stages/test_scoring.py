"""Scoring: its progress, and what it refuses."""

from __future__ import annotations

from contextlib import contextmanager

import pandas as pd
import pytest

from tests.w2s_data.stages.test_posterior import scored, world
from w2s_data import load_dataset
from w2s_data.errors import SplitError
from w2s_data.stages import scoring
from w2s_data.stages.checks import Known
from w2s_data.stages.settings import ScoreSettings


def test_the_bar_counts_each_item_once(tmp_path, monkeypatch):
    table, strong, _ = world()
    counts = []

    @contextmanager
    def recorded(description, total, enabled):  # noqa: ARG001
        yield counts.append

    monkeypatch.setattr(scoring, "progress", recorded)
    scored(tmp_path, table, strong, weak=strong[:, :2])
    assert sum(counts) == len(table)  # the mixture reads the features again


def test_an_empty_pool_is_refused():
    table = pd.DataFrame({"text": list("abcd"), "y": [0, 1, 0, 1], "split": "labelled"})
    known = Known(load_dataset(table, label="y", split="split"), frozenset({"strong", "weak"}))
    with pytest.raises(SplitError, match="the pool is empty, so there is nothing to score"):
        scoring.check_score(ScoreSettings(), known)
