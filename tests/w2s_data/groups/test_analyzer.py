"""GroupAnalyzer against counts by hand, independent libraries, and degenerate data."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import mutual_info_score, normalized_mutual_info_score
from sklearn.neighbors import NearestNeighbors

from w2s_data import NeighborIndex, OverlapDetector
from w2s_data.errors import (
    DegenerateDataWarning,
    EmptyDataError,
    FeatureError,
    InputError,
    ProbabilityError,
)
from w2s_data.groups import GroupAnalyzer, point_table
from w2s_data.groups.association import associate
from w2s_data.groups.reading import association_warnings
from w2s_data.utils.intervals import wilson_interval


def make(rng, n=600, n_groups=3):
    """Points of given groups, two classes, a teacher that is right four times in five."""
    groups = np.array([f"g{i}" for i in range(n_groups)], dtype=object)[
        rng.integers(n_groups, size=n)
    ]
    label = rng.integers(2, size=n)
    right = rng.random(n) < 0.8
    top = rng.uniform(0.55, 0.95, n)
    guessed = np.where(right, label, 1 - label)
    proba = np.where(np.arange(2) == guessed[:, None], top[:, None], 1 - top[:, None])
    return {
        "strong_features": rng.normal(size=(n, 12)).astype(np.float32) + 2 * label[:, None],
        "weak_proba": proba,
        "groups": groups,
        "labels": label,
        "splits": rng.choice(["labelled", "pool", "test"], n, p=[0.2, 0.6, 0.2]),
        "regions": rng.integers(-1, 3, size=n),
        "sources": rng.choice(["web", "crowd"], n),
    }


@pytest.fixture
def data(rng):
    return make(rng)


def fit(data, **settings):
    return GroupAnalyzer(random_state=0, device="cpu", **settings).fit(**data)


class TestTables:
    def test_against_counts_by_hand(self, data):
        table = fit(data).groups_
        assert table["n"].is_monotonic_decreasing
        pseudo = data["weak_proba"].argmax(axis=1)
        for name, row in table.iterrows():
            mine = data["groups"] == name
            pool, labelled = data["splits"] == "pool", data["splits"] == "labelled"
            scored = mine & (data["regions"] >= 0)
            assert row["n"] == mine.sum()
            assert row["eta_pool"] == pytest.approx((mine & pool).sum() / pool.sum())
            assert row["eta_labelled"] == pytest.approx((mine & labelled).sum() / labelled.sum())
            assert row["overlap_density"] == pytest.approx((data["regions"][scored] == 2).mean())
            right = pseudo == data["labels"]
            assert row["weak_accuracy"] == pytest.approx(right[mine].mean())
            low, high = wilson_interval(int(right[mine].sum()), int(mine.sum()), 0.95)
            assert (row["weak_accuracy_low"], row["weak_accuracy_high"]) == pytest.approx(
                (low, high)
            )
            assert row["largest_class"] == np.bincount(data["labels"][mine]).argmax()
            margin = np.abs(data["weak_proba"][:, 0] - data["weak_proba"][:, 1])
            assert row["weak_confidence"] == pytest.approx(margin[mine].mean())
            assert row["classes_from"] == "gold"
            assert row["unknown"] == ""

    def test_calibration_error_by_hand(self, data):
        table = fit(data).groups_
        for name, row in table.iterrows():
            mine = data["groups"] == name
            top = data["weak_proba"][mine].max(axis=1)
            right = data["weak_proba"][mine].argmax(axis=1) == data["labels"][mine]
            bins = np.floor(10 * top)
            expected = sum(
                abs(right[bins == b].mean() - top[bins == b].mean()) * (bins == b).mean()
                for b in np.unique(bins)
            )
            assert row["calibration_error"] == pytest.approx(expected)
            assert row["calibration_error_low"] <= expected <= row["calibration_error_high"]

    def test_intervals_hold_their_estimate(self, data):
        analyzer = fit(data)
        for table in (analyzer.groups_, analyzer.sources_):
            for column in [c for c in table.columns if f"{c}_low" in table.columns]:
                if table[column].isna().all():  # no student
                    continue
                assert (table[f"{column}_low"] <= table[column]).all(), column
                assert (table[column] <= table[f"{column}_high"]).all(), column
                assert table[f"{column}_low"].min() >= 0
                assert table[f"{column}_high"].max() <= 1

    def test_nearest_group_and_similarity(self, rng, data):
        directions = {"g0": [1.0, 0, 0], "g1": [1, 0.4, 0], "g2": [0, 0, 1]}
        points = np.array([directions[g] for g in data["groups"]])
        data["strong_features"] = points + 0.01 * rng.normal(size=points.shape)
        analyzer = fit(data)
        assert analyzer.groups_.loc["g0", "nearest_group"] == "g1"
        assert analyzer.groups_.loc["g2", "nearest_group"] in ("g0", "g1")
        assert analyzer.similarity_.loc["g0", "g1"] == pytest.approx(1 / np.hypot(1, 0.4), abs=0.01)

    def test_reading_names_where_the_teacher_errs(self, data):
        assert "less often" not in fit(data).reading_
        wrong = data["groups"] == "g1"
        data["weak_proba"][wrong] = np.eye(2)[1 - data["labels"][wrong]]
        assert (
            "the weak model is right less often in 'g1' (0.0%, interval 0.0%" in fit(data).reading_
        )

    def test_student(self, data):
        data["student_proba"] = np.eye(2)[data["labels"]]
        table = fit(data).groups_
        assert (table["student_accuracy"] == 1).all()
        assert (table["student_accuracy_low"] < 1).all()

    @pytest.mark.slow
    def test_detector_gives_regions_and_intervals(self, data):
        pool = data["splits"] == "pool"
        detector = OverlapDetector(random_state=0, n_resamples=20)
        detector.fit(data["strong_features"][pool], data["weak_proba"][pool])
        shares = detector.shares(data["groups"][pool]).set_index("name")
        table = fit({**data, "regions": None, "detector": detector}).groups_
        for name in table.index:
            assert table.loc[name, "overlap_density"] == shares.loc[name, "density"]
            assert table.loc[name, "overlap_density_high"] == shares.loc[name, "density_high"]

    def test_several_weak_models_are_averaged(self, data):
        two = {**data, "weak_proba": np.stack([data["weak_proba"]] * 2, axis=1)}
        pd.testing.assert_frame_equal(fit(two).groups_, fit(data).groups_)


class TestPoints:
    def test_against_sklearn(self, data):
        points = fit(data, n_neighbors=7).points_
        features = data["strong_features"]
        search = NearestNeighbors(n_neighbors=7, metric="cosine").fit(features)
        near = search.kneighbors(return_distance=False)
        pseudo = data["weak_proba"].argmax(axis=1)
        agreement = (pseudo[near] == pseudo[:, None]).mean(axis=1)
        assert (np.abs(points["agreement"] - agreement) < 1e-9).mean() > 0.99  # ties
        labelled = data["splits"] == "labelled"
        search = NearestNeighbors(n_neighbors=1, metric="cosine").fit(features[labelled])
        distance = search.kneighbors(features[~labelled])[0][:, 0]
        np.testing.assert_allclose(points["distance_to_labelled"][~labelled], distance, atol=1e-5)
        assert points["distance_to_labelled"][labelled].min() > 0  # not to itself
        known = data["regions"][near] >= 0
        density = ((data["regions"][near] == 2) & known).sum(axis=1) / known.sum(axis=1)
        assert (np.abs(points["local_overlap_density"] - density) < 1e-9).mean() > 0.99

    def test_duplicates_and_leakage(self, data):
        features = data["strong_features"]
        features[10], features[20] = 3 * features[5], features[5]
        data["splits"][[5, 10, 20]] = ["labelled", "labelled", "pool"]
        analyzer = fit(data, duplicate_threshold=0.999)
        points = analyzer.points_
        assert points["duplicate_of"][[5, 10, 20]].tolist() == [-1, 5, 5]
        assert points["leaks"][[5, 10, 20]].all()
        assert points["has_duplicate"].sum() == 3
        assert analyzer.groups_["n_leaking"].sum() == 3
        assert any(
            "3 points leak: each has a near-duplicate (cosine 0.999 or more) in another split" in w
            for w in analyzer.warnings_
        )

    def test_duplicates_everywhere(self, data):
        data["strong_features"][:] = 1
        points = fit(data, n_neighbors=5).points_
        assert points["duplicate_of"].tolist() == [-1] + [0] * (len(points) - 1)
        assert points["leaks"].all()  # although five neighbours may all be of the own split

    def test_permutation(self, rng, data):
        order = rng.permutation(600)
        moved = {key: value[order] for key, value in data.items()}
        first, second = fit(data), fit(moved)
        columns = ["agreement", "distance_to_labelled", "local_overlap_density"]
        np.testing.assert_allclose(
            first.points_[columns].to_numpy()[order], second.points_[columns], atol=1e-6
        )
        numbers = ["n", "eta_pool", "purity", "weak_accuracy", "nearest_cosine"]
        pd.testing.assert_frame_equal(
            first.groups_[numbers].sort_index(), second.groups_[numbers].sort_index()
        )


class TestAssociation:
    def test_against_scipy_and_sklearn(self, rng):
        groups = rng.integers(4, size=5000)
        labels = np.where(rng.random(5000) < 0.5, groups % 3, rng.integers(3, size=5000))
        found = associate(groups, labels, 0.95, rng)
        chi2 = chi2_contingency(pd.crosstab(groups, labels), correction=False).statistic
        assert found.cramers_v.value == pytest.approx(np.sqrt(chi2 / 5000 / 2), abs=0.003)
        excess = 3 * 2 / (2 * 5000)
        scale = normalized_mutual_info_score(groups, labels) / mutual_info_score(groups, labels)
        assert found.nmi.value == pytest.approx(
            normalized_mutual_info_score(groups, labels) - scale * excess
        )

    def test_independence_is_zero_on_average(self):
        values, covered = [], 0
        for seed in range(60):
            rng = np.random.default_rng(seed)
            found = associate(rng.integers(5, size=300), rng.integers(2, size=300), 0.95, rng)
            values.append(found.nmi.value)
            covered += found.cramers_v.low == 0
        assert np.mean(values) < 0.006
        assert covered >= 52

    @pytest.mark.slow
    def test_intervals_cover(self):
        joint = np.array([[0.35, 0.15], [0.1, 0.4]])
        truth = associate(
            *np.divmod(np.repeat(np.arange(4), (joint * 1e6).ravel().astype(int)), 2),
            0.95,
            np.random.default_rng(0),
        )
        hits = np.zeros(2)
        for seed in range(200):
            rng = np.random.default_rng(seed)
            found = associate(*np.divmod(rng.choice(4, 300, p=joint.ravel()), 2), 0.9, rng)
            for i, name in enumerate(("cramers_v", "nmi")):
                estimate = getattr(found, name)
                assert estimate.level == 0.9
                hits[i] += estimate.low <= getattr(truth, name).value <= estimate.high
        assert (hits > 165).all(), hits
        assert (hits < 195).all(), hits

    def test_perfect_association_is_one(self, rng):
        codes = rng.integers(3, size=200)
        found = associate(codes, codes, 0.95, rng)
        assert found.cramers_v.value == pytest.approx(1)
        assert found.nmi.value == pytest.approx(1, abs=0.02)

    def test_discovered_groups_are_not_held_against_the_labels_they_were_found_in(self, rng):
        codes, chance = rng.integers(2, size=(2, 400))
        parts = {
            ("labelled", "gold"): associate(codes, chance, 0.95, rng),
            ("pool", "gold"): associate(codes, chance, 0.95, rng),
            ("pool", "pseudo"): associate(codes, codes, 0.95, rng),
        }
        assert "pseudo-labels" in association_warnings(parts, 0.95)[0]
        assert association_warnings(parts, 0.95, discovered=True) == []

    def test_warns_where_labelled_and_pool_differ(self, rng, data):
        labelled = data["splits"] == "labelled"
        tied = np.where(data["labels"] == 1, "g1", "g0")
        data["groups"] = np.where(labelled, tied, rng.choice(["g0", "g1"], 600)).astype(object)
        analyzer = fit(data)
        assert "group and label go together less in the pool" in analyzer.warnings_[0]
        table = analyzer.association_.set_index(["split", "labels"])["cramers_v"]
        assert table["labelled", "gold"] > 0.95
        assert table["pool", "gold"] < 0.2

    def test_silent_where_they_do_not(self, data):
        assert fit(data, duplicate_threshold=1.0).warnings_ == []


class TestDiscovered:
    def test_minority_is_named(self, rng):
        label, bright = rng.integers(2, size=1000), rng.random(1000) < 0.1
        features = rng.normal(size=(1000, 5))
        features[:, 0] += 3 * label
        features[:, 4] += 10 * bright
        proba = np.eye(2)[label] * 0.8 + 0.1
        analyzer = GroupAnalyzer(random_state=0).fit(features, proba)
        assert analyzer.discovery_ == "gaps"
        assert analyzer.minority_ == ["group 1"]
        np.testing.assert_array_equal(analyzer.group_ == "group 1", bright)
        assert "minorities: 'group 1'" in analyzer.reading_

    def test_groups_inside_classes_have_no_association(self, rng):
        label = rng.integers(2, size=1000)
        features = rng.normal(size=(1000, 5))
        features[:, 0] += 30 * label
        features[:, 1] += 10 * (label == 0) * (rng.random(1000) < 0.4)
        features[:, 2] += 10 * (label == 1) * (rng.random(1000) < 0.4)
        analyzer = GroupAnalyzer(random_state=0).fit(features, np.eye(2)[label], labels=label)
        assert len(analyzer.groups_) == 4
        assert analyzer.association_["cramers_v"].isna().all()
        assert set(analyzer.association_["reason"]) == {"groups were discovered inside classes"}

    def test_none_is_one_group(self, rng):
        proba = np.eye(2)[rng.integers(2, size=200)]
        with pytest.warns(DegenerateDataWarning, match="all points are in one group"):
            analyzer = GroupAnalyzer(random_state=0).fit(rng.normal(size=(200, 3)), proba)
        assert analyzer.discovery_ == "none"
        assert analyzer.reading_.startswith("No groups were discovered")


class TestDegenerate:
    def test_one_member(self, data):
        data["groups"][7] = "alone"
        row = fit(data).groups_.loc["alone"]
        assert row["unknown"].startswith("only 1 row")
        assert np.isnan(row["calibration_error_low"])
        assert row["weak_accuracy_high"] - row["weak_accuracy_low"] > 0.7

    def test_one_class(self, data):
        data["groups"][data["labels"] == 1] = "ones"
        row = fit(data).groups_.loc["ones"]
        assert "one class by its gold labels" in row["unknown"]
        assert row["class_balance"] == 0

    def test_one_group(self, data):
        data["groups"] = ["all"] * 600
        with pytest.warns(DegenerateDataWarning, match="all points are in one group"):
            analyzer = fit(data)
        assert analyzer.groups_["nearest_group"].tolist() == [None]
        assert "all 600 rows" not in analyzer.reading_
        assert analyzer.association_["reason"].str.contains("are of one group").all()
        assert analyzer.minority_ == []

    def test_a_group_without_gold_labels(self, data):
        data["labels"][data["groups"] == "g1"] = -1
        analyzer = fit(data)
        row = analyzer.groups_.loc["g1"]
        assert np.isnan(
            row[["weak_accuracy", "weak_accuracy_low", "calibration_error"]].tolist()
        ).all()
        assert "no gold label: accuracies and calibration are unknown" in row["unknown"]
        assert row["classes_from"] == "pseudo"
        assert "accuracies are unknown in 'g1'" in analyzer.reading_

    def test_no_labelled_rows(self, data):
        data["splits"] = np.full(600, "pool")
        analyzer = fit(data)
        assert analyzer.groups_["eta_labelled"].isna().all()
        assert analyzer.points_["distance_to_labelled"].isna().all()
        table = analyzer.association_.set_index(["split", "labels"])
        assert np.isnan(table.loc[("labelled", "gold"), "cramers_v"])
        assert table.loc[("pool", "gold"), "n"] == 600
        assert not any("go together" in said for said in analyzer.warnings_)

    def test_a_group_without_labelled_rows(self, data):
        data["splits"][data["groups"] == "g2"] = "pool"
        row = fit(data).groups_.loc["g2"]
        assert "the weak model never saw it" in row["unknown"]
        assert row["eta_labelled"] == 0

    def test_constant_features(self, data):
        data["strong_features"][:] = 2
        data["groups"] = None
        with pytest.warns(DegenerateDataWarning, match="all points are in one group"):
            assert fit(data).discovery_ == "none"

    def test_one_point(self):
        with pytest.warns(DegenerateDataWarning, match="all points are in one group"):
            analyzer = GroupAnalyzer().fit(np.ones((1, 2)), [[0.3, 0.7]])
        assert np.isnan(analyzer.groups_["purity"]).all()
        json.dumps(analyzer.to_dict(), allow_nan=False)

    def test_as_many_groups_as_points(self, data):
        data["groups"] = np.arange(600)
        assert len(fit(data).groups_) == 600


class TestBadInput:
    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"groups": ["a", None, "b"] + ["a"] * 597}, "groups are missing in row 1"),
            ({"sources": np.full(599, "web")}, "row counts disagree: .* sources has 599"),
            ({"labels": np.zeros(5, int)}, "row counts disagree: .* labels has 5"),
            ({"labels": np.full(600, 2)}, r"labels must lie in -1 \(unknown\) ... 1; got 2"),
            ({"labels": np.zeros(600)}, "labels must be integers"),
            ({"splits": np.full(600, "pol")}, "no split 'pol'; did you mean 'pool'"),
            ({"splits": np.full((600, 1), "pool")}, "splits must hold one name per row"),
            ({"regions": np.full(600, 3)}, "regions must lie in"),
            ({"student_proba": np.full((600, 3), 1 / 3)}, "student_proba has 3 classes"),
            ({"student_proba": np.full((9, 2), 0.5)}, "student_proba has 9"),
            ({"weak_proba": np.full((9, 2), 0.5)}, "weak_proba has 9"),
        ],
    )
    def test_arrays(self, data, changed, message):
        with pytest.raises(InputError, match=message):
            fit({**data, **changed})

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"n_groups": 0}, "n_groups must be 'auto' or an integer >= 1"),
            ({"n_groups": 601}, "n_groups is 601, more than the 600 points"),
            ({"n_neighbors": 0}, "n_neighbors must be"),
            ({"duplicate_threshold": 1.2}, "duplicate_threshold must be 'auto' or a number in"),
            ({"level": 1}, "level must be a number in"),
            ({"discovery": "gap"}, "discovery must be .* did you mean 'gaps'"),
        ],
    )
    def test_settings(self, data, settings, message):
        with pytest.raises(InputError, match=message):
            fit(data, **settings)

    def test_features(self, data):
        data["strong_features"][[3, 8]] = np.nan
        with pytest.raises(FeatureError, match="NaN or infinite values in rows 3, 8"):
            fit(data)
        data["strong_features"][[3, 8]] = 0
        with pytest.raises(FeatureError, match="all zero in rows 3, 8"):
            fit(data)

    def test_nothing(self):
        with pytest.raises(EmptyDataError, match="no rows"):
            GroupAnalyzer().fit(np.ones((0, 2)), np.ones((0, 2)))

    def test_probabilities(self, data):
        data["weak_proba"][4] = 0.9
        with pytest.raises(ProbabilityError, match="row 4"):
            fit(data)

    def test_too_many_names(self, rng):
        data = make(rng, n=1500)
        data["groups"] = np.arange(1500)
        with pytest.raises(InputError, match="is this an id"):
            fit(data)

    def test_detector_of_other_rows(self, data):
        detector = OverlapDetector(random_state=0, n_resamples=0)
        detector.fit(data["strong_features"], data["weak_proba"])
        with pytest.raises(InputError, match="fitted on 600 points; the pool has"):
            fit({**data, "regions": None, "detector": detector})
        with pytest.raises(InputError, match="not both"):
            fit({**data, "detector": detector})
        with pytest.raises(NotFittedError, match="OverlapDetector"):
            fit({**data, "regions": None, "detector": OverlapDetector()})

    def test_index_of_other_features_or_metric(self, data):
        other = NeighborIndex().fit(data["strong_features"] + 1)
        with pytest.raises(InputError, match="index was not fitted on these features"):
            fit({**data, "index": other})
        euclidean = NeighborIndex("l2").fit(data["strong_features"])
        with pytest.raises(InputError, match="metric 'cosine'; got 'l2'"):
            fit({**data, "index": euclidean})


class TestEstimator:
    def test_index_is_reused(self, data):
        index = NeighborIndex().fit(data["strong_features"])
        assert fit({**data, "index": index}).index_ is index

    def test_same_seed_same_numbers(self, data):
        first, second = fit(data).to_dict(), fit(data).to_dict()
        assert first == second

    def test_summary_is_json(self, data):
        summary = fit(data).to_dict()
        assert json.loads(json.dumps(summary, allow_nan=False)) == summary
        assert {record["group"] for record in summary["groups"]} == {"g0", "g1", "g2"}
        assert {record["source"] for record in summary["sources"]} == {"web", "crowd"}
        accuracy = summary["groups"][0]["weak_accuracy"]
        assert set(accuracy) == {"value", "low", "high", "level"}
        assert accuracy["level"] == 0.95

    def test_frame_is_the_table_of_groups(self, data):
        analyzer = fit(data)
        pd.testing.assert_frame_equal(analyzer.to_frame(), analyzer.groups_)

    def test_parameters_are_stored_unchanged(self):
        analyzer = GroupAnalyzer(n_groups=3, level=0.9)
        assert clone(analyzer).get_params() == analyzer.get_params()


@pytest.mark.parametrize("n_labelled", [1, 2, 30, 700])
@pytest.mark.parametrize("k", [1, 5])
def test_distances_are_exact_whether_a_labelled_row_is_among_the_neighbours(rng, n_labelled, k):
    features = rng.normal(size=(900, 6))
    labelled = np.arange(900) < n_labelled
    index = NeighborIndex(random_state=0).fit(features)
    found = point_table.describe_points(
        index,
        pseudo=np.zeros(900, dtype=int),
        splits=np.where(labelled, "labelled", "pool").astype(object),
        regions=np.full(900, -1),
        n_neighbors=k,
        duplicate_threshold=0.999,
    )[0]["distance_to_labelled"]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    distances = 1 - unit @ unit[labelled].T
    distances[np.flatnonzero(labelled), np.arange(n_labelled)] = np.inf  # not to itself
    expected = distances.min(axis=1)
    np.testing.assert_allclose(found, np.where(np.isinf(expected), np.nan, expected), atol=1e-5)


def test_progress_ends_at_the_last_point(rng, capsys):
    features, proba = rng.normal(size=(300, 4)), np.full((300, 2), 0.5)
    given = {"splits": np.repeat(["labelled", "pool"], 150), "groups": ["a", "b"] * 150}
    GroupAnalyzer(random_state=0).fit(features, proba, **given, progress=True)
    assert "600/600" in capsys.readouterr().err
    GroupAnalyzer(random_state=0).fit(features, proba, **given)
    assert not capsys.readouterr().err
