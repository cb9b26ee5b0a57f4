"""The same results on CUDA as on the CPU, within the tolerances that the documentation states."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_data import LinearProbe, OverlapDetector, TextEncoder
from w2s_data.compute.faiss import faiss_status, gpu_works
from w2s_data.features.matrix import ArrayFeatures
from w2s_data.finetune import fit_student
from w2s_data.groups.kmeans import kmeans
from w2s_data.overlap.alignment import align, unit_rows
from w2s_data.probes import solvers as _solvers


@pytest.fixture
def points(rng):
    features = rng.normal(size=(3000, 48)) * np.logspace(0, -1, 48) + 0.1
    return features.astype(np.float32)


@pytest.fixture
def faiss_gpu():
    """A GPU on which faiss searches."""
    if faiss_status()[1] == 0 or not gpu_works(0):
        pytest.skip("faiss can use no GPU here")
    return "cuda"


@pytest.mark.parametrize("share", [None, 0.2, 1.0])
@pytest.mark.parametrize(
    ("precision", "tolerance"),
    [("float32", 1e-4), ("float64", 1e-12), ("tf32", 2e-3), ("bfloat16", 5e-3)],
)
def test_alignment(cuda, points, share, precision, tolerance):
    source = ArrayFeatures(points)
    exact = "float64" if precision == "float64" else "float32"
    anchors = unit_rows(source, np.arange(1500), exact)
    wanted = np.arange(len(points)) % 3 > 0
    on_cpu = align(source, wanted, anchors, top_share=share, device="cpu", precision=exact)
    on_gpu = align(source, wanted, anchors, top_share=share, device=cuda, precision=precision)
    assert np.array_equal(np.isnan(on_gpu), ~wanted)
    np.testing.assert_allclose(on_gpu, on_cpu, atol=tolerance)


def test_regions(cuda, points, rng):
    p = rng.beta(2, 2, size=len(points))
    proba = np.column_stack([p, 1 - p])
    one, other = (
        OverlapDetector(device=device, random_state=0).fit(points, proba)
        for device in ("cpu", cuda)
    )
    assert (one.regions_ == other.regions_).mean() >= 0.999
    assert one.density_ == pytest.approx(other.density_, abs=1e-3)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("resident", [True, False])
def test_probe(cuda, points, rng, n_classes, resident, monkeypatch):
    monkeypatch.setattr(_solvers, "STREAMED_BYTES", 8 * 48 * 700)
    monkeypatch.setattr(_solvers.LogisticProblems, "_fits", lambda *_: resident)
    y = (points[:, :n_classes] + rng.gumbel(size=(len(points), n_classes))).argmax(axis=1)
    one, other = (LinearProbe(device=device).fit(points, y) for device in ("cpu", cuda))
    np.testing.assert_allclose(other.coef_, one.coef_, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(other.predict_proba(points), one.predict_proba(points), atol=1e-5)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_head(cuda, points, rng, solver):
    proba = rng.dirichlet(np.ones(3), size=len(points))
    one, other = (
        fit_student(
            "naive", points, proba, solver=solver, epochs=5, seeds=2, random_state=0, device=device
        )
        for device in ("cpu", cuda)
    )
    np.testing.assert_allclose(other.predict_proba(points), one.predict_proba(points), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 5e-2)])
def test_text_encoder(cuda, minilm_path, dtype, tolerance):
    texts = [" ".join(["a good film"] * (1 + n % 9)) for n in range(200)]
    on_cpu = TextEncoder(str(minilm_path), device="cpu").encode(texts)
    on_gpu = TextEncoder(str(minilm_path), device=cuda, dtype=dtype).encode(texts)
    error = np.linalg.norm(on_gpu - on_cpu, axis=1) / np.linalg.norm(on_cpu, axis=1)
    assert error.max() < tolerance


@pytest.mark.slow
def test_text_encoder_on_several_gpus(cuda, minilm_path):
    import torch

    if torch.cuda.device_count() < 2:
        pytest.skip("there are not two CUDA devices")
    texts = [f"film number {n}" for n in range(300)]
    one = TextEncoder(str(minilm_path), device="cuda:0", max_tokens=256).encode(texts)
    all_of_them = TextEncoder(str(minilm_path), device=cuda, max_tokens=256).encode(texts)
    np.testing.assert_allclose(all_of_them, one, rtol=0, atol=5e-2)


@pytest.mark.parametrize("spherical", [True, False])
def test_kmeans(faiss_gpu, points, spherical):
    one, other = (
        kmeans(points, 12, spherical=spherical, device=device) for device in ("cpu", faiss_gpu)
    )
    assert other.inertia == pytest.approx(one.inertia, rel=0.01)
