from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.w2s_data.discrepancy.theory_data import limit
from tests.w2s_data.spurious.mean_shift import (
    GroupModel,
    inflation,
    mean_shift_optimum,
    mean_shift_risks,
    mixture_optimum,
)
from w2s_data.errors import InputError
from w2s_data.spurious.theory import ROUNDING, TESTS, mixture_risks


def model(mu_t: Any, mu_s: Any, xi: dict[tuple[int, int], float]) -> GroupModel:
    similarity = np.zeros((len(mu_t), len(mu_s)))
    for place, value in xi.items():
        similarity[place] = value
    return GroupModel(np.array(mu_t), np.array(mu_s), similarity)


# model, (eta_l, eta_u, eta_t, gamma, nu), risks over gamma at g = h = 1 (teacher, student without
# and its nu term), mixture likewise, mean-shift limit, eta_u* with nu = 0 and nu, unclipped.
D1 = model([2.168643, 0, 0], [2.29621, 0], {(0, 0): 0.6, (1, 1): 0.2})
D2 = model([1.279923, 0], [1.493243, 0], {(0, 0): 0.8, (1, 1): 0.3})
D3 = model([2.274159, 0], [0.2378285, 0, 0], {(0, 0): 0.5, (1, 1): -0.4})
REFERENCE: dict[str, tuple[Any, ...]] = {
    "overshoots": (
        D1,
        (0.1, 0.5, 0.5, 0.02, 0.01),
        (4.752482, 2.152482, 0.078),
        (5.057398, 2.60033, 0.07371204),
        (0.1065893, 0.04964128),
        (-0.5967742, -0.3996244),
    ),
    "minority test": (
        D2,
        (0.1, 0.5, 1.0, 0.1, 0.05),
        (4.326944, 2.960472, 0.2258977),
        (4.027947, 2.778741, 0.1837141),
        (0.7180879, 0.5311276),
        (-12.5, 0.3397524),
    ),
    "inside": (
        D3,
        (0.3, 0.6, 0.6, 0.05, 0.02),
        (3.465462, 1.875462, 0.1272),
        (3.297504, 1.570726, 0.1381422),
        (0.2185721, 0.124777),
        (0.2834477, 0.2835702),
    ),
}


@pytest.mark.parametrize("case", REFERENCE)
def test_reference_values(case: str) -> None:
    groups, (el, eu, et, gamma, nu), leading, mixture, limit, optimum = REFERENCE[case]
    for expected, risks in (
        (leading, lambda nu: mean_shift_risks(groups, el, eu, et, gamma, nu, leading=True)),
        (mixture, lambda nu: mixture_risks(groups, el, eu, et, gamma, nu)),
    ):
        base, full = risks(0.0), risks(nu)
        found = [base.teacher, base.student, full.student - base.student]
        np.testing.assert_allclose(np.array(found) / gamma, expected, rtol=1e-5)
    found = mean_shift_risks(groups, el, eu, et, gamma, nu)
    np.testing.assert_allclose([found.teacher, found.student], limit, rtol=1e-4)
    for pool, expected in zip((0.0, nu), optimum, strict=True):
        clipped = float(np.clip(expected, 0, 1))
        assert mean_shift_optimum(groups, el, et, pool) == pytest.approx(clipped, rel=1e-4)


@pytest.mark.parametrize(
    ("p", "gamma", "g0", "g1"),
    [
        (1, 0.1, 1.111111, 0.0),
        (2, 0.01, 1.020408, 1.04083),
        (2, 0.1, 1.25, 1.509314),
        (3, 0.05, 1.176471, 1.295891),
        (3, 0.1, 1.428571, 1.729006),
        (4, 0.1, 1.666667, 2.022325),
        (6, 0.01, 1.06383, 1.085135),
        (6, 0.1, 2.5, 3.051213),
    ],
)
def test_inflation(p: int, gamma: float, g0: float, g1: float) -> None:
    assert inflation(gamma, p) == pytest.approx((g0, g1), rel=1e-5, abs=1e-12)


def test_inflation_is_one_with_endless_rows_and_holds_for_many_features() -> None:
    assert inflation(0.0, 5) == (1.0, 1.0)
    g0, g1 = inflation(0.001, 500)
    assert (g0, g1) == pytest.approx((2.0, 2.0), rel=0.01)
    with pytest.raises(InputError, match="rows must exceed features"):
        inflation(0.25, 4)


# Simulated teacher and student, mean-shift groups: dz, n, N, (eta_l, eta_u, eta_t), risks.
MILD = model([1.279923, 0], [1.493243, 0], {(0, 0): 0.8, (1, 1): 0.3})
STRONG = model([3.413127, 0], [3.981982, 0], {(0, 0): 0.8, (1, 1): 0.3})
ZERO = model([0.0], [2.828427], {(0, 0): 0.7071068})
SIMULATED = [
    (MILD, 40, 2000, 8000, (0.1, 0.1, 0.0), (0.06621405, 0.03835154)),
    (MILD, 40, 2000, 8000, (0.1, 0.1, 1.0), (0.09534765, 0.06396099)),
    (ZERO, 40, 2000, 8000, (0.3, 0.05, 0.5), (0.04244025, 0.0493966)),
    (MILD, 80, 800, 1600, (0.1, 0.5, 0.0), (0.4944134, 0.3218141)),
    (MILD, 80, 800, 1600, (0.1, 0.5, 1.0), (0.7224558, 0.5332145)),
]


