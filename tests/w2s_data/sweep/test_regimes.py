"""Sweeps of values: variances beside the exact forms, in regimes that are known."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_data.data.continuous import ridgeless
from w2s_data.errors import InputError
from w2s_data.sweep import SweepOptions, ValueWorld, sweep
from w2s_data.sweep.regimes import LEFT, Regimes, sizes


def world(unknown_pool=False, **options):
    made = ridgeless(
        **{"n_labelled": 60, "n_pool": 900, "n_test": 300, "n_validation": 0} | options
    )
    targets = made.dataset.targets.copy()
    if unknown_pool:
        targets[made.dataset.rows("pool")] = np.nan
    return ValueWorld(made.strong_features, made.weak_features, targets, made.dataset.splits)


KNOWN = {"d_w": 9, "d_s": 6, "d_sw": 3.0, "noise": 1.0}


def test_draws_of_a_seed_have_no_row_in_common():
    made = world(**KNOWN)
    halves = made.halves(0)
    rows = np.concatenate([part for half in halves for part in half])
    assert len(np.unique(rows)) == len(rows) == 960
    assert [len(gold) for gold, _ in halves] == [60, 60]
    assert not set(rows) & set(made.rows("test"))
    assert set(made.halves(1)[0][0]) != set(halves[0][0])
    apart = world(unknown_pool=True, **KNOWN)
    assert [len(gold) for gold, _ in apart.halves(0)] == [30, 30]
    assert {*np.concatenate([gold for gold, _ in apart.halves(0)])} == {*apart.rows("labelled")}


def test_regimes_divide_the_directions_by_how_far_they_are_shared():
    made = Regimes.of(world(**KNOWN), 60)
    strong = made.strong - made.strong.mean(0)
    for name, shared in (("the most shared", 3), ("the least shared", 0)):
        weak = made.weak[name] - made.weak[name].mean(0)
        assert weak.shape[1] == 3
        left = weak - strong @ np.linalg.lstsq(strong, weak, rcond=None)[0]
        told = 3 - np.sum(np.linalg.lstsq(weak, left, rcond=None)[0].diagonal())
        assert told == pytest.approx(shared, abs=0.1)
    few = Regimes.of(world(d_w=2, d_s=6, d_sw=1), 60)
    assert list(few.weak) == ["all directions"]


@pytest.mark.slow
def test_measured_numbers_are_those_of_the_exact_forms():
    result = sweep(world(shared=0.5, n_test=600, **KNOWN), SweepOptions("pool"), seeds=10)
    lines = {(line.panel, line.unit, line.name): line for line in result.lines}
    assert len(lines) == 2 * 4 * 2 * 4
    for (panel, unit, name), line in lines.items():
        told = lines.get((panel, unit, f"{name} by the theory"))
        if told is None:
            continue
        for found, expected in zip(line.points[1:], told.values()[1:], strict=True):
            # Errors also have that of what is taken off for the noise of the test rows.
            slack = found.value.high - found.value.low + (0.02 if unit == "error" else 0)
            assert abs(found.value.value - expected) < slack, (panel, unit, name)
    panels = dict.fromkeys(line.panel for line in result.lines)
    kept = [result.facts[f"{LEFT}, {panel}"].value for panel in panels]
    # All, then from the most shared to the least: what is shared is kept.
    assert kept[1] == pytest.approx(1.0, abs=1e-3)
    assert kept[1] > kept[2] > kept[3]
    assert result.facts["d_sw, all directions"].value == pytest.approx(3, abs=0.1)


def test_a_pool_without_gold_values_has_no_ceiling():
    result = sweep(world(unknown_pool=True, **KNOWN), SweepOptions("gold"), seeds=2)
    measured = {line.name for line in result.lines if line.kind == "measured"}
    assert measured == {"teacher", "student", "gold alone"}


def test_figures_without_a_meaning_and_too_few_rows_are_refused():
    with pytest.raises(InputError, match="over must be 'gold', 'pool' where labels are values"):
        sweep(world(**KNOWN), SweepOptions("noise"), seeds=1)
    with pytest.raises(InputError, match="12 weak values make no curve of 6 strong"):
        sweep(world(n_pool=84, **KNOWN), SweepOptions("pool"), seeds=1)


def test_sizes_are_even_in_their_logarithm():
    assert sizes(50, 30) == [30]
    assert sizes(3, 3.0) == [3]
