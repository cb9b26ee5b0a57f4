"""Objectives: counts against the detector, stops with evidence, checks of custom answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.w2s_selectors.pools import numbers_of
from w2s_data import OverlapDetector, Region
from w2s_data.data.examples import gaussian_overlap
from w2s_data.errors import FeatureError, InputError, ProbabilityError
from w2s_data.utils.intervals import beta_interval
from w2s_selectors.objectives.base import Acquired, Custom, Judgement, Task
from w2s_selectors.objectives.overlap import Overlap
from w2s_selectors.objectives.registry import (
    available_objectives,
    make_objective,
    register_objective,
)
from w2s_selectors.objectives.screen import KernelMean, Screen, ScreenMatch
from w2s_selectors.session.posterior import fill, probability_best


def task(n_sources: int = 3, target: Any = None, costs: Any = None) -> Task:
    return Task(np.ones(n_sources) if costs is None else np.array(costs), 20, target, 0)


def acquired_of(*names: str, n: int = 80) -> Acquired:
    acquired = Acquired(len(names))
    for k, name in enumerate(names):
        acquired.add(k, *numbers_of([f"{name} {i}" for i in range(n)]))
    return acquired


def test_overlap_counts_are_those_of_one_detector_on_everything() -> None:
    example = gaussian_overlap(400, sources={"a": 0.1, "b": 0.6}, random_state=0)
    features, proba = example.strong_features, example.dataset.weak_proba
    codes = (example.dataset.sources == "b").astype(int)
    judge, acquired = Overlap(growth=0.5).start(task(2)), Acquired(2)
    for rows in np.split(np.random.default_rng(0).permutation(400), 8):
        for k in (0, 1):
            mine = rows[codes[rows] == k]
            acquired.add(k, features[mine], proba[mine])
        judgement = judge(acquired)
    final = judge.conclude(acquired, judgement)
    detector = OverlapDetector(n_resamples=0, random_state=0)
    detector.fit(acquired.strong_features, acquired.weak_proba)
    overlap = detector.regions_ == Region.OVERLAP
    expected = np.bincount(acquired.source, overlap, minlength=2)
    np.testing.assert_array_equal(final.successes, expected)
    np.testing.assert_allclose(judgement.rewards, final.rewards, atol=0.05)
    assert final.counted
    assert (final.low <= final.rewards).all()
    assert (final.rewards <= final.high).all()
    newest = overlap[acquired.newest]
    assert final.observed == pytest.approx(newest.mean())


def test_beta_interval_holds_the_share() -> None:
    low, high = beta_interval(np.array([0.0, 5, 10, 0]), np.array([10.0, 10, 10, 0]), 0.95)
    assert low[0] == 0
    assert high[2] == 1
    assert low[1] == pytest.approx(0.2338, abs=1e-4)  # Beta(6, 6)
    assert high[1] == pytest.approx(0.7662, abs=1e-4)
    assert np.isnan([low[3], high[3]]).all()


def test_screen_stops_labels_that_do_not_follow_from_features() -> None:
    judgement = Screen().start(task())(acquired_of("good", "noisy", "fine"))
    assert list(judgement.stopped) == [1]
    assert "consistency" in judgement.stopped[1]
    assert "over 80 points" in judgement.stopped[1]
    assert judgement.gains is None
    assert judgement.rewards[1] < 0.2 < judgement.rewards[0]
    assert (judgement.low <= judgement.rewards).all()
    assert (judgement.rewards <= judgement.high).all()


def test_screen_judges_source_order_alike() -> None:
    first = Screen().start(task())(acquired_of("good", "noisy", "fine"))
    other = Screen().start(task())(acquired_of("noisy", "fine", "good"))
    np.testing.assert_allclose(first.rewards, other.rewards[[2, 0, 1]], atol=1e-10)


def test_match_prefers_the_source_like_the_target() -> None:
    rng, acquired = np.random.default_rng(0), Acquired(2)
    for k, shift in enumerate((0.0, 3.0)):
        features = rng.normal(shift, 1, (60, 6))
        positive = 1 / (1 + np.exp(-features[:, 0] + shift))
        acquired.add(k, features, np.column_stack([1 - positive, positive]))
    near, far = rng.normal(0, 1, (300, 6)), rng.normal(3, 1, (300, 6))
    for target, best in ((near, 0), (far, 1)):
        assert ScreenMatch().start(task(2, target))(acquired).gains.argmax() == best


def test_match_judges_sources_by_what_the_same_money_buys() -> None:
    rng, acquired = np.random.default_rng(0), Acquired(3)
    proba, like = np.full((60, 2), 0.5), rng.normal(0, 1, (60, 6))
    acquired.add(0, rng.normal(2, 1, (60, 6)), proba)
    acquired.add(1, like, proba)
    acquired.add(2, like, proba)
    target = rng.normal(0, 1, (300, 6))
    even = ScreenMatch().start(task(3, target))(acquired).gains
    dear = ScreenMatch().start(task(3, target, costs=[1, 1, 4]))(acquired).gains
    assert even[1] == pytest.approx(even[2])
    assert even[0] < 0 < even[1]
    assert dear[1] > dear[2] == pytest.approx(even[2])


def test_match_plans_within_room_and_budget() -> None:
    rng, acquired = np.random.default_rng(0), Acquired(2)
    for k in (0, 1):
        acquired.add(k, rng.normal(2 * k, 1, (60, 6)), np.full((60, 2), 0.5))
    judge = ScreenMatch().start(task(2, rng.normal(0, 1, (300, 6))))
    judge(acquired)
    planned = judge.planned(np.array([30.0, np.inf]), 100.0, np.array([1.0, 2.0]))
    assert planned[0] == pytest.approx(30)
    assert planned @ [1, 2] == pytest.approx(100)


def test_match_does_without_the_points_of_stopped_sources() -> None:
    rng, acquired = np.random.default_rng(0), Acquired(3)
    for k, shift in enumerate((0.0, 4.0, 2.0)):
        features = rng.normal(shift, 1, (60, 6))
        positive = 1 / (1 + np.exp(-3 * (features[:, 0] - shift)))
        # The labels of source 1 belong to other points.
        positive = rng.permutation(positive) if k == 1 else positive
        acquired.add(k, features, np.column_stack([1 - positive, positive]))
    target = rng.normal(2, 1, (300, 6))
    judgement = ScreenMatch().start(task(3, target))(acquired)
    assert list(judgement.stopped) == [1]
    kept = ScreenMatch().start(replace(task(3, target), keep=frozenset({1})))(acquired)
    assert judgement.gains[2] > kept.gains[2] > 0
    user = ScreenMatch().start(replace(task(3, target), keep=frozenset({1}), stop=frozenset({1})))
    assert user(acquired).gains.tolist() == judgement.gains.tolist()


def test_kernel_mean_without_a_source_is_that_of_the_others() -> None:
    rng = np.random.default_rng(0)
    target, source = rng.normal(size=(300, 4)), np.repeat([0, 1, 2], 20)
    points = rng.normal(source[:, None], 1, (60, 4))
    whole, rest = (KernelMean(target, 3, np.random.default_rng(1)) for _ in range(2))
    whole.add(source, points)
    rest.add(source[source != 1], points[source != 1])
    before = whole.distance()
    whole.leave_out([1])
    assert whole.distance() == pytest.approx(rest.distance())
    n_new = np.full(3, 10.0)
    after = whole.distances_after(n_new)
    np.testing.assert_allclose(after[[0, 2]], rest.distances_after(n_new)[[0, 2]])
    whole.leave_out([])
    assert whole.distance() == before


def test_points_without_those_of_some_sources() -> None:
    acquired = acquired_of("a", "b", "c", n=4)
    rest = acquired.without({1})
    assert rest.source.tolist() == [0] * 4 + [2] * 4
    expected = [row for row in range(12) if acquired.source[row] != 1]
    np.testing.assert_array_equal(
        rest.strong_features.array, acquired.strong_features.array[expected]
    )
    np.testing.assert_array_equal(rest.weak_proba, acquired.weak_proba[expected])
    assert acquired.without({7}) is acquired
    assert len(acquired.without({0, 1, 2})) == 0


def test_match_needs_a_target() -> None:
    with pytest.raises(InputError, match="objective 'screen_match' needs target: 200 or more"):
        ScreenMatch().start(task())


def test_names() -> None:
    assert make_objective("overlap") == Overlap()
    assert isinstance(make_objective(lambda acquired: acquired.counts), Custom)
    said = "there is no objective 'screen_mtch'; did you mean 'screen_match'"
    with pytest.raises(InputError, match=said):
        make_objective("screen_mtch")


def test_an_objective_of_ones_own_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("w2s_selectors.objectives.registry._OBJECTIVES", {})
    assert register_objective(Screen) is Screen
    assert available_objectives() == ["screen"]
    assert make_objective("screen") == Screen()
    with pytest.raises(InputError, match="there is an objective 'screen' already"):
        register_objective(Screen)
    with pytest.raises(InputError, match="is not an objective: it lacks name, reward, policy"):
        register_objective(dict)


@pytest.mark.parametrize("answer", [np.ones(2), "good", None, np.ones((3, 1))])
def test_custom_answers_are_checked(answer: Any) -> None:
    judge = Custom(lambda _: answer).start(task())
    with pytest.raises(InputError, match="must return a Judgement or 3 rewards, one per source"):
        judge(acquired_of("a", "b", "c", n=2))


def test_custom_rewards_are_divided_by_costs() -> None:
    judgement = Custom(lambda _: np.ones(3)).start(task(costs=[1, 2, 4]))(acquired_of("a"))
    assert judgement.gains.tolist() == [1, 0.5, 0.25]
    own = Judgement(np.ones(3), np.ones(3), np.ones(3), np.ones(3), np.ones(3))
    assert Custom(lambda _: own).start(task())(acquired_of("a")) is own


def test_probability_best_of_counts_and_of_intervals() -> None:
    nan = np.full(2, np.nan)
    counts = Judgement(np.array([0.5, 0.4]), nan, nan, np.array([50.0, 40]), np.full(2, 100.0))
    # P(Beta(51, 51) > Beta(41, 61)) by quadrature
    from scipy.integrate import quad
    from scipy.stats import beta, norm

    exact = quad(lambda p: beta(51, 51).pdf(p) * beta(41, 61).cdf(p), 0, 1)[0]
    assert probability_best(counts, 0)[0] == pytest.approx(exact, abs=0.03)
    r = np.array([0.5, 0.4, np.nan])
    normal = Judgement(r, r - 0.196, r + 0.196)
    assert repr(normal.estimate(1)) == "Estimate(0.4, 0.204 to 0.596)"
    best = probability_best(normal, 0)
    assert best[0] == pytest.approx(norm.cdf(0.1 / (0.1 * np.sqrt(2))), abs=0.03)
    assert np.isnan(best[2])


def test_fill_spends_what_fits() -> None:
    items = fill(
        np.array([1.0, 1.0, 0.0]), np.array([5.0, np.inf, 9.0]), 100.0, np.array([1, 2, 1.0])
    )
    assert items.tolist() == [5, 47.5, 0]
    assert fill(np.array([1.0]), np.array([5.0]), 100.0, np.ones(1)).tolist() == [5]


def test_other_dimensions_and_classes_are_refused() -> None:
    acquired = Acquired(2)
    acquired.add(0, np.ones((2, 3)), np.full((2, 2), 0.5))
    with pytest.raises(FeatureError, match="had 3 dimensions so far; now 4"):
        acquired.add(1, np.ones((2, 4)), np.full((2, 2), 0.5))
    with pytest.raises(ProbabilityError, match="had 2 classes so far; now 3"):
        acquired.add(1, np.ones((2, 3)), np.full((2, 3), 1 / 3))


def test_much_lies_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("w2s_selectors.objectives.base.IN_MEMORY", 10_000)
    acquired, added = Acquired(1), []
    for i in range(20):
        added.append(np.full((40, 6), i))
        acquired.add(0, added[-1], np.full((40, 2), 0.5))
    assert isinstance(acquired.strong_features.array, np.memmap)
    np.testing.assert_array_equal(acquired.strong_features.array, np.concatenate(added))
