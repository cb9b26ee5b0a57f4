from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2s_data.discrepancy import theory
from w2s_data.errors import InputError

A2 = np.linspace(0.95, 0.1, 15)
# (n, N, d_w, d_s, rho), exact (teacher, student, sft, ceiling, pgr, opr), leading order likewise;
# the exact ones agree with 500 to 4000 simulated trials within 2.3 standard errors.
REFERENCE: dict[str, tuple[Any, ...]] = {
    "five shared": (
        (60, 200, 15, 20, [1.0] * 5),
        (0.3409091, 0.13903, 0.5128205, 0.08368201, 0.7848284, 3.688561),
        (0.25, 0.1, 0.3333333, 0.07692308, 0.8666667, 3.333333),
    ),
    "partly shared": (
        (60, 200, 15, 20, A2),
        (0.3409091, 0.1423916, 0.5128205, 0.08368201, 0.7717596, 3.60148),
        (0.25, 0.1024978, 0.3333333, 0.07692308, 0.8522351, 3.252103),
    ),
    "nothing shared": (
        (60, 200, 15, 20, [0.0]),
        (0.3409091, 0.0380904, 0.5128205, 0.08368201, 1.177243, 13.46325),
        (0.25, 0.025, 0.3333333, 0.07692308, 1.3, 13.33333),
    ),
    "all shared": (
        (60, 200, 15, 15, [1.0] * 15),
        (0.3409091, 0.3409091, 0.3409091, 0.06147541, 0.0, 1.0),
        (0.25, 0.25, 0.25, 0.05769231, 0.0, 1.0),
    ),
    "tiny n": (
        (25, 40, 15, 10, [1.0] * 3 + [0.5] * 4),
        (1.666667, 0.8659004, 0.7142857, 0.1851852, 0.5405172, 0.8249052),
        (0.6, 0.27, 0.4, 0.1538462, 0.7396552, 1.481481),
    ),
    "large": (
        (400, 1000, 60, 30, [0.8] * 20),
        (0.1769912, 0.04206873, 0.08130081, 0.02191381, 0.8700331, 1.932571),
        (0.15, 0.03554, 0.075, 0.02142857, 0.8902444, 2.110298),
    ),
}
BIAS = {"rho_s": 0.3910284, "rho_w": 0.3666369, "c2": 0.2032545, "rho_ws": 0.4023911}


def values(risks: theory.Risks) -> list[float]:
    return [*(getattr(risks, role) for role in theory.ROLES), risks.pgr, risks.opr]


@pytest.mark.parametrize("case", REFERENCE)
def test_reference_values(case: str) -> None:
    (n, N, d_w, d_s, rho), exact, leading = REFERENCE[case]
    d_sw = float(np.sum(np.square(rho)))
    np.testing.assert_allclose(
        values(theory.risks(n, N, d_w=d_w, d_s=d_s, d_sw=d_sw)), exact, rtol=1e-6, atol=1e-12
    )
    np.testing.assert_allclose(
        values(theory.risks(n, N, d_w=d_w, d_s=d_s, d_sw=d_sw, leading=True)),
        leading,
        rtol=1e-6,
        atol=1e-12,
    )


def test_reference_with_approximation_errors() -> None:
    exact = [0.7170566, 0.8479598, 0.8421728, 0.4973491, -0.5958067, 0.9931754]
    leading = [0.6399643, 0.7956759, 0.7248753, 0.4892187, -1.032943, 0.9110182]
    np.testing.assert_allclose(
        values(theory.risks(50, 120, d_w=10, d_s=12, d_sw=5.44, **BIAS)), exact, 3e-6
    )
    np.testing.assert_allclose(
        values(theory.risks(50, 120, d_w=10, d_s=12, d_sw=5.44, **BIAS, leading=True)),
        leading,
        3e-6,
    )


def test_reference_with_intercept() -> None:
    found = theory.risks(40, 60, d_w=10, d_s=12, d_sw=3 + 4 * 0.36, intercept=True)
    assert [found.teacher, found.student] == pytest.approx([0.3910714, 0.2484741], rel=1e-6)


