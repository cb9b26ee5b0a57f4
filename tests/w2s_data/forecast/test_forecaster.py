from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from w2s_data import LinearProbe, PixelEncoder, embed
from w2s_data.errors import (
    DegenerateDataWarning,
    EmptyDataError,
    FeatureError,
    InputError,
    ProbabilityError,
    SplitError,
)
from w2s_data.forecast import GainForecast, GainForecaster
from w2s_data.forecast.blend import expected_gain
from w2s_data.forecast.options import OPTIONS, WORDS, compare, difference_of
from w2s_data.forecast.posterior import (
    PENALTIES,
    SCALING_L2,
    conditional_logit,
    kernel_posterior,
    label_posteriors,
    platt_scaling,
    stacked_proba,
)
from w2s_data.utils.intervals import Estimate

Arrays = tuple[Any, Any, Any, Any, Any]


def gaussian_task(n: int = 80, N: int = 200, n_classes: int = 2, seed: int = 0) -> Arrays:
    """Weak features are a noisy part of the strong ones; classes are shifted in both."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n + N) % n_classes)
    strong = rng.normal(size=(n + N, 8)) + 1.5 * rng.normal(size=(n_classes, 8))[y]
    weak = strong[:, :3] + rng.normal(size=(n + N, 3))
    return strong[:n], weak[:n], y[:n], strong[n:], weak[n:]


def forecast_of(forecaster: GainForecaster, task: Any) -> GainForecast:
    strong, weak, y, strong_pool, weak_pool = task
    return forecaster.fit(strong, weak, y, strong_pool=strong_pool, weak_pool=weak_pool).forecast_


def standardised(features: Any) -> Any:
    return StandardScaler().fit_transform(features)


class Rule(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts the second class where a column is positive, whatever it is trained on."""

    def __init__(self, column: int = 0) -> None:
        self.column = column

    def fit(self, X: Any, y: Any) -> Rule:  # noqa: ARG002
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return (X[:, self.column] > 0).astype(int)


# Posteriors


def test_leave_one_out_scores_equal_refits() -> None:
    rng = np.random.default_rng(0)
    features, codes = rng.normal(size=(30, 50)) / 7, rng.integers(0, 3, 30)
    codes[:3] = 0, 1, 2
    found = kernel_posterior(features, codes, features[:1])
    kernel, targets = features @ features.T + 1, 2.0 * np.eye(3)[codes] - 1

    def refits(penalty: float) -> Any:
        scores = np.empty((30, 3))
        for i in range(30):
            rest = np.arange(30) != i
            dual = np.linalg.solve(kernel[np.ix_(rest, rest)] + penalty * np.eye(29), targets[rest])
            scores[i] = kernel[i, rest] @ dual
        return scores

    assert any(np.allclose(found.labelled_scores, refits(p), atol=1e-8) for p in PENALTIES)
    np.testing.assert_allclose(found.labelled.sum(axis=1), 1)
    own = found.labelled[np.arange(30), codes]
    assert found.loss == pytest.approx(-np.log(own).mean())


def test_logit_of_two_classes_is_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(4, 60, 3))
    codes = (inputs[0].sum(axis=1) + rng.normal(size=60) > 0).astype(int)
    slopes, intercepts = conditional_logit(np.stack([-inputs, inputs], axis=2), codes, 1 / 60)
    for k in range(4):
        peer = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(inputs[k], codes)
        np.testing.assert_allclose(2 * slopes[k], peer.coef_[0], atol=1e-5)
        assert np.diff(intercepts[k])[0] == pytest.approx(peer.intercept_[0], abs=1e-5)


