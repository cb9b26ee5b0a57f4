"""Alarms where rows come from elsewhere, none where they do not."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from w2s_data.errors import FeatureError, InputError
from w2s_data.shift import ShiftDetector
from w2s_data.shift.measures import _auc_of_columns
from w2s_data.shift.structure import fit_structure

LABELLED, POOL = np.arange(200), np.arange(200, 1200)


def gaussian(seed, n=1200, dimensions=12):
    return np.random.default_rng(seed).normal(size=(n, dimensions))


def fitted(strong, weak=None, seed=0, **sets):
    return ShiftDetector(random_state=seed).fit(
        strong, weak, reference=LABELLED, others=sets or {"pool": POOL}
    )


@pytest.mark.slow
def test_false_alarms_of_random_divisions_are_as_rare_as_promised():
    labelled, pool = np.arange(80), np.arange(80, 400)  # small samples are where it is hardest
    alarms = [
        ShiftDetector(random_state=seed)
        .fit(gaussian(seed, n=400), reference=labelled, others={"pool": pool})
        .alarm_
        for seed in range(40)
    ]
    assert sum(alarms) <= 2  # 1 % each


def test_rows_of_one_source_raise_no_alarm_and_keep_their_weights():
    detector = fitted(gaussian(1))
    shift = detector.shifts_["pool"]
    assert not detector.alarm_
    assert detector.comparisons_[0].auc.low < 0.5 < detector.comparisons_[0].auc.high
    assert shift.effective_size > 150


def test_auc_of_a_mean_shift_is_that_of_the_best_classifier():
    from scipy.stats import norm

    strong = gaussian(2, n=4200)
    strong[200:, 0] += 1.5  # the best AUC is Phi(1.5 / sqrt 2)
    detector = fitted(strong, pool=np.arange(200, 4200))
    auc = detector.comparisons_[0].auc
    assert auc.value == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=0.03)
    assert auc.low < auc.value < auc.high


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_share_of_foreign_rows_is_found_and_measured(share):
    strong = gaussian(3)
    n_foreign = round(share * len(POOL))
    strong[-n_foreign:, :4] += 4
    detector = fitted(strong)
    shift = detector.shifts_["pool"]
    assert detector.alarm_
    assert shift.share.low <= share <= shift.share.high
    assert set(shift.typical) <= set(range(1200 - n_foreign, 1200))
    assert not set(shift.nearest) & set(range(1200 - n_foreign, 1200))


def test_weights_turn_reference_means_into_those_of_the_pool():
    rng = np.random.default_rng(4)
    strong = rng.normal(size=(5000, 3))
    labelled, pool = np.arange(1000), np.arange(1000, 5000)
    strong[pool, 0] += 0.7
    detector = ShiftDetector(random_state=0).fit(strong, reference=labelled, others={"pool": pool})
    weights = detector.weights_["pool"]
    assert np.average(strong[labelled, 0], weights=weights) == pytest.approx(0.7, abs=0.15)
    # For N(0, 1) and N(0.7, 1): n / exp(0.49).
    assert detector.shifts_["pool"].effective_size == pytest.approx(1000 / np.exp(0.49), rel=0.2)


def test_sides_that_do_not_overlap_leave_nothing_to_weight():
    strong = gaussian(5)
    strong[POOL] += 8
    shift = fitted(strong).shifts_["pool"]
    assert shift.effective_size < 1
    assert shift.share.low > 0.95


def test_weak_features_alone_can_raise_the_alarm():
    strong, weak = gaussian(6), gaussian(7, dimensions=3)
    weak[POOL, 1] += 1
    alarms = {c.view: c.alarm for c in fitted(strong, weak).comparisons_}
    assert alarms == {"strong": False, "weak": True}


def test_a_shifted_source_is_named_among_others():
    strong = gaussian(8)
    strong[900:, 2] -= 2
    detector = fitted(strong, same=np.arange(200, 900), other=np.arange(900, 1200))
    assert {name: shift.alarm for name, shift in detector.shifts_.items()} == {
        "same": False,
        "other": True,
    }


def test_other_shares_of_classes_show_in_predictions():
    rng = np.random.default_rng(9)
    positive = np.r_[rng.random(200) < 0.5, rng.random(1000) < 0.15]
    margin = np.where(positive, 1.0, -1.0) + rng.normal(size=1200) * 0.7
    proba = 1 / (1 + np.exp(-2 * margin))
    detector = ShiftDetector(random_state=0).fit(
        gaussian(9),
        reference=LABELLED,
        others={"pool": POOL},
        predictions=np.log(np.c_[1 - proba, proba]),
    )
    assert {c.view: c.alarm for c in detector.comparisons_} == {
        "strong": False,
        "predictions": True,
    }


def test_ratio_of_new_rows_ranks_them_as_the_true_ratio_does():
    strong = gaussian(10, n=4200, dimensions=4)
    strong[200:, 0] += 1
    detector = fitted(strong, pool=np.arange(200, 4200))
    fresh = gaussian(11, n=500, dimensions=4)
    ratio = detector.log_ratio("pool", fresh)
    assert np.corrcoef(ratio, fresh[:, 0])[0, 1] > 0.9
    with pytest.raises(InputError, match="there is no set 'test'"):
        detector.log_ratio("test", fresh)
    with pytest.raises(InputError, match="'pool' was compared by 'strong'; 'strong' lack"):
        detector.log_ratio("pool", None, fresh)


def test_a_set_is_compared_in_the_views_that_are_named_for_it():
    strong, weak = gaussian(6), gaussian(7, dimensions=3)
    weak[700:, 1] += 1  # of the test rows alone, whose weak features say nothing
    sets = {"pool": np.arange(200, 700), "test": np.arange(700, 1200)}
    detector = ShiftDetector(random_state=0)
    detector.fit(strong, weak, reference=LABELLED, others=sets, views_of={"test": ["strong"]})
    compared = [(c.name, c.view) for c in detector.comparisons_]
    assert compared == [("pool", "strong"), ("pool", "weak"), ("test", "strong")]
    assert not detector.alarm_
    assert len(detector.log_ratio("test", strong[:5])) == 5
    for views, words in ((["stong"], "did you mean 'strong'"), (["predictions"], "views_of")):
        with pytest.raises(InputError, match=words):
            detector.fit(strong, reference=LABELLED, others=sets, views_of={"test": views})


def test_labelled_rows_beyond_the_sample_have_weights_of_the_same_kind():
    strong = gaussian(12, n=3000, dimensions=3)
    labelled, pool = np.arange(1500), np.arange(1500, 3000)
    strong[pool, 0] += 1
    whole, sampled = (
        ShiftDetector(max_rows=most, random_state=0)
        .fit(strong, reference=labelled, others={"pool": pool})
        .weights_["pool"]
        for most in (2000, 500)
    )
    assert len(sampled) == 1500
    assert np.corrcoef(whole, sampled)[0, 1] > 0.8


@pytest.mark.parametrize(
    "strong",
    [np.ones((1200, 3)), np.zeros((1200, 2)), np.repeat(gaussian(0, n=3), 400, axis=0)],
    ids=["constant", "zero", "three kinds"],
)
def test_degenerate_features_are_defined(strong):
    detector = fitted(strong)
    assert np.isfinite(detector.comparisons_[0].auc.value)
    assert 0 <= detector.comparisons_[0].p_value <= 1


def test_constant_features_and_identical_sets_raise_no_alarm():
    assert not fitted(np.ones((1200, 3))).alarm_
    strong = np.tile(gaussian(13, n=200), (6, 1))
    assert not fitted(strong).alarm_
    assert not fitted(gaussian(14), pool=LABELLED).alarm_


def test_small_sets_are_named_and_left_out():
    detector = fitted(gaussian(15), pool=POOL, tiny=np.arange(200, 210))
    assert list(detector.shifts_) == ["pool"]
    assert detector.notes_ == (
        "tiny has 10 rows, fewer than the 20 that can be compared: whether it is shifted is not "
        "known",
    )


def test_only_small_sets_leave_no_comparison():
    detector = fitted(gaussian(15), tiny=np.arange(200, 210))
    assert not detector.alarm_
    assert detector.comparisons_ == ()
    assert detector.to_frame().empty


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"reference": np.arange(5)}, "reference has 5 rows: 20 or more"),
        ({"reference": np.array([0, 4000])}, "reference has row 4000, the features have 1200"),
        ({"reference": np.array([0.5])}, "reference must be row numbers or a mask"),
        ({"reference": np.ones(7, dtype=bool)}, "reference must be a mask of 1200 rows"),
        ({"weak_features": np.ones((7, 2))}, "row counts disagree: strong features have 1200"),
    ],
)
def test_unusable_sets_are_refused_in_one_line(arguments, words):
    given = {"reference": LABELLED, "others": {"pool": POOL}} | arguments
    with pytest.raises(InputError, match=words):
        ShiftDetector().fit(gaussian(0), **given)


def test_rows_that_are_not_numbers_are_named():
    strong = gaussian(0)
    strong[17, 2] = np.nan
    with pytest.raises(FeatureError, match="strong features have NaN or infinite values in row 17"):
        fitted(strong)


def test_same_seed_same_result_and_parameters_are_checked():
    strong = gaussian(16)
    assert fitted(strong).to_dict() == fitted(strong).to_dict()
    assert clone(ShiftDetector(min_auc=0.7)).min_auc == 0.7
    with pytest.raises(InputError, match="min_auc"):
        ShiftDetector(min_auc=60).fit(strong, reference=LABELLED, others=POOL)


def test_digits_through_another_channel_are_found():
    strong = np.random.default_rng(0).permutation(load_digits().data)  # rows are by writer
    strong[1000:] = 16 - strong[1000:]  # inverted
    detector = ShiftDetector(random_state=0).fit(
        strong,
        reference=np.arange(300),
        others={"seen": np.arange(300, 1000), "new": np.arange(1000, 1797)},
    )
    assert {name: shift.alarm for name, shift in detector.shifts_.items()} == {
        "seen": False,
        "new": True,
    }
    assert detector.comparisons_[1].auc.value > 0.99


@pytest.mark.parametrize("n_values", [3, 10**6])  # with and without ties
def test_auc_of_columns_is_that_of_each(n_values):
    rng = np.random.default_rng(0)
    scores = rng.integers(n_values, size=(300, 7)).astype(np.float32)
    sides = rng.integers(2, size=scores.shape).astype(np.float32)
    expected = [roc_auc_score(*pair) for pair in zip(sides.T, scores.T, strict=True)]
    np.testing.assert_allclose(_auc_of_columns(scores, sides), expected, rtol=1e-12)


def test_results_are_the_same_bytes_for_any_number_of_threads():
    strong, weak = gaussian(4), gaussian(5, dimensions=3)
    strong[POOL[:300]] += 1
    found = []
    for threads in (1, 3):
        with threadpool_limits(threads, user_api="blas"):
            detector = fitted(strong, weak)
        found.append((detector.to_dict(), detector.weights_["pool"].tobytes()))
    assert found[0] == found[1]


def moved(n=700):
    """Rows of which those after the first 300 are moved along the first column."""
    strong = gaussian(12, n=n, dimensions=6)
    strong[300:, 0] += 1
    return strong


def quick(strong, reference, **others):
    return ShiftDetector(random_state=0, n_permutations=99).fit(
        strong, reference=reference, others=others or {"pool": np.arange(300, len(strong))}
    )


def test_weights_follow_the_order_of_the_reference_rows():
    strong, order = moved(), np.random.default_rng(0).permutation(300)
    sorted_, mixed = quick(strong, np.arange(300)), quick(strong, np.r_[order, order[:2]])
    expected = sorted_.weights_["pool"]
    np.testing.assert_array_equal(mixed.weights_["pool"], expected[np.r_[order, order[:2]]])
    assert np.corrcoef(strong[order, 0], np.log(mixed.weights_["pool"][:300]))[0, 1] > 0.9
    assert mixed.to_dict() == sorted_.to_dict()  # a repeated row counts once
    masked = quick(strong, np.arange(len(strong)) < 300)
    np.testing.assert_array_equal(masked.weights_["pool"], expected)


def test_the_unit_of_a_column_does_not_hide_its_shift():
    strong = moved()
    auc = quick(strong, np.arange(300)).comparisons_[0].auc.value
    small = quick(strong * [1e-7, 1, 1, 1, 1, 1], np.arange(300)).comparisons_[0].auc.value
    assert small == pytest.approx(auc, abs=1e-3)
    assert small > 0.7


def test_rounding_of_constant_columns_is_no_feature():
    strong = gaussian(13, n=600)
    noise = 1e-16 * gaussian(14, n=600, dimensions=1)
    constant = np.full((600, 1), 0.1) * (1 + 1e-8 * gaussian(15, n=600, dimensions=1))
    structure = fit_structure(np.hstack([strong, noise, constant]), np.random.default_rng(0))
    assert structure.scale[-2:].tolist() == [1, 1]
    assert (structure.scale[:-2] != 1).all()


def test_sets_may_be_named_by_numbers():
    strong, pool = moved(), np.arange(300, 700)
    detector = ShiftDetector(random_state=0, n_permutations=99).fit(
        strong, strong, reference=np.arange(300), others={1: pool}, views_of={1: ["weak"]}
    )
    assert [c.view for c in detector.comparisons_] == ["weak"]
    np.testing.assert_array_equal(
        detector.log_ratio(1, strong, strong), detector.log_ratio("1", strong, strong)
    )
    with pytest.raises(InputError, match="two sets with the name '1'"):
        ShiftDetector().fit(strong, reference=np.arange(300), others={1: pool, "1": pool})


def test_log_ratio_of_rows_with_other_columns_is_refused():
    strong = moved()
    detector = quick(strong, np.arange(300))
    with pytest.raises(FeatureError, match=r"strong features have 3 columns; .* fitted on 6"):
        detector.log_ratio("pool", strong[:, :3])
