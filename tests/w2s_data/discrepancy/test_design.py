"""Variance and bias given the rows, beside the map H of every learner written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from w2s_data.discrepancy.design import design_risks
from w2s_data.discrepancy.theory import ROLES
from w2s_data.errors import FeatureError, InputError


def outputs(x: Any, at: Any, penalty: float, intercept: bool) -> Any:
    """The map from labels of the rows x to outputs at other rows, spelled out."""
    centre = x.mean(0) if intercept else np.zeros(x.shape[1])
    own = x - centre
    if penalty:
        inverse = np.linalg.solve(own.T @ own + penalty * np.eye(x.shape[1]), own.T)
    else:
        inverse = np.linalg.pinv(own)
    if not intercept:
        return (at - centre) @ inverse
    return 1 / len(x) + (at - centre) @ (inverse - inverse.mean(1, keepdims=True))


def world(n: int, N: int, d_s: int, d_w: int) -> Any:
    rng = np.random.default_rng(1)
    strong = rng.normal(size=(n + N + 50, d_s)) + 2
    weak = rng.normal(size=(n + N + 50, d_w)) - 1
    weak[:, :5] += strong[:, :5]
    strong, weak = (x.astype(np.float32).astype(float) for x in (strong, weak))
    target = 3 + strong[:, 0] + np.tanh(weak[:, 1])
    return strong, weak, target, np.split(rng.permutation(len(strong)), [n, n + N])


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("penalties", [(0.0, 0.0), (3.0, 7.0)])
@pytest.mark.parametrize("sizes", [(60, 200, 20, 15), (30, 25, 40, 12), (10, 60, 12, 25)])
def test_variance_and_bias_are_those_of_the_maps(
    sizes: tuple[int, int, int, int], penalties: tuple[float, float], intercept: bool
) -> None:
    strong, weak, f, (gold, pool, test) = world(*sizes)
    of_weak, of_strong = penalties
    both = np.r_[gold, pool]
    student = outputs(strong[pool], strong[test], of_strong, intercept)
    maps = {
        "teacher": (outputs(weak[gold], weak[test], of_weak, intercept), gold),
        "student": (student @ outputs(weak[gold], weak[pool], of_weak, intercept), gold),
        "sft": (outputs(strong[gold], strong[test], of_strong, intercept), gold),
        "ceiling": (outputs(strong[both], strong[test], of_strong, intercept), both),
    }
    found = design_risks(
        strong, weak, gold, pool, test, target=f,
        teacher_penalty=of_weak, student_penalty=of_strong, intercept=intercept,
    )  # fmt: skip
    assert found.bias is not None
    for role, (H, rows) in maps.items():
        variance, bias = np.sum(H**2) / len(test), np.mean((f[test] - H @ f[rows]) ** 2)
        assert getattr(found.variance, role) == pytest.approx(variance, rel=1e-8), role
        assert getattr(found.bias, role) == pytest.approx(bias, rel=1e-8, abs=1e-10), role
        assert getattr(found.risks(2.0), role) == pytest.approx(2 * variance + bias, rel=1e-8)


def test_a_large_offset_and_collinear_columns_change_nothing() -> None:
    strong, weak, f, rows = world(60, 200, 20, 15)
    known = design_risks(strong, weak, *rows, target=f)
    moved = design_risks(np.c_[strong, strong[:, :3]] + 100, weak + 100, *rows, target=f + 1000)
    for role in ROLES:
        assert getattr(moved.variance, role) == pytest.approx(
            getattr(known.variance, role), rel=1e-3
        )


def test_without_a_target_there_is_no_bias() -> None:
    strong, weak, f, rows = world(60, 200, 20, 15)
    found = design_risks(strong, weak, *rows)
    assert found.bias is None
    assert found.risks(1.0) == found.variance
    assert found.variance == design_risks(strong, weak, *rows, target=f).variance


def test_a_pool_without_gold_labels_leaves_the_ceiling_unknown() -> None:
    strong, weak, f, (gold, pool, test) = world(60, 200, 20, 15)
    known = design_risks(strong, weak, gold, pool, test, target=f).bias
    f[pool[0]] = np.nan
    found = design_risks(strong, weak, gold, pool, test, target=f).bias
    assert known is not None
    assert found is not None
    assert np.isnan(found.ceiling)
    assert [found.teacher, found.student, found.sft] == pytest.approx(
        [known.teacher, known.student, known.sft]
    )


def test_bad_input() -> None:
    strong, weak, f, (gold, pool, test) = world(60, 200, 20, 15)
    with pytest.raises(InputError, match="teacher_penalty must be at least 0"):
        design_risks(strong, weak, gold, pool, test, teacher_penalty=-1)
    with pytest.raises(FeatureError, match="pool names no rows"):
        design_risks(strong, weak, gold, [], test)
    with pytest.raises(InputError, match="target holds one finite value"):
        design_risks(strong, weak, gold, pool, test, target=np.where(f > 5, np.nan, f))
    with pytest.raises(FeatureError, match="row counts disagree"):
        design_risks(strong, weak[:-1], gold, pool, test)
