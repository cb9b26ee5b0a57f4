from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from w2s_data import DiscrepancyAnalyzer, embed
from w2s_data.discrepancy import theory
from w2s_data.discrepancy.dimensions import (
    correlation_dimension,
)
from w2s_data.discrepancy.summary import summarize_discrepancy
from w2s_data.encoders import TfidfEncoder
from w2s_data.errors import DegenerateDataWarning, FeatureError, InputError
from w2s_data.features.matrix import FeatureView, as_feature_matrix

UNIFORM = np.linspace(0.95, 0.1, 15)


def correlated(n: int, d_w: int, d_s: int, rho: Any, seed: int = 0) -> tuple[Any, Any]:
    """Strong and weak Gaussian features with these canonical correlations, off centre."""
    rng = np.random.default_rng(seed)
    weak, strong = rng.normal(size=(n, d_w)), rng.normal(size=(n, d_s))
    r = np.asarray(rho, dtype=float)
    strong[:, : len(r)] = r * weak[:, : len(r)] + np.sqrt(1 - r**2) * strong[:, : len(r)]
    return strong - 5, weak + 3


def rotation(d: int, seed: int) -> Any:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]


@pytest.fixture(scope="module")
def fitted() -> DiscrepancyAnalyzer:
    return DiscrepancyAnalyzer(random_state=0).fit(*correlated(1000, 15, 20, UNIFORM))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("d_w", "d_s", "rho"),
    [(15, 20, [0.0]), (15, 20, [1.0] * 5), (15, 20, UNIFORM), (10, 40, [0.5] * 10),
     (30, 30, [0.9] * 30), (30, 30, [1.0] * 30)],
)  # fmt: skip
def test_closed_form_has_little_bias(d_w: int, d_s: int, rho: Any) -> None:
    model = DiscrepancyAnalyzer(n_jackknife=0)
    found = [
        model.fit(*correlated(100, d_w, d_s, rho, seed)).correlation_dimension_
        for seed in range(20)
    ]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found) - np.sum(np.square(rho))) < 0.1 + 2 * error


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["closed", "two_fold"])
@pytest.mark.parametrize("rho", [[0.0], UNIFORM, [1.0] * 5])
def test_interval_covers(estimator: Any, rho: Any) -> None:
    truth, inside = float(np.sum(np.square(rho))), 0
    for seed in range(30):
        model = DiscrepancyAnalyzer(estimator=estimator, random_state=seed)
        low, high = model.fit(*correlated(300, 15, 20, rho, seed)).correlation_dimension_interval_
        inside += low - 1e-6 <= truth <= high + 1e-6
    assert inside >= 26  # 95 % nominal; conservative on few rows


def test_agrees_with_dense_computations(fitted: DiscrepancyAnalyzer) -> None:
    strong, weak = correlated(1000, 15, 20, UNIFORM)
    bases = [np.linalg.qr(side - side.mean(axis=0))[0] for side in (strong, weak)]
    values = np.linalg.svd(bases[0].T @ bases[1], compute_uv=False)
    np.testing.assert_allclose(fitted.canonical_correlations_, values, atol=1e-6)
    by_hand = correlation_dimension(np.sum(values**2), 999, d_w=15, d_s=20)
    assert fitted.correlation_dimension_ == pytest.approx(by_hand, abs=1e-5)
    assert (fitted.d_w_, fitted.d_s_, fitted.n_rows_) == (15, 20, 1000)
    np.testing.assert_allclose(
        fitted.weak_spectrum_, np.linalg.eigvalsh(np.cov(weak.T))[::-1], rtol=1e-5
    )


@pytest.mark.parametrize("estimator", ["closed", "two_fold"])
def test_invariant_to_invertible_maps(estimator: Any) -> None:
    strong, weak = correlated(400, 6, 9, [0.9, 0.7, 0.2])
    mixing = rotation(9, 1) * np.geomspace(1, 100, 9) @ rotation(9, 2)
    model = DiscrepancyAnalyzer(estimator=estimator, random_state=0)
    plain = model.fit(strong, weak).correlation_dimension_
    mapped = clone(model).fit(strong @ mixing + 7, weak @ rotation(6, 3) * 1e-3)
    assert mapped.correlation_dimension_ == pytest.approx(plain, abs=1e-3)