def test_logit_of_several_classes_is_at_its_minimum() -> None:
    rng = np.random.default_rng(0)
    inputs, codes = rng.normal(size=(1, 90, 4, 2)), rng.integers(0, 4, 90)
    inputs[0, np.arange(90), codes] += 1
    l2 = 0.01

    def objective(flat: Any) -> float:
        proba = softmax(inputs[0] @ flat[:2] + np.append(flat[2:], 0), axis=1)
        loss = -np.log(proba[np.arange(90), codes]).mean()
        return float(loss + l2 * (4 / 3) ** 2 / 2 * (flat[:2] ** 2).sum())

    best = minimize(objective, np.zeros(5), tol=1e-12)
    slopes, intercepts = conditional_logit(inputs, codes, l2)
    np.testing.assert_allclose(slopes[0], best.x[:2], atol=1e-4)
    np.testing.assert_allclose(intercepts[0, :3] - intercepts[0, 3], best.x[2:], atol=1e-4)


def test_scaling_never_turns_a_score_round() -> None:
    codes = np.repeat([0, 1, 1], 20)
    scores = np.column_stack([codes, -codes]).astype(float)  # each against its class
    slopes, intercepts = platt_scaling(scores[None], codes)
    assert slopes.item() == 0
    np.testing.assert_allclose(softmax(intercepts.ravel()), [1 / 3, 2 / 3], atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_two_classes_give_the_binary_formula(seed: int) -> None:
    strong, weak, codes, strong_pool, weak_pool = gaussian_task(seed=seed)
    rng = np.random.default_rng(seed)
    s, t = rng.integers(0, 2, (2, 200))
    for found in label_posteriors((strong, strong_pool), (weak, weak_pool), codes).values():
        np.testing.assert_allclose(found.pool_scores[:, 0], -found.pool_scores[:, 1])
        eta = 2 * found.pool[:, 1] - 1
        binary = (((2 * s - 1) - (2 * t - 1)) * eta).mean() / 2
        assert expected_gain(found.pool, s, t) == pytest.approx(binary, abs=1e-12)
        scores = found.labelled_scores[:, [1]]
        scale, shift = scores.std(), scores.mean()
        platt = LogisticRegression(C=1 / (SCALING_L2 * 80), tol=1e-10, max_iter=1000)
        platt.fit(scores / scale, codes)
        by_platt = platt.predict_proba(found.pool_scores[:, [1]] / scale)
        np.testing.assert_allclose(found.pool, by_platt, atol=1e-4)
        stacked = stacked_proba(
            np.stack([found.labelled_scores] * 2), codes, np.stack([found.pool_scores] * 2)
        )
        peer = LogisticRegression(tol=1e-8).fit(np.repeat((scores - shift) / scale, 2, 1), codes)
        twice = np.repeat((found.pool_scores[:, [1]] - shift) / scale, 2, 1)
        np.testing.assert_allclose(stacked, peer.predict_proba(twice), atol=1e-4)


# Results of the forecast


def test_parts_that_are_known_exactly() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(300) % 2
    weak = (2 * y - 1 + rng.normal(size=300))[:, None]
    strong = (2 * y - 1 + 0.5 * rng.normal(size=300))[:, None]
    cut = slice(0, 100), slice(100, 300)
    result = forecast_of(
        GainForecaster(Rule(), Rule(), level=0.9, random_state=0),
        (strong[cut[0]], weak[cut[0]], y[cut[0]], strong[cut[1]], weak[cut[1]]),
    )
    right = ((strong[:100, 0] > 0) == y[:100]).astype(int) - ((weak[:100, 0] > 0) == y[:100])
    found = result.ingredients
    assert found.cv == pytest.approx(right.mean())
    assert found.se == pytest.approx(np.sqrt(100 * right.var(ddof=1) + 1) / 100)
    assert found.disagreement == pytest.approx(((strong > 0) != (weak > 0))[100:].mean())
    assert found.weight == pytest.approx(0.03**2 / (0.03**2 + found.se**2))
    blend = found.weight * (found.cv + found.plug) / 2 + (1 - found.weight) * found.sim
    assert result.gain.value == pytest.approx(blend)
    half = 1.1 * (0.01 + 0.4 * found.se + 0.1 * found.disagreement)
    assert result.gain.high - result.gain.value == pytest.approx(half, rel=1e-4)
    # Phi(2) and Phi(1) of the rows are classified right: the truth is a gain of .136.
    assert result.gain.low < 0.136 < result.gain.high
    assert result.teacher.low < 0.841 < result.teacher.high
    assert result.student.value == pytest.approx(result.teacher.value + result.gain.value)
    assert result.chance_w2s_helps > 0.99
    # The rule learns nothing, so that every student is the same and the cheapest is advised.
    assert result.verdict == "train on the gold labels"
    options = found.options
    assert options.cv[1] == options.cv[2] == options.cv[3]
    assert options.disagreement[1][3] == 0


@pytest.mark.parametrize("soft", [True, False])
def test_same_features_have_no_gain(soft: bool) -> None:
    features = standardised(load_digits().data[:, 10:40])[:1500]
    y = load_digits().target[:1500] >= 5
    forecaster = GainForecaster(LinearProbe(l2=1e-6), LinearProbe(), soft=soft, random_state=0)
    labelled, pool = features[:300], features[300:]
    with pytest.warns(DegenerateDataWarning, match="features are the same"):
        result = forecast_of(forecaster, (labelled, labelled, y[:300], pool, pool))
    assert abs(result.gain.value) <= 0.001


@pytest.mark.slow
def test_random_labels_have_no_gain() -> None:
    found = []
    for seed in range(8):
        strong, weak, y, strong_pool, weak_pool = gaussian_task(100, 400, seed=seed)
        y = np.random.default_rng([seed, 1]).permutation(y)
        result = forecast_of(
            GainForecaster(random_state=seed), (strong, weak, y, strong_pool, weak_pool)
        )
        found.append(result.gain.value)
        assert result.gain.low < 0 < result.gain.high
    assert abs(np.mean(found)) <= 0.02


CASES = {
    "left half, all pixels": (200, 900, 0.042),
    "all pixels, four components": (200, 900, -0.275),
    "breast cancer, four columns": (100, 250, -0.177),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_forecasts_come_true(name: str) -> None:
    n, N, truth = CASES[name]  # truth: mean over 12 draws, in benchmarks/evidence/forecast.py
    digits, cancer = load_digits(), load_breast_cancer()
    if name.startswith("breast"):
        y, weak = cancer.target, standardised(cancer.data)
        strong = weak[:, 8:12]
    else:
        y, weak = digits.target >= 5, standardised(digits.data)
        strong = PCA(4).fit_transform(weak)
    if name.startswith("left"):
        weak, strong = weak.reshape(-1, 8, 8)[:, :, :4].reshape(-1, 32), weak
    found = []
    for seed in range(4):
        rows = np.random.default_rng(seed).permutation(len(y))
        labelled, pool = rows[:n], rows[n : n + N]
        forecaster = GainForecaster(LinearProbe(l2=0.1), LinearProbe(l2=3e-3), random_state=seed)
        found.append(
            forecast_of(
                forecaster,
                (strong[labelled], weak[labelled], y[labelled], strong[pool], weak[pool]),
            )
        )
    assert np.mean([result.gain.value for result in found]) == pytest.approx(truth, abs=0.05)
    assert all(np.sign(result.gain.value) == np.sign(truth) for result in found)


@pytest.mark.slow
def test_several_classes_by_name() -> None:
    strong, weak, y, strong_pool, weak_pool = gaussian_task(150, 300, n_classes=4)
    forecaster = GainForecaster(random_state=0)
    coded = forecast_of(forecaster, (strong, weak, y, strong_pool, weak_pool))
    names = np.array(["d", "a", "c", "b"])[y]
    named = forecast_of(forecaster, (strong, weak, names, strong_pool, weak_pool))
    assert coded.n_classes == named.n_classes == 4
    assert named.teacher.value == pytest.approx(coded.teacher.value, abs=0.03)
    assert coded.gain.value > 0.05  # the student sees five more columns, without noise
    assert coded.ceiling.value > 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        (GaussianNB(), RandomForestClassifier(10)),
        (make_pipeline(StandardScaler(), LogisticRegression()), LinearSVC()),
        (RidgeClassifier(), LinearProbe(loss="ridge")),
    ],
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_any_classifier(teacher: Any, student: Any, n_classes: int) -> None:
    task = gaussian_task(n_classes=n_classes)
    forecaster = GainForecaster(student, teacher, random_state=0)
    first, again = forecast_of(forecaster, task), forecast_of(clone(forecaster), task)
    assert first == again
    assert 0.5 < first.teacher.value <= first.student.value <= 1
    assert (first.teacher_fits, first.student_fits) == (27, 73)
    assert not hasattr(student, "classes_")  # only clones are fitted


def test_result_is_plain_and_short() -> None:
    result = forecast_of(GainForecaster(random_state=0), gaussian_task())
    assert isinstance(result, GainForecast)
    values = json.loads(json.dumps(result.to_dict()))
    assert {values[name]["level"] for name in ("teacher", "student", "gain", "ceiling")} == {0.95}
    assert result.to_frame().loc["gain", "high"] == result.gain.high
    assert values["gain"]["value"] == result.gain.value
    assert values["ingredients"]["cv"] == result.ingredients.cv
    assert len(repr(result).splitlines()) <= 14
    assert max(map(len, repr(result).splitlines())) <= 120
    for estimate in (result.teacher, result.student, result.ceiling):
        assert 0 <= estimate.low <= float(estimate) <= estimate.high <= 1
    assert 0 <= result.chance_w2s_helps <= 1


def test_level_scales_the_interval_alone() -> None:
    task = gaussian_task()
    wide, narrow = (
        forecast_of(GainForecaster(level=level, random_state=0), task) for level in (0.9, 0.5)
    )
    assert wide.gain.value == narrow.gain.value
    ratio = (narrow.gain.high - narrow.gain.low) / (wide.gain.high - wide.gain.low)
    assert ratio == pytest.approx(0.67449 / 1.64485, rel=1e-4)
    assert wide.best == narrow.best


# Four options


def estimate(value: float, half: float = 0.05) -> Estimate:
    return Estimate(value, value - half, value + half)


@pytest.mark.parametrize(
    ("accuracies", "half", "best", "advised"),
    [
        ((0.7, 0.75, 0.72, 0.79), 0.01, "both", "both"),
        ((0.7, 0.75, 0.72, 0.79), 0.1, "both", "both"),  # wide intervals, and four points behind
        ((0.7, 0.785, 0.72, 0.79), 0.1, "both", "gold"),  # half a point behind
        ((0.7, 0.785, 0.72, 0.79), 0.001, "both", "both"),  # significantly
        ((0.8, 0.7, 0.8, 0.8), 0.1, "teacher", "teacher"),
    ],
)
def test_the_cheapest_of_equals_is_advised(
    accuracies: Any, half: float, best: str, advised: str
) -> None:
    named = {name: estimate(value) for name, value in zip(OPTIONS, accuracies, strict=True)}
    choice = compare(named, np.full((4, 4), half), 1.0, 0.95)
    assert (choice.best, choice.advised) == (best, advised)
    first, second = sorted(accuracies)[:-3:-1]
    assert choice.lead.value == pytest.approx(first - second)
    assert choice.lead.high - choice.lead.value == pytest.approx(half)
    assert len(choice.differences) == 6
    for pair in choice.differences:
        expected = named[pair.name].value - named[pair.other].value
        assert pair.difference.value == pytest.approx(expected)
    behind = difference_of(choice.differences, "teacher", "both")
    assert behind.value == pytest.approx(accuracies[0] - accuracies[3])
    assert behind.low < behind.value < behind.high
    text = choice.describe()
    assert WORDS[best] in text
    assert ("costs less" in text) == (best != advised)


def noisy_labels(share: float, n: int, N: int, seed: int) -> tuple[Arrays, Any, Any]:
    """Return a task of two classes with weak labels of which a share is right, and its truth."""
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n + N + 4000)
    strong = rng.normal(size=(len(y), 20))
    strong[:, 0] += 1.5 * (2 * y - 1)
    given = np.where(rng.random(len(y)) < share, y, 1 - y)
    proba = np.where(np.eye(2)[given] > 0, 0.8, 0.2)
    task = strong[:n], None, y[:n], strong[n : n + N], None
    return task, (proba[:n], proba[n : n + N]), (strong, y, given)


