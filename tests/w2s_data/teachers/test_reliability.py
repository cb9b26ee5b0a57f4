"""`assess_teachers`: simulated teachers whose accuracy, calibration and dependence are known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from w2s_data.errors import InputError, ProbabilityError
from w2s_data.teachers import assess_teachers
from w2s_data.teachers.beyond import added_by
from w2s_data.teachers.pairs import compare_teachers, independence_p_value, within_correlation

CLASSES = ("no", "yes")


def votes_of(accuracies, n, seed=0, n_classes=2):
    """Return classes (n,) and independent votes (n, M) that are right in these shares."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(n_classes, size=n)
    right = rng.random((n, len(accuracies))) < accuracies
    wrong = (classes[:, None] + rng.integers(1, n_classes, size=right.shape)) % n_classes
    return classes, np.where(right, classes[:, None], wrong)


def proba_of(said, confidence=0.8):
    """Return probabilities (N, M, 2), the confidence on the class that is said; -1 abstains."""
    proba = (1 - confidence) + (2 * confidence - 1) * np.eye(2)[np.maximum(said, 0)]
    return np.where((said < 0)[..., None], 0.5, proba)


def assess(said, classes, n_gold, **options):
    labels = np.where(np.arange(len(classes)) < n_gold, classes, -1)
    names = [f"t{m}" for m in range(said.shape[1])]
    options = {"random_state": 0, "names": names, "class_names": CLASSES, **options}
    return assess_teachers(proba_of(said), labels, **options)


def test_coverage_accuracy_and_calibration():
    classes, said = votes_of([0.9, 0.7], 4000)
    said[::2, 1] = -1
    found = assess(said, classes, 2000)
    first, second = found.teachers
    assert (first.whole.coverage, second.whole.coverage) == (1, 0.5)
    assert (first.whole.n, first.whole.n_gold, second.whole.n_gold) == (2000, 2000, 1000)
    right = said[:2000, 0] == classes[:2000]
    assert first.whole.accuracy.value == right.mean()
    assert second.whole.accuracy.low < 0.7 < second.whole.accuracy.high
    # Confidence .8 of a teacher that is right in .9, and of one that is right in .7.
    assert abs(first.calibration_error - 0.1) < 0.02
    assert abs(second.calibration_error - 0.1) < 0.03
    by_class = [part.accuracy.value for part in first.by_class]
    assert by_class == [right[classes[:2000] == c].mean() for c in range(2)]
    frame = found.to_frame()
    assert frame.loc["t1", "coverage"] == 0.5
    assert json.loads(json.dumps(found.to_dict()))["teachers"][0]["name"] == "t0"


def test_parts_of_sources_and_groups():
    classes, said = votes_of([0.9, 0.6], 3000)
    sources = np.where(np.arange(3000) % 3 == 0, "north", "south")
    said[sources == "north", 1] = -1
    groups = np.arange(3000) % 2
    found = assess(said, classes, 1500, sources=sources, groups=groups)
    north, south = found.teachers[1].by_source
    assert (north.name, north.n, north.coverage, north.n_gold) == ("north", 500, 0, 0)
    assert np.isnan(north.accuracy.value)
    assert (south.coverage, south.n_gold) == (1, 1000)
    assert [part.name for part in found.teachers[0].by_group] == ["0", "1"]


def test_dependence_given_the_class():
    """Teachers that share a third of their errors are found, independent ones are not."""
    classes, said = votes_of([0.7, 0.7, 0.7], 6000, seed=1)
    shared = np.random.default_rng(2).random(6000) < 0.5
    said[shared, 1] = said[shared, 0]
    pairs = {(p.first, p.second): p for p in assess(said, classes, 3000).pairs}
    # The correlation of the errors is the share of rows that are copied.
    dependent, independent = pairs["t0", "t1"], pairs["t0", "t2"]
    assert dependent.dependence.low < 0.5 < dependent.dependence.high
    assert abs(dependent.dependence.value - 0.5) < 0.05
    assert independent.dependence.low < 0 < independent.dependence.high
    assert dependent.p_value < 1e-6 < 0.01 < independent.p_value
    both = said[3000:]
    assert dependent.agreement == (both[:, 0] == both[:, 1]).mean()
    assert not dependent.copies


def test_easy_classes_are_no_dependence():
    """Both are better on one class, which makes errors come together, but not given the class."""
    rng = np.random.default_rng(3)
    classes = rng.integers(2, size=4000)
    right = rng.random((4000, 2)) < np.where(classes == 0, 0.95, 0.55)[:, None]
    said = np.where(right, classes[:, None], 1 - classes[:, None])
    assert np.corrcoef((~right).T)[0, 1] > 0.15
    pair = assess(said, classes, 2000).pairs[0]
    assert pair.dependence.low < 0 < pair.dependence.high


