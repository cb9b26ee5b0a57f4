"""Parts of a target whose variances are known, and the risks that follow from them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from w2s_data import DiscrepancyAnalyzer
from w2s_data.discrepancy.target import target_parts
from w2s_data.errors import FeatureError, InputError


def draw(n: int, seed: int, noise: float = 0.5) -> tuple[Any, Any, Any]:
    """8 strong and 6 weak columns, 3 of them shared; each part of the target has its variance."""
    rng = np.random.default_rng(seed)
    common, own_s, own_w = (rng.normal(size=(n, k)) for k in (3, 5, 3))
    strong = np.c_[common, own_s] @ rng.normal(size=(8, 8))
    weak = np.c_[common, own_w] @ rng.normal(size=(6, 6))
    f = 2 * common[:, 0] + 0.8 * own_s[:, 1] + 0.6 * own_w[:, 2]
    return strong + 5, weak - 3, f + np.sqrt(noise) * rng.normal(size=n) + 40


def test_parts_are_those_of_the_target() -> None:
    found = [asdict(target_parts(*draw(150, seed))) for seed in range(60)]
    mean = {name: np.mean([x[name] for x in found]) for name in found[0]}
    error = {name: np.std([x[name] for x in found]) / np.sqrt(60) for name in found[0]}
    true = {"signal": 5.0, "noise": 0.5, "rho_w": 0.64, "rho_s": 0.36, "c2": 0.64, "rho_ws": 0.36}
    for name, value in true.items():
        assert abs(mean[name] - value) < 3.5 * error[name], name
    assert mean["d_sw"] == pytest.approx(3, abs=0.02)
    assert (mean["d_s"], mean["d_w"]) == (8, 6)


def test_collinear_columns_count_once_and_pure_noise_has_no_part() -> None:
    strong, weak, y = draw(4000, 0)
    known = target_parts(strong, weak, y)
    again = target_parts(np.c_[strong, strong[:, :2]], weak * 1000, y)
    assert asdict(again) == pytest.approx(asdict(known), rel=1e-3)
    noise = target_parts(strong, weak, np.random.default_rng(1).normal(size=4000))
    assert noise.noise == pytest.approx(1.0, abs=0.08)
    assert max(noise.rho_w, noise.rho_s, noise.c2, noise.rho_ws, noise.signal) < 0.02


def test_the_analyzer_adds_the_parts_to_its_variances() -> None:
    strong, weak, y = draw(3000, 3)
    parts = target_parts(strong, weak, y)
    analyzer = DiscrepancyAnalyzer(n_jackknife=0, intercept=True).fit(strong, weak)
    own = {k: v for k, v in asdict(parts).items() if k not in ("d_s", "d_w", "d_sw")}
    assert analyzer.predict_risk(60, 200, **own).to_dict() == pytest.approx(
        parts.risks(60, 200).to_dict(), rel=1e-6
    )
    alone = analyzer.predict_variance(60, 200, noise=2.0)
    variance = analyzer.predict_risk(60, 200, noise=2.0)
    assert (variance.teacher, variance.student) == pytest.approx(
        (alone.teacher, alone.student.value)
    )
    # Fewer rows than dimensions, where least squares of the publication is undetermined.
    assert np.isfinite(analyzer.predict_risk(4, 200, signal=5.0).teacher)


def test_bad_input() -> None:
    strong, weak, y = draw(150, 0)
    with pytest.raises(FeatureError, match="15 gold rows do not tell what 8 strong and 6 weak"):
        target_parts(strong[:15], weak[:15], y[:15])
    with pytest.raises(InputError, match="targets hold one finite value"):
        target_parts(strong, weak, np.where(y > 41, np.inf, y))