def test_gold_labels_may_have_a_student_of_their_own() -> None:
    strong, weak, y, strong_pool, weak_pool = gaussian_task()
    rule = Rule(7)  # learns nothing, and looks at the last feature
    result = forecast_of(
        GainForecaster(gold_student=rule, random_state=0), (strong, weak, y, strong_pool, weak_pool)
    )
    right = ((strong[:, 7] > 0) == y).mean()
    assert result.ingredients.options.cv[1] == pytest.approx(right)
    plain = forecast_of(GainForecaster(random_state=0), (strong, weak, y, strong_pool, weak_pool))
    assert plain.ingredients.options.cv[0] == result.ingredients.options.cv[0]


@pytest.mark.slow
def test_ready_made_labels_take_the_teachers_place() -> None:
    n, N = 60, 1500
    task, weak_proba, (strong, y, given) = noisy_labels(0.75, n, N, seed=0)
    forecaster = GainForecaster(LinearProbe(l2=0.1), random_state=0)
    strong_labelled, _, codes, strong_pool, _ = task
    result = forecaster.fit(
        strong_labelled, None, codes, strong_pool=strong_pool, weak_pool=None, weak_proba=weak_proba
    ).forecast_
    test = slice(n + N, None)
    truth = {"teacher": 0.75}
    for name, rows, labels in (("gold", slice(n), y), ("weak", slice(n, n + N), given)):
        model = LinearProbe(l2=0.1).fit(strong[rows], labels[rows])
        truth[name] = (model.predict(strong[test]) == y[test]).mean()
    truth["both"] = truth["weak"]  # both are close to the best line there is
    for option in result.options:
        assert option.accuracy.low < truth[option.name] < option.accuracy.high, option
    assert result.best in ("weak", "both")
    assert result.gain.low < truth["weak"] - truth["teacher"] < result.gain.high
    assert result.chance_w2s_helps > 0.9
    assert np.isnan(result.ingredients.sim)
    assert (result.teacher_fits, result.student_fits) == (0, 1 + 5 + 2 + 2 * 20)


