"""The figures: valid for Plotly, thinned without losing the change point, never empty."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_reports.artefacts import read_artefacts
from w2s_reports.figures import Figure, build_figures
from w2s_reports.figures.base import thin
from w2s_reports.palette import tokens
from w2s_reports.points import point_columns, sample_rows, thumbnail
from w2s_reports.summary import summarize

MakeRun = Callable[..., Path]


def plotly_specs(figure: Figure) -> list[dict[str, Any]]:
    """Return the specs for Plotly; for the map only its frames, the page paints the points."""
    views = getattr(figure, "views", None)
    return [{"layout": view["layout"]} for view in views] if views else [figure.spec()]


def figures_of(run: Path, max_points: int = 10_000) -> dict[str, Figure]:
    artefacts = read_artefacts(run)
    points = point_columns(artefacts, max_points)
    return build_figures(artefacts, summarize(artefacts), points)


@given(st.integers(2, 50_000), st.data(), st.integers(8, 300))
def test_thinning_keeps_ends_and_change_point(n: int, data: st.DataObject, limit: int) -> None:
    keep = data.draw(st.integers(0, n))
    kept = thin(n, keep, limit)
    assert len(kept) <= max(limit, 0) or n <= limit
    assert kept[0] == 0
    assert kept[-1] == n - 1
    assert (np.diff(kept) > 0).all()
    assert {i for i in (keep - 1, keep) if 0 <= i < n} <= set(kept.tolist())


def test_figures_that_plotly_accepts(synthetic_run: MakeRun) -> None:
    go = pytest.importorskip("plotly.graph_objects")
    figures = figures_of(synthetic_run())
    assert list(figures) == ["reliability", "confidence", "alignment", "map", "densities"]
    for figure in figures.values():
        for spec in plotly_specs(figure):
            text = json.dumps(spec)
            for name, colour in sorted(tokens(0).items(), key=lambda pair: -len(pair[0])):
                text = text.replace(f'"--{name}"', f'"{colour[:7]}"')
            go.Figure(json.loads(text.replace('"--sans"', '"Arial"')))
        assert figure.caption
        assert any(character.isdigit() for character in figure.alt)


@pytest.mark.slow
def test_curves_split_where_the_regions_do(synthetic_run: MakeRun) -> None:
    run = synthetic_run(n=9_000)
    pool = pd.read_parquet(run / "scores.parquet").query("split == 'pool'")
    figure = figures_of(run)["confidence"]
    below, above = figure.data
    share = 100 * (pool["region"] == "hard-only").mean()
    assert below["x"][-1] < share < above["x"][0]
    assert above["x"][0] - below["x"][-1] < 0.05
    assert len(below["x"]) + len(above["x"]) <= 1_000
    assert f"{share:.1f}%" in figure.caption


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"degenerate": True}, ["reliability", "confidence"]),
        ({"kind": "features"}, ["reliability", "confidence", "alignment", "map", "densities"]),
        ({"n": 3}, None),
    ],
)
def test_no_figure_is_empty(
    synthetic_run: MakeRun, settings: dict[str, Any], expected: list[str] | None
) -> None:
    figures = figures_of(synthetic_run(**settings))
    assert expected is None or list(figures) == expected
    for name, figure in figures.items():
        assert figure.data or name == "map"  # whose points are those of the page
        assert all(len(trace["x"]) == len(trace["y"]) > 0 for trace in figure.data)


def test_sample_is_proportional_to_region_and_source(synthetic_run: MakeRun) -> None:
    scored = read_artefacts(synthetic_run(n=6_000)).scored()
    rows = sample_rows(scored, 500)
    assert len(np.unique(rows)) == 500
    keys = ["region", "source"]
    whole = scored.groupby(keys).size() / len(scored)
    drawn = scored.iloc[rows].groupby(keys).size() / 500
    assert ((whole - drawn).abs() <= 1 / 500).all()


def test_few_points_are_all_drawn(synthetic_run: MakeRun) -> None:
    scored = read_artefacts(synthetic_run()).scored()
    assert sample_rows(scored, len(scored)).tolist() == list(range(len(scored)))


def test_points_say_what_the_scores_say(synthetic_run: MakeRun) -> None:
    artefacts = read_artefacts(synthetic_run())
    points, scored = point_columns(artefacts, 40), artefacts.scored().set_index("id")
    assert len(points["id"]) == 40
    for i, name in enumerate(points["id"]):
        row = scored.loc[name]
        for column in ("region", "label", "weak_label", "source", "group"):
            assert points[column]["levels"][points[column]["codes"][i]] == row[column]
        assert points["confidence"][i] == pytest.approx(row["confidence"], rel=1e-4)
        assert (points["alignment"][i] is None) == (row["region"] == "hard-only")


def test_pictures_that_cannot_be_decoded_are_left_out(synthetic_run: MakeRun) -> None:
    artefacts = read_artefacts(synthetic_run(kind="image", n=30))
    points = point_columns(artefacts, 100)
    missing = [name for name, uri in zip(points["id"], points["image"], strict=True) if not uri]
    assert missing == ["item-00005"]
    for strange in (None, b"", b"\x89PNG\r\n\x1a\n", "no-such-file.png", 3.5):
        assert thumbnail(strange, 32) is None
