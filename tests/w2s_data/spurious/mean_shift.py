"""The published mean-shift forms of the spurious-correlation model, to check the mixture forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.errors import InputError
from w2s_data.spurious.model import GroupGeometry, GroupRisks, check_scale, check_shares
from w2s_data.spurious.theory import POOL_SHARES, mixture_risks
from w2s_data.utils.typing import FloatArray


class GroupModel(GroupGeometry):
    """Two groups with the vectors behind their geometry."""

    mu_t: FloatArray
    mu_s: FloatArray
    xi: FloatArray

    def __init__(self, mu_t: Any, mu_s: Any, xi: Any, variance: float = 1.0) -> None:
        super().__init__(**vars(GroupGeometry.of(mu_t, mu_s, xi, variance=variance)))
        for name, value in {"mu_t": mu_t, "mu_s": mu_s, "xi": xi}.items():
            object.__setattr__(self, name, np.asarray(value, dtype=float))

    @property
    def p_t(self) -> int:
        return self.d_w + 1

    @property
    def p_s(self) -> int:
        return self.d_s + 1

    @property
    def p_ts(self) -> float:
        return 1 + float(self.shared)


def mean_shift_risks(
    model: GroupModel,
    eta_l: float,
    eta_u: float,
    eta_t: float,
    gamma: float,
    nu: float = 0.0,
    *,
    noise: float = 1.0,
    leading: bool = False,
) -> GroupRisks:
    r"""Risks where a group share only moves the mean: group features N(eta mu, s_x I).

    .. math::
        teacher &= s \gamma \{g_0 + g_1 [p_T - 1 + (\eta_t - \eta_l)^2 |\mu_T|^2 / s_x]\} \\
        student &= s \gamma \{g_0 + g_1 [\|\Xi\|^2 + |v|^2 / s_x]
                   + \nu g_1 (p_T - p_{TS}) [h_0 + h_1 (p_S - 1
                   + (\eta_t - \eta_u)^2 |\mu_S|^2 / s_x)]\}, \\
        v &= (\eta_u - \eta_l) \mu_T + (\eta_t - \eta_u) \Xi \mu_S

    with g of `inflation(gamma, p_T)` and h of `inflation(nu, p_S)`: the limit of many core
    features at fixed gamma and nu, within 1 to 2 % of simulation at dz = 20. `leading` puts
    g = h = 1, the published form for small gamma, 9 % low at gamma = .02 and 40 % at .1.

    Parameters
    ----------
    model : GroupModel
    eta_l, eta_u, eta_t : float in [0, 1]
        Minority share of labelled, pool and test rows.
    gamma, nu : float
        dz / n and dz / N; gamma p_T < 1 and nu p_S < 1.
    noise : float
        Variance of the label noise.

    Source: Liu, Dong, Lei, ICLR 2026 (leading order; the nu term made explicit).
    """
    check_shares(eta_l=eta_l, eta_u=eta_u, eta_t=eta_t)
    check_scale(gamma, nu, noise)
    s_x = model.variance
    g0, g1 = (1.0, 1.0) if leading else inflation(gamma, model.p_t)
    h0, h1 = (1.0, 1.0) if leading else inflation(nu, model.p_s)
    own = model.p_t - 1 + (eta_t - eta_l) ** 2 * model.m_t / s_x
    v = (eta_u - eta_l) * model.mu_t + (eta_t - eta_u) * model.xi @ model.mu_s
    inherited = model.p_ts - 1 + float(v @ v) / s_x
    pool = h0 + h1 * (model.p_s - 1 + (eta_t - eta_u) ** 2 * model.m_s / s_x)
    averaged = nu * g1 * (model.p_t - model.p_ts) * pool
    return GroupRisks(
        noise * gamma * (g0 + g1 * own), noise * gamma * (g0 + g1 * inherited + averaged)
    )


def inflation(gamma: float, p: int) -> tuple[float, float]:
    """Finite-sample factors of the constant and of the other p - 1 features.

    g0 = 1 / (1 - gamma p); g1 solves g1 = (p - 1) / E[x / (1 + gamma (g0 + g1 x))] with
    x ~ chi^2_{p-1}, about (1 + 2 gamma) / (1 - gamma p). Both are 1 at gamma = 0; g1 is 0 for
    p = 1.

    Raises
    ------
    InputError
        gamma p >= 1: as many features as rows.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi

    if not (gamma >= 0 and gamma * p < 1):
        raise InputError(
            f"rows must exceed features: gamma = {gamma:.4g} times p = {p} must stay below 1"
        )
    g0 = 1 / (1 - gamma * p)
    if p == 1:
        return g0, 0.0
    if gamma == 0:
        return g0, 1.0
    # x is the square of a chi variable, whose density is smooth for any p.
    low, high = np.asarray(chi.ppf([1e-15, 1 - 1e-15], p - 1))
    nodes, weights = np.polynomial.legendre.leggauss(256)
    length = low + (high - low) * (nodes + 1) / 2
    weights = weights * chi.pdf(length, p - 1)
    x, weights = length**2, weights / weights.sum()

    def excess(g1: float) -> float:
        return float(g1 * (weights @ (x / (1 + gamma * (g0 + g1 * x)))) - (p - 1))

    upper = (1 + 2 * gamma) * g0
    while excess(upper) < 0:
        upper *= 2
    return g0, float(brentq(excess, 0.0, upper, xtol=1e-12))


def mean_shift_optimum(model: GroupModel, eta_l: float, eta_t: float, nu: float = 0.0) -> float:
    """Minority share of the pool that minimises the student's risk, mean-shift form.

    With b = eta_l mu_T - eta_t Xi mu_S, D = mu_T - Xi mu_S and c = nu (p_T - p_TS) |mu_S|^2:
    eta_u* = (<D, b> + c eta_t) / (|D|^2 + c), to leading order, clipped to [0, 1]. If the student
    imports no shift (Xi mu_S = 0, nu = 0) it is eta_l; if Xi mu_S = a mu_T it lies past eta_l, away
    from eta_t, at eta_t + (eta_l - eta_t) / (1 - a). Prefer `mixture_optimum` for data.

    Returns
    -------
    float
        In [0, 1]; NaN where the risk does not depend on eta_u.
    """
    check_shares(eta_l=eta_l, eta_t=eta_t)
    apart, base = _optimum_terms(model, eta_l, eta_t)
    weight = nu * (model.p_t - model.p_ts) * model.m_s
    curvature = float(apart @ apart) + weight
    if not curvature > 0:
        return float("nan")
    return float(np.clip((float(apart @ base) + weight * eta_t) / curvature, 0.0, 1.0))


def _optimum_terms(model: GroupModel, eta_l: float, eta_t: float) -> tuple[FloatArray, FloatArray]:
    """D and b, with v = eta_u D - b."""
    mu, imported = model.mu_t, model.xi @ model.mu_s
    return mu - imported, eta_l * mu - eta_t * imported


def mixture_optimum(
    model: GroupGeometry, eta_l: float, eta_t: float, nu: float = 0.0, shares: Any = POOL_SHARES
) -> float:
    """Minority share of the pool, among `shares`, that minimises the student's mixture risk."""
    return float(shares[np.argmin(mixture_risks(model, eta_l, shares, eta_t, 1.0, nu).student)])