def test_truncated_components_are_invariant_to_rotations() -> None:
    strong, weak = correlated(400, 6, 9, [0.9, 0.7, 0.2])
    weak, strong = weak * np.arange(1, 7), strong * np.arange(1, 10)
    model = DiscrepancyAnalyzer(5, 3, random_state=0)
    plain = model.fit(strong, weak).correlation_dimension_
    turned = model.fit(strong @ rotation(9, 4), weak @ rotation(6, 3)).correlation_dimension_
    assert turned == pytest.approx(plain, abs=1e-4)
    assert (model.d_w_, model.d_s_) == (3, 5)


def test_components_by_edge_and_by_share() -> None:
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(1500, 16))
    weak = latent[:, :8] @ rotation(60, 1)[:8] + 0.05 * rng.normal(size=(1500, 60))
    strong = latent[:, 5:] @ rotation(90, 2)[:11] + 0.05 * rng.normal(size=(1500, 90))
    edge = DiscrepancyAnalyzer("mp", "mp", random_state=0).fit(strong, weak)
    assert (edge.d_w_, edge.d_s_) == (8, 11)
    assert edge.correlation_dimension_ == pytest.approx(3, abs=0.1)
    row = edge.sensitivity_.loc["marchenko_pastur"]
    assert row.tolist() == pytest.approx([11, 8, edge.correlation_dimension_], abs=1e-4)
    # With every component, noise included, the de-biased estimate is still close.
    whole = DiscrepancyAnalyzer(None, 0.99, random_state=0).fit(strong, weak)
    assert whole.d_s_ == 90
    assert whole.correlation_dimension_ == pytest.approx(3, abs=0.3)
    assert edge.sensitivity_.loc["df2", "weak"] < edge.sensitivity_.loc["df1", "weak"]
    assert list(edge.sensitivity_.index) == [
        "used", "rank", "marchenko_pastur", "variance_95", "variance_99", "df1", "df2",
        "participation_ratio",
    ]  # fmt: skip


def test_sources_of_features_agree(tmp_path: Path) -> None:
    texts = [f"{a} {b} word{a}{b}" for a in ("red", "blue", "green") for b in range(40)]
    store = embed(texts, TfidfEncoder(n_components=8).fit(texts), tmp_path / "store")
    dense = store.array()
    strong = np.hstack([dense, np.random.default_rng(0).normal(size=(120, 4))]).astype(np.float32)
    model = DiscrepancyAnalyzer(random_state=0)
    found = [
        model.fit(other, weak).correlation_dimension_
        for weak, other in [(dense, strong), (store, strong), (store, as_feature_matrix(strong))]
    ]
    assert found[0] == found[1] == found[2]


def test_blocks_of_different_sizes_are_paired() -> None:
    strong, weak = correlated(500, 6, 9, [0.9, 0.7])

    class Small:
        def __init__(self, array: Any, step: int) -> None:
            self.base, self.step = as_feature_matrix(array), step
            self.shape = self.base.shape

        def blocks(self, max_bytes: int = 0) -> Any:
            del max_bytes
            return self.base.blocks(self.step * self.shape[1] * 4)

        def take(self, rows: Any) -> Any:
            return self.base.take(rows)

    model = DiscrepancyAnalyzer(random_state=0)
    plain = model.fit(strong, weak).correlation_dimension_
    small = model.fit(Small(strong, 31), Small(weak, 17)).correlation_dimension_
    assert small == pytest.approx(plain, abs=1e-9)
    every = FeatureView(Small(weak, 70), np.arange(500))
    assert model.fit(strong, every).correlation_dimension_ == pytest.approx(plain, abs=1e-9)


