"""The overlap detector: parity, known truth, invariants, degenerate input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import f1_score

from tests.w2s_data.overlap.published import published_regions
from w2s_data.data.examples import gaussian_overlap
from w2s_data.data.regions import Region
from w2s_data.errors import DegenerateDataWarning, FeatureError, InputError, ProbabilityError
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.probes.linear import LinearProbe

DENSITIES = (0.1, 0.2, 0.3, 0.5, 0.7)


def binary(p):
    return np.column_stack([1 - p, p])


def quick(**options):
    return OverlapDetector(**{"n_resamples": 20, "random_state": 0, **options})


def same_partition(features, proba):
    found = OverlapDetector.reference(n_resamples=0).fit(features, proba).regions_
    np.testing.assert_array_equal(found, published_regions(features, proba))


@pytest.fixture
def points(rng):
    """200 points in 6 dimensions with three classes."""
    return rng.normal(size=(200, 6)).astype(np.float32), rng.dirichlet(np.ones(3), 200)


class TestReference:
    """The published algorithm, exactly."""

    @pytest.mark.parametrize("missing", ["zero", "noise"])
    @pytest.mark.parametrize("overlap", DENSITIES)
    def test_on_gaussian_data(self, missing, overlap):
        example = gaussian_overlap(n=700, overlap=overlap, missing=missing, random_state=1)
        same_partition(example.strong_features, example.dataset.weak_proba)

    @pytest.mark.parametrize("n_classes", [2, 10])
    def test_on_digits(self, n_classes):
        from sklearn.datasets import load_digits

        digits = load_digits()
        labels = digits.target % n_classes
        weak = digits.images.reshape(-1, 2, 4, 2, 4).mean(axis=(2, 4)).reshape(-1, 4)
        proba = LinearProbe(l2=0.1).fit(weak[:300], labels[:300]).predict_proba(weak[300:])
        same_partition(digits.data[300:].astype(np.float32), proba)

    @pytest.mark.slow
    @pytest.mark.parametrize("corpus", ["sst2", "customer_reviews"])
    def test_on_text(self, corpus, data_home, minilm_path):
        import pandas as pd

        from w2s_data.encoders import TextEncoder, TfidfEncoder

        table = pd.read_parquet(data_home / f"{corpus}.parquet").drop_duplicates("text")
        table = table.sample(800, random_state=0)
        texts = table["text"].tolist()
        weak = TfidfEncoder(32).fit(texts).encode(texts)
        teacher = LinearProbe(l2=0.1).fit(weak[:300], table["label"].to_numpy()[:300])
        strong = TextEncoder(minilm_path).encode(texts[300:])
        same_partition(strong, teacher.predict_proba(weak[300:]))


class TestKnownTruth:
    """Numbers that a correct implementation reaches (Shin et al.'s Gaussian mixture)."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("missing", "least_f1", "most_bias"), [("zero", 0.98, 0.01), ("noise", 0.69, 0.08)]
    )
    def test_gaussian_overlap(self, missing, least_f1, most_bias):
        f1, bias = [], []
        for seed in range(3):
            for overlap in DENSITIES:
                example = gaussian_overlap(overlap=overlap, missing=missing, random_state=seed)
                detector = quick(n_resamples=0).fit(
                    example.strong_features, example.dataset.weak_proba
                )
                truth = example.regions == Region.OVERLAP
                f1.append(f1_score(truth, detector.regions_ == Region.OVERLAP))
                bias.append(abs(detector.density_ - truth.mean()))
        assert np.mean(f1) >= least_f1
        assert np.mean(bias) <= most_bias

    def test_sources_are_ranked(self):
        sources = {"a": 0.1, "b": 0.3, "c": 0.5, "d": 0.7}
        example = gaussian_overlap(sources=sources, missing="zero", random_state=0)
        detector = quick().fit(example.strong_features, example.dataset.weak_proba)
        table = detector.shares(example.dataset.sources)
        assert table["name"].tolist() == list(sources)
        np.testing.assert_allclose(table["density"], list(sources.values()), atol=0.03)
        assert (table["density_low"] <= table["density"]).all()
        assert (table["density"] <= table["density_high"]).all()

    @pytest.mark.slow
    def test_intervals_cover_the_density_of_the_population(self):
        covered = []
        for seed in range(40):
            rng = np.random.default_rng(seed)
            share = rng.binomial(1000, 0.3) / 1000  # a pool drawn from a population with .3
            example = gaussian_overlap(n=1000, overlap=share, missing="zero", random_state=seed)
            detector = quick(n_resamples=100).fit(
                example.strong_features, example.dataset.weak_proba
            )
            low, high = detector.density_interval_
            covered.append(low <= 0.3 <= high)
        assert np.mean(covered) >= 0.85


