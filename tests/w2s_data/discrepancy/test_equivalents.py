from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from w2s_data.discrepancy import theory
from w2s_data.discrepancy.equivalents import deterministic_equivalent
from w2s_data.errors import DegenerateDataWarning, FeatureError, InputError

UNIFORM = np.linspace(0.95, 0.1, 15)


def correlated(rows: int, d_w: int, d_s: int, rho: Any, seed: int = 0) -> tuple[Any, Any, Any]:
    """Gaussian features with these canonical correlations, and the generator that drew them."""
    rng = np.random.default_rng(seed)
    weak, strong = rng.normal(size=(rows, d_w)), rng.normal(size=(rows, d_s))
    r = np.asarray(rho, dtype=float)
    strong[:, : len(r)] = r * weak[:, : len(r)] + np.sqrt(1 - r**2) * strong[:, : len(r)]
    return weak, strong, rng


def ridge_fit(x: Any, y: Any, ridge: float) -> Any:
    return np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)


def simulate(
    weak: Any, strong: Any, y: Any, n: int, N: int, ridges: tuple[float, float],
    trials: int, groups: Any, labelled: Any, pool: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """Risks of teacher, student and fine-tuning per group, drawn with replacement; errors."""
    rng = np.random.default_rng(5)
    found = np.empty((trials, 3, len(groups)))
    for trial in range(trials):
        own = rng.choice(len(y), n, p=labelled)
        rest = rng.choice(len(y), N, p=pool)
        theta = ridge_fit(weak[own], y[own], ridges[0])
        models = (
            weak @ theta,
            strong @ ridge_fit(strong[rest], weak[rest] @ theta, ridges[1]),
            strong @ ridge_fit(strong[own], y[own], ridges[1]),
        )
        found[trial] = [[np.mean((y - m)[g] ** 2) for g in groups] for m in models]
    return found.mean(0), found.std(0) / np.sqrt(trials)


def test_gaussian_features_agree_with_the_exact_form() -> None:
    weak, strong, _ = correlated(3000, 15, 20, UNIFORM)
    found = deterministic_equivalent(weak, strong, np.zeros(3000), 60, 200, noise=1.0).risks()
    exact = theory.risks(60, 200, 15, 20, float(np.sum(UNIFORM**2)))
    for role in theory.ROLES:
        assert getattr(found, role) == pytest.approx(getattr(exact, role), rel=0.03)


@pytest.mark.slow
def test_heavy_tails_agree_with_simulation() -> None:
    weak, strong, rng = correlated(6000, 15, 20, UNIFORM)
    radius = np.sqrt(3 / rng.chisquare(5, size=(6000, 1)))
    found = deterministic_equivalent(
        weak * radius, strong * radius, np.zeros(6000), 60, 200, noise=1.0
    ).risks()
    # Simulated, 3000 trials; the Gaussian form says .341 and .142.
    assert found.teacher == pytest.approx(0.4239, rel=0.03)
    assert found.student == pytest.approx(0.1982, rel=0.03)
    assert found.sft == pytest.approx(0.6555, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "rho"),
    [((60, 40, 15, 80), [1.0] * 5 + [0.5] * 6), ((20, 60, 40, 120), [0.9] * 20)],
)
def test_minimum_norm_fits(sizes: tuple[int, int, int, int], rho: list[float]) -> None:
    n, N, d_w, d_s = sizes
    weak, strong, _ = correlated(2500, d_w, d_s, rho)
    found = deterministic_equivalent(
        weak, strong, np.zeros(2500), n, N, noise=1.0, weak_ridge=1e-6, strong_ridge=1e-6,
        tolerance=1e-6,
    ).risks()  # fmt: skip
    exact = theory.min_norm_variances(*sizes, float(np.sum(np.square(rho))))
    assert (found.teacher, found.student) == pytest.approx(exact, rel=0.04)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_groups_in_any_share(share: float) -> None:
    # z (x) [1, T^T xi] with xi around 0 in one group and around mu in the other; simulated values.
    simulated = {
        0.1: [[0.1779578, 0.3612235], [0.1074141, 0.2840175]],
        0.5: [[0.1779578, 0.3612235], [0.1090194, 0.2875644]],
        0.9: [[0.1779578, 0.3612235], [0.1147083, 0.2892693]],
    }
    T = [[-0.0944165, -0.3253278], [0.1467001, -0.308259], [0.2012054, -0.002305853],
         [0.2136239, 0.03444619], [0.7407123, 0.5562587], [-0.5786113, 0.698944]]  # fmt: skip
    S = [[0.07860547, -0.5820344], [0.314671, 0.68737], [-0.3622348, 0.1379235],
         [0.1974307, -0.005663885], [0.7385225, 0.07084555], [-0.4233141, 0.4058132]]  # fmt: skip
    mu = np.array([0.1334887, 0.7416405, -0.7075469, 0.5133489, 1.897204, -1.148311])
    rows, rng = 8000, np.random.default_rng(0)
    z, minority = rng.normal(size=(rows, 12)), np.arange(rows) % 2
    xi = rng.normal(size=(rows, 6)) + minority[:, None] * mu
    weak, strong = (
        (z[:, :, None] * np.c_[np.ones(rows), xi @ np.array(side)][:, None]).reshape(rows, -1)
        for side in (T, S)
    )
    found = deterministic_equivalent(
        weak, strong, np.zeros(rows), 240, 480, noise=1.0,
        labelled_weights=np.where(minority, 0.1, 0.9),
        pool_weights=np.where(minority, share, 1 - share),
    ).risks(np.stack([minority == 0, minority == 1]))  # fmt: skip
    np.testing.assert_allclose([found.teacher, found.student], simulated[share], rtol=0.035)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "N", "ridges", "labelled_share", "pool_share"),
    [(100, 400, (0.0, 0.0), 0.5, 0.5), (100, 400, (0.0, 0.0), 0.1, 0.5),
     (60, 200, (1.0, 1.0), 0.5, 0.5), (150, 500, (2.0, 0.5), 0.1, 0.9)],
)  # fmt: skip
def test_digits_agree_with_simulation(
    n: int, N: int, ridges: tuple[float, float], labelled_share: float, pool_share: float
) -> None:
    images, digits = load_digits(return_X_y=True)
    y, odd = np.where(digits >= 5, 1.0, -1.0), digits % 2
    left = images.reshape(-1, 8, 8)[:, :, :4].reshape(len(y), -1)

    def leading(x: Any, d: int) -> Any:
        u, s, _ = np.linalg.svd(x - x.mean(0), full_matrices=False)
        return np.c_[np.ones(len(x)), u[:, :d] * s[:d] / s[0] * np.sqrt(len(x))]

    weak, strong = leading(left, 16), leading(images, 40)
    weights = [
        np.where(odd, share / odd.sum(), (1 - share) / (1 - odd).sum())
        for share in (labelled_share, pool_share)
    ]
    groups = [odd == 0, odd == 1]
    found = deterministic_equivalent(
        weak, strong, y, n, N, weak_ridge=ridges[0], strong_ridge=ridges[1],
        labelled_weights=weights[0], pool_weights=weights[1],
    ).risks(np.stack(groups))  # fmt: skip
    simulated, error = simulate(weak, strong, y, n, N, ridges, 300, groups, *weights)
    np.testing.assert_array_less(
        np.abs(np.stack([found.teacher, found.student, found.sft]) - simulated),
        0.05 * simulated + 3 * error,
    )