def test_predictions_are_the_closed_forms(fitted: DiscrepancyAnalyzer) -> None:
    d_sw = fitted.correlation_dimension_
    found = fitted.predict_variance(60, 200, noise=2.0)
    expected = theory.risks(60, 200, d_w=15, d_s=20, d_sw=d_sw, noise=2.0)
    for role in theory.ROLES:
        assert float(getattr(found, role)) == getattr(expected, role)
    assert (found.pgr.value, found.opr.value) == (expected.pgr, expected.opr)
    for estimate in (found.student, found.pgr, found.opr):
        assert estimate.low < estimate.value < estimate.high
        assert estimate.level == 0.95
    assert json.dumps(found.to_dict())
    assert "keeps" in found.reading
    assert repr(found).startswith("GainPrediction(n=60, N=200, teacher=0.6818")
    with_intercept = DiscrepancyAnalyzer(intercept=True, random_state=0)
    with_intercept.fit(*correlated(1000, 15, 20, UNIFORM))
    assert with_intercept.predict_variance(60, 200).teacher > found.teacher / 2


def test_curve_and_needed_pool(fitted: DiscrepancyAnalyzer) -> None:
    curve = fitted.curve(60, [10, 20, 41, 100, 1000])
    assert np.isnan(curve.student[0])
    assert np.isinf(curve.student[1])
    assert curve.student[2] == pytest.approx(curve.teacher[2])
    assert fitted.break_even_ == 41
    assert curve.iloc[-1].to_dict()["pgr"] == pytest.approx(
        fitted.predict_variance(60, 1000).pgr.value
    )
    assert (curve.pgr_low[3:] < curve.pgr_high[3:]).all()
    assert "break-even 41" in fitted.predict_variance(60, 30).reading

    wanted = fitted.needed_pool(0.75, 60)
    assert wanted.N == 20 + 1 + 20 / 0.25
    gain, whole = (
        found.teacher - found.student.value
        for found in (fitted.predict_variance(60, size) for size in (int(wanted.N), 10**9))
    )
    assert gain / whole == pytest.approx(0.75, rel=1e-6)
    break_even, endless = (fitted.needed_pool(share, 60).N for share in (0.0, 1.0))
    assert break_even == fitted.break_even_
    assert np.isinf(endless)
    assert fitted.needed_pool(0.5, 60).to_dict()["share"] == 0.5


@pytest.mark.parametrize("N", [25, 30, 41, 60, 1000])
def test_limits_are_in_order_on_either_side_of_the_break_even(
    fitted: DiscrepancyAnalyzer, N: int
) -> None:
    found = fitted.predict_variance(60, N)
    row = fitted.curve(60, [N]).iloc[0]
    for name in ("student", "pgr", "opr"):
        estimate = getattr(found, name)
        assert estimate.low <= estimate.value <= estimate.high or np.isnan(found.pgr.value)
        if not np.isnan(estimate.low):
            assert (row[f"{name}_low"], row[f"{name}_high"]) == (estimate.low, estimate.high)


def test_summary_holds_what_the_analyzer_says(fitted: DiscrepancyAnalyzer) -> None:
    found = summarize_discrepancy(fitted, 60, 200)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["prediction"]["student"] == fitted.predict_variance(60, 200).student.to_dict()
    assert found["correlation_dimension"]["value"] == fitted.correlation_dimension_
    assert found["break_even"] == 41
    assert [row["N"] for row in found["needed_pool"]] == [61.0, 121.0, 221.0]
    assert {200} < {row["N"] for row in found["curve"]}
    assert [row["criterion"] for row in found["sensitivity"]] == list(fitted.sensitivity_.index)
    assert found["sensitivity"][0]["student"] == pytest.approx(
        found["prediction"]["student"]["value"]
    )
    assert found["unknown"] == []
    assert found["reading"] == found["prediction"]["reading"]


def test_learned_values_are_plain(fitted: DiscrepancyAnalyzer) -> None:
    found = fitted.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["correlation_dimension"]["level"] == 0.95
    assert len(found["strong_spectrum"]) == 20
    assert found["sensitivity"][0]["criterion"] == "used"
    assert fitted.to_frame().equals(fitted.sensitivity_)


