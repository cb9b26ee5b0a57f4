"""The four options of a measurement: paired differences, the advice, and what is missing."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from tests.w2s_data.finetune.test_gain import make_world
from w2s_data.forecast.options import OPTIONS, difference_of

METHODS = ("stacked", "naive", "labelled_only")


@pytest.fixture(scope="module")
def world():
    return make_world(noise=1.0)


@pytest.fixture(scope="module")
def result(world):
    return world.measure(*METHODS, seeds=1, n_resamples=2000)


def right(world, result):
    """Whether each test item is right, by option, from the items' predictions."""
    table = result.predictions()
    table = table[table["split"] == "test"]
    names = {"gold": "labelled_only", "weak": "naive", "both": "stacked"}
    found = {name: table[f"{student} / right"].to_numpy() for name, student in names.items()}
    teacher = world.weak[world.splits == "test"].argmax(axis=1)
    return {"teacher": teacher == world.labels[world.splits == "test"], **found}


def test_options_are_their_students(world, result):
    items = right(world, result)
    assert [option.name for option in result.options] == list(OPTIONS)
    assert [o.student for o in result.options] == ["", "labelled_only", "naive", "stacked"]
    for option in result.options:
        assert option.accuracy.value == pytest.approx(items[option.name].mean())
        assert option.accuracy.low < option.accuracy.value < option.accuracy.high
    values = {option.name: option.accuracy.value for option in result.options}
    assert result.best == max(values, key=values.get)


def test_differences_are_paired_by_item(world, result):
    items = right(world, result)
    assert len(result.differences) == 6
    for cheaper, dearer in combinations(OPTIONS, 2):
        found = difference_of(result.differences, dearer, cheaper)
        truth = ttest_rel(items[dearer], items[cheaper]).confidence_interval(0.95)
        assert found.value == pytest.approx(items[dearer].mean() - items[cheaper].mean(), abs=1e-6)
        assert [found.low, found.high] == pytest.approx([truth.low, truth.high], abs=2e-3)
    # Two marginal intervals would overlap where the paired one is far from 0.
    apart = difference_of(result.differences, "both", "weak")
    both, weak = (result.options[k].accuracy for k in (3, 2))
    assert apart.high - apart.low < 0.8 * (both.high - both.low + weak.high - weak.low)
    for name in ("stacked", "naive"):
        over = difference_of(result.differences, {"stacked": "both"}.get(name, "weak"), "gold")
        assert result[name].over_labelled.value == pytest.approx(over.value)
        assert result[name].over_labelled.low == pytest.approx(over.low)


def test_the_advice_is_in_words_and_in_the_dictionary(result):
    told = result.to_dict()
    assert told["advised"] == result.advised
    assert told["options"][3]["student"] == "stacked"
    assert told["differences"][0].keys() == {"name", "other", "difference"}
    advised = next(o for o in result.options if o.name == result.advised)
    assert f": {advised.accuracy.value:.3f} against " in result.reading
    assert result.reading in repr(result)


def test_a_perfect_teacher_is_used(world):
    world = make_world()
    world.weak = np.eye(3)[world.labels] * 0.97 + 0.01
    result = world.measure("stacked", "naive")
    assert (result.best, result.advised) == ("teacher", "teacher")
    assert result.reading.startswith("use the teacher: 1.000 against ")


def test_a_useless_teacher_leaves_the_gold_labels(world):
    world = make_world()
    world.weak = np.random.default_rng(0).dirichlet(np.ones(3), size=len(world.labels))
    result = world.measure("stacked", "naive")
    assert result.advised in ("gold", "both")
    assert difference_of(result.differences, "weak", "gold").high < 0


def test_without_gold_labels_two_options_are_left(world):
    world = make_world()
    world.labels = np.where(world.splits == "labelled", -1, world.labels)
    result = world.measure("naive")
    known = [o.name for o in result.options if not np.isnan(o.accuracy.value)]
    assert known == ["teacher", "weak"]
    reasons = {o.name: o.accuracy.reason for o in result.options}
    assert "no row of the labelled split has a gold label" in reasons["gold"]
    assert "e.g. stacked" in reasons["both"]
    assert len(result.differences) == 1
    assert result.advised in known
    assert result.lead.value == pytest.approx(abs(result["naive"].gain.value))
    assert np.isnan(result["naive"].over_labelled.value)
    assert reasons["gold"] in repr(result)
    # A method that was asked for says itself what it lacks.
    failed = world.measure("naive", "stacked")
    assert failed.options[3].accuracy.reason == failed.failures["stacked"]
    assert "gold" in failed.failures["stacked"]


def test_the_best_method_of_each_kind_stands_for_it(world):
    result = world.measure("naive", "confidence", "enhanced", "stacked", "labelled_only")
    kinds = {option.name: option.student for option in result.options}
    weak = ("naive", "confidence", "enhanced")
    assert kinds["weak"] == max(weak, key=lambda name: result[name].gain.value)
    assert (kinds["both"], kinds["gold"]) == ("stacked", "labelled_only")
