"""L-BFGS of many problems at once, on bowls whose minima are known."""

from __future__ import annotations

import numpy as np

from w2s_data.probes.lbfgs import minimize_together


def test_a_step_that_goes_too_far_is_tried_again_shorter():
    curvature = np.array([[1.0], [40.0], [1e3]])
    goal = np.array([[3.0, 3.0], [-2.0, -2.0], [0.5, 0.5]])

    def bowls(at, which):
        off = at - goal[which]
        return (curvature[which] * off**2).sum(axis=1) / 2, curvature[which] * off

    found = minimize_together(bowls, np.zeros((3, 2)), 200, 1e-6)
    np.testing.assert_allclose(found.parameters, goal, atol=1e-5)
    assert found.steps.max() < 200
