from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError

from tests.w2s_data.discrepancy.equivalents import expected_variances
from tests.w2s_data.spurious.pilot import MU_S, MU_T, RHO, Data, fit, pilot
from w2s_data import SpuriousAnalyzer
from w2s_data.data.examples import spurious_gaussian
from w2s_data.errors import DegenerateDataWarning, InputError

# Simulated student by share in the pool; teacher .03034; n = 400, N = 1200, eta_l = .1, eta_t = .5.
SIMULATED = {0.0: 0.0087251, 0.1: 0.0091693, 0.3: 0.0098219, 0.5: 0.0102793, 1.0: 0.0110659}


@pytest.fixture(scope="module")
def fitted() -> SpuriousAnalyzer:
    return fit(SpuriousAnalyzer(random_state=0), pilot(0))


def test_pilots_predict_the_simulated_risks() -> None:
    found = [fit(SpuriousAnalyzer(), pilot(seed)) for seed in range(6)]
    teacher = np.mean([a.predict_risk(n=400, N=1200).average.teacher.value for a in found])
    assert teacher == pytest.approx(0.03034, rel=0.015)
    for share, simulated in SIMULATED.items():
        risks = [a.predict_risk(share, n=400, N=1200).average.student.value for a in found]
        assert np.mean(risks) == pytest.approx(simulated, rel=0.015), share
        assert max(abs(np.array(risks) / simulated - 1)) < 0.06, share


def test_estimates_are_without_their_chance_part() -> None:
    found = [fit(SpuriousAnalyzer(), pilot(s, size=300)).groups_.iloc[0] for s in range(40)]
    for name, true in (
        ("shift_teacher", MU_T @ MU_T),
        ("shift_student", MU_S @ MU_S),
        ("shared", RHO @ RHO),
    ):
        values = np.array([row[name] for row in found]) ** (1 if name == "shared" else 2)
        error = np.std(values) / np.sqrt(len(values))
        assert abs(np.mean(values) - true) < 3 * error + 0.02 * true, name


def test_shares_and_worst_group(fitted: SpuriousAnalyzer) -> None:
    assert fitted.worst_ == "rural"
    assert (fitted.eta_labelled_.value, fitted.eta_pool_.value) == (0.1, 0.3)
    assert fitted.eta_labelled_.low < 0.1 < fitted.eta_labelled_.high
    assert list(fitted.fails_) == ["others", "inside", "average"]
    assert all(isinstance(value, bool) for value in fitted.fails_.values())


def test_prediction_is_consistent(fitted: SpuriousAnalyzer) -> None:
    found = fitted.predict_risk(0.4, eta_test=0.25, noise=2.0)
    for role in ("teacher", "student"):
        parts = [getattr(r, role).value for r in (found.others, found.inside, found.average)]
        assert parts[2] == pytest.approx(0.75 * parts[0] + 0.25 * parts[1])
        assert getattr(found.worst, role).value == max(parts[:2])
        single = fitted.predict_risk(0.4, eta_test=0.25)
        assert getattr(single.average, role).value == pytest.approx(parts[2] / 2)
    written = json.loads(json.dumps(found.to_dict()))
    assert written["average"]["gain"] == found.average.gain.to_dict()
    assert found.average.gain.level == fitted.level
    frame = found.to_frame()
    assert frame.index.tolist() == ["others", "inside", "average", "worst"]
    assert frame.loc["inside", "student_low"] == found.inside.student.low
    assert len(repr(found).splitlines()) == 3


def test_curve_and_optimum(fitted: SpuriousAnalyzer) -> None:
    curve = fitted.curve(np.linspace(0, 1, 101))
    best = curve.loc[curve["student_average"].idxmin(), "eta_pool"]
    assert fitted.optimal_eta_pool_.value == pytest.approx(best)
    assert curve["teacher_average"].nunique() == 1
    assert len(fitted.curve()) == 21
    assert len(fitted.curve([])) == 0


def test_failing_pool_is_named_and_a_better_share_advised() -> None:
    rng = np.random.default_rng(0)
    labelled = np.arange(4000) < 1000
    minority = rng.random(4000) < np.where(labelled, 0.4, 0.98)
    weak = rng.normal(size=(4000, 2))
    strong = np.hstack([weak[:, :1], rng.normal(size=(4000, 1))])
    weak[:, 1] += 5.0 * minority  # the teacher sees the group, the student cannot
    groups = np.where(minority, "night", "day")
    analyzer = SpuriousAnalyzer().fit(strong, weak, groups=groups, labelled=labelled)
    assert any(analyzer.fails_.values())
    assert {share for share, chance in analyzer.chance_fails_.items() if chance > 0.5} == {
        share for share, fails in analyzer.fails_.items() if fails
    }
    assert "of the pool and" in analyzer.advice_
    assert "95% interval" in analyzer.advice_
    assert "re-weight the pool towards" in analyzer.advice_
    best = analyzer.predict_risk(analyzer.optimal_eta_pool_.value)
    assert best.average.student.value < analyzer.predict_risk().average.student.value