def test_student_on_the_teachers_own_features_gains_nothing() -> None:
    weak, _, rng = correlated(1500, 8, 8, [0.0])
    target = weak[:, 0] + np.sin(weak[:, 1])
    turned = weak @ np.linalg.qr(rng.normal(size=(8, 8)))[0]
    found = deterministic_equivalent(weak, turned, target, 40, 90, noise=0.5).risks()
    assert found.student == pytest.approx(found.teacher, rel=1e-9)


def test_risks_are_linear_in_the_test_distribution() -> None:
    weak, strong, rng = correlated(800, 5, 8, [0.9, 0.5])
    result = deterministic_equivalent(weak, strong, weak[:, 0] ** 2, 60, 200, noise=1.0)
    first = rng.random(800) < 0.3
    parts = result.risks(np.stack([first, ~first]))
    whole = result.risks()
    share = first.mean()
    for role in theory.ROLES:
        one, other = getattr(parts, role)
        assert share * one + (1 - share) * other == pytest.approx(getattr(whole, role))
    assert "800 rows" in repr(result)
    assert "800 rows" in repr(result.student)


def test_weights_stand_for_repeated_rows() -> None:
    weak, strong, _ = correlated(300, 4, 6, [0.9])
    count = np.where(np.arange(300) < 100, 3, 1)
    y = weak[:, 0] + strong[:, 1] ** 2
    weighted = deterministic_equivalent(
        weak, strong, y, 40, 90, labelled_weights=count, pool_weights=count
    ).risks(count)
    rows = np.repeat(np.arange(300), count)
    repeated = deterministic_equivalent(weak[rows], strong[rows], y[rows], 40, 90).risks()
    assert weighted.student == pytest.approx(repeated.student)
    assert weighted.ceiling == pytest.approx(repeated.ceiling)


