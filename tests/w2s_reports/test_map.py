"""The map on the page: views, colours and their counts, and what is said where there is none."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.sealing import seal
from w2s_reports import build_report, summarize
from w2s_reports.artefacts import read_artefacts
from w2s_reports.figures.projection import MapFigure
from w2s_reports.palette import ANSWERS, CATEGORIES, NEUTRALS, REGIONS, tokens
from w2s_reports.points import MAX_POINTS, POSITION_STEPS, point_columns, sample_rows
from w2s_reports.report import Report

MakeRun = Callable[..., Path]
MAP = ("projection",)


def map_of(report: Report) -> MapFigure:
    figure = report.drawing.figures["map"]
    assert isinstance(figure, MapFigure)
    return figure


def test_views_and_their_words(synthetic_run: MakeRun) -> None:
    report = build_report(synthetic_run(stages=MAP))
    figure = map_of(report)
    assert [view["key"] for view in figure.views] == ["umap", "pca", "plane"]
    assert all("All 200 scored points." in view["caption"] for view in figure.views)
    assert "31.4% and 15.9%" in figure.views[1]["caption"]
    assert "mean little" in figure.views[0]["caption"]
    found = report.summary["projection"]
    assert (found["n"], found["seed"], found["explained"]) == (200, 0, [0.314, 0.159])
    (figures,) = re.findall(r'id="data-figures">(.*?)</script>', report.to_html())
    shown = gzip.decompress(base64.b64decode(figures)).decode()
    for reading in found["readings"].values():
        assert reading in report.to_markdown()
        assert reading in shown


@pytest.mark.parametrize(
    ("settings", "keys"),
    [
        ({"stages": MAP, "umap": False}, ["pca", "plane"]),
        ({"stages": MAP, "degenerate": True}, ["umap", "pca"]),
        ({}, ["plane"]),
    ],
)
def test_only_the_views_there_are(
    synthetic_run: MakeRun, settings: dict[str, Any], keys: list[str]
) -> None:
    report = build_report(synthetic_run(**settings))
    assert [view["key"] for view in map_of(report).views] == keys
    page = report.to_html()
    assert ('name="map-view"' in page) == (len(keys) > 1)
    assert ("UMAP needs more than 15 points; there are 5." in page) == (keys[0] == "pca")


def test_positions_keep_their_proportions(synthetic_run: MakeRun) -> None:
    artefacts = read_artefacts(synthetic_run(stages=MAP))
    points = point_columns(artefacts, 70)
    table = pd.read_parquet(artefacts.path / "projection.parquet").set_index("id")
    for name in ("umap", "pca"):
        drawn = np.array(points[name], dtype=float).T
        true = table.loc[points["id"], [f"{name}_x", f"{name}_y"]].to_numpy()
        assert drawn.min() == 0
        assert drawn.max() == POSITION_STEPS
        scale = POSITION_STEPS / np.ptp(true, axis=0).max()
        assert np.abs(drawn - (true - true.min(axis=0)) * scale).max() <= 0.5 + 1e-9


def test_legend_counts_every_scored_point(synthetic_run: MakeRun) -> None:
    names = tuple(f"source {k}" for k in range(12))
    run = synthetic_run(n=900, sources=names)
    report = build_report(run, max_points=100)
    pool = pd.read_parquet(run / "scores.parquet").query("split == 'pool'")
    counts = pool["source"].value_counts()
    by = {colouring["key"]: colouring for colouring in map_of(report).colours}
    assert list(by) == ["region", "source", "group", "label", "weak_correct", "trust_level"]
    *shown, others = by["source"]["levels"]
    assert {level["name"]: level["n"] for level in shown} == counts.head(8).to_dict()
    assert [level["name"] for level in shown] == sorted(
        counts.index[:8], key=lambda name: int(name.split()[1])
    )
    assert (others["name"], others["n"]) == ("4 others", counts.iloc[8:].sum())
    assert all(sum(level["n"] for level in colouring["levels"]) == 600 for colouring in by.values())
    for name, slot in zip(
        report.drawing.points["source"]["levels"], by["source"]["slots"], strict=True
    ):
        assert by["source"]["levels"][slot]["name"] in (name, "4 others")
    wrong, right = by["weak_correct"]["levels"]
    assert (wrong["n"], right["n"]) == ((~pool["weak_correct"]).sum(), pool["weak_correct"].sum())
    assert "100 of 600 scored points" in map_of(report).caption


def test_missing_labels_are_a_level_of_their_own(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    for file, column in (("items.parquet", "label"), ("scores.parquet", "weak_correct")):
        table = pd.read_parquet(run / file)
        table.loc[:99, column] = None
        table.to_parquet(run / file)
        seal(run)
    by = {colouring["key"]: colouring for colouring in map_of(build_report(run)).colours}
    for key in ("label", "weak_correct"):
        levels = by[key]["levels"]
        assert (levels[by[key]["missing"]]["name"], levels[-1]["n"]) == ("no label", 66)


def test_run_without_map_says_what_adds_it(synthetic_run: MakeRun) -> None:
    run = synthetic_run()
    assert "`w2s report RUN --map` adds a map" in summarize(run)["projection"]["hint"]
    assert "<code>w2s report RUN --map</code> adds a map" in build_report(run).to_html()


def test_outdated_map_is_not_drawn(synthetic_run: MakeRun) -> None:
    run = synthetic_run(stages=MAP)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["stages"]["score"]["key"] = "another"
    (run / "manifest.json").write_text(json.dumps(manifest))
    report = build_report(run)
    assert [view["key"] for view in map_of(report).views] == ["plane"]
    assert "older than the features or the scores: `w2s report" in report.to_markdown()
    assert not any(w["about"] == "projection" for w in report.summary["verdict"]["warnings"])


def test_map_can_be_left_out(synthetic_run: MakeRun) -> None:
    report = build_report(synthetic_run(stages=MAP), projection=False)
    assert [view["key"] for view in map_of(report).views] == ["plane"]
    assert "umap" not in report.drawing.points


def test_smaller_samples_lie_within_the_projected_one() -> None:
    rng = np.random.default_rng(0)
    n = MAX_POINTS + 5_000
    scored = pd.DataFrame({"region": rng.choice(["a", "b"], n, p=[0.9, 0.1]), "confidence": 0.0})
    known = sample_rows(scored, MAX_POINTS)
    for fewer in (9_999, 5_000, 1):
        rows = sample_rows(scored, fewer)
        assert len(rows) == fewer
        assert set(rows) <= set(known)
        share = (scored["region"].iloc[rows] == "b").mean()
        assert fewer == 1 or abs(share - (scored["region"] == "b").mean()) < 0.002


# Linear red, green and blue as each kind of colour blindness sees them: Machado, Oliveira and
# Fernandes, A Physiologically-based Model for Simulation of Color Vision Deficiency, 2009.
BLINDNESS = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(colour: str) -> np.ndarray[Any, Any]:
    value = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(light: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    share = XYZ @ np.clip(light, 0, 1) / XYZ.sum(axis=1)
    x, y, z = np.where(share > 216 / 24389, np.cbrt(share), (24389 / 27 * share + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("blindness", BLINDNESS)
@pytest.mark.parametrize(
    ("names", "apart"),
    [
        ([region.token for region in REGIONS], 19),
        ([*CATEGORIES, "ink"], 20),
        (list(ANSWERS), 23),
    ],
)
def test_colours_can_be_told_apart(
    theme: int, blindness: str, names: list[str], apart: float
) -> None:
    colours = tokens(theme)
    seen = [lab(np.array(BLINDNESS[blindness]) @ linear(colours[name])) for name in names]
    for i, one in enumerate(seen):
        assert all(np.linalg.norm(one - other) >= apart for other in seen[:i])
    paper = XYZ[1] @ linear(NEUTRALS["paper"][theme])
    for name in names:
        levels = sorted([paper, XYZ[1] @ linear(colours[name])])
        assert (levels[1] + 0.05) / (levels[0] + 0.05) >= 3