def test_weak_labels_may_abstain_and_know_more_classes() -> None:
    (strong, _, y, pool, _), (labelled, of_pool), _ = noisy_labels(0.9, 60, 100, seed=1)
    more = [np.column_stack([proba, np.zeros(len(proba))]) for proba in (labelled, of_pool)]
    more[0][:10] = 1 / 3  # no label
    more[1][:20] = 0, 0, 1  # a class that no labelled row has
    forecaster = GainForecaster(random_state=0)
    result = forecaster.fit(
        strong, None, y, strong_pool=pool, weak_pool=None, weak_proba=tuple(more)
    ).forecast_
    # Ten rows guess between two classes, as in the measured gain.
    right = ((more[0][10:].argmax(axis=1) == y[10:]).sum() + 10 / 2) / 60
    assert result.ingredients.options.cv[0] == pytest.approx(right)
    assert result.n_classes == 2


@pytest.mark.parametrize(
    ("weak_proba", "labels", "error", "message"),
    [
        (np.full((60, 2), 0.5), (), InputError, "weak_proba must be a pair of arrays"),
        ((np.full((60, 2), 0.5),) * 2, (), InputError, "row counts disagree"),
        (
            (np.full((60, 2), 0.5), np.full((100, 4), 0.25)),
            (),
            InputError,
            "2 classes for the labelled rows and 4 for the pool",
        ),
        (
            (np.full((60, 2), 0.4), np.full((100, 2), 0.5)),
            (),
            ProbabilityError,
            "weak_proba of the labelled rows must sum to 1",
        ),
        (
            (np.full((60, 2), 0.5), np.full((100, 2), 0.5)),
            ["a", "b"] * 30,
            InputError,
            "labels y must be class codes from 0 to 1",
        ),
    ],
)
def test_bad_weak_labels(weak_proba: Any, labels: Any, error: Any, message: str) -> None:
    (strong, _, y, pool, _), _, _ = noisy_labels(0.9, 60, 100, seed=1)
    y = labels or y
    with pytest.raises(error, match=message):
        GainForecaster(random_state=0).fit(
            strong, None, y, strong_pool=pool, weak_pool=None, weak_proba=weak_proba
        )


