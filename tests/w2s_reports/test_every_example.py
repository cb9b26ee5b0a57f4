"""A run of every example, of images and of texts: no section and no figure is empty."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.w2s_reports.conftest import SECTIONS
from w2s_data.cli import main
from w2s_data.data.examples import available_examples, load_example
from w2s_reports import build_report

ENCODERS = {
    "digit_ink": ("--strong", "pixels:8"),
    "digits": ("--weak", "pixels:3", "--strong", "pixels:8"),
    "shifted_digits": ("--weak", "pixels:4", "--strong", "pixels:8"),
}
SMALL = {
    "digits": "digits?channels=('clean', 'rotated', 'occluded')",
    "gaussian_overlap": "gaussian_overlap?n=300&sources={'web': 0.1, 'crowd': 0.6}",
    "ridgeless": "ridgeless?n_pool=400&n_test=100",
    "shifted_gaussian": "shifted_gaussian?n_pool=400&n_test=100",
    "spurious_gaussian": "spurious_gaussian?n_labelled=300&n_pool=600&n_test=100&n_validation=60",
}
OWN_SECTIONS = {"sources", "selection", "groups", "discrepancy"}
SECTION = re.compile(r'<section id="([a-z]+)".*?</section>', re.S)
TAG = re.compile(r"<[^>]+>")


def stages(run: Path, *scored: Any, files: tuple[Any, ...] = (), select: bool = True) -> Path:
    """Every stage that reads what was scored, in order."""
    commands = [["score", *scored, *files, "-o", run], ["groups", run], ["forecast", run]]
    commands += [["select", run, "--budget", 120, "--batch-size", 20]] if select else []
    for command in commands:
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in command])
        assert stop.value.code == 0, command
    return run


def check(run: Path) -> None:
    """No figure without a point, no section without a sentence, nothing undefined spelled out."""
    report = build_report(run)
    assert len(report.drawing.points["id"]) >= 2  # what the map draws
    for name, figure in report.drawing.figures.items():
        drawn = [y for trace in figure.data for y in trace["y"] if y is not None]
        assert name == "map" or np.isfinite(np.asarray(drawn, dtype=float)).sum() >= 2, figure.name
        assert figure.caption
        assert figure.alt
    page = report.to_html()
    found = {match[1]: TAG.sub(" ", match[0]) for match in SECTION.finditer(page)}
    if report.summary["data"].get("task") == "regression":
        assert {"verdict", "fit", "overlap", "discrepancy"} <= set(found)
    else:
        assert list(found) == list(SECTIONS)
    for name, text in found.items():
        words = text.split()
        assert len(words) > 8, name
        if name in OWN_SECTIONS:
            assert not {"nan", "NaN", "None"} & set(words), name
    for name in report.drawing.figures:
        assert f'data-figure="{name}"' in page


@pytest.mark.slow
@pytest.mark.parametrize("name", available_examples())
def test_example(tmp_path: Path, name: str) -> None:
    spec = SMALL.get(name, name)
    example = load_example(spec)
    files: tuple[Any, ...] = ()
    if example.weak_features is not None:
        np.save(tmp_path / "weak.npy", example.weak_features)
        files = ("--weak-features", tmp_path / "weak.npy")
    pool = example.dataset.subset(example.dataset.rows("pool")).sources
    sources = pool is not None and len(set(pool)) > 1
    encoders = ENCODERS.get(name, ())
    check(stages(tmp_path / "run", f"example:{spec}", *encoders, files=files, select=sources))


@pytest.mark.slow
def test_texts(tmp_path: Path, data_home: Path, minilm_path: Path) -> None:
    parts = [
        pd.read_parquet(data_home / f"{name}.parquet")
        .drop_duplicates("text")
        .sample(250, random_state=0)
        for name in ("customer_reviews", "mpqa")
    ]
    table = pd.concat(parts, keys=["reviews", "phrases"], names=["source", None])
    table = table.reset_index("source").astype({"label": str})
    table.to_parquet(tmp_path / "texts.parquet")
    columns = ("--item", "text", "--label", "label", "--source", "source")
    encoders = ("--weak", "tfidf:16", "--strong", minilm_path)
    check(stages(tmp_path / "run", tmp_path / "texts.parquet", *columns, *encoders))
