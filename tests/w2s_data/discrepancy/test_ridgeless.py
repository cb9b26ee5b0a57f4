"""Ridgeless risks: equal to least squares where it is determined, and to simulation elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from w2s_data.discrepancy import theory
from w2s_data.discrepancy.ridgeless import ridgeless_risks
from w2s_data.errors import InputError

PARTS = {"rho_s": 0.3910284, "rho_w": 0.3666369, "c2": 0.2032545, "rho_ws": 0.4023911}
SIZES: dict[str, Any] = {"d_w": 10, "d_s": 12, "d_sw": 5.44}


@pytest.mark.parametrize("intercept", [False, True])
def test_determined_regressions_have_the_risks_of_least_squares(intercept: bool) -> None:
    n, N = np.array([14, 50, 400]), np.array([16, 120, 900])
    known = theory.risks(n, N, **SIZES, **PARTS, intercept=intercept)
    found = ridgeless_risks(n, N, **SIZES, **PARTS, signal=2.0, intercept=intercept)
    for role in theory.ROLES:
        np.testing.assert_allclose(getattr(found, role), getattr(known, role), rtol=1e-12)


@pytest.mark.parametrize(
    ("sizes", "teacher", "student"),
    [((60, 40, 80, 15, 6.5), 0.3409, 0.2720), ((20, 60, 120, 40, 16.2), 1.0526, 0.8501)],
)
def test_reference_variances(sizes: Any, teacher: float, student: float) -> None:
    # Simulated: .3407(13), .2719(13) and 1.0575(47), .8537(43).
    n, N, d_s, d_w, d_sw = sizes
    found = ridgeless_risks(n, N, d_s=d_s, d_w=d_w, d_sw=d_sw)
    assert found.teacher == pytest.approx(teacher, abs=6e-5)
    assert found.student == pytest.approx(student, abs=6e-5)


def fitted(x: Any, y: Any, intercept: bool) -> tuple[Any, float]:
    centre, mean = (x.mean(0), y.mean()) if intercept else (np.zeros(x.shape[1]), 0.0)
    theta = np.linalg.lstsq(x - centre, y - mean, rcond=None)[0]
    return theta, mean - centre @ theta


@pytest.mark.slow
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("sizes", [(12, 60, 25, 8), (12, 30, 25, 80)])
def test_simulated_risks(intercept: bool, sizes: tuple[int, int, int, int]) -> None:
    (n, N, d_w, d_s), trials = sizes, 800
    rng, rho = np.random.default_rng(5), np.array([1.0, 1, 0.6, 0.6])
    alpha, beta, missed = rng.normal(0, 0.3, d_w), rng.normal(0, 0.3, d_s), 0.4
    C = np.zeros((d_s, d_w))
    C[range(4), range(4)] = rho
    weak, strong = alpha + C.T @ beta, beta + C @ alpha  # the best function of each side
    signal = alpha @ alpha + beta @ beta + 2 * beta @ C @ alpha + missed**2
    rho_w, rho_s = signal - weak @ weak, signal - strong @ strong

    def draw(rows: int) -> tuple[Any, Any, Any]:
        a, b = rng.normal(size=(rows, d_w)), rng.normal(size=(rows, d_s))
        b[:, :4] = rho * a[:, :4] + np.sqrt(1 - rho**2) * b[:, :4]
        return a, b, a @ alpha + b @ beta + missed * rng.normal(size=rows)

    def error(model: tuple[Any, float], best: Any, missing: float) -> float:
        return float(missing + np.sum((model[0] - best) ** 2) + model[1] ** 2)

    found = np.empty((trials, 4))
    for trial in range(trials):
        a, b, f = draw(n)
        pool_a, pool_b, pool_f = draw(N)
        y, pool_y = f + rng.normal(size=n), pool_f + rng.normal(size=N)
        teacher = fitted(a, y, intercept)
        taught = pool_a @ teacher[0] + teacher[1]
        found[trial] = [
            error(teacher, weak, rho_w),
            error(fitted(pool_b, taught, intercept), strong, rho_s),
            error(fitted(b, y, intercept), strong, rho_s),
            error(fitted(np.r_[b, pool_b], np.r_[y, pool_y], intercept), strong, rho_s),
        ]
    told = ridgeless_risks(
        n, N, d_w=d_w, d_s=d_s, d_sw=float(np.sum(rho**2)), signal=signal, rho_w=rho_w,
        rho_s=rho_s, c2=float(np.sum((strong - C @ weak) ** 2)),
        rho_ws=float(weak @ (np.eye(d_w) - C.T @ C) @ weak), intercept=intercept,
    )  # fmt: skip
    expected = np.array([getattr(told, role) for role in theory.ROLES])
    at = np.isfinite(expected)
    z = (found.mean(0) - expected)[at] / (found.std(0)[at] / np.sqrt(trials))
    assert at.sum() >= 3
    assert np.abs(z).max() < 3.5


def test_the_peak_is_infinite_and_both_sides_of_it_fall() -> None:
    n = np.arange(2, 40)
    teacher = ridgeless_risks(n, 100, d_w=15, d_s=20, d_sw=5, signal=1.0).teacher
    assert np.isinf(teacher[(n >= 14) & (n <= 16)]).all()
    assert np.isfinite(teacher[(n < 14) | (n > 16)]).all()
    assert (np.diff(teacher[n > 16]) < 0).all()
    # Without rows nothing is learned: the whole signal is missed.
    few = ridgeless_risks(1, 100, d_w=10**6, d_s=20, d_sw=5, signal=1.0, noise=0.0)
    assert few.teacher == pytest.approx(1.0, rel=1e-5)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="signal is the variance of the whole target"):
        ridgeless_risks(60, 200, d_w=15, d_s=20, d_sw=5, signal=0.5, rho_w=1.0)
    with pytest.raises(InputError, match="signal is a variance"):
        ridgeless_risks(60, 200, d_w=15, d_s=20, d_sw=5, signal=-1.0)
