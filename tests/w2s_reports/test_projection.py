"""Projections against scikit-learn, whatever the blocks; and what a run keeps of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from w2s_data import Run, load_dataset
from w2s_data.errors import FeatureError, InputError, RunError
from w2s_data.features.matrix import ArrayFeatures, row_blocks
from w2s_data.stages import score_stage
from w2s_reports import build_report, projection
from w2s_reports.map import projection_stage
from w2s_reports.projection import N_NEIGHBORS, project

Command = Callable[..., tuple[Any, str, str]]


def seeded() -> np.random.Generator:
    return np.random.default_rng(0)


@dataclass(frozen=True)
class Sliced(ArrayFeatures):
    """Features that come in blocks of so many rows."""

    step: int = 7

    def blocks(self, max_bytes: int = 0) -> Iterator[tuple[slice, Any]]:
        del max_bytes
        for rows in row_blocks(self.shape, self.step * 4 * self.shape[1]):
            yield rows, self.take(rows)


@pytest.fixture
def no_umap(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """UMAP that takes no time: the principal components, and how often it was asked."""
    asked: list[int] = []

    def quick(taken: Any, pca: Any, _rng: Any) -> Any:
        asked.append(len(taken))
        return pca

    monkeypatch.setattr(projection, "_umap", quick)
    monkeypatch.setitem(sys.modules, "umap", object())  # else a second process draws
    return asked


@pytest.mark.usefixtures("no_umap")
@pytest.mark.parametrize("step", [1, 7, 1000])
@pytest.mark.parametrize("shape", [(200, 12), (40, 60), (50, 2)])
def test_pca_is_that_of_scikit_learn(
    rng: np.random.Generator, shape: tuple[int, int], step: int
) -> None:
    features = rng.normal(5, 1, shape) @ np.diag(np.linspace(3, 1, shape[1]))
    rows = np.arange(0, shape[0], 3)
    found = project(Sliced(features.astype(np.float32), step), rows, rng=seeded())
    reference = PCA(2, svd_solver="full").fit(features.astype(np.float32).astype(np.float64))
    expected = reference.transform(features)[rows]
    signs = np.sign((found.pca * expected).sum(axis=0))
    np.testing.assert_allclose(found.pca, signs * expected, atol=1e-4)
    np.testing.assert_allclose(found.explained, reference.explained_variance_ratio_, rtol=1e-6)
    assert found.solver == "exact"


@pytest.mark.usefixtures("no_umap")
def test_sign_does_not_depend_on_the_order_of_rows(rng: np.random.Generator) -> None:
    features = rng.normal(size=(60, 5)).astype(np.float32)
    order = rng.permutation(60)
    one = project(features, rng=seeded()).pca
    np.testing.assert_allclose(project(features[order], rng=seeded()).pca, one[order], atol=1e-6)


@pytest.mark.usefixtures("no_umap")
def test_many_dimensions_need_no_covariance(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = rng.normal(2, 1, (300, 80)) @ np.diag(0.8 ** np.arange(80))
    exact = project(features, rng=seeded())
    monkeypatch.setattr(projection, "EXACT_DIMENSIONS", 79)
    found = project(Sliced(features.astype(np.float32)), rng=seeded())
    assert found.solver == "randomised"
    np.testing.assert_allclose(found.pca, exact.pca, atol=1e-3)
    np.testing.assert_allclose(found.explained, exact.explained, rtol=1e-5)


DEGENERATE = {
    "one point": (np.ones((1, 4)), "the same strong features"),
    "constant": (np.full((100, 5), 0.1), "the same strong features"),
    "all zero": (np.zeros((50, 3)), "the same strong features"),
    "few points": (np.eye(N_NEIGHBORS), "needs more than 15 points; there are 15"),
    "one dimension": (np.arange(40.0)[:, None], "these have one"),
    "a zero row": (np.vstack([np.zeros(3), np.eye(60, 3) + 1]), "1 points are all zero"),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_features_get_a_sentence(name: str) -> None:
    features, reason = DEGENERATE[name]
    found = project(features, rng=seeded())
    assert found.umap is None
    assert reason in found.reason
    assert np.isfinite(found.pca).all()
    assert found.pca.shape == (len(features), 2)
    assert (found.explained is None) == ("same" in reason)


def test_bad_rows_are_named() -> None:
    features = np.ones((20, 3))
    features[7, 1] = np.nan
    with pytest.raises(FeatureError, match="row 7"):
        project(features, rng=seeded())
    with pytest.raises(InputError, match="no rows"):
        project(np.ones((0, 3)), rng=seeded())


def test_missing_umap_is_said(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    found = project(rng.normal(size=(50, 4)), rng=seeded())
    assert found.umap is None
    assert found.reason.startswith("UMAP cannot be imported")
    assert found.explained is not None


@pytest.mark.slow
def test_umap_keeps_neighbours_and_is_settled_by_the_seed() -> None:
    digits = load_digits().data[::2]
    one, two = (project(digits, rng=seeded()).umap for _ in range(2))
    assert one is not None
    np.testing.assert_array_equal(one, two)
    assert trustworthiness(digits, one, n_neighbors=15, metric="cosine") > 0.95
    other = project(digits, rng=np.random.default_rng(1)).umap
    assert not np.array_equal(one, other)
    variances = one.var(axis=0)
    assert variances[0] > variances[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "features",
    [
        np.repeat(np.random.default_rng(0).normal(size=(2, 6)), 50, axis=0),
        np.outer(np.arange(1, 101), [1.0, 2.0, 3.0]),
        np.repeat(np.eye(3), 40, axis=0),
        np.random.default_rng(0).normal(size=(60, 3)) * 1e18,
        np.random.default_rng(0).normal(size=(N_NEIGHBORS + 1, 4)),
    ],
    ids=["two points", "one direction", "three points", "huge", "sixteen"],
)
def test_umap_of_strange_features_is_finite(features: Any) -> None:
    found = project(features, rng=seeded())
    assert found.reason == ""
    assert np.isfinite(found.umap).all()


@pytest.fixture
def scored_run(tmp_path: Path) -> Run:
    data = load_dataset("example:gaussian_overlap?n=200")
    run = Run.create(tmp_path / "run", data)
    score_stage(run)
    return run


def test_stage_is_kept_until_its_inputs_change(no_umap: list[int], scored_run: Run) -> None:
    summary = projection_stage(scored_run).summary
    again = projection_stage(scored_run)
    assert (again.summary, again.fresh) == (summary, True)
    assert len(no_umap) == 1
    table = pd.read_parquet(scored_run.path / "projection.parquet")
    assert list(table) == ["id", "pca_x", "pca_y", "umap_x", "umap_y"]
    pool = scored_run.read_table("scores.parquet").query("split == 'pool'")
    assert table["id"].tolist() == pool["id"].tolist()
    assert summary["n"] == len(pool)
    scored_run.seed = 1
    projection_stage(scored_run)
    assert len(no_umap) == 2
    (scored_run.path / "projection.parquet").write_bytes(b"")
    projection_stage(scored_run)
    assert len(no_umap) == 3


def test_stage_projects_a_sample(no_umap: list[int], scored_run: Run) -> None:
    summary = projection_stage(scored_run, max_points=50).summary
    assert (summary["n"], summary["n_scored"]) == (50, 100)
    assert no_umap == [50]
    report = build_report(scored_run)
    placed = [x for x in report.drawing.points["umap"][0] if x is not None]
    assert len(placed) == 50
    assert "50 of 100 scored points" in report.drawing.figures["map"].caption


def test_unscored_run_has_no_map(tmp_path: Path) -> None:
    data = load_dataset("example:gaussian_overlap?n=200")
    run = Run.create(tmp_path / "run", data)
    with pytest.raises(RunError, match="w2s score"):
        projection_stage(run)


@pytest.mark.slow
def test_report_makes_the_map_once(no_umap: list[int], scored_run: Run, w2s: Command) -> None:
    folder = scored_run.path
    assert build_report(folder).summary["projection"]["hint"]
    assert w2s("report", folder)[0] == 0
    assert build_report(folder).summary["projection"]["readings"].keys() == {"umap", "pca"}
    assert w2s("report", folder, "--map")[0] == 0
    build_report(folder, projection=True)
    assert len(no_umap) == 1
    assert w2s("report", folder, "--no-map")[0] == 0
    assert "adds a map" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_file_of_features_is_remembered(
    no_umap: list[int], w2s: Command, rng: np.random.Generator, tmp_path: Path
) -> None:
    label = rng.integers(0, 2, 120)
    table = pd.DataFrame({"text": [f"item {i}" for i in range(120)], "label": label})
    table.to_csv(tmp_path / "data.csv", index=False)
    for name in ("weak", "strong"):
        features = rng.normal(size=(120, 4)) + label[:, None]
        np.save(tmp_path / f"{name}.npy", features.astype(np.float32))
    files = [word for name in ("weak", "strong") for word in
             (f"--{name}-features", tmp_path / f"{name}.npy")]  # fmt: skip
    run = tmp_path / "run"
    assert w2s("-q", "score", tmp_path / "data.csv", "--label", "label", *files, "-o", run)[0] == 0
    (tmp_path / "strong.npy").rename(tmp_path / "moved.npy")
    code, _, err = w2s("report", run)
    assert code == 0
    assert "no map: the strong features of this run came from" in err
    assert w2s("report", run, "--map")[0] == 2
    assert not no_umap
    (tmp_path / "moved.npy").rename(tmp_path / "strong.npy")
    assert w2s("report", run)[0] == 0
    assert len(no_umap) == 1
    assert w2s("report", run)[2].count("no map") == 0