class TestInvariants:
    @settings(max_examples=40)
    @given(st.integers(0, 10_000), st.integers(12, 80), st.integers(2, 4))
    @pytest.mark.filterwarnings("ignore::w2s_data.errors.DegenerateDataWarning")
    def test_regions_follow_from_the_thresholds(self, seed, n, n_classes):
        rng = np.random.default_rng(seed)
        features = rng.normal(size=(n, 3)).astype(np.float32)
        detector = quick(n_resamples=5).fit(features, rng.dirichlet(np.ones(n_classes), n))
        hard = detector.confidence_ <= detector.confidence_threshold_
        overlap = ~hard & (detector.alignment_ >= detector.alignment_threshold_)
        np.testing.assert_array_equal(detector.regions_ == Region.HARD, hard)
        np.testing.assert_array_equal(detector.regions_ == Region.OVERLAP, overlap)
        assert np.array_equal(np.isnan(detector.alignment_), hard)
        assert ((detector.confidence_ >= 0) & (detector.confidence_ <= 1)).all()
        known = detector.alignment_[~hard]
        assert ((known >= 0) & (known <= 1)).all()
        if not np.isnan(detector.density_):
            assert detector.density_ == overlap.mean()
            low, high = detector.density_interval_  # NaN if most replicates are undefined
            assert not low > detector.density_
            assert not high < detector.density_

    def test_types_and_shapes(self, points):
        detector = quick().fit(*points)
        assert detector.regions_.dtype == np.int8
        assert detector.alignment_.dtype == np.float32
        assert detector.regions_.shape == detector.confidence_.shape == (200,)

    @pytest.mark.parametrize("make", [OverlapDetector, OverlapDetector.reference])
    def test_order_of_points_does_not_matter(self, points, rng, make):
        features, proba = points
        order = rng.permutation(200)
        before = make(n_resamples=0, random_state=0).fit(features, proba).regions_
        after = make(n_resamples=0, random_state=0).fit(features[order], proba[order]).regions_
        np.testing.assert_array_equal(before[order], after)

    def test_length_and_sign_of_features_do_not_matter(self, points, rng):
        features, proba = points
        scale = (rng.uniform(0.5, 2, 200) * rng.choice([-1, 1], 200)).astype(np.float32)
        before = quick().fit(features, proba).regions_
        np.testing.assert_array_equal(
            before, quick().fit(features * scale[:, None], proba).regions_
        )

    def test_same_seed_same_result(self, points):
        one, two = quick(n_anchors=30).fit(*points), quick(n_anchors=30).fit(*points)
        np.testing.assert_array_equal(one.alignment_, two.alignment_)
        assert one.density_interval_ == two.density_interval_
        assert one.fit(*points).density_interval_ == two.density_interval_

    def test_sources_do_not_change_the_overall_interval(self, points):
        detector = quick().fit(*points)
        assert detector.shares().equals(detector.shares())
        by = np.repeat(["a", "b"], 100)
        table = detector.shares(by)
        assert np.average(table["density"], weights=table["n"]) == pytest.approx(detector.density_)

    def test_missing_sources_are_left_out(self, points):
        by = np.array(["a"] * 50 + [None] * 150, dtype=object)
        assert quick().fit(*points).shares(by)[["name", "n"]].values.tolist() == [["a", 50]]

    def test_a_region_never_seen_has_an_honest_interval(self):
        example = gaussian_overlap(
            sources={"none": 0.0, "half": 0.5}, missing="zero", random_state=0
        )
        detector = quick().fit(example.strong_features, example.dataset.weak_proba)
        none = detector.shares(example.dataset.sources).set_index("name").loc["none"]
        assert none["density"] < 0.02
        assert none["density_high"] > none["density"]


class TestAnchors:
    def test_sample_agrees_with_all(self):
        example = gaussian_overlap(n=4000, overlap=0.4, missing="noise", random_state=0)
        args = example.strong_features, example.dataset.weak_proba
        full = quick(n_anchors="full").fit(*args)
        sampled = quick(n_anchors=700).fit(*args)
        assert sampled.n_anchors_ == 700 < full.n_anchors_
        assert np.mean(full.regions_ == sampled.regions_) > 0.97

    def test_auto_is_full_for_few(self, points):
        full, auto = quick(n_anchors="full").fit(*points), quick().fit(*points)
        assert auto.n_anchors_ == full.n_anchors_ == np.count_nonzero(full.regions_ == 0)