def test_no_discrepancy_no_gain() -> None:
    _, weak, groups, labelled = pilot(0)
    analyzer = SpuriousAnalyzer().fit(weak, weak, groups=groups, labelled=labelled)
    found = analyzer.predict_risk()
    assert found.average.gain.value == pytest.approx(0, abs=1e-9)
    assert all(analyzer.fails_.values())
    assert set(analyzer.chance_fails_.values()) == {1.0}
    assert "predicted gain 0, as the student sees all that the teacher sees" in analyzer.advice_
    assert "would change little" in analyzer.advice_
    (group,) = analyzer.to_dict()["groups"]
    assert group["remedy"] == "none"
    assert group["saving"]["value"] == pytest.approx(0, abs=1e-9)


def test_rows_in_neither_split_are_left_out(fitted: SpuriousAnalyzer) -> None:
    strong, weak, groups, labelled = pilot(0)
    rng = np.random.default_rng(2)
    place = np.sort(rng.permutation(2000)[:1500])
    wide = [rng.normal(size=(2000, 15)), rng.normal(size=(2000, 10))]
    names, first = np.full(2000, None, dtype=object), np.zeros(2000, dtype=bool)
    wide[0][place], wide[1][place], names[place], first[place] = strong, weak, groups, labelled
    pool = np.zeros(2000, dtype=bool)
    pool[place] = ~labelled
    wide[0][np.setdiff1d(np.arange(2000), place)[0]] = np.nan  # never looked at
    found = fit(clone(fitted), (*wide, names, first, pool))
    got, expected = (analyzer.predict_risk().to_row() for analyzer in (found, fitted))
    assert got.pop("group") == expected.pop("group")
    assert got == pytest.approx(expected, rel=1e-9)
    wide[0][place[7]] = np.nan
    with pytest.raises(InputError, match=f"NaN or infinite values in row {place[7]}$"):
        fit(clone(fitted), (*wide, names, first, pool))


@pytest.mark.parametrize("naming", [str, int, lambda k: f"group {k}", float])
def test_many_groups(naming: Any) -> None:
    strong, weak, _, labelled = pilot(0)
    codes = np.random.default_rng(0).integers(40, size=1500)
    weak[codes == 3] += 4 * np.random.default_rng(1).normal(size=10)
    groups = np.array([naming(code) for code in codes])
    analyzer = SpuriousAnalyzer(random_state=0).fit(strong, weak, groups=groups, labelled=labelled)
    assert set(analyzer.groups_.index) == {naming(code) for code in range(40)}
    assert analyzer.predict_risk(group=naming(7)).group == naming(7)
    assert analyzer.groups_["shift_teacher"].idxmax() == naming(3)
    summary = json.loads(json.dumps(analyzer.to_dict(), allow_nan=False))
    assert len(summary["groups"]) == 40
    assert summary["worst_group"] == summary["groups"][0]["group"] == analyzer.worst_


def test_summary_holds_what_the_analyzer_says(fitted: SpuriousAnalyzer) -> None:
    assert fitted.to_frame().equals(fitted.groups_)
    found = fitted.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["d_w"], found["d_s"]) == (10, 15)
    group, prediction = found["groups"][0], fitted.predict_risk()
    assert group["risks"]["average"]["gain"] == prediction.average.gain.to_dict()
    assert group["risks"]["worst"]["chance_fails"] == prediction.worst.chance_fails
    assert group["eta_pool"]["value"] == 0.3
    assert [row["eta_pool"] for row in found["curve"]] == pytest.approx(np.linspace(0, 1, 21))
    assert found["advice"] == group["advice"] == fitted.advice_
    assert found["unknown"] == []


