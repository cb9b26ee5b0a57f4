"""Progress of scoring."""

from __future__ import annotations

from contextlib import contextmanager

from tests.w2s_data.stages.test_posterior import scored, world
from w2s_data.stages import scoring


def test_the_bar_counts_each_item_once(tmp_path, monkeypatch):
    table, strong, _ = world()
    counts = []

    @contextmanager
    def recorded(description, total, enabled):  # noqa: ARG001
        yield counts.append

    monkeypatch.setattr(scoring, "progress", recorded)
    scored(tmp_path, table, strong, weak=strong[:, :2])
    assert sum(counts) == len(table)  # the mixture reads the features again