def test_little_headroom_has_no_share_recovered() -> None:
    strong, _, y, strong_pool, _ = gaussian_task()
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    task = strong @ rotation, strong, y, strong_pool @ rotation, strong_pool
    result = forecast_of(GainForecaster(random_state=0), task)
    assert np.isnan(result.pgr)
    assert "above the teacher" in result.pgr_reason
    plain = forecast_of(GainForecaster(random_state=0), gaussian_task())
    assert plain.pgr == pytest.approx(
        plain.gain.value / (plain.ceiling.value - plain.teacher.value)
    )


# Storage and size


def test_reads_stores_and_memory_maps(tmp_path: Any) -> None:
    images = [
        Image.fromarray((16 * image).astype(np.uint8)) for image in load_digits().images[:200]
    ]
    y = load_digits().target[:80] >= 5
    store = embed(images, PixelEncoder(), tmp_path / "pixels")
    array = store.array()
    np.save(tmp_path / "pixels.npy", array)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    forecaster = GainForecaster(random_state=0)
    plain = forecast_of(forecaster, (array[:80], array[:80, :20], y, array, array[:, :20]))
    task = mapped[:80], mapped[:80, :20], y, store, mapped[:, :20]
    assert forecast_of(forecaster, task) == plain


def test_large_pools_are_sampled() -> None:
    task = gaussian_task(N=200)
    with pytest.warns(DegenerateDataWarning, match="a random 100 of the 200 pool rows"):
        result = forecast_of(GainForecaster(max_pool=100, random_state=0), task)
    assert result.N == 100
    assert "max_pool" in result.warnings[0]


