"""Advice by curves that are known exactly."""

from dataclasses import replace

import numpy as np
import pytest

from w2s_data.plan.advice import GOLD_LABELS, WEAK_LABELS, Market, Prices, make_plan
from w2s_data.plan.curves import Curve
from w2s_data.utils.intervals import Estimate


def curve(part=0.5, gold_rate=0.5, pool_rate=0.5, error=0.2, floor=0.0, spread=0.0):
    one = np.ones(50)
    shaken = one + spread * np.linspace(-1, 1, 50)
    parts = error * one, floor * one, part * one, gold_rate * shaken, pool_rate * one, 0 * one
    return Curve(*parts, 100, 1000)


def plan_of(own, prices, models=None):
    return make_plan("both", own, prices, models or {}, (), 0.9)


def test_labels_that_do_as_much_are_exchanged_by_their_numbers():
    # Equal parts and exponents: a per cent more of either does the same.
    rate = Market(curve(), Prices(10, 1, 1), 0.9).exchange()
    assert (rate.value, rate.low, rate.high) == pytest.approx((10, 10, 10))
    assert Market(curve(part=0.0), Prices(10, 1, 1), 0.9).exchange().value != rate.value


def test_the_best_split_is_that_of_the_formula():
    prices = Prices(200, 1.0, 0.1)
    best = plan_of(curve(), prices).split
    shares = np.linspace(0, 1, 401)
    n, n_pool = 100 + 200 * shares, 1000 + 2000 * (1 - shares)
    errors = 0.1 * ((n / 100) ** -0.5 + (n_pool / 1000) ** -0.5)
    assert best.gold == pytest.approx(200 * shares[errors.argmin()], abs=5)
    assert best.accuracy.value == pytest.approx(1 - errors.min(), abs=1e-4)


def test_what_does_nothing_is_not_bought():
    split = plan_of(curve(part=0.0), Prices(50, 1, 0.1)).split
    assert (split.gold, split.weak) == (50, 0)
    split = plan_of(curve(part=1.0), Prices(50, 1, 0.1)).split
    assert (split.gold, split.weak) == (0, 500)
    flat = plan_of(curve(gold_rate=0.0, pool_rate=0.0), Prices(50, 1, 0.1))
    assert (flat.split.gold, flat.split.weak) == (0, 0)
    assert flat.advice.startswith("Keep the money")


def test_purchases_spend_the_budget_and_say_what_a_unit_buys():
    plan = plan_of(curve(), Prices(100, 1, 0.1))
    gold, weak = plan.purchases
    assert (gold.name, gold.number, gold.price) == (GOLD_LABELS, 100, 100)
    assert (weak.name, weak.number, weak.price) == (WEAK_LABELS, 1000, 100)
    assert gold.gain.value == pytest.approx(0.1 * (1 - 2**-0.5))
    assert gold.per_unit.value == pytest.approx(gold.gain.value / 100)
    assert not gold.guess  # exactly twice the present size
    assert plan_of(curve(), Prices(101, 1, 0.1)).purchases[0].guess


def test_a_model_that_gains_more_than_labels_is_advised_if_it_is_affordable():
    gain = Estimate(0.15, 0.1, 0.2, 0.9)
    assert "student big" in plan_of(curve(), Prices(50, 1, 1), {"student big": (gain, 40.0)}).advice
    for price in (60.0, None):
        advice = plan_of(curve(), Prices(50, 1, 1), {"student big": (gain, price)}).advice
        assert "student big" not in advice


def test_a_sure_curve_never_stops_and_a_doubtful_one_does():
    sure, doubtful = (
        plan_of(curve(part=0.0, spread=spread), Prices(50, 1, 1)).stop for spread in (0.0, 3.0)
    )
    assert sure is None
    assert doubtful == 0


def test_the_chart_starts_now_and_rises():
    plan = plan_of(curve(), Prices(100, 1, 0.1))
    best = [row["best"] for row in plan.path]
    assert best[0] == pytest.approx(0.8)
    assert np.all(np.diff(best) >= 0)
    assert best[-1] == pytest.approx(plan.split.accuracy.value)
    found = plan.contour
    assert np.shape(found["accuracy"]) == (len(found["N"]), len(found["n"]))
    assert found["line"][0] == {"n": 100.0, "N": 2000.0}
    assert found["line"][-1] == {"n": 200.0, "N": 1000.0}


def test_accuracies_on_the_way_are_shares():
    plan = plan_of(curve(error=0.02, spread=3.0, floor=0.0), Prices(1e5, 1, 0.1))
    for row in plan.path:
        shares = [row[name] for name in row if name not in ("spent", "gold", "weak")]
        assert 0 <= min(shares) <= max(shares) <= 1
    gain = Estimate(0.05, -0.2, 0.3, 0.9)
    above = replace(plan.split, gain=gain).above(Estimate(0.9, level=0.9))
    assert (above.value, above.low, above.high) == pytest.approx((0.95, 0.7, 1.0))