def test_summary_says_what_is_unknown(fitted: DiscrepancyAnalyzer) -> None:
    found = summarize_discrepancy(fitted, 16, 200)
    assert found["prediction"] is found["curve"] is found["needed_pool"] is None
    assert "n = 16 labelled rows do not determine a teacher on 15 weak" in found["reading"]
    assert "student" not in found["sensitivity"][0]
    assert summarize_discrepancy(fitted)["unknown"] == [
        "predictions: the numbers of labelled and pool rows"
    ]
    found = summarize_discrepancy(fitted, 18, 20)
    assert found["prediction"]["student"]["value"] is None
    assert [reason.partition(":")[0] for reason in found["unknown"]] == [
        "student",
        "supervised fine-tuning",
    ]
    without = DiscrepancyAnalyzer(n_jackknife=0).fit(*correlated(200, 3, 5, [0.5]))
    off = summarize_discrepancy(without, 60, 200)
    assert off["unknown"] == ["intervals: switched off"]
    assert off["prediction"]["student"]["low"] is None


def test_summary_names_components_that_would_do() -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(400, 5)) * 3
    weak = np.hstack([signal, 0.1 * rng.normal(size=(400, 35))])
    strong = np.hstack([signal, 0.1 * rng.normal(size=(400, 55))])
    analyzer = DiscrepancyAnalyzer(random_state=0).fit(strong, weak)
    found = summarize_discrepancy(analyzer, 30, 500)
    assert found["prediction"] is None
    wanted = "weak_components=5 (variance 99, variance 95, marchenko pastur) would do"
    assert wanted in found["reading"]
    under = {row["criterion"]: row for row in found["sensitivity"]}
    assert under["marchenko_pastur"]["teacher"] == pytest.approx(5 / 24)
    assert "teacher" not in under["used"]


def test_long_spectra_are_cut() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(700, 300))
    analyzer = DiscrepancyAnalyzer(6, 5, n_jackknife=0).fit(features, features)
    found = summarize_discrepancy(analyzer, 60, 200)
    assert len(found["weak_spectrum"]["leading"]) == 256
    assert found["weak_spectrum"]["n_values"] == 300
    assert found["weak_spectrum"]["total"] == pytest.approx(features.var(axis=0, ddof=1).sum())


@pytest.mark.parametrize("estimator", ["closed", "two_fold"])
def test_identical_and_collinear_features_promise_nothing(estimator: Any) -> None:
    _, weak = correlated(300, 8, 8, [0.0])
    for strong in (weak, weak @ rotation(8, 1) * 5 - 2):
        model = DiscrepancyAnalyzer(estimator=estimator, random_state=0).fit(strong, weak)
        assert model.correlation_dimension_ == pytest.approx(8, abs=1e-6)
        found = model.predict_variance(40, 500)
        assert found.student.value == found.teacher
        assert found.pgr.value == 0
        assert "no gain" in found.reading
        wanted = model.needed_pool(0.5, 40)
        assert np.isnan(wanted.N)
        assert "d_sw = d_w" in wanted.reason


def test_constant_and_collinear_columns_do_not_count() -> None:
    strong, weak = correlated(300, 5, 7, [0.9, 0.5])
    padded = np.c_[weak, np.full(300, 4.0), weak[:, 0] + 2 * weak[:, 1]].astype(np.float32)
    model = DiscrepancyAnalyzer(random_state=0)
    plain = model.fit(strong, weak).correlation_dimension_
    assert model.fit(strong, padded).d_w_ == 5
    assert model.correlation_dimension_ == pytest.approx(plain, abs=1e-4)


def test_few_rows_for_an_interval_are_said() -> None:
    strong, weak = correlated(37, 15, 20, [0.5])
    with pytest.warns(DegenerateDataWarning, match="37 rows do not give an interval"):
        model = DiscrepancyAnalyzer(random_state=0).fit(strong, weak)
    assert np.isnan(model.correlation_dimension_interval_).all()
    found = model.predict_variance(40, 100)
    assert np.isfinite(found.student.value)
    assert np.isnan([found.student.low, found.student.high, found.pgr.low, found.pgr.high]).all()
    assert np.isnan(model.curve(40, [100, 200]).opr_low).all()