# Legal but degenerate


@pytest.mark.parametrize("side", [0, 1])
def test_constant_features(side: int) -> None:
    strong, weak, y, strong_pool, weak_pool = gaussian_task()
    y = (np.arange(80) % 4 == 0).astype(int)  # a clear majority, and labels at random
    if side == 0:
        weak, weak_pool = np.ones_like(weak), np.ones_like(weak_pool)
    else:
        strong, strong_pool = np.ones_like(strong), np.ones_like(strong_pool)
    name = ("weak", "strong")[side]
    with pytest.warns(DegenerateDataWarning, match=f"the {name} features are constant"):
        result = forecast_of(
            GainForecaster(random_state=0), (strong, weak, y, strong_pool, weak_pool)
        )
    assert result.student.value == pytest.approx(0.75, abs=0.1)
    assert abs(result.gain.value) < 0.1


def test_few_rows_are_named() -> None:
    strong, weak, y, strong_pool, weak_pool = gaussian_task(20, 30)
    with pytest.warns(DegenerateDataWarning) as caught:
        result = forecast_of(
            GainForecaster(random_state=0), (strong, weak, y, strong_pool, weak_pool)
        )
    assert "20 labelled rows" in str(caught[0].message)
    assert "30 pool rows" in str(caught[1].message)
    assert len(result.warnings) == 2
    assert "warning: 20 labelled rows" in repr(result)


