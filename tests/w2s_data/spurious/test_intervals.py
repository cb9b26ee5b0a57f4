from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.w2s_data.spurious.mean_shift import GroupModel, mixture_optimum
from tests.w2s_data.spurious.pilot import MU_S, MU_T, RHO, fit, pilot
from w2s_data import SpuriousAnalyzer
from w2s_data.errors import DegenerateDataWarning
from w2s_data.spurious.model import GroupRisks
from w2s_data.spurious.theory import mixture_risks


def similarity() -> Any:
    xi = np.zeros((10, 15))
    xi[range(10), range(10)] = RHO
    return xi


@pytest.mark.slow
@pytest.mark.parametrize(("size", "eta_u"), [(300, 0.3), (900, 0.6)])
def test_intervals_cover_the_truth(size: int, eta_u: float) -> None:
    true = GroupModel(MU_T, MU_S, similarity())
    gamma, nu = 1 / (size // 3 - 12), 1 / (size - size // 3 - 17)
    risks = [mixture_risks(true, 0.1, eta_u, t, gamma, nu) for t in (0.0, 1.0, 0.5)]
    worst = GroupRisks(max(r.teacher for r in risks), max(r.student for r in risks))
    parts = dict(zip(("others", "inside", "average", "worst"), [*risks, worst], strict=True))
    best = mixture_optimum(true, 0.1, 0.5, nu)
    inside: dict[str, list[bool]] = {}
    for seed in range(100):
        analyzer = SpuriousAnalyzer(random_state=seed)
        group = fit(analyzer, pilot(seed, size, eta_u=eta_u)).groups_.loc["rural"]
        found = analyzer.predict_risk(group="rural").to_row()
        truth = {
            f"{name}_{part}": getattr(risk, name)
            for part, risk in parts.items()
            for name in ("teacher", "student", "gain", "relative_gain")
        }
        truth |= {"optimal_eta_pool": best, "shared": true.shared}
        truth |= {"shift_teacher": true.m_t**0.5, "shift_student": true.m_s**0.5}
        for name, value in truth.items():
            limits = found if f"{name}_low" in found else group
            covers = limits[f"{name}_low"] <= value <= limits[f"{name}_high"]
            inside.setdefault(name, []).append(bool(covers))
    share = {name: np.mean(covers) for name, covers in inside.items()}
    assert (
        share.pop("optimal_eta_pool") >= 0.95
    )  # spans all shares without a significant difference
    assert min(share.values()) >= 0.88
    assert 0.91 < np.mean(list(share.values())) < 0.99


def test_intervals_shrink_with_rows_and_grow_with_level() -> None:
    def width(size: int, level: float = 0.95) -> float:
        found = fit(SpuriousAnalyzer(level=level, random_state=0), pilot(1, size)).predict_risk()
        assert found.average.gain.level == level
        return found.average.gain.high - found.average.gain.low

    assert width(3000) < 0.7 * width(600) * (600 / 3000)  # gains themselves fall as 1 / n
    assert width(600, 0.8) < width(600) < width(600, 0.99)


def test_intervals_can_be_switched_off() -> None:
    analyzer = fit(SpuriousAnalyzer(n_jackknife=0), pilot(0))
    found = analyzer.predict_risk()
    gain, best = found.average.gain, analyzer.optimal_eta_pool_
    assert np.isnan([gain.low, gain.high, found.worst.chance_fails, best.low, best.high]).all()
    assert "interval unknown" in analyzer.advice_
    assert analyzer.to_dict()["groups"][0]["risks"]["inside"]["gain"]["low"] is None


def test_rows_that_do_not_give_intervals_are_said() -> None:
    strong, weak, groups, labelled = pilot(0, size=90)
    more = np.random.default_rng(0).normal(size=(90, 59))
    weak, strong = np.hstack([weak, more[:, :17]]), np.hstack([strong, more[:, 17:]])
    with pytest.warns(DegenerateDataWarning, match="90 rows do not give intervals on 27 weak"):
        analyzer = SpuriousAnalyzer(random_state=0).fit(
            strong, weak, groups=groups, labelled=labelled
        )
    gain = analyzer.predict_risk().average.gain
    assert np.isnan([gain.low, gain.high]).all()
    assert np.isfinite(gain.value)


@pytest.mark.parametrize("seed", range(4))
def test_advice_says_where_it_cannot_tell(seed: int) -> None:
    rng, night = np.random.default_rng(seed), np.arange(150) % 10 == 0
    weak, own, rho = rng.normal(size=(150, 2)), rng.normal(size=(150, 2)), np.array([0.7, 0.97])
    strong = rho * weak + np.sqrt(1 - rho**2) * own
    strong[night, 0] += 4  # what the student sees of the group, its teacher does not
    groups = np.where(night, "night", "day")
    data = strong, weak, groups, np.arange(150) < 50
    analyzer = fit(SpuriousAnalyzer(random_state=0), data)
    risks = analyzer.predict_risk().average
    unclear = not risks.relative_gain.differs_from_zero
    assert unclear == (seed < 2)
    assert ("cannot tell whether the student gains" in analyzer.advice_) == unclear
    assert (f"chance that it does not {risks.chance_fails:.0%}" in analyzer.advice_) == unclear
    assert (
        f"(chance that it fails {analyzer.chance_fails_['inside']:.0%}) in the group"
        in analyzer.advice_
    )