class TestNewPoints:
    def test_predict_repeats_the_fit(self, points):
        features, proba = points
        detector = quick().fit(features, proba)
        scored = detector.score_points(features, proba)
        np.testing.assert_array_equal(scored.regions, detector.regions_)
        np.testing.assert_array_equal(scored.confidence, detector.confidence_)
        np.testing.assert_allclose(scored.alignment, detector.alignment_, atol=1e-6)
        np.testing.assert_array_equal(detector.predict(features[:7], proba[:7]), scored.regions[:7])

    @pytest.mark.parametrize("make", [OverlapDetector, OverlapDetector.reference])
    def test_a_pool_is_fitted_and_the_rest_scored_in_one_pass(self, points, rng, make):
        features, proba = points
        pool = np.sort(rng.permutation(200)[:140])
        rest = np.setdiff1d(np.arange(200), pool)
        alone = make(n_resamples=20, random_state=0).fit(features[pool], proba[pool])
        mask = np.isin(np.arange(200), pool)
        for chosen in (pool, mask):
            detector = make(n_resamples=20, random_state=0).fit(features, proba, pool=chosen)
            assert detector.density_ == alone.density_
            assert detector.density_interval_ == alone.density_interval_
            np.testing.assert_array_equal(detector.regions_, alone.regions_)
            np.testing.assert_array_equal(detector.scores_.regions[pool], alone.regions_)
            np.testing.assert_allclose(detector.alignment_, alone.alignment_, atol=1e-6)
            scored = alone.score_points(features[rest], proba[rest])
            np.testing.assert_array_equal(detector.scores_.regions[rest], scored.regions)
            np.testing.assert_array_equal(detector.scores_.confidence[rest], scored.confidence)
            np.testing.assert_allclose(
                detector.scores_.alignment[rest], scored.alignment, atol=1e-6
            )

    @pytest.mark.parametrize("pool", [[200], [-1], [0.5], [True, False]])
    def test_bad_pools(self, points, pool):
        with pytest.raises(InputError, match="pool must be a mask of the 200 rows or row numbers"):
            quick().fit(*points, pool=pool)

    @pytest.mark.parametrize("pool", [[], np.zeros(200, bool)])
    def test_a_pool_without_rows(self, points, pool):
        with pytest.raises(InputError, match="pool selects none of the 200 rows"):
            quick().fit(*points, pool=pool)

    def test_gold_without_rows(self, points):
        features, proba = points
        with pytest.raises(FeatureError, match="gold features have no rows"):
            quick().fit(*points, gold=(features[:0], proba[:0], np.zeros(0, int)))

    def test_smoothing_fits_all_rows(self, points):
        with pytest.raises(InputError, match="only on the points of the fit"):
            quick(smooth_confidence=True).fit(*points, pool=[0, 1, 2])

    def test_partial_fit_equals_one_fit(self, points):
        features, proba = points
        streamed = quick()
        for part in (slice(0, 60), slice(60, 61), slice(61, 200)):
            streamed.partial_fit(features[part], proba[part])
        whole = quick().fit(features, proba)
        np.testing.assert_array_equal(streamed.regions_, whole.regions_)
        assert streamed.density_interval_ == whole.density_interval_

    def test_a_fit_forgets_what_was_streamed_before(self, points):
        features, proba = points
        detector = quick().partial_fit(features[:60], proba[:60]).fit(features, proba)
        detector.partial_fit(features[:80], proba[:80])
        assert len(detector.regions_) == 80

    def test_partial_fit_refuses_other_widths(self, points):
        features, proba = points
        detector = quick().partial_fit(features, proba)
        with pytest.raises(InputError, match="6 features and 3 classes; got 2 and 3"):
            detector.partial_fit(features[:, :2], proba)

    def test_not_fitted(self, points):
        with pytest.raises(NotFittedError):
            OverlapDetector().predict(*points)
        with pytest.raises(NotFittedError):
            OverlapDetector().shares()