@pytest.mark.parametrize("n_jackknife", [0, 2, 7, 20])
@pytest.mark.filterwarnings("ignore:46 rows do not give an interval")
def test_two_folds_do_with_the_fewest_rows(n_jackknife: int) -> None:
    model = DiscrepancyAnalyzer(estimator="two_fold", n_jackknife=n_jackknife, random_state=0)
    model.fit(*correlated(46, 15, 20, [0.5]))
    assert np.isfinite(model.correlation_dimension_)
    with pytest.raises(FeatureError, match="at least 46"):
        model.fit(*correlated(45, 15, 20, [0.5]))


def test_teacher_determined_but_not_supervised_fine_tuning(fitted: DiscrepancyAnalyzer) -> None:
    found = fitted.predict_variance(20, 500)
    assert np.isinf(found.sft)
    assert found.opr.value == np.inf


@pytest.mark.parametrize(
    ("weak", "strong", "message"),
    [
        (np.ones((50, 3)), np.eye(50)[:, :4], "weak features are constant"),
        (np.eye(50)[:, :4], np.ones((50, 3)), "strong features are constant"),
        (np.eye(50)[:, :4], np.eye(49)[:, :4], "row counts disagree"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "two rows or more"),
        (np.zeros(5), np.zeros((5, 2)), "weak features must be numbers"),
    ],
)
def test_bad_features(weak: Any, strong: Any, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        DiscrepancyAnalyzer().fit(strong, weak)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_rows_are_named(bad: float) -> None:
    strong, weak = correlated(100, 4, 5, [0.5])
    strong[[7, 30], 2] = bad
    with pytest.raises(FeatureError, match=r"strong features have NaN or infinite.*rows 7, 30"):
        DiscrepancyAnalyzer().fit(strong, weak)


def test_more_dimensions_than_rows_says_what_would_do() -> None:
    rng = np.random.default_rng(0)
    signal = rng.normal(size=(60, 3)) * 9
    weak, strong = (signal @ rotation(d, d)[:3] + 0.1 * rng.normal(size=(60, d)) for d in (40, 50))
    with pytest.raises(FeatureError, match=r"at least 92 are needed.*3 and 3 stand out from noise"):
        DiscrepancyAnalyzer().fit(strong, weak)
    assert DiscrepancyAnalyzer("mp", "mp").fit(strong, weak).d_s_ == 3
    with pytest.raises(FeatureError, match="at least 106"):
        DiscrepancyAnalyzer(estimator="two_fold").fit(strong, weak)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weak_components": 0}, "weak_components must be None"),
        ({"weak_components": 5}, "rank of the weak features, 4; got 5"),
        ({"strong_components": "all"}, "strong_components must be None"),
        ({"strong_components": 1.5}, "strong_components must be None"),
        ({"weak_components": True}, "weak_components must be None"),
        ({"estimator": "close"}, "did you mean 'closed'"),
        ({"n_jackknife": 1}, "n_jackknife must be 0 or an integer >= 2"),
        ({"level": 95}, "level must be a number in"),
        ({"ridge": 0}, "ridge must be a number > 0"),
        ({"random_state": "x"}, "random_state must be"),
    ],
)
def test_bad_parameters(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DiscrepancyAnalyzer(**parameters).fit(*correlated(100, 4, 5, [0.5]))


def test_bad_sizes(fitted: DiscrepancyAnalyzer) -> None:
    with pytest.raises(InputError, match="n = 16 labelled rows do not determine a teacher on 15"):
        fitted.predict_variance(16, 100)
    with pytest.raises(InputError, match=r"n must be an integer; got 60\.5"):
        fitted.predict_variance(60.5, 100)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"N must be an integer; got 99\.5"):
        fitted.predict_variance(60, 99.5)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="share must lie"):
        fitted.needed_pool(2, 60)
    with pytest.raises(NotFittedError):
        DiscrepancyAnalyzer().predict_variance(60, 100)


def test_same_seed_same_result() -> None:
    features = correlated(200, 5, 7, [0.9, 0.5])
    one, other = (DiscrepancyAnalyzer(random_state=4).fit(*features) for _ in range(2))
    assert one.correlation_dimension_interval_ == other.correlation_dimension_interval_
    assert one.fit(*features).correlation_dimension_ == other.correlation_dimension_
