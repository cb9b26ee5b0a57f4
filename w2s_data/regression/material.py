"""The rows that a student of values may learn from, and lessons: values and weights of some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from w2s_data.errors import InputError
from w2s_data.features.matrix import FeatureMatrix, FeatureView
from w2s_data.finetune.objectives import TrainingError
from w2s_data.probes.ridge import RidgeProbe
from w2s_data.regression.inputs import mean_value
from w2s_data.regression.posterior import ValuePosterior, relative_precision
from w2s_data.utils.typing import FloatArray, IntArray


@dataclass(frozen=True)
class Material:
    """N rows with what is known of their values."""

    weak_values: FloatArray  # (N, M), NaN where a teacher abstains
    weak_errors: FloatArray | None  # (N, M)
    targets: FloatArray  # (N,), gold values, NaN where unknown
    sample_weight: FloatArray  # (N,)
    features: FeatureMatrix | None  # (N, D); None for whole models without features
    given: tuple[FloatArray, FloatArray] | None  # posterior values and errors (N,)
    seed: int

    @cached_property
    def gold(self) -> IntArray:
        """Rows with a gold value, ascending."""
        return np.flatnonzero(np.isfinite(self.targets) & (self.sample_weight > 0))

    @cached_property
    def mean(self) -> tuple[FloatArray, FloatArray | None]:
        """Mean (N,) of the weak values, and its error."""
        return mean_value(self.weak_values, self.weak_errors)

    @cached_property
    def pool(self) -> IntArray:
        """Rows without a gold value on which a teacher answers, ascending."""
        usable = np.isfinite(self.mean[0]) & (self.sample_weight > 0)
        return np.flatnonzero(usable & ~np.isfinite(self.targets))

    @cached_property
    def posterior(self) -> tuple[FloatArray, FloatArray]:
        """Posterior values and errors (N,), given or fitted to these rows."""
        if self.given is not None:
            return self.given
        fitted = ValuePosterior(random_state=self.seed).fit(
            self.read(np.arange(len(self.targets)), "a posterior"),
            self.weak_values,
            targets=self.targets,
            weak_errors=self.weak_errors,
        )
        return fitted.values_, fitted.errors_

    def read(self, rows: IntArray, purpose: str) -> FeatureView:
        """Return the features of some rows."""
        if self.features is None:
            raise InputError(f"{purpose} is fitted on features: pass features")
        return FeatureView(self.features, rows)

    def weak_lesson(self, rows: IntArray | None = None) -> Lesson:
        """Return the lesson of the weak values of pool rows, each by its precision."""
        chosen = self.pool if rows is None else rows
        if len(chosen) < 2:
            raise TrainingError(f"{len(chosen)} pool rows have a weak value: at least 2 are needed")
        values, errors = self.mean
        weights = np.ones(len(chosen)) if errors is None else relative_precision(errors[chosen])
        return Lesson(chosen, values[chosen], weights * self.sample_weight[chosen])

    def need_gold(self) -> IntArray:
        """Return the gold rows; raise if there are none."""
        if not len(self.gold):
            raise TrainingError("no row has a gold value to learn from")
        return self.gold

    def left_out(self, lesson: Lesson) -> FloatArray:
        """Predict each row of a lesson by a ridge student of all others."""
        probe = RidgeProbe().fit(self.read(lesson.rows, "crossfit"), lesson.values, lesson.weights)
        return probe.leave_one_out_


@dataclass(frozen=True)
class Lesson:
    """Values (K,) to learn on some rows, in ascending order, and their weights.

    `capacities` are shares of the directions of the features that each student of a chain has, and
    learns from the one before; a single student has all of them.
    """

    rows: IntArray
    values: FloatArray
    weights: FloatArray
    capacities: tuple[float, ...] = (1.0,)
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
