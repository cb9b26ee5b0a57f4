from __future__ import annotations

import numpy as np
import pytest
from sklearn.cross_decomposition import CCA

from w2s_data import DiscrepancyAnalyzer
from w2s_data.discrepancy.dimensions import (
    correlation_dimension,
    effective_dimensions,
    marchenko_pastur_dimension,
    participation_ratio,
    variance_dimension,
)
from w2s_data.errors import InputError


def correlated(
    rng: np.random.Generator, n: int, d_w: int, d_s: int, rho: list[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Strong and weak Gaussian features with these canonical correlations."""
    weak, strong = rng.normal(size=(n, d_w)), rng.normal(size=(n, d_s))
    r, k = np.array(rho), len(rho)
    strong[:, :k] = r * weak[:, :k] + np.sqrt(1 - r**2) * strong[:, :k]
    return strong, weak


@pytest.mark.parametrize(
    ("shared", "n", "d_w", "d_s", "expected"),
    [(6.5, 100, 15, 20, 4.895105), (3, 100, 15, 20, 0), (15, 200, 15, 20, 15),
     (1.2, 500, 10, 40, 0.4432624)],
)  # fmt: skip
def test_closed_form_reference(shared: float, n: int, d_w: int, d_s: int, expected: float) -> None:
    assert correlation_dimension(shared, n, d_w=d_w, d_s=d_s) == pytest.approx(expected, abs=1e-6)


def test_closed_form_inverts_the_expectation() -> None:
    d = np.linspace(0, 15, 9)
    expected_shared = d + (20 - d) * (15 - d) / (100 - d)
    np.testing.assert_allclose(
        correlation_dimension(expected_shared, 100, d_w=15, d_s=20), d, atol=1e-12
    )


def test_too_few_rows() -> None:
    with pytest.raises(InputError, match="more rows than d_s"):
        correlation_dimension(3, 35, d_w=15, d_s=20)


def test_two_fold_is_unbiased() -> None:
    found = []
    for seed in range(300):
        model = DiscrepancyAnalyzer(estimator="two_fold", n_jackknife=0, random_state=seed)
        rng = np.random.default_rng(seed)
        model.fit(*correlated(rng, 60, 5, 8, [0.9, 0.5, 0.5]))
        found.append(model.correlation_dimension_)
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - 1.31) < 3.5 * error


@pytest.mark.filterwarnings("ignore")  # scikit-learn's iterations may stop early
def test_canonical_correlations_agree_with_scikit_learn() -> None:
    strong, weak = correlated(np.random.default_rng(1), 300, 4, 6, [0.9, 0.6, 0.3])
    model = CCA(n_components=4, max_iter=20000, tol=1e-12).fit(weak, strong)
    one, other = model.transform(weak, strong)
    theirs = [abs(np.corrcoef(one[:, k], other[:, k])[0, 1]) for k in range(4)]
    ours = DiscrepancyAnalyzer(n_jackknife=0).fit(strong, weak).canonical_correlations_
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_canonical_correlations_ignore_constant_and_collinear_columns() -> None:
    strong, weak = correlated(np.random.default_rng(1), 100, 4, 6, [0.9, 0.6])
    padded = np.c_[weak, weak[:, 0] - weak[:, 1], np.full(100, 7.0)]
    model = DiscrepancyAnalyzer(n_jackknife=0)
    plain = model.fit(strong, weak).canonical_correlations_
    found = model.fit(strong + 100, padded).canonical_correlations_
    np.testing.assert_allclose(found, plain, atol=1e-5)  # features are read in float32


@pytest.mark.parametrize(("true", "tail"), [(20, 0.02), (40, 0.05)])
def test_marchenko_pastur_counts_a_low_rank_signal(true: int, tail: float) -> None:
    rng = np.random.default_rng(true)
    signal = rng.normal(size=(800, true)) * np.linspace(1, 2, true)
    basis = np.linalg.qr(rng.normal(size=(200, true)))[0]
    features = signal @ basis.T + tail * rng.normal(size=(800, 200))
    spectrum = np.linalg.eigvalsh(np.cov(features.T))
    assert marchenko_pastur_dimension(spectrum, 799) == true
    wide = np.linalg.eigvalsh(np.cov(features[:150].T))  # fewer rows than columns
    assert marchenko_pastur_dimension(wide, 149) == true


def test_marchenko_pastur_finds_next_to_nothing_in_noise() -> None:
    noise = np.random.default_rng(0).normal(size=(500, 80))
    assert marchenko_pastur_dimension(np.linalg.eigvalsh(np.cov(noise.T)), 499) <= 1


def test_dimensions_of_a_flat_spectrum() -> None:
    flat = np.r_[np.ones(10), np.zeros(5)]
    assert participation_ratio(flat) == 10
    assert variance_dimension(flat, 0.95) == 10
    assert variance_dimension(flat, 0.5) == 5
    assert variance_dimension(flat, 1.0) == 10
    assert effective_dimensions(flat, 1e-12) == pytest.approx((10, 10))
    df1, df2 = effective_dimensions(flat, 1.0)
    assert df2 <= df1 <= 10


def test_degenerate_spectra() -> None:
    assert np.isnan(participation_ratio([0.0, 0.0]))
    with pytest.raises(InputError, match="spectrum"):
        participation_ratio([])
    with pytest.raises(InputError, match="ridge"):
        effective_dimensions([1.0], 0.0)
    with pytest.raises(InputError, match="share"):
        variance_dimension([1.0], 95)


@pytest.mark.parametrize("size", [1e200, 1e-200, 1.7e308, 5e-324])
def test_the_scale_of_a_spectrum_does_not_matter(size: float) -> None:
    assert participation_ratio([size, size, 0.0]) == 2


@pytest.mark.parametrize("n", [0, -3, 2.5])
def test_a_spectrum_of_no_rows_is_refused(n: float) -> None:
    with pytest.raises(InputError, match="n must be an integer >= 1; got"):
        marchenko_pastur_dimension([3.0, 2.0, 1.0], n)  # type: ignore[arg-type]
