"""Measured errors divided into noise, variance and the rest, on problems whose parts are known."""

from __future__ import annotations

import numpy as np
import pytest

from w2s_data.data.continuous import ridgeless
from w2s_data.errors import SplitError
from w2s_data.regression.discrepancy import measured_beside_predicted


def problem(seed=0, **options):
    made = ridgeless(
        **{"n_labelled": 200, "n_pool": 800, "n_test": 2000} | options, random_state=seed
    )
    data = made.dataset
    rows = {name: data.rows(name) for name in ("labelled", "pool", "test")}
    return made.strong_features, made.weak_features, data.targets.copy(), rows


def test_parts_add_up_to_what_was_measured_and_are_near_the_truth():
    found = []
    for seed in range(4):
        strong, weak, y, rows = problem(seed, weak_only=0.4)
        content = measured_beside_predicted(strong, weak, y, **rows)
        assert [row["model"] for row in content["models"]] == [
            "teacher",
            "student",
            "gold alone",
            "ceiling",
        ]
        for row in content["models"]:
            assert row["noise"] + row["variance"] + row["rest"] == pytest.approx(
                row["mse"]["value"]
            )
            assert row["mse"]["low"] < row["mse"]["value"] < row["mse"]["high"]
        found.append(
            [[row[part] for part in ("noise", "variance", "rest")] for row in content["models"]]
        )
        # Ten of the teacher's 30 dimensions are shared, and both fit a constant.
        assert content["inherited"] == pytest.approx(0.37, abs=0.06)
    mean = np.mean(found, axis=0)
    # The noise of 1, and the part of the target that no strong feature shows.
    assert mean[:, 0] == pytest.approx(1.4, rel=0.1)
    # Exact for Gaussian features: 30 and 20 dimensions of 200 rows, a little shrunk.
    assert mean[0, 1] == pytest.approx(30 / 168, rel=0.25)
    assert mean[2, 1] == pytest.approx(1.4 * 20 / 178, rel=0.25)
    # The teacher sees what is called noise here, and the student does not.
    assert mean[0, 2] < -0.2
    assert abs(mean[1, 2]) < 0.15


def test_unknown_gold_values_of_the_pool_leave_the_ceiling_out():
    strong, weak, y, rows = problem()
    known = measured_beside_predicted(strong, weak, y, **rows)
    y[rows["pool"]] = np.nan
    y[rows["test"][:500]] = np.nan
    found = measured_beside_predicted(strong, weak, y, **rows)
    assert [row["model"] for row in found["models"]] == ["teacher", "student", "gold alone"]
    assert found["n_test"] == 1500
    assert found["inherited"] == pytest.approx(known["inherited"], abs=0.02)
    y[rows["test"]] = np.nan
    with pytest.raises(SplitError, match="no test row has a gold value"):
        measured_beside_predicted(strong, weak, y, **rows)