class TestInputs:
    def test_several_weak_models_are_averaged(self, points, rng):
        features, _ = points
        several = rng.dirichlet(np.ones(3), (200, 4))
        np.testing.assert_array_equal(
            quick().fit(features, several).confidence_,
            quick().fit(features, several.mean(axis=1)).confidence_,
        )

    def test_memory_maps_and_float64(self, points, tmp_path):
        features, proba = points
        np.save(tmp_path / "f.npy", features.astype(np.float64))
        mapped = np.load(tmp_path / "f.npy", mmap_mode="r")
        np.testing.assert_array_equal(
            quick().fit(mapped, proba).regions_, quick().fit(features, proba).regions_
        )

    def test_scikit_learn_contract(self, points):
        detector = OverlapDetector(n_anchors=50, level=0.9, random_state=3)
        assert clone(detector).get_params() == detector.get_params()
        assert detector.fit(*points) is detector
        assert detector.get_params()["random_state"] == 3
        assert detector.set_params(level=0.5).level == 0.5

    def test_a_generator_is_advanced_not_copied(self, points):
        generator = np.random.default_rng(0)
        one = quick(random_state=generator).fit(*points).density_interval_
        assert quick(random_state=generator).fit(*points).density_interval_ != one

    def test_smoothed_confidence(self, points):
        detector = quick(smooth_confidence=True).fit(*points)
        assert detector.confidence_.min() == 0
        with pytest.raises(InputError, match="only on the points of the fit"):
            detector.predict(*points)

    @pytest.mark.parametrize(
        ("parameter", "value"),
        [
            ("threshold", "gmm"),
            ("alignment", "mean"),
            ("confidence", "entropy"),
            ("n_anchors", 0),
            ("n_anchors", "some"),
            ("top_share", 0),
            ("top_share", 1.5),
            ("level", 1.0),
            ("calibration", 0.0),
            ("n_resamples", -1),
        ],
    )
    def test_bad_parameters(self, points, parameter, value):
        with pytest.raises(InputError, match=parameter):
            quick(**{parameter: value}).fit(*points)

    @pytest.mark.parametrize("bad", [np.nan, np.inf])
    def test_not_finite_features_are_named(self, points, bad):
        features, proba = points
        features[[3, 150]] = bad
        with pytest.raises(FeatureError, match="NaN or infinite values in rows 3, 150"):
            quick().fit(features, proba)

    def test_zero_features_are_named(self, points):
        features, proba = points
        features[7] = 0
        with pytest.raises(FeatureError, match="row 7"):
            quick().fit(features, proba)

    def test_probabilities_out_of_range_or_sum(self, points):
        features, proba = points
        wrong = proba.copy()
        wrong[5] = [1.2, -0.2, 0.0]
        with pytest.raises(ProbabilityError, match=r"leaves \[0, 1\] in row 5"):
            quick().fit(features, wrong)
        wrong = proba.copy()
        wrong[[1, 2]] *= 0.5
        with pytest.raises(ProbabilityError, match="rows 1, 2"):
            quick().fit(features, wrong)

    def test_counts_disagree(self, points):
        features, proba = points
        with pytest.raises(InputError, match="have 200, weak_proba has 199"):
            quick().fit(features, proba[:-1])

    @pytest.mark.parametrize("shape", [(0, 3), (5,), (5, 0)])
    def test_features_without_shape(self, shape):
        with pytest.raises(FeatureError):
            quick().fit(np.zeros(shape), np.full((shape[0], 2), 0.5))

    def test_by_of_wrong_length(self, points):
        with pytest.raises(InputError, match="by has 3 entries"):
            quick().fit(*points).shares(["a", "b", "c"])