def test_least_that_works() -> None:
    strong, weak, _, *pool = gaussian_task(4, 10)
    with pytest.warns(DegenerateDataWarning):
        result = forecast_of(GainForecaster(random_state=0), (strong, weak, [0, 1, 1, 0], *pool))
    assert np.isfinite(result.gain.value)
    assert result.teacher_fits == 1 + 3 * 4 + 6


# Bad input


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({2: np.zeros(80)}, SplitError, "hold a single class"),
        ({2: np.r_[np.arange(79) % 2, 7]}, SplitError, "class 7 has a single labelled row"),
        ({2: np.r_[np.nan, np.arange(79) % 2]}, InputError, "labels y are missing in row 0"),
        ({2: np.array([None, *["a", "b"] * 40][:80])}, InputError, "labels y are missing in row 0"),
        ({2: np.arange(79) % 2}, InputError, "row counts disagree: .*y has 79"),
        ({2: np.zeros((80, 2))}, InputError, "one label per labelled row"),
        ({1: np.zeros((79, 3))}, InputError, "row counts disagree: .*weak_labelled has 79"),
        ({4: np.zeros((199, 3))}, InputError, "row counts disagree: .*weak_pool has 199"),
        ({4: np.zeros((200, 4))}, FeatureError, "weak_labelled has 3 columns and weak_pool 4"),
        ({0: np.zeros((80, 9))}, FeatureError, "strong_labelled has 9 columns and strong_pool 8"),
        ({3: np.full((200, 8), np.nan)}, FeatureError, "strong_pool have NaN .* rows 0, 1"),
        ({1: np.full((80, 3), np.inf)}, FeatureError, "weak_labelled have NaN or infinite"),
        ({4: np.zeros((0, 3)), 3: np.zeros((0, 8))}, EmptyDataError, "the pool holds 0 rows"),
        ({4: np.zeros((9, 3)), 3: np.zeros((9, 8))}, EmptyDataError, "the pool holds 9 rows"),
        ({0: np.array([["a"]] * 80)}, FeatureError, "strong_labelled must be numbers"),
    ],
)
def test_bad_input(change: dict[int, Any], error: type[Exception], message: str) -> None:
    task = [change.get(k, part) for k, part in enumerate(gaussian_task())]
    with pytest.raises(error, match=message) as caught:
        forecast_of(GainForecaster(random_state=0), task)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"level": 1.0}, "level must be a number in"),
        ({"max_pool": 5}, "max_pool must be None or an integer >= 10"),
        ({"random_state": "x"}, "random_state must be"),
        ({"teacher": LinearProbe(l2=-1)}, "the teacher .LinearProbe. could not be fitted"),
        ({"student": LogisticRegression(), "soft": True}, "the student .LogisticRegression."),
        ({"teacher": LinearSVC(), "soft": True}, "predict_proba"),
        ({"student": "forest"}, "student must be a scikit-learn classifier"),
    ],
)
def test_bad_settings(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        forecast_of(GainForecaster(**{"random_state": 0} | setting), gaussian_task())


# Labelled rows from elsewhere


def shifted_task(seed: int, n: int = 200, N: int = 400) -> tuple[Any, Any, Any]:
    """Rules are right in 95 % of easy rows and 55 % of hard ones, which the first column names.

    A fifth of the labelled rows and four fifths of the pool are hard; the weights are exact.
    """
    rng = np.random.default_rng(seed)
    hard = rng.random(n + N) < np.where(np.arange(n + N) < n, 0.2, 0.8)
    y = rng.integers(0, 2, n + N)
    right = rng.random(n + N) < np.where(hard, 0.55, 0.95)
    said = np.where(right, y, 1 - y)
    rows = np.column_stack([2.0 * said - 1, hard, rng.normal(size=n + N)])
    weak = rows[:, :2]
    task = rows[:n], weak[:n], y[:n], rows[n:], weak[n:]
    return task, np.where(hard[:n], 4.0, 0.25), right


def rule_forecast(task: Any, gold_weight: Any) -> GainForecast:
    strong, weak, y, strong_pool, weak_pool = task
    forecaster = GainForecaster(Rule(), Rule(), level=0.9, random_state=0)
    return forecaster.fit(
        strong, weak, y, strong_pool=strong_pool, weak_pool=weak_pool, gold_weight=gold_weight
    ).forecast_


@pytest.mark.slow
def test_weights_bring_the_forecast_to_the_pool() -> None:
    plain, weighted, covered = [], [], []
    for seed in range(8):
        task, weight, right = shifted_task(seed)
        true = right[200:].mean()
        found = rule_forecast(task, weight)
        plain.append(abs(rule_forecast(task, None).teacher.value - true))
        weighted.append(abs(found.teacher.value - true))
        covered.append(found.teacher.low <= true <= found.teacher.high)
        assert 30 < found.effective_size < 120
        assert found.warnings[-1].startswith("weighted: 200 gold rows are worth")
    assert np.mean(weighted) < 0.67 * np.mean(plain)
    assert np.mean(covered) >= 0.75


def test_held_out_rows_count_by_their_weight() -> None:
    task, weight, right = shifted_task(0)
    found = rule_forecast(task, weight).ingredients.options
    assert found.cv[0] == pytest.approx(np.average(right[:200], weights=weight))
    equal = rule_forecast(task, np.ones(200)).ingredients.options
    plain = rule_forecast(task, None)
    np.testing.assert_allclose(equal.se, plain.ingredients.options.se)
    assert (plain.effective_size, plain.uncovered) == (200, 0)


def test_a_few_effective_rows_give_no_advice() -> None:
    task, _, _ = shifted_task(1, n=80)
    weight = np.where(np.arange(80) < 8, 10.0, 0.01)
    found = rule_forecast(task, weight)
    assert found.verdict == "label first"
    assert "80 gold rows are worth 8 for it (fewer than 30)" in found.reading
    known = [found.gain, found.ceiling, found.lead, *(option.accuracy for option in found.options)]
    assert np.isnan([float(estimate) for estimate in known]).all()
    assert found.scaled(0.5, 0.9) is found
    assert "withheld" in repr(found)


def test_a_part_that_no_labelled_row_covers_gives_no_advice() -> None:
    task, _, _ = shifted_task(2)
    found = rule_forecast(task, np.full(200, 0.6))
    assert found.verdict == "label first"
    assert found.reading.endswith("40% of the pool is unlike any gold row")
    for option in found.options:
        assert option.accuracy.low <= 0.6 * option.accuracy.value
        assert option.accuracy.high >= 0.6 * option.accuracy.value + 0.4
    assert found.gain.low <= -0.4 < 0.4 <= found.gain.high


def test_weights_must_fit_the_labelled_rows() -> None:
    task, weight, _ = shifted_task(3)
    with pytest.raises(InputError, match="gold_weight must have shape"):
        rule_forecast(task, weight[1:])


def test_a_lead_of_nothing_has_no_minus():
    values = {"teacher": 0.4, "gold": 0.6, "weak": 0.6, "both": 0.6}
    accuracies = {name: Estimate(v, v - 0.1, v + 0.1, 0.95) for name, v in values.items()}
    choice = compare(accuracies, np.full((4, 4), 0.05), 2.0, 0.95)
    assert choice.advised == "gold"
    assert "0.600 against 0.600 with weak labels alone, +0.000" in choice.advise()
    assert "-0.000" not in choice.describe()