@pytest.mark.parametrize(("groups", "dz", "n", "N", "etas", "simulated"), SIMULATED)
def test_mean_shift_limit_agrees_with_simulation(
    groups: GroupModel, dz: int, n: int, N: int, etas: Any, simulated: Any
) -> None:
    found = mean_shift_risks(groups, *etas, dz / n, dz / N)
    assert [found.teacher, found.student] == pytest.approx(simulated, rel=0.005 + 2 / dz)
    leading = mean_shift_risks(groups, *etas, dz / n, dz / N, leading=True)
    assert leading.teacher < 0.95 * found.teacher


MIXTURES = [
    (MILD, 2000, 8000, (0.1, 0.5, 1.0), (0.08880834, 0.06133032), (0.08055894, 0.05594224)),
    (ZERO, 2000, 8000, (0.1, 0.1, 1.0), (0.04239282, 0.04919868), (0.04, 0.04566333)),
    (STRONG, 400, 800, (0.3, 0.05, 0.5), (0.545124, 0.4399585), (0.3270415, 0.2520436)),
]


@pytest.mark.parametrize(("groups", "n", "N", "etas", "simulated", "leading"), MIXTURES)
def test_mixture_agrees_with_reference_and_simulation(
    groups: GroupModel, n: int, N: int, etas: Any, simulated: Any, leading: Any
) -> None:
    found = mixture_risks(groups, *etas, 40 / n, 40 / N)
    assert [found.teacher, found.student] == pytest.approx(leading, rel=1e-5)
    exact = limit(groups, etas, 40 / n, 40 / N)
    assert [exact.teacher, exact.student] == pytest.approx(simulated, rel=0.005 + 2 / 40)
    ratio, true = found.student / found.teacher, simulated[1] / simulated[0]
    assert ratio == pytest.approx(true, rel=0.03 if n == 2000 else 0.18)


def dense_mixture(g: GroupModel, el: float, eu: float, et: float, nu: float) -> float:
    """The student's risk with every matrix written out."""
    tl, tu, tt = (e * (1 - e) for e in (el, eu, et))
    eye_t, eye_s, s = np.eye(g.p_t - 1), np.eye(g.p_s - 1), g.variance

    def sigma(eye: Any, mu: Any, tau: float) -> Any:
        return s * eye + tau * np.outer(mu, mu)

    inverse = np.linalg.inv(sigma(eye_t, g.mu_t, tl))
    pool = sigma(eye_s, g.mu_s, tu)
    cross = s * g.xi.T + tu * np.outer(g.mu_s, g.mu_t)
    slope = np.linalg.solve(pool, cross).T
    v = (eu - el) * g.mu_t + (et - eu) * slope @ g.mu_s
    test = sigma(eye_s, g.mu_s, tt)
    rest = sigma(eye_t, g.mu_t, tu) - slope @ cross
    last = 1 + (et - eu) ** 2 * g.mu_s @ np.linalg.solve(pool, g.mu_s)
    last += np.trace(np.linalg.solve(pool, test))
    shared = np.trace(inverse @ slope @ test @ slope.T)
    return float(1 + v @ inverse @ v + shared + nu * np.trace(inverse @ rest) * last)


share = st.floats(0, 1)


def random_model(seed: int, largest: float = 3.0) -> GroupModel:
    rng = np.random.default_rng(seed)
    d_w, d_s = rng.integers(1, 4, size=2)
    d = max(d_w, d_s) + int(rng.integers(0, 3))
    seen = np.linalg.qr(rng.normal(size=(d, d)))[0][:, :d_w]
    strong = np.linalg.qr(rng.normal(size=(d, d)))[0][:, :d_s]
    mu = rng.normal(size=d)
    mu *= rng.uniform(0, largest) / np.linalg.norm(mu)
    return GroupModel(seen.T @ mu, strong.T @ mu, seen.T @ strong)


@settings(max_examples=40)
@given(st.integers(0, 10**6), share, share, share, st.floats(0, 0.2), st.floats(0.2, 4))
def test_mixture_equals_the_formula_written_out(
    seed: int, el: float, eu: float, et: float, nu: float, s: float
) -> None:
    first = random_model(seed)
    groups = GroupModel(first.mu_t, first.mu_s, first.xi * s, variance=s)
    found = mixture_risks(groups, el, eu, et, 1.0, nu).student
    assert found == pytest.approx(dense_mixture(groups, el, eu, et, nu), rel=1e-8, abs=1e-10)