@pytest.mark.parametrize("change", ["maps", "order", "codes", "float32"])
def test_invariance(fitted: SpuriousAnalyzer, change: str) -> None:
    strong, weak, groups, labelled = pilot(0)
    name: Any = "rural"
    rng = np.random.default_rng(1)
    if change == "maps":
        weak, strong = weak @ rng.normal(size=(10, 10)), strong * 100 + 5
    elif change == "order":
        order = rng.permutation(len(weak))
        weak, strong, groups, labelled = weak[order], strong[order], groups[order], labelled[order]
    elif change == "codes":
        groups, name = np.where(groups == "rural", 7, 3), 7
    else:
        weak, strong = weak.astype(np.float32), strong.astype(np.float32)
    found = clone(fitted).fit(strong, weak, groups=groups, labelled=labelled)
    assert found.worst_ == name
    expected, got = fitted.predict_risk().to_row(), found.predict_risk().to_row()
    for key in expected:
        by_chance = change == "order" and key.endswith(("_low", "_high"))  # other parts of the rows
        if key != "group" and not by_chance and not key.startswith("chance"):
            assert got[key] == pytest.approx(
                expected[key], rel=1e-3 if change == "float32" else 1e-6
            )


def test_several_groups_each_against_the_rest() -> None:
    strong, weak, groups, labelled = pilot(0)
    groups = groups.astype(object)
    urban = np.flatnonzero(groups == "urban")
    groups[urban[::3]] = "suburb"
    analyzer = SpuriousAnalyzer().fit(strong, weak, groups=groups, labelled=labelled)
    assert set(analyzer.groups_.index) == {"rural", "suburb", "urban"}
    worst = analyzer.groups_.filter(like="relative_gain").min(axis=1)
    assert worst.is_monotonic_increasing
    assert worst.index[0] == analyzer.worst_
    assert analyzer.predict_risk(group="suburb").group == "suburb"
    assert analyzer.groups_.loc["suburb", "shift_teacher"] < 1.5
    with pytest.raises(InputError, match="did you mean 'suburb'"):
        analyzer.predict_risk(group="suburbs")


def test_groups_that_cannot_be_judged_are_left_out_by_name() -> None:
    strong, weak, groups, labelled = pilot(0)
    groups = groups.astype(object)
    groups[-3:] = "unseen"
    groups[0] = "single"
    with pytest.warns(DegenerateDataWarning, match="'unseen' has no labelled row"):
        analyzer = SpuriousAnalyzer().fit(strong, weak, groups=groups, labelled=labelled)
    assert set(analyzer.unknown_) == {"unseen", "single"}
    named = {row["group"]: row["reason"] for row in analyzer.to_dict()["unknown"]}
    assert named == analyzer.unknown_
    assert "has 1 rows" in analyzer.unknown_["single"]
    with pytest.raises(InputError, match="could not be judged"):
        analyzer.predict_risk(group="single")


def test_group_that_fixes_a_feature_does_not_stop_the_others() -> None:
    strong, weak, groups, labelled = pilot(0)
    groups = groups.astype(object)
    groups[np.flatnonzero(groups == "urban")[::3]] = "suburb"
    weak = np.hstack([weak, (groups == "rural")[:, None]])
    with pytest.warns(DegenerateDataWarning, match="'rural' determines a direction of the weak"):
        analyzer = SpuriousAnalyzer(random_state=0).fit(
            strong, weak, groups=groups, labelled=labelled
        )
    assert set(analyzer.groups_.index) == {"suburb", "urban"}


def test_example_groups_differ_in_covariance_and_the_advice_says_so() -> None:
    example = spurious_gaussian(n_labelled=800, mu=4.0, dim_core=3)
    table = example.dataset.table
    used = table["split"].isin(["labelled", "pool"]).to_numpy()
    analyzer = SpuriousAnalyzer().fit(
        example.strong_features[used],
        example.weak_features[used],
        groups=table["group"][used],
        labelled=(table["split"] == "labelled").to_numpy()[used],
    )
    assert analyzer.groups_["covariance_difference"].iloc[0] > 0.25
    assert "take this as a tendency" in analyzer.advice_


def test_equal_covariances_are_not_flagged(fitted: SpuriousAnalyzer) -> None:
    assert fitted.groups_["covariance_difference"].iloc[0] < 0.05
    assert "tendency" not in fitted.advice_


