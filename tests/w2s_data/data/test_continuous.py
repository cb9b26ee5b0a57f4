"""Examples of values: the parts of the linear target, and the slant of drawn lines."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_data.data.continuous import digit_ink, ink_slant, ridgeless
from w2s_data.data.examples import load_example
from w2s_data.discrepancy.target import target_parts
from w2s_data.errors import InputError


def test_a_ridgeless_target_has_the_parts_that_were_asked_for():
    asked = {"shared": 2.0, "strong_only": 0.5, "weak_only": 0.7, "unseen": 0.3}
    sizes = {"d_w": 8, "d_s": 6, "d_sw": 3.4, "n_pool": 20_000}
    example = ridgeless(**asked, **sizes, noise=1.5, random_state=1)
    parts = target_parts(example.strong_features, example.weak_features, example.dataset.targets)
    value = example.dataset.truth["value"]
    assert (value.var(), parts.signal) == pytest.approx((3.5, 3.2), rel=0.05)
    # No feature shows the last part, so that it is noise to both.
    assert parts.noise == pytest.approx(1.8, rel=0.04)
    assert (parts.rho_w, parts.c2) == pytest.approx((0.5, 0.5), rel=0.1)
    assert (parts.rho_s, parts.rho_ws) == pytest.approx((0.7, 0.7), rel=0.1)
    assert parts.d_sw == pytest.approx(3.4, abs=0.03)
    assert (example.dataset.targets - value).var() == pytest.approx(1.5, rel=0.04)
    # Neither side is told by a column: all have variance 1, and none is the target's direction.
    assert example.strong_features.var(axis=0) == pytest.approx(np.ones(6), rel=0.05)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ridgeless?d_sw=25", r"d_sw must be a number in \[0, 20\]; got 25"),
        ("ridgeless?d_sw=0", "shared must be 0 where d_w = 30, d_s = 20 and d_sw = 0"),
        ("ridgeless?d_sw=20&strong_only=1", "strong_only must be 0 where"),
        ("ridgeless?noise=-1", "noise must be"),
        ("ridgeless?n_pool=-1", "n_pool must be"),
        ("digit_ink?n_test=0", "n_test must be"),
        ("digit_ink?reader=maybe", "reader must be"),
    ],
)
def test_bad_parameters(name, message):
    with pytest.raises(InputError, match=message):
        load_example(name)


def test_the_slant_is_the_angle_of_a_drawn_line():
    rows, columns = np.indices((41, 41)) - 20
    angles = np.array([-50.0, -20.0, 0.0, 10.0, 35.0])
    lines = [np.exp(-((columns + np.tan(np.radians(a)) * rows) ** 2) / 4) for a in angles]
    lines = [np.where(np.abs(rows) < 12, line, 0) for line in lines]
    assert ink_slant(np.array(lines)) == pytest.approx(angles, abs=0.5)
    assert ink_slant(np.array(lines)[:, :, ::-1]) == pytest.approx(-angles, abs=0.5)


def test_the_old_reader_knows_its_error_and_strong_features_know_more():
    from sklearn.linear_model import RidgeCV

    example = digit_ink(random_state=2)
    data = example.dataset
    pool, test = data.rows("pool"), data.rows("test")
    error = data.weak_values[test, 0] - data.targets[test]
    assert np.sqrt(np.mean(error**2)) == pytest.approx(data.weak_errors[0, 0], rel=0.15)
    student = RidgeCV(np.logspace(-2, 2, 5)).fit(
        example.strong_features[pool], data.weak_values[pool, 0]
    )
    left = student.predict(example.strong_features[test]) - data.targets[test]
    assert np.mean(left**2) < 0.75 * np.mean(error**2)
    without = digit_ink(reader=False).dataset
    assert without.weak_values is None
    assert len(without) == len(data) + 150