def test_unpenalised_intercept_absorbs_a_shift() -> None:
    weak, strong, _ = correlated(1000, 4, 6, [0.9, 0.5])
    weak, strong = (np.c_[np.ones(1000), side] for side in (weak, strong))
    options: dict[str, Any] = {
        "noise": 1.0, "weak_ridge": np.r_[0, np.full(4, 2.0)],
        "strong_ridge": np.r_[0, np.full(6, 2.0)],
    }  # fmt: skip
    plain = deterministic_equivalent(weak, strong, weak[:, 1], 40, 90, **options).risks()
    moved = deterministic_equivalent(weak, strong, weak[:, 1] + 100, 40, 90, **options).risks()
    assert moved.student == pytest.approx(plain.student, rel=1e-6)


def test_supervised_model_that_is_undetermined_is_unknown() -> None:
    weak, strong, _ = correlated(400, 4, 30, [0.9])
    found = deterministic_equivalent(weak, strong, weak[:, 0], 20, 90, noise=1.0).risks()
    assert np.isnan(found.sft)
    assert np.isfinite([found.student, found.ceiling]).all()
    with pytest.warns(DegenerateDataWarning, match="30 true labels is left out"):
        found = deterministic_equivalent(
            weak, strong, weak[:, 0], 30, 90, strong_ridge=1e-9, max_iterations=200
        ).risks()
    assert np.isnan(found.sft)
    assert np.isfinite(found.student)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 4}, "4 rows do not determine 4 weak features.*weak_ridge > 0"),
        ({"N": 6}, "6 rows do not determine 6 strong features"),
        ({"n": 5, "weak_ridge": 0.0, "max_iterations": 5}, "5 rows on 4 weak.*did not converge"),
        ({"noise": -1.0}, "noise is a variance"),
        ({"weak_ridge": -1.0}, "weak_ridge must be at least 0"),
        ({"target": np.zeros(99)}, "row counts disagree"),
        ({"target": np.r_[np.nan, np.zeros(99)]}, "target has NaN or infinite values in row 0"),
        ({"pool_weights": np.zeros(100)}, "pool_weights must be at least 0, finite, and not all"),
        ({"labelled_weights": np.ones(7)}, "labelled_weights must be one number for each of 100"),
    ],
)
def test_bad_input(change: dict[str, Any], message: str) -> None:
    weak, strong, _ = correlated(100, 4, 6, [0.9])
    options = {"weak": weak, "strong": strong, "target": weak[:, 0], "n": 20, "N": 40} | change
    with pytest.raises(InputError, match=message):
        deterministic_equivalent(**options)


def test_bad_features() -> None:
    weak, strong, _ = correlated(100, 4, 6, [0.9])
    with pytest.raises(FeatureError, match="strong features are constant or collinear"):
        deterministic_equivalent(weak, np.c_[strong, strong[:, 0]], weak[:, 0], 20, 40)
    weak[3, 1] = np.inf
    with pytest.raises(FeatureError, match="weak features have NaN or infinite values in row 3"):
        deterministic_equivalent(weak, strong, np.zeros(100), 20, 40)
    with pytest.raises(FeatureError, match="must have shape"):
        deterministic_equivalent(weak[0], strong, np.zeros(100), 20, 40)
    result = deterministic_equivalent(strong, strong, np.zeros(100), 20, 40)
    with pytest.raises(InputError, match="test weights"):
        result.risks(np.ones(5))
