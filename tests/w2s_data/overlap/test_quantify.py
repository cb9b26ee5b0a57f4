"""The level of the density, against pools whose types are known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score
from threadpoolctl import threadpool_limits

from w2s_data import OverlapDetector, Region
from w2s_data.data.examples import digit_dominoes
from w2s_data.data.synthetic import gaussian_overlap
from w2s_data.errors import InputError
from w2s_data.overlap.fitting import kappa_within
from w2s_data.overlap.mixture import log_odds, shares_of
from w2s_data.overlap.quantify import _sampling_variance

pytestmark = pytest.mark.filterwarnings("error")


def fitted(missing: str = "noise", density: float = 0.5, n: int = 1200, **options) -> tuple:
    example = gaussian_overlap(n, density, missing, random_state=3)
    detector = OverlapDetector(random_state=0, device="cpu", **{"n_resamples": 20} | options)
    return example, detector.fit(example.strong_features, example.dataset.weak_proba)


class TestLevel:
    @pytest.mark.slow
    @pytest.mark.parametrize("density", [0.05, 0.3, 0.7])
    def test_the_share_of_types_is_right_where_counting_is_drawn_to_the_middle(self, density):
        _, detector = fitted(density=density)
        low, high = detector.density_interval_
        assert detector.quantified_by_ == "mixture"
        assert detector.types_.kind == "additive"
        assert detector.density_ == pytest.approx(density, abs=0.06)
        assert low <= density <= high

    def test_results_are_the_same_bytes_for_any_number_of_threads(self):
        found = []
        for threads in (1, 3):
            with threadpool_limits(threads, user_api="blas"):
                _, detector = fitted(n=600, n_resamples=5)
            found.append((detector.to_dict(), detector.types_.log_types.tobytes()))
        assert found[0] == found[1]

    def test_a_clear_split_is_counted(self):
        _, detector = fitted("zero", 0.3)
        assert detector.quantified_by_ == "count"
        assert detector.regions_by_ == "thresholds"
        assert detector.types_ is None
        assert detector.objection_ == ""
        assert detector.density_range_ is None
        assert detector.density_ == (detector.regions_ == Region.OVERLAP).mean()

    @pytest.mark.slow
    def test_regions_stay_where_the_thresholds_split_well(self):
        example = gaussian_overlap(1200, 0.3, "noise", mu=4, random_state=3)
        given = example.strong_features, example.dataset.weak_proba
        detector = OverlapDetector(n_resamples=0, random_state=0, device="cpu").fit(*given)
        counted = OverlapDetector("changepoint", quantify="count", n_resamples=0, random_state=0)
        assert detector.quantified_by_ == "mixture"
        assert detector.regions_by_ == "thresholds"
        np.testing.assert_array_equal(detector.regions_, counted.fit(*given).regions_)
        assert abs(detector.density_ - 0.3) < abs(counted.density_ - 0.3)

    @pytest.mark.slow
    def test_regions_are_the_likeliest_types_where_the_thresholds_split_poorly(self):
        example, detector = fitted()
        _, counted = fitted(quantify="count")
        assert detector.alignment_explained_ < 0.75
        assert detector.regions_by_ == "mixture"
        right = [(each.regions_ == example.regions).mean() for each in (detector, counted)]
        assert right[0] > right[1] + 0.05
        assert np.array_equal(np.isnan(detector.alignment_), detector.regions_ == Region.HARD)

    @pytest.mark.slow
    def test_real_scans_have_components_of_their_own(self):
        example = digit_dominoes(random_state=1)
        given = example.strong_features, example.dataset.weak_proba
        true = example.regions == Region.OVERLAP
        detector = OverlapDetector(n_resamples=20, random_state=0, device="cpu").fit(*given)
        counted = OverlapDetector(quantify="count", n_resamples=0, random_state=0).fit(*given)
        assert detector.types_.kind == "separate"
        table = detector.shares(example.dataset.sources)
        truth = [true[example.dataset.sources == name].mean() for name in table["name"]]
        assert np.corrcoef(truth, table["density"])[0, 1] > 0.9
        found = [f1_score(true, each.regions_ == Region.OVERLAP) for each in (detector, counted)]
        assert found[0] > found[1] + 0.05

    @pytest.mark.slow
    def test_sources_keep_their_distances(self):
        sources = {"a": 0.05, "b": 0.2, "c": 0.35, "d": 0.5, "e": 0.65}
        example = gaussian_overlap(2000, missing="noise", sources=sources, random_state=5)
        detector = OverlapDetector(n_resamples=20, random_state=0, device="cpu")
        detector.fit(example.strong_features, example.dataset.weak_proba)
        table = detector.shares(example.dataset.sources)
        slope = np.polyfit(list(sources.values()), table["density"], 1)[0]
        assert 0.8 < slope < 1.2
        total = table[["density", "hard_only", "easy_only"]].sum(axis=1)
        np.testing.assert_allclose(total, 1, atol=1e-6)

    @pytest.mark.slow
    def test_the_same_seed_gives_the_same_numbers(self):
        one, other = fitted()[1], fitted()[1]
        assert one.density_ == other.density_
        assert one.density_interval_ == other.density_interval_

    @pytest.mark.slow
    def test_new_points_are_scored_by_what_was_fitted(self):
        example, detector = fitted()
        again = detector.predict(example.strong_features, example.dataset.weak_proba)
        np.testing.assert_array_equal(again, detector.regions_)


@pytest.mark.slow
class TestDoubt:
    def test_structureless_points_get_a_range_instead_of_a_level(self):
        rng = np.random.default_rng(0)
        p = rng.beta(2, 2, 600)
        features = rng.normal(size=(600, 30)).astype(np.float32)
        detector = OverlapDetector(n_resamples=20, random_state=0, device="cpu")
        detector.fit(features, np.column_stack([p, 1 - p]))
        low, high = detector.density_range_
        assert "two halves of the points disagree" in detector.objection_
        assert detector.quantified_by_ == "count"
        assert low <= detector.density_interval_[0] <= detector.density_interval_[1] <= high
        assert low <= detector.types_.density(0.95).value <= high

    def test_confident_labels_do_not_make_noise_trustworthy(self):
        rng = np.random.default_rng(0)
        proba = gaussian_overlap(800, 0.4, "noise", random_state=0).dataset.weak_proba
        detector = OverlapDetector(n_resamples=0, random_state=0, device="cpu")
        detector.fit(rng.normal(size=(800, 200)).astype(np.float32), proba)
        assert detector.quantified_by_ == "count"

    def test_the_unit_of_the_features_does_not_matter(self):
        example, detector = fitted()
        small = OverlapDetector(n_resamples=20, random_state=0, device="cpu")
        small.fit(example.strong_features * np.float32(1e-6), example.dataset.weak_proba)
        assert small.density_ == pytest.approx(detector.density_, abs=1e-3)

    def test_few_points_are_counted(self):
        _, detector = fitted(n=80)
        assert detector.objection_.startswith("80 points are too few")
        assert detector.quantified_by_ == "count"

    def test_constant_features_are_counted(self):
        rng = np.random.default_rng(0)
        p = rng.random(200)
        detector = OverlapDetector(n_resamples=5, random_state=0, device="cpu")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            detector.fit(np.ones((200, 4)), np.column_stack([p, 1 - p]))
        assert detector.quantified_by_ == "count"
        assert detector.objection_

    def test_tiny_sources_have_wide_intervals(self):
        example, detector = fitted()
        source = np.where(np.arange(len(example.regions)) < 12, "tiny", "large")
        table = detector.shares(source).set_index("name")
        width = table["density_high"] - table["density_low"]
        assert width["tiny"] > 4 * width["large"]
        assert (table["density_low"] >= 0).all()
        assert (table["density_high"] <= 1).all()


@pytest.mark.slow
class TestGold:
    def test_gold_rows_are_points_of_a_known_class(self):
        example, _ = fitted()
        data = example.dataset
        rows = np.arange(0, 1200, 6)
        gold = (example.strong_features[rows], data.weak_proba[rows], data.labels[rows])
        detector = OverlapDetector(n_resamples=0, random_state=0, device="cpu")
        detector.fit(example.strong_features, data.weak_proba, gold=gold)
        assert detector.density_ == pytest.approx(0.5, abs=0.05)
        assert np.isnan(detector.density_interval_[0])

    @pytest.mark.parametrize("labels", [np.full(10, -1), np.zeros(10, dtype=int)])
    def test_rows_without_a_label_and_of_one_class_do_no_harm(self, labels):
        example, _ = fitted()
        gold = (example.strong_features[:10], example.dataset.weak_proba[:10], labels)
        detector = OverlapDetector(n_resamples=0, random_state=0, device="cpu")
        detector.fit(example.strong_features, example.dataset.weak_proba, gold=gold)
        assert detector.density_ == pytest.approx(0.5, abs=0.06)

    def test_wrong_gold_is_refused_in_one_line(self):
        example, detector = fitted()
        x, p = example.strong_features, example.dataset.weak_proba
        for gold, message in [
            ((x[:5], p[:5]), "gold must be"),
            ((x[:5, :3], p[:5], np.zeros(5, int)), "gold has 3 features"),
            ((x[:5], p[:5], np.zeros(4, int)), r"class codes of shape \(5,\)"),
            ((x[:5], p[:5], np.full(5, 7)), "row 0 holds 7"),
        ]:
            with pytest.raises(InputError, match=message):
                detector.fit(x, p, gold=gold)


class TestClasses:
    @pytest.mark.slow
    def test_several_classes(self):
        rng = np.random.default_rng(1)
        n, n_classes = 1500, 3
        regions = rng.choice(3, size=n, p=(0.2, 0.3, 0.5))
        y = rng.integers(n_classes, size=n)
        centres = 4 * np.eye(n_classes, 10)
        blocks = [
            np.where((regions == lacks)[:, None], 0, centres[y]) + rng.normal(size=(n, 10))
            for lacks in (Region.HARD, Region.EASY)
        ]
        logits = 2 * blocks[0][:, :n_classes]
        proba = np.exp(logits - logits.max(axis=1, keepdims=True))
        proba /= proba.sum(axis=1, keepdims=True)
        detector = OverlapDetector(n_resamples=20, random_state=0, device="cpu")
        detector.fit(np.hstack(blocks), proba)
        assert detector.quantified_by_ == "mixture"
        assert detector.density_ == pytest.approx((regions == Region.OVERLAP).mean(), abs=0.06)


class TestParts:
    def test_shares_of_well_separated_types_are_their_counts(self):
        types = np.repeat([0, 1, 2], (20, 30, 50))
        log_types = np.where(types[:, None] == np.arange(3), 0.0, -40.0)
        np.testing.assert_allclose(shares_of(log_types), (0.2, 0.3, 0.5), atol=1e-4)

    def test_their_variance_is_that_of_a_share_of_points(self):
        types = np.repeat([0, 1, 2], (20, 30, 50))
        log_types = np.where(types[:, None] == np.arange(3), 0.0, -40.0)
        share = np.array((0.2, 0.3, 0.5))
        variance = _sampling_variance(log_types, share)
        np.testing.assert_allclose(variance, share * (1 - share) / 100, rtol=0.01)

    def test_log_odds_keep_differences_of_two_classes(self):
        proba = np.array([[0.2, 0.8], [0.6, 0.4]])
        odds = np.log(proba[:, 1] / proba[:, 0])
        assert np.abs(np.diff(log_odds(proba)[:, 0])) * 2**0.5 == pytest.approx(
            np.abs(np.diff(odds))
        )


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
def test_levels_of_confidence_are_no_types_where_features_are_noise(levels):
    rng = np.random.default_rng(0)
    trusted = 0
    for _ in range(8):
        # One level: hard labels, of which the weak model withholds some.
        sure = rng.choice(np.linspace(1, 0.4, levels) if levels > 1 else [1, 1 / 3], 500)
        proba = np.repeat((1 - sure[:, None]) / 2, 3, axis=1)
        proba[np.arange(500), rng.integers(3, size=500)] = sure
        detector = OverlapDetector(n_resamples=0, random_state=0, device="cpu")
        detector.fit(rng.normal(size=(500, 8)), proba)
        trusted += detector.objection_ == ""
    assert trusted <= 1  # one in a hundred by chance


class TestKappaWithin:
    def test_one_stratum_is_the_kappa_of_two_raters(self):
        rng = np.random.default_rng(0)
        one = rng.integers(3, size=5000)
        other = np.where(rng.random(5000) < 0.6, one, rng.integers(3, size=5000))
        found = kappa_within(np.zeros(5000, dtype=int), one, other)
        assert found == pytest.approx(cohen_kappa_score(one, other), abs=1e-3)

    def test_agreement_that_the_strata_tell_is_chance(self):
        rng = np.random.default_rng(0)
        strata = rng.integers(3, size=20000)
        one, other = (np.where(rng.random(20000) < 0.8, strata, 0) for _ in range(2))
        assert cohen_kappa_score(one, other) > 0.5
        assert kappa_within(strata, one, other) == pytest.approx(0, abs=0.02)

    def test_few_points_of_a_stratum_make_no_agreement_of_their_own(self):
        rng = np.random.default_rng(0)
        strata = rng.permutation(4000) // 2
        one, other = rng.integers(3, size=(2, 4000))
        assert kappa_within(strata, one, other) == pytest.approx(0, abs=0.05)

    @pytest.mark.parametrize("strata", [[0, 0, 1, 1], [0, 1, 2, 3]])
    def test_nothing_to_agree_on_is_chance(self, strata):
        types = np.array([0, 0, 1, 1])
        assert kappa_within(np.array(strata), types, types) == 0