@pytest.mark.parametrize("n_strata", [1, 3])
def test_moments_against_permutations(n_strata):
    """The p-value is that of labels permuted within strata."""
    rng = np.random.default_rng(4)
    strata = rng.integers(n_strata, size=150)
    first = rng.random(150) < 0.3 + 0.1 * strata
    second = rng.random(150) < np.where(first, 0.5, 0.35)

    def table(a, b):
        return np.array([
            [[((strata == k) & (a == i) & (b == j)).sum() for j in (0, 1)] for i in (0, 1)]
            for k in range(n_strata)
        ])  # fmt: skip

    orders = [np.lexsort((rng.random(150), strata)) for _ in range(2000)]
    rows = np.lexsort((np.arange(150), strata))
    drawn = []
    for order in orders:
        permuted = np.empty(150, dtype=bool)
        permuted[rows] = second[order]
        drawn.append(abs(within_correlation(table(first, permuted))))
    value = within_correlation(table(first, second))
    centred = [
        np.concatenate([x[strata == k] - x[strata == k].mean() for k in range(n_strata)])
        for x in (first.astype(float), second.astype(float))
    ]
    assert value == pytest.approx(np.corrcoef(centred)[0, 1])
    # Half of the ties, since the values are few.
    ends = (abs(value) - 1e-9, abs(value) + 1e-9)
    expected = np.mean([np.mean(np.array(drawn) > end) for end in ends])
    assert abs(independence_p_value(table(first, second)) - expected) < 0.04


def test_intervals_of_dependence_hold():
    """At 200 gold rows the 95 % interval holds the true correlation about as often."""
    held = 0
    for seed in range(100):
        classes, said = votes_of([0.75, 0.7], 200, seed=seed)
        shared = np.random.default_rng(seed + 1000).random(200) < 0.3
        said[shared, 1] = said[shared, 0]
        pair = compare_teachers(said, said, classes, ("a", "b"), level=0.95, seed=seed)[0]
        # Right in .75 and .75 * .3 + .7 * .7: covariance .3 * .75 * .25 over the two spreads.
        truth = 0.3 * 0.75 * 0.25 / np.sqrt(0.75 * 0.25 * 0.715 * 0.285)
        held += pair.dependence.low <= truth <= pair.dependence.high
    assert 88 <= held <= 99


def test_added_information():
    """An independent teacher adds the mutual information of its vote given the other's."""
    classes, said = votes_of([0.8, 0.7], 8_000, seed=5)
    first, second = proba_of(said)[:, 0], proba_of(said)[:, 1]
    joint = np.zeros((2, 2, 2))
    for y in (0, 1):
        for a in (0, 1):
            for b in (0, 1):
                joint[y, a, b] = 0.5 * (0.8 if a == y else 0.2) * (0.7 if b == y else 0.3)
    given = joint.sum(axis=2, keepdims=True)
    both = joint.sum(axis=0, keepdims=True)
    alone = given.sum(axis=0, keepdims=True)
    truth = (joint * np.log(joint * alone / (given * both))).sum()
    found = added_by(second, first, classes, 0.95, 0)
    assert found.low < truth < found.high
    assert found.high - found.low < 0.03
    noise = proba_of(np.random.default_rng(6).integers(2, size=8_000))
    assert abs(added_by(noise, first, classes, 0.95, 0).value) < 0.001


def test_copies_and_what_adds_nothing():
    classes, said = votes_of([0.85, 0.7, 0.5], 3000, seed=7)
    noisy = np.where(np.random.default_rng(8).random(3000) < 0.15, 1 - said[:, 0], said[:, 0])
    said = np.column_stack([said, said[:, 1], noisy])
    found = assess(said, classes, 1000, names=["a", "b", "noise", "b again", "like a"])
    assert [p.copies for p in found.pairs].count(True) == 1
    notes = "\n".join(found.notes)
    assert "'b' and 'b again' are copies of each other" in notes
    assert "'like a' adds nothing beyond 'a'" in notes
    assert "'noise' adds nothing beyond" in notes
    assert "'a' adds nothing" not in notes
    assert "'b' adds nothing" not in notes
    assert (
        "errors come together within a class more often than by chance: 'a' with 'like a'" in notes
    )


