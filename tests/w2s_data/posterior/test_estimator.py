"""`LabelPosterior` on worlds with known truth, and on inputs that leave parts undefined."""

import copy

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score

from w2s_data import LinearProbe
from w2s_data.errors import EmptyDataError, InputError
from w2s_data.posterior import LabelPosterior

N_GOLD = 80


def world(seed=0, n=900, n_classes=2, accuracy=0.75):
    """Return strong features, weak probabilities and classes; the first 80 rows are gold."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(n_classes, size=n)
    strong = rng.normal(size=(n, 6))
    strong[:, :n_classes] += 1.6 * np.eye(n_classes)[codes]
    wrong = (codes + rng.integers(1, n_classes, n)) % n_classes
    said = np.where(rng.random(n) < accuracy, codes, wrong)
    rest = (1 - accuracy) / (n_classes - 1)
    return strong, np.where(np.eye(n_classes)[said] > 0, accuracy, rest), codes


def fitted(strong, weak, codes, n_gold=N_GOLD, **options):
    options = {"random_state": 0, "device": "cpu"} | options
    gold = slice(n_gold), slice(n_gold, None)
    return LabelPosterior(**options).fit(
        strong[gold[1]],
        weak[gold[1]],
        gold=(strong[gold[0]], weak[gold[0]], codes[gold[0]]),
    )


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [2, 4])
def test_it_beats_each_of_its_sources(n_classes):
    strong, weak, codes = world(n_classes=n_classes)
    posterior = fitted(strong, weak, codes)
    truth = codes[N_GOLD:]
    gold_alone = LinearProbe(l2="cv", random_state=0, device="cpu")
    gold_alone.fit(strong[:N_GOLD], codes[:N_GOLD])
    own = (posterior.proba_.argmax(axis=1) == truth).mean()
    assert own > (weak[N_GOLD:].argmax(axis=1) == truth).mean() + 0.02
    assert own > gold_alone.score(strong[N_GOLD:], truth) + 0.02
    np.testing.assert_allclose(posterior.proba_.sum(axis=1), 1)
    assert posterior.accuracy_.low <= own <= posterior.accuracy_.high


def test_trust_ranks_right_weak_labels_first_and_averages_to_their_accuracy():
    strong, weak, codes = world(seed=1, n=2_000)
    n_gold = 400  # the mean of trust is as uncertain as an accuracy on the gold rows
    posterior = fitted(strong, weak, codes, n_gold)
    right = weak[n_gold:].argmax(axis=1) == codes[n_gold:]
    assert roc_auc_score(right, posterior.trust_) > 0.85
    estimate = posterior.weak_accuracy_
    assert estimate.low <= right.mean() <= estimate.high
    assert posterior.trust_.mean() == pytest.approx(right.mean(), abs=0.04)


def test_weights_say_which_teacher_to_believe():
    strong, good, codes = world(seed=2, accuracy=0.85)
    rng = np.random.default_rng(3)
    noise = np.where(np.eye(2)[rng.integers(2, size=len(codes))] > 0, 0.9, 0.1)
    posterior = fitted(strong, np.stack([good, noise], axis=1), codes)
    assert posterior.weights_["teacher 0"] > 5 * posterior.weights_["teacher 1"]
    assert list(posterior.weights_.index[-3:]) == ["gold labels", "class means", "student"]


def test_an_abstaining_teacher_has_no_trust_and_no_influence():
    strong, weak, codes = world(seed=4)
    weak[N_GOLD : N_GOLD + 50] = 0.5
    posterior = fitted(strong, weak, codes)
    assert np.isnan(posterior.trust_[:50]).all()
    assert np.isfinite(posterior.trust_[50:]).all()


def test_lead_and_accuracies_are_of_the_same_rows_where_a_teacher_abstains():
    strong, weak, codes = world(seed=4)
    full = fitted(strong, weak, codes)
    assert full.voted_accuracy_ == full.accuracy_
    strong[N_GOLD : N_GOLD + 400] = 0.0  # so that rows without a weak label are hard
    weak[N_GOLD : N_GOLD + 400] = weak[:20] = 0.5
    found = fitted(strong, weak, codes)
    voted, taught = found.voted_accuracy_.value, found.weak_accuracy_.value
    assert voted - taught == pytest.approx(found.lead_.value, abs=1e-9)
    assert found.accuracy_.value < voted - 0.1
    right = found.proba_[400:].argmax(axis=1) == codes[N_GOLD + 400 :]
    assert voted == pytest.approx(right.mean(), abs=0.06)


def test_a_teacher_of_the_gold_rows_is_not_believed_for_what_it_memorised():
    rng = np.random.default_rng(5)
    n, n_gold = 1_200, 100
    codes = rng.integers(2, size=n)
    strong = rng.normal(size=(n, 5)) + 1.2 * codes[:, None] * np.eye(5)[0]
    weak_features = rng.normal(size=(n, 80))  # nothing to learn, and enough columns to memorise
    gold, pool = np.arange(n_gold), np.arange(n_gold, n)

    def teacher(rows):
        probe = LinearProbe(l2=1e-3, device="cpu").fit(weak_features[rows], codes[rows])
        return probe.predict_proba(weak_features[gold]), probe.predict_proba(weak_features[pool])

    on_gold, on_pool = teacher(gold)
    rows = strong[gold], on_gold, codes[gold]
    make = LabelPosterior(random_state=0, device="cpu")
    careless = clone(make).fit(strong[pool], on_pool, gold=rows)
    careful = clone(make).fit(strong[pool], on_pool, gold=rows, relabel=teacher)
    assert careless.weights_["teacher"] > 1  # all gold rows are right by heart
    assert careful.weights_["teacher"] < 0.2
    truth = codes[pool]
    assert (careful.predict(strong[pool], on_pool) == truth).mean() > (
        careless.predict(strong[pool], on_pool) == truth
    ).mean() + 0.05
    assert careful.weak_accuracy_.low <= (on_pool.argmax(axis=1) == truth).mean()


def test_a_teacher_may_bring_the_folds_that_it_was_trained_without():
    strong, weak, codes = world(seed=8)
    folds = np.arange(N_GOLD) % 3
    held_out = []

    def relabel(rows):
        held_out.append(np.delete(np.arange(N_GOLD), rows))
        return weak[:N_GOLD], weak[N_GOLD:]

    rows = strong[:N_GOLD], weak[:N_GOLD], codes[:N_GOLD]
    LabelPosterior(random_state=0, device="cpu").fit(
        strong[N_GOLD:], weak[N_GOLD:], gold=rows, relabel=relabel, relabel_folds=folds
    )
    assert [own.tolist() for own in held_out] == [
        np.flatnonzero(folds == k).tolist() for k in range(3)
    ]


def test_few_gold_rows_leave_equal_weights_and_say_so():
    posterior = fitted(*world(seed=6, n_classes=3), 12)
    assert posterior.equal_weights_
    assert "12 gold rows are too few" in posterior.notes_[0]
    assert posterior.weights_.nunique() == 1


def test_a_rare_class_does_not_take_the_weights_from_the_others():
    strong, weak, codes = world(seed=6, n_classes=3, accuracy=0.9)
    rare = np.flatnonzero(codes[:60] == 2)
    codes[rare[1:]] = 0
    strong[rare[1:], :3] += 1.6 * (np.eye(3)[0] - np.eye(3)[2])
    weak[rare[1:]] = weak[rare[1:]][:, [2, 1, 0]]
    posterior = fitted(strong, weak, codes, 60)
    assert "class 2 has fewer than 2 gold rows" in posterior.notes_[0]
    assert not posterior.equal_weights_
    assert posterior.weights_["teacher"] > 2 * posterior.weights_["gold labels"]
    said = weak[60:].argmax(axis=1)
    right = said == codes[60:]
    assert posterior.trust_[right & (said == 2)].mean() > 0.5


def test_gold_rows_of_one_class_leave_the_view_of_gold_labels_out():
    strong, weak, codes = world(seed=7)
    codes[:N_GOLD] = 1
    posterior = fitted(strong, weak, codes)
    assert posterior.equal_weights_
    np.testing.assert_allclose(posterior.views_.gold[:, 1:3], 0.5)


def test_the_posterior_of_new_rows_is_that_of_the_pool_but_for_the_folds():
    strong, weak, codes = world(seed=8, n=1_500)
    posterior = fitted(strong, weak, codes)
    again = posterior.predict_proba(strong[N_GOLD:], weak[N_GOLD:])
    assert np.abs(again - posterior.proba_).mean() < 0.02
    assert (again.argmax(axis=1) == posterior.proba_.argmax(axis=1)).mean() > 0.97


def test_the_same_seed_gives_the_same_bytes_and_a_large_pool_is_sampled():
    strong, weak, codes = world(seed=9)
    first, second = (fitted(strong, weak, codes, max_pool=300) for _ in range(2))
    assert first.proba_.tobytes() == second.proba_.tobytes()
    assert "random 300 of the 820 pool rows" in first.notes_[0]
    assert len(first.proba_) == 820


def test_the_order_of_a_pair_does_not_matter():
    strong, weak, codes = world(seed=10)
    turned_codes = 1 - codes
    first = fitted(strong, weak, codes, paired=True)
    second = fitted(-strong, weak[:, ::-1], turned_codes, paired=True)
    np.testing.assert_allclose(second.proba_, first.proba_[:, ::-1], atol=1e-3)


def test_a_pool_of_one_row_is_refused_and_one_weak_label_is_not():
    strong, weak, codes = world(n=N_GOLD + 30)
    with pytest.raises(EmptyDataError, match="the pool has one row"):
        fitted(*(part[: N_GOLD + 1] for part in (strong, weak, codes)))
    weak[N_GOLD + 1 :] = 0.5
    assert np.isfinite(fitted(strong, weak, codes).proba_).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.full(N_GOLD, 2)}, "class codes from 0 to 1"),
        ({"labels": np.full(N_GOLD, "x")}, "must be class codes"),
        ({"strong": np.zeros((N_GOLD, 3))}, "one encoder"),
        ({"weak": np.full((N_GOLD, 3), 1 / 3)}, "1 teachers and 3 classes"),
    ],
)
def test_gold_rows_that_do_not_fit_are_refused(change, message):
    strong, weak, codes = world()
    gold = {"strong": strong[:N_GOLD], "weak": weak[:N_GOLD], "labels": codes[:N_GOLD]} | change
    with pytest.raises(InputError, match=message):
        LabelPosterior().fit(strong[N_GOLD:], weak[N_GOLD:], gold=tuple(gold.values()))


def test_weights_of_gold_rows_change_the_accuracies_alone():
    strong, weak, codes = world(seed=4)
    weight = np.exp(strong[:N_GOLD, 5] / 2)
    gold = strong[:N_GOLD], weak[:N_GOLD], codes[:N_GOLD]
    plain, weighted = (
        LabelPosterior(random_state=0, device="cpu").fit(
            strong[N_GOLD:], weak[N_GOLD:], gold=gold, gold_weight=given
        )
        for given in (None, weight)
    )
    np.testing.assert_array_equal(plain.proba_, weighted.proba_)
    assert weighted.accuracy_ != plain.accuracy_
    assert any(note.startswith("weighted: 80 gold rows are worth") for note in weighted.notes_)


@pytest.mark.parametrize("bad", [np.ones(3), -np.ones(N_GOLD), np.full(N_GOLD, np.nan)])
def test_bad_weights_of_gold_rows_are_refused(bad):
    strong, weak, codes = world()
    gold = strong[:N_GOLD], weak[:N_GOLD], codes[:N_GOLD]
    with pytest.raises(InputError, match="gold_weight must"):
        LabelPosterior().fit(strong[N_GOLD:], weak[N_GOLD:], gold=gold, gold_weight=bad)


@pytest.fixture(scope="module")
def shared():
    """A fitted posterior, and what it was fitted on."""
    strong, weak, codes = world(seed=4, n=300)
    return fitted(strong, weak, codes), strong, weak, codes


def test_ratios_of_several_corrections_multiply(shared):
    posterior = shared[0]
    once = copy.deepcopy(posterior).correct_shares([3.0, 0.5])
    twice = copy.deepcopy(posterior).correct_shares([2.0, 0.25]).correct_shares([1.5, 2.0])
    np.testing.assert_allclose(twice.proba_, once.proba_)
    assert twice.accuracy_.low == pytest.approx(once.accuracy_.low)
    assert twice.notes_ == once.notes_


@pytest.mark.parametrize("ratio", [[1, 0], [1, np.inf], [1, np.nan], [1, 2, 3], ["a", "b"], None])
def test_ratios_that_are_not_finite_numbers_above_0_are_refused(shared, ratio):
    with pytest.raises(InputError, match="ratio must be 2 finite numbers above 0"):
        copy.deepcopy(shared[0]).correct_shares(ratio)


def test_new_rows_of_other_teachers_or_classes_are_refused(shared):
    posterior, strong, weak, _ = shared
    with pytest.raises(InputError, match="1 teachers and 3 classes, the rows of the fit 1 and 2"):
        posterior.predict_proba(strong[:5], np.full((5, 3), 1 / 3))
    with pytest.raises(InputError, match="2 teachers and 2 classes, the rows of the fit 1 and 2"):
        posterior.predict_proba(strong[:5], np.stack([weak[:5]] * 2, axis=1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weak_names": ("a", "b")}, r"one name for each teacher \(1 here\); got 2: 'a', 'b'"),
        ({"pool_labels": np.full(220, -5)}, "pool_labels must be class codes.*row 0 holds -5"),
        ({"pool_labels": np.full(220, 2)}, "pool_labels must be class codes from 0 to 1"),
        ({"relabel": lambda _: None}, "relabel must return two arrays.*got NoneType"),
        ({"relabel": lambda _: (np.eye(2), np.eye(2))}, "80 rows, gold weak_proba of relabel"),
        (
            {"relabel": lambda _: (np.full((80, 3), 1 / 3), np.full((220, 3), 1 / 3))},
            "gold weak_proba of relabel has 1 teachers and 3 classes",
        ),
    ],
)
def test_options_of_a_fit_that_do_not_match_are_refused(shared, options, message):
    _, strong, weak, codes = shared
    gold = strong[:N_GOLD], weak[:N_GOLD], codes[:N_GOLD]
    with pytest.raises(InputError, match=message):
        LabelPosterior(device="cpu").fit(strong[N_GOLD:], weak[N_GOLD:], gold=gold, **options)