def test_closed_form_agrees_with_fixed_points_on_scans_with_a_bright_corner() -> None:
    rng = np.random.default_rng(0)
    scans = load_digits().images.astype(float)
    labelled = np.arange(len(scans)) < 500
    bright = rng.random(len(scans)) < np.where(labelled, 0.06, 0.42)
    scans[bright, 5:, 5:] += 8
    strong = scans.reshape(len(scans), -1)
    weak = strong[:, 32:]
    groups = np.where(bright, "bright", "plain")
    analyzer = SpuriousAnalyzer(24, 16).fit(strong, weak, groups=groups, labelled=labelled)

    def components(x: Any, d: int) -> Any:
        u = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[0][:, :d]
        return np.hstack([u * np.sqrt(len(x)), np.ones((len(x), 1))])

    def weights(eta: float) -> Any:
        return np.where(bright, eta / bright.sum(), (1 - eta) / (~bright).sum())

    for share in (0.0, 0.1, 0.7):
        found = analyzer.predict_risk(share)
        variances = expected_variances(
            components(strong, 24),
            components(weak, 16),
            found.n,
            found.N,
            labelled=weights(found.eta_labelled),
            pool=weights(share),
        )
        for role, variance in zip(("teacher", "student"), variances, strict=True):
            got = [getattr(risk, role).value for risk in (found.others, found.inside)]
            expected = [variance @ weights(0), variance @ weights(1)]
            assert got == pytest.approx(expected, rel=0.05)


def bad(**changes: Any) -> Data:
    strong, weak, groups, labelled = pilot(0, size=300)
    return (
        changes.get("strong", strong),
        changes.get("weak", weak),
        changes.get("groups", groups),
        changes.get("labelled", labelled),
    )


def with_nan() -> Any:
    weak = pilot(0, size=300)[1]
    weak[4, 1] = np.nan
    return weak


def group_feature() -> Any:
    _, weak, groups, _ = pilot(0, size=300)
    return np.hstack([weak, (groups == "rural")[:, None]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bad(groups=np.full(300, "a")), "all rows belong to one group, 'a'"),
        (bad(groups=np.array(["a"] * 5 + [None] * 2 + ["b"] * 293, dtype=object)), "rows 5, 6"),
        (bad(groups=np.where(np.arange(300) < 150, "a", "b")), "holds all labelled rows|has no"),
        (bad(groups=np.where(np.arange(300) < 1, "a", "b")), "'a' has 1 rows"),
        (bad(groups=np.zeros((300, 2))), "groups must hold one name per row"),
        (bad(groups=np.zeros(299)), "row counts disagree"),
        (bad(groups=np.arange(299) % 2), "row counts disagree"),
        (bad(labelled=np.arange(300) < 12), "12 labelled rows do not determine a fit on 10 weak"),
        (bad(labelled=np.arange(300) < 284), "16 pool rows do not determine a fit on 15 strong"),
        (bad(labelled=np.arange(300)), "labelled must be one boolean per row"),
        (
            (*bad(), np.arange(300) < 150),
            "a row is either labelled or in the pool, not both: rows 0, 1",
        ),
        ((*bad(), np.arange(300)), "pool must be one boolean per row"),
        ((*bad(), np.zeros(7, dtype=bool)), "row counts disagree"),
        (bad(weak=with_nan()), "weak features have NaN or infinite values in row 4"),
        (bad(weak=np.ones((300, 3))), "weak features are constant"),
        (bad(weak=group_feature()), "determines a direction of the weak features"),
        (bad(weak=pilot(0, size=299)[1]), "row counts disagree"),
    ],
)
def test_bad_input(data: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        fit(SpuriousAnalyzer(), data)


def test_more_dimensions_than_rows() -> None:
    rng = np.random.default_rng(0)
    labelled = np.arange(60) < 30
    groups = np.arange(60) % 2
    weak, strong = rng.normal(size=(60, 26)), rng.normal(size=(60, 40))
    with pytest.raises(InputError, match="do not determine a fit on 40 strong"):
        SpuriousAnalyzer().fit(strong, weak, groups=groups, labelled=labelled)
    found = SpuriousAnalyzer(weak_components=5, strong_components=5)
    assert found.fit(strong, weak, groups=groups, labelled=labelled).d_w_ == 5


def test_bad_parameters(fitted: SpuriousAnalyzer) -> None:
    with pytest.raises(InputError, match="n_jackknife must be 0 or an integer >= 2"):
        fit(SpuriousAnalyzer(n_jackknife=1), pilot(0))
    with pytest.raises(InputError, match="'urban' is the reference group for 'rural'"):
        fitted.predict_risk(group="urban")
    with pytest.raises(InputError, match="level must be a number in"):
        fit(SpuriousAnalyzer(level=1.0), pilot(0))
    with pytest.raises(InputError, match="weak_components must be"):
        fit(SpuriousAnalyzer(weak_components=11), pilot(0))
    with pytest.raises(InputError, match="eta_u is a share"):
        fitted.predict_risk(1.5)
    with pytest.raises(InputError, match="n must exceed d_w"):
        fitted.predict_risk(n=12)
    with pytest.raises(NotFittedError):
        SpuriousAnalyzer().predict_risk()