@settings(max_examples=40)
@given(st.integers(0, 10**6), share, share, share, st.floats(0, 0.2))
def test_mixture_invariants(seed: int, el: float, eu: float, et: float, nu: float) -> None:
    groups = random_model(seed)
    zero, one, mixed = (mixture_risks(groups, el, eu, t, 0.1, nu) for t in (0, 1, et))
    for role in ("teacher", "student"):  # linear in the test share
        expected = (1 - et) * getattr(zero, role) + et * getattr(one, role)
        assert getattr(mixed, role) == pytest.approx(expected, rel=1e-9)
    flipped = GroupModel(-groups.mu_t, -groups.mu_s, groups.xi)  # the other group is the minority
    other = mixture_risks(flipped, 1 - el, 1 - eu, 1 - et, 0.1, nu)
    assert other.student == pytest.approx(mixed.student, rel=1e-8)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(groups.p_t - 1,) * 2))[0]
    turned = GroupModel(turn @ groups.mu_t, groups.mu_s, turn @ groups.xi)
    assert mixture_risks(turned, el, eu, et, 0.1, nu).student == pytest.approx(mixed.student)
    assert mixture_risks(groups, el, el, el, 0.1).gain >= -1e-12  # no shift at all: never worse


def test_forms_agree_where_the_shift_is_small() -> None:
    groups = GroupModel(D1.mu_t * 1e-3, D1.mu_s * 1e-3, D1.xi)
    first = mixture_risks(groups, 0.1, 0.4, 0.8, 0.01, 0.01)
    second = mean_shift_risks(groups, 0.1, 0.4, 0.8, 0.01, 0.01, leading=True)
    assert first.student == pytest.approx(second.student, rel=1e-5)
    assert first.teacher == pytest.approx(second.teacher, rel=1e-5)


@pytest.mark.parametrize(
    ("mu_norm", "p_t", "el", "et", "best"),
    [(2.5, 4, 0.4, 0.5, 0.05), (0.6, 3, 0.5, 1.0, 0.3)],
)
def test_mixture_optimum_of_the_reference(
    mu_norm: float, p_t: int, el: float, et: float, best: float
) -> None:
    scale = mu_norm / 2.5
    mu_t = np.zeros(p_t - 1)
    mu_t[0] = (2.34567 if p_t == 4 else 2.403126) * scale
    mu_s = np.array([1.528642 if p_t == 4 else 1.378386, 0.0]) * scale
    groups = model(mu_t, mu_s, {(0, 0): 0.3, (1, 1): 0.2})
    found = mixture_optimum(groups, el, et, 0.005, np.linspace(0, 1, 21))
    assert found == pytest.approx(best)


def mixture_fails(groups: GroupModel, eta_l: float, eta_u: float, nu: float) -> dict[str, bool]:
    risks = {part: mixture_risks(groups, eta_l, eta_u, t, 1.0, nu) for part, t in TESTS.items()}
    return {part: risk.gain <= ROUNDING * risk.teacher for part, risk in risks.items()}


def test_failure_sign_agrees_with_the_proportional_limit() -> None:
    rng = np.random.default_rng(3)
    agree, failures = [], 0
    for seed in range(60):
        groups = random_model(seed, largest=6.0)
        etas = float(rng.uniform(0.02, 0.3)), float(rng.uniform(0.02, 0.98))
        fails = mixture_fails(groups, *etas, 15 / 900)
        for part, eta_t in TESTS.items():
            true = limit(groups, (*etas, eta_t), 15 / 900, 15 / 900, size=500)
            if abs(true.gain) > 1e-3 * true.teacher:  # not a student that copies exactly
                agree.append((true.gain <= 0) == fails[part])
                failures += true.gain <= 0
    assert failures > 5
    assert np.mean(agree) >= 0.95


def test_equal_shares_are_not_always_safe() -> None:
    assert mixture_fails(ZERO, 0.1, 0.1, 0.005) == {
        "others": False,
        "inside": True,
        "average": False,
    }


def test_optimum_where_the_pool_does_not_matter() -> None:
    alike = GroupModel(np.zeros(2), np.zeros(2), np.eye(2) * 0.5)
    assert np.isnan(mean_shift_optimum(alike, 0.1, 0.5))
    same = GroupModel(np.ones(2), np.ones(2), np.eye(2))
    assert mixture_risks(same, 0.1, 0.7, 1.0, 0.1, 0.1).gain == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eta_l": 1.2}, "eta_l is a share"),
        ({"eta_u": float("nan")}, "eta_u is a share"),
        ({"gamma": -1.0}, "gamma must be at least 0"),
        ({"nu": -1.0}, "nu must be at least 0"),
        ({"noise": -1.0}, "noise must be at least 0"),
    ],
)
def test_bad_numbers(arguments: dict[str, float], message: str) -> None:
    values = {"eta_l": 0.1, "eta_u": 0.5, "eta_t": 0.5, "gamma": 0.1, "nu": 0.1} | arguments
    for risks in (mixture_risks, mean_shift_risks):
        with pytest.raises(InputError, match=message):
            risks(MILD, **values)


def test_bad_models() -> None:
    with pytest.raises(InputError, match="must have shapes"):
        GroupModel(np.zeros(2), np.zeros(3), np.zeros((3, 2)))
    with pytest.raises(InputError, match="variance must be positive"):
        GroupModel(np.zeros(2), np.zeros(3), np.zeros((2, 3)), variance=0.0)