@pytest.mark.parametrize(
    ("N", "ratio"), [(16, 1.625), (19, 1.15625), (21, 1.0), (24, 0.8557692), (40, 0.5905172)]
)
def test_break_even_reference(N: int, ratio: float) -> None:
    found = theory.risks(40, N, d_w=8, d_s=10, d_sw=3)
    assert found.student / found.teacher == pytest.approx(ratio, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("intercept", [False, True])
def test_monte_carlo(intercept: bool) -> None:
    n, N, d_w, d_s, rho = 40, 60, 10, 12, np.array([1.0, 1, 1, 0.6, 0.6, 0.6, 0.6])
    rng, trials = np.random.default_rng(3), 2000
    # Part of the target is visible to neither, part only to the student.
    alpha, beta, missed = rng.normal(0, 0.3, d_w), rng.normal(0, 0.3, d_s), 0.4
    C = np.zeros((d_s, d_w))
    C[range(7), range(7)] = rho
    seen_w, seen_s = alpha + C.T @ beta, beta + C @ alpha
    target_variance = alpha @ alpha + beta @ beta + 2 * beta @ C @ alpha + missed**2
    rho_w, rho_s = target_variance - seen_w @ seen_w, target_variance - seen_s @ seen_s
    inherited = seen_s - C @ seen_w
    unseen = seen_w @ (np.eye(d_w) - C.T @ C) @ seen_w

    def draw(rows: int) -> tuple[Any, Any, Any]:
        a, b = rng.normal(size=(rows, d_w)), rng.normal(size=(rows, d_s))
        b[:, :7] = rho * a[:, :7] + np.sqrt(1 - rho**2) * b[:, :7]
        return a, b, a @ alpha + b @ beta + missed * rng.normal(size=rows)

    def fit(x: Any, y: Any) -> Any:
        return np.linalg.lstsq(np.c_[x, np.ones(len(x))] if intercept else x, y, rcond=None)[0]

    def error(theta: Any, seen: Any, rho_side: float) -> float:
        constant = theta[len(seen) :]
        return float(rho_side + np.sum((theta[: len(seen)] - seen) ** 2) + np.sum(constant**2))

    found = np.empty((trials, 4))
    for trial in range(trials):
        a, b, f = draw(n)
        pool_a, pool_b, pool_f = draw(N)
        y = f + rng.normal(size=n)
        teacher = fit(a, y)
        pseudo = pool_a @ teacher[:d_w] + (teacher[-1] if intercept else 0)
        every = np.r_[b, pool_b], np.r_[y, pool_f + rng.normal(size=N)]
        found[trial] = [
            error(teacher, seen_w, rho_w),
            error(fit(pool_b, pseudo), seen_s, rho_s),
            error(fit(b, y), seen_s, rho_s),
            error(fit(*every), seen_s, rho_s),
        ]
    predicted = theory.risks(
        n, N, d_w=d_w, d_s=d_s, d_sw=float(np.sum(rho**2)), rho_w=rho_w, rho_s=rho_s,
        c2=float(inherited @ inherited), rho_ws=float(unseen), intercept=intercept,
    )  # fmt: skip
    z = (found.mean(0) - values(predicted)[:4]) / (found.std(0) / np.sqrt(trials))
    assert np.abs(z).max() < 3.5


sizes = st.integers(1, 200)


@settings(max_examples=60)
@given(d_s=sizes, share=st.floats(0, 0.99), d_w=sizes, part=st.floats(0, 0.95), flag=st.booleans())
def test_rows_for_a_share_invert_the_risks(
    d_s: int, share: float, d_w: int, part: float, flag: bool
) -> None:
    n, d_sw = d_w + 30, part * min(d_w, d_s)
    N = theory.rows_for_factor(1 - share, d_s, intercept=flag)
    at = theory.risks(n, N, d_w=d_w, d_s=d_s, d_sw=d_sw, intercept=flag)
    endless = theory.risks(n, np.inf, d_w=d_w, d_s=d_s, d_sw=d_sw, intercept=flag)
    assert at.teacher - at.student == pytest.approx(
        share * (at.teacher - endless.student), rel=1e-6, abs=1e-9
    )


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("d", [1, 7, 300])
def test_rows_for_factor_is_the_inverse(d: int, intercept: bool) -> None:
    n = d + np.array([3.0, 4, 10, 1000, 1e6])
    factor = theory.variance_factor(n, d, intercept=intercept)
    np.testing.assert_allclose(theory.rows_for_factor(factor, d, intercept=intercept), n, 1e-6)
    assert theory.rows_for_factor(0.0, d, intercept=intercept) == np.inf
    assert theory.rows_for_factor(1.0, d, intercept=intercept) == pytest.approx(
        2 * d + (3 - 2 / (2 * d + 3) if intercept else 1), rel=0.01
    )


def test_undetermined_regressions_are_infinite_or_unknown() -> None:
    np.testing.assert_array_equal(
        theory.variance_factor([8, 9, 10, 11, 12], 10), [np.nan, np.inf, np.inf, np.inf, 10.0]
    )
    found = theory.risks(60, [5, 20, 21], d_w=15, d_s=20, d_sw=5)
    assert np.isnan(found.student[0])
    assert np.isinf(found.student[1:]).all()
    assert found.pgr[1] == -np.inf
    assert np.isfinite(found.ceiling[1])


def test_limits() -> None:
    close = theory.risks(10**7, 10**7, d_w=15, d_s=20, d_sw=5)
    leading = theory.risks(10**7, 10**7, d_w=15, d_s=20, d_sw=5, leading=True)
    np.testing.assert_allclose(values(close), values(leading), rtol=1e-5)
    d_sw = np.linspace(0, 15, 7)
    found = theory.risks(60, 200, d_w=15, d_s=20, d_sw=d_sw)
    assert (np.diff(found.pgr) < 0).all()
    assert (np.diff(found.opr) < 0).all()
    assert found.pgr[-1] == 0
    scaled = theory.risks(60, 200, d_w=15, d_s=20, d_sw=5, noise=3.0)
    assert scaled.student == pytest.approx(
        3 * theory.risks(60, 200, d_w=15, d_s=20, d_sw=5).student
    )
    assert repr(found) == "Risks(teacher, student, sft, ceiling: arrays of shape (7,))"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d_sw": 16}, "d_sw must lie in"),
        ({"d_sw": -0.1}, "d_sw must lie in"),
        ({"n": 0}, "n must be at least 1"),
        ({"N": np.nan}, "N must be at least 1"),
        ({"noise": -1.0}, "noise is a variance"),
        ({"c2": np.nan}, "c2 is a variance"),
    ],
)
def test_bad_input(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        theory.risks(**{"n": 60, "N": 200, "d_w": 15, "d_s": 20, "d_sw": 5} | arguments)


def test_the_leading_order_knows_no_intercept() -> None:
    with pytest.raises(InputError, match="intercept must be False where leading"):
        theory.risks(60, 200, d_s=20, d_w=15, d_sw=5, intercept=True, leading=True)
