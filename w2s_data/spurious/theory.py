r"""Weak-to-strong risks of two groups in closed form: the spurious-correlation model.

Rows of the minority group (share eta) differ from the others by a shift of features that the
label does not depend on. With T and S the group directions that teacher and student see, mu_T and
mu_S are the shift in either, Xi = T'S their similarity, s_x the variance inside a group; the
teacher sees z (x) [1; T'xi] and the student z (x) [1; S'xi] with core features z in R^dz. The
teacher is fitted on n noisy labels with minority share eta_l, the student on the teacher's outputs
for N rows with share eta_u, and both are tested on a share eta_t; gamma = dz / n, nu = dz / N.
Plain embeddings with an intercept are the case dz = 1.

Source of the model: Liu, Dong, Lei, *Does Weak-to-Strong Generalization Happen under Spurious
Correlations?*, ICLR 2026, section 2. Its group features are N(eta mu, s_x I), where the share only
moves the mean. Real groups are the mixture N(g mu, s_x I) with g ~ Bernoulli(eta), whose variance
between groups, eta (1 - eta) mu mu', stays in: at |mu| = 1.5 standard deviations it changes risks
by up to 18 %, at 4 by up to 110 %. The forms here, derived for this toolkit and checked by
simulation, are those of the mixture. Risks are expected squared errors to the noiseless target;
variance only, since the label is taken not to depend on the group.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from w2s_data.discrepancy.theory import plain
from w2s_data.spurious.model import GroupGeometry, GroupRisks, check_scale, check_shares

# Share of the group in each test: only others, only the group, both counted alike.
TESTS = {"others": 0.0, "inside": 1.0, "average": 0.5}
# The risk of the student is flat inside and moves fastest near pools of one group; there is no
# closed form of its minimum. In simulation the best of these shares cost at most .02 %.
POOL_SHARES = np.linspace(0, 1, 101)
ROUNDING = 1e-9  # part of the teacher's risk below which a gain is rounding, as copies give 1e-12


def mixture_risks(
    model: GroupGeometry,
    eta_l: float,
    eta_u: Any,
    eta_t: float,
    gamma: float,
    nu: float = 0.0,
    *,
    noise: float = 1.0,
) -> GroupRisks:
    r"""Compute the risks of real groups: features N(g mu, s_x I) with g ~ Bernoulli(eta).

    With S_T(e) = s_x I + e (1 - e) mu_T mu_T', S_S(e) alike, D = mu_T - Xi mu_S,
    a = e_u (1 - e_u) / (s_x + e_u (1 - e_u) |mu_S|^2), B = Xi + a D mu_S' and
    R = S_T(eta_u) - B Cov_u(S'xi, T'xi),

    .. math::
        teacher / s \gamma &= p_T
            + \frac{(\eta_t - \eta_l)(1 - 2 \eta_l) |\mu_T|^2}{s_x + \eta_l (1-\eta_l) |\mu_T|^2} \\
        student / s \gamma &= 1 + v' S_T(\eta_l)^{-1} v
            + tr[S_T(\eta_l)^{-1} B S_S(\eta_t) B'] + \nu\, tr[S_T(\eta_l)^{-1} R]
            \{1 + (\eta_t - \eta_u)^2 \mu_S' S_S(\eta_u)^{-1} \mu_S
            + tr[S_S(\eta_u)^{-1} S_S(\eta_t)]\}, \\
        v &= (\eta_u - \eta_l) \mu_T + (\eta_t - \eta_u) (\Xi \mu_S + a |\mu_S|^2 D)

    Leading order in gamma = dz / n and nu = dz / N; linear in eta_t, as a mixture of tests must be:
    eta_t 0 is the majority's risk, 1 the minority's. The ratio student / teacher is within 1 % of
    simulation at gamma = .02, 3 % on average at .1. With embeddings and an intercept (dz = 1)
    gamma = 1 / (n - d_w - 2), nu = 1 / (N - d_s - 2) bring both within about 1 %. eta_u may be an
    array; `noise` is the variance s of the label noise.

    Examples
    --------
    >>> model = GroupGeometry.of([1.28, 0.0], [1.493, 0.0], [[0.8, 0.0], [0.0, 0.3]])
    >>> mixture_risks(model, eta_l=0.1, eta_u=0.5, eta_t=1.0, gamma=0.02, nu=0.005)
    GroupRisks(teacher=0.08056, student=0.05594)
    """
    check_shares(eta_l=eta_l, eta_u=eta_u, eta_t=eta_t)
    check_scale(gamma, nu, noise)
    g = model
    s_x, m_t, m_s, across = g.variance, g.m_t, g.m_s, g.across
    tau_l, tau_u, tau_t = (e * (1 - e) for e in (eta_l, eta_u, eta_t))
    scale_t = s_x + tau_l * m_t
    scale_s = s_x + tau_u * m_s

    def product(dot: Any, mu_one: Any, mu_other: Any) -> Any:
        """Return one' S_T(eta_l)^-1 other from <one, other> and both with mu (Sherman-Morrison)."""
        return (dot - tau_l / scale_t * mu_one * mu_other) / s_x

    # Every vector below is mu_T and Xi mu_S in some proportion: seen = B mu_S, v as above.
    slope = tau_u / scale_s
    kappa = slope * m_s
    mu_apart = m_t - across  # <mu_T, D>
    mu_seen = (1 - kappa) * across + kappa * m_t
    seen_seen = (1 - kappa) ** 2 * g.imported + 2 * kappa * (1 - kappa) * across + kappa**2 * m_t
    apart_seen = (1 - kappa) * (across - g.imported) + kappa * mu_apart
    crossed = g.shared + slope * (across - g.imported)  # <B, Xi>
    squared = crossed + slope * apart_seen  # ||B||^2
    back = g.returned + slope * mu_apart * across  # <B' mu_T, Xi' mu_T>
    back_back = back + slope * mu_apart * (across + slope * mu_apart * m_s)  # |B' mu_T|^2
    here, test = eta_u - eta_l, eta_t - eta_u
    v_v = here**2 * m_t + 2 * here * test * mu_seen + test**2 * seen_seen
    mu_v = here * m_t + test * mu_seen

    # Traces cost O(1) per share this way, and a curve or a jackknife needs thousands of them.
    # tr[S_T^-1 B (s_x I + tau mu mu') B'] and tr[S_T^-1 R], each without a d x d product.
    shared = squared - tau_l / scale_t * back_back + tau_t * product(seen_seen, mu_seen, mu_seen)
    kept = g.d_w + (tau_u - tau_l) * m_t / scale_t
    explained = crossed - tau_l / scale_t * back + tau_u * product(mu_seen, m_t, mu_seen)
    pool = g.d_s + 1 + (test**2 + tau_t - tau_u) * m_s / scale_s
    teacher = g.d_w + 1 + (eta_t - eta_l) * (1 - 2 * eta_l) * m_t / scale_t
    student = 1 + product(v_v, mu_v, mu_v) + shared + nu * (kept - explained) * pool
    return GroupRisks(plain(noise * gamma * teacher), plain(noise * gamma * student))