class TestDegenerate:
    @pytest.mark.parametrize("make", [OverlapDetector, OverlapDetector.reference])
    @pytest.mark.parametrize("p", [1.0, 0.8])
    def test_constant_confidence_has_no_hard_points(self, rng, make, p):
        with pytest.warns(DegenerateDataWarning, match="constant"):
            detector = make(n_resamples=5).fit(rng.normal(size=(20, 3)), binary(np.full(20, p)))
        assert (detector.regions_ == Region.EASY).all()
        assert np.isnan(detector.density_)
        assert np.isnan(detector.density_interval_).all()
        assert np.isnan(detector.confidence_threshold_)

    def test_saturated_model_with_both_answers(self, rng):
        """Probabilities 0 and 1 only: as sure of every point."""
        with pytest.warns(DegenerateDataWarning, match="constant"):
            detector = quick().fit(rng.normal(size=(30, 3)), binary(rng.integers(0, 2, 30) * 1.0))
        assert np.isnan(detector.density_)

    def test_a_model_that_knows_nothing(self, rng):
        with pytest.warns(DegenerateDataWarning, match="every point is hard-only"):
            detector = quick().fit(rng.normal(size=(20, 3)), np.full((20, 2), 0.5))
        assert (detector.regions_ == Region.HARD).all()
        assert detector.density_ == 0

    def test_equal_alignments(self):
        """All points in one direction: nothing tells overlap from easy-only."""
        with pytest.warns(DegenerateDataWarning, match="no alignment change point"):
            detector = quick().fit(np.ones((20, 3)), binary(np.linspace(0.5, 1, 20)))
        assert np.isnan(detector.density_)
        assert not (detector.regions_ == Region.OVERLAP).any()
        assert 0 < detector.shares()["hard_only"][0] < 1

    @pytest.mark.parametrize("n", [1, 2, 3])
    @pytest.mark.filterwarnings("ignore::w2s_data.errors.DegenerateDataWarning")
    def test_hardly_any_points(self, rng, n):
        detector = quick().fit(rng.normal(size=(n, 2)), binary(np.linspace(0.5, 0.9, n)))
        assert len(detector.regions_) == n

    def test_no_bootstrap_no_interval(self, points):
        assert np.isnan(quick(n_resamples=0).fit(*points).density_interval_).all()

    def test_one_dimension(self, rng):
        """All cosines are one."""
        with pytest.warns(DegenerateDataWarning):
            quick().fit(rng.normal(size=(30, 1)), binary(rng.random(30)))

    @settings(max_examples=25)
    @given(
        hnp.arrays(np.float64, st.integers(2, 30), elements=st.sampled_from([0.0, 0.5, 0.9, 1.0]))
    )
    @pytest.mark.filterwarnings("ignore::w2s_data.errors.DegenerateDataWarning")
    def test_few_distinct_values_never_crash(self, p):
        features = np.random.default_rng(0).normal(size=(len(p), 2))
        for make in (OverlapDetector, OverlapDetector.reference):
            detector = make(n_resamples=3, random_state=0).fit(features, binary(p))
            assert len(detector.regions_) == len(p)


def test_to_dict_and_to_frame_hold_the_fit(points):
    detector = quick().fit(*points)
    found = detector.to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found["density"]["value"] == detector.density_
    assert (found["density"]["low"], found["density"]["high"]) == detector.density_interval_
    assert found["confidence_threshold"]["explained"] == detector.confidence_explained_
    assert sum(region["n"] for region in found["regions"].values()) == 200
    frame = detector.to_frame()
    assert frame["region"].value_counts().to_dict() == {
        name: region["n"] for name, region in found["regions"].items() if region["n"]
    }
    with pytest.raises(NotFittedError):
        OverlapDetector().to_dict()


class TestReadyConfidence:
    """Confidence that the caller has, as of values, instead of that of probabilities."""

    def test_equals_the_margin_of_two_classes(self, points, rng):
        features, _ = points
        p = rng.random(200)
        margin = np.abs(2 * p - 1)
        by_classes = quick(quantify="count").fit(features, binary(p))
        ready = quick(quantify="count").fit(features, confidence=margin)
        np.testing.assert_array_equal(ready.regions_, by_classes.regions_)
        np.testing.assert_array_equal(ready.alignment_, by_classes.alignment_)
        assert ready.to_dict()["density"] == by_classes.to_dict()["density"]
        new = ready.score_points(features[:9], confidence=margin[:9])
        np.testing.assert_array_equal(new.regions, by_classes.regions_[:9])

    @pytest.mark.parametrize(
        ("options", "given", "message"),
        [
            ({}, {"confidence": np.ones(200)}, "requires quantify='count'"),
            ({"quantify": "count"}, {}, "give either weak_proba, or confidence"),
            ({"quantify": "count"}, {"confidence": np.ones(3)}, "one number per row"),
            ({"quantify": "count"}, {"confidence": np.full(200, 1.5)}, r"must lie in \[0, 1\]"),
            ({"quantify": "count"}, {"confidence": np.full(200, np.nan)}, "not in rows 0, 1"),
        ],
    )
    def test_refuses(self, points, options, given, message):
        with pytest.raises(InputError, match=message):
            quick(**options).fit(points[0], **given)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda x: x * 1e30, "too large to square"),
        (lambda x: x * 1e-30, "too small to square"),
        (lambda x: x * 1e200, "beyond 3.4e38, the range of float32"),
        (lambda x: x.astype(complex), "must be numbers of shape"),
    ],
)
def test_features_whose_lengths_no_number_holds_are_refused(points, bad, message):
    features, proba = points[:2]
    with pytest.raises(FeatureError, match=message):
        quick().fit(bad(features.astype(np.float64)), proba)