def test_noise_adds_nothing_beyond_other_noise():
    classes, _ = votes_of([0.5], 3000, seed=7)
    noise = np.random.default_rng(9).integers(2, size=(3000, 2))
    found = assess(noise, classes, 1000, names=["left", "right"])
    assert "'left' and 'right' add nothing beyond each other: one is enough" in found.notes


def test_a_view_shrunk_to_nothing_adds_nothing():
    classes, said = votes_of([0.8, 0.55], 400, seed=9)
    found = assess(said, classes, 100, coefficients={"t0": 1.2, "t1": 0.0})
    assert found.teachers[0].coefficient == 1.2
    assert "'t1' adds nothing beyond 't0'" in found.notes


def test_a_silent_teacher_changes_nothing():
    classes, said = votes_of([0.9, 0.7, 0.6], 1000, seed=10)
    said[::3, 1] = -1
    plain = assess(said, classes, 300)
    silent = np.insert(said, 1, -1, axis=1)
    more = assess(silent, classes, 300, names=["t0", "silent", "t1", "t2"])
    kept = [t.to_dict() for t in more.teachers if t.name != "silent"]
    assert json.dumps(kept) == json.dumps([t.to_dict() for t in plain.teachers])
    pairs = [p.to_dict() for p in more.pairs if "silent" not in (p.first, p.second)]
    assert json.dumps(pairs) == json.dumps([p.to_dict() for p in plain.pairs])
    assert more.notes == (
        "'silent' abstains on every row of the pool and changes nothing", *plain.notes
    )  # fmt: skip


@pytest.mark.parametrize("n_gold", [0, 1, 5])
def test_few_gold_rows(n_gold):
    classes, said = votes_of([0.9, 0.7], 100, seed=11)
    found = assess(said, classes, n_gold)
    for teacher in found.teachers:
        assert np.isnan(teacher.added.value)
        assert not teacher.adds_nothing
        assert teacher.whole.n_gold == n_gold
    assert np.isnan(found.pairs[0].dependence.value)
    unknown = "accuracies are unknown, as they need gold rows with a vote, and there are none"
    assert (unknown in found.notes) == (n_gold == 0)


def test_all_abstain_on_gold_rows():
    classes, said = votes_of([0.9, 0.7], 100, seed=12)
    said[:30] = -1
    found = assess(said, classes, 30)
    assert found.notes[-1].endswith("and all teachers abstain on them")
    assert np.isnan(found.teachers[0].whole.accuracy.value)
    assert "nan" not in json.dumps(found.to_dict()["notes"])


def test_pairs_have_no_classes():
    classes, said = votes_of([0.9, 0.7], 400, seed=13)
    found = assess(said, classes, 200, symmetric=True)
    assert found.teachers[0].by_class == ()
    assert -1 <= found.pairs[0].dependence.value <= 1


def test_bad_input():
    proba = np.full((5, 2, 2), 0.5)
    with pytest.raises(InputError, match=r"weak_proba must have shape \(N, 1, 2\)"):
        assess_teachers(proba, np.zeros(5, int), names=["a"], class_names=CLASSES)
    with pytest.raises(InputError, match=r"labels must be class codes of shape \(5,\)"):
        assess_teachers(proba, np.zeros(4, int), names=["a", "b"], class_names=CLASSES)
    with pytest.raises(InputError, match=r"labels must be class codes .*got float64"):
        assess_teachers(proba, np.zeros(5), names=["a", "b"], class_names=CLASSES)
    with pytest.raises(InputError, match="row 0 holds 2"):
        assess_teachers(proba, np.full(5, 2), names=["a", "b"], class_names=CLASSES)
    bad = proba.copy()
    bad[3, 1] = np.nan
    with pytest.raises(ProbabilityError, match=r"weak_proba of 'b' has NaN .* in row 3"):
        assess_teachers(bad, np.zeros(5, int), names=["a", "b"], class_names=CLASSES)
    bad[3, 1] = 0.9
    with pytest.raises(ProbabilityError, match="sum to 1"):
        assess_teachers(bad, np.zeros(5, int), names=["a", "b"], class_names=CLASSES)
    with pytest.raises(InputError, match="pool has row 5"):
        assess_teachers(proba, np.zeros(5, int), names="ab", class_names=CLASSES, pool=[5])


def test_lists_and_masks_are_taken():
    classes, said = votes_of([0.9, 0.7], 200)
    labels = np.where(np.arange(200) < 100, classes, -1)
    names = {"names": ["a", "b"], "class_names": CLASSES, "random_state": 0}
    given = assess_teachers(proba_of(said), labels.tolist(), pool=labels < 0, **names)
    assert given.to_dict() == assess_teachers(proba_of(said), labels, **names).to_dict()
