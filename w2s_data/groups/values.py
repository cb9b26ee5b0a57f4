"""Groups and sources where labels are values: shares, squared errors, duplicates, leakage."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from w2s_data.compute.base import Engine
from w2s_data.errors import InputError
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.groups.analyzer import GroupAnalyzer
from w2s_data.groups.base import BaseGroupAnalyzer
from w2s_data.groups.discovery import discover_groups
from w2s_data.groups.error_groups import square_groups
from w2s_data.neighbors.index import NeighborIndex
from w2s_data.utils.intervals import Estimate, mean_estimate, positive_mean_estimate
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import AnyArray, FloatArray
from w2s_data.utils.validation import check_generator, check_same_length

# Columns about classes in the table of `GroupAnalyzer`.
OF_CLASSES = (
    *("weak_confidence", "weak_accuracy", "student_accuracy", "calibration_error"),
    *("largest_class_share", "purity", "classes_from", "largest_class", "class_balance"),
)
HOW = {
    "gaps": "gaps between points",
    "mixture": "a mixture of two normal densities",
    "errors": "the size of the weak values' errors",
    "none": "no gap, mixture or difference in errors",
}


class ValueGroupAnalyzer(BaseGroupAnalyzer):
    """Describe groups and sources of values: shares, squared errors, overlap, duplicates.

    Groups are given or discovered as by `GroupAnalyzer`, among all points at once since there are
    no classes; ``discovery="errors"`` merges fine clusters by the mean squared error of the weak
    values in place of error rates.

    Parameters
    ----------
    n_groups, n_neighbors, duplicate_threshold, discovery, level, device, random_state
        As for `GroupAnalyzer`.

    Attributes
    ----------
    groups_ : DataFrame, one row per group
        The shares, densities, counts and near-duplicates of `GroupAnalyzer`, and, on rows with a
        gold value: `weak_mse` and `student_mse` (mean squared errors), `weak_offset` and
        `student_offset` (mean of gold minus predicted value; above 0 predictions are too low), each
        with `_low` and `_high`. NaN is unknown.
    sources_ : DataFrame or None
    points_, duplicates_, similarity_, minority_, warnings_, group_, index_, duplicate_threshold_
        As for `GroupAnalyzer`.
    reading_ : str
    discovery_ : str
        Origin of the groups: "given", "gaps", "mixture", "errors" or "none".

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> old = rng.random(1000) < 0.2
    >>> features = rng.normal(size=(1000, 4)) + np.outer(old, [9, 0, 0, 0])
    >>> y = rng.normal(size=1000)
    >>> analyzer = ValueGroupAnalyzer(random_state=0).fit(features, y - 2 * old, targets=y)
    >>> analyzer.groups_[["n", "weak_mse", "weak_offset"]].round(2)
               n  weak_mse  weak_offset
    group
    group 0  807       0.0          0.0
    group 1  193       4.0          2.0
    """

    def fit(
        self,
        strong_features: Any,
        weak_values: AnyArray,
        *,
        groups: ArrayLike | None = None,
        sources: ArrayLike | None = None,
        targets: ArrayLike | None = None,
        splits: ArrayLike | None = None,
        regions: ArrayLike | None = None,
        student_values: ArrayLike | None = None,
        index: NeighborIndex | None = None,
        engine: Engine | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Describe groups, sources and points.

        Parameters
        ----------
        weak_values : float array (N,)
            The teacher's, NaN where it abstains; of labelled rows those it did not learn from.
        targets, student_values : float array (N,), optional
            Gold values and those of a student, NaN where unknown.
        strong_features, groups, sources, splits, regions, index, engine, progress
            As for `GroupAnalyzer.fit`.

        Raises
        ------
        InputError
            As there, and where groups are asked for by errors and no row has a gold value.
        """
        matrix = as_feature_matrix(strong_features, "strong_features")
        n = matrix.shape[0]
        weak, gold, student = (
            _column(values, name, n)
            for values, name in (
                (weak_values, "weak_values"),
                (targets, "targets"),
                (student_values, "student_values"),
            )
        )
        rng = check_generator(self.random_state)
        seeds = rng.integers(2**63, size=2)
        if groups is None:
            names = self._discover(matrix, (gold - weak) ** 2, np.random.default_rng(int(seeds[0])))
        else:
            self.discovery_, names = "given", np.asarray(groups, dtype=object)
        with warnings.catch_warnings():
            described = GroupAnalyzer(
                n_neighbors=self.n_neighbors,
                duplicate_threshold=self.duplicate_threshold,
                level=self.level,
                device=self.device,
                random_state=int(seeds[1]),
            ).fit(
                matrix,
                np.tile([1.0, 0.0], (n, 1)),  # of one class, as there is none
                groups=names,
                sources=sources,
                splits=splits,
                regions=regions,
                index=index,
                engine=engine,
                progress=progress,
            )
        self._take(described)
        errors = {"weak": gold - weak, "student": gold - student}
        self.groups_ = self._with_errors(described.groups_, self.group_, errors, gold)
        self.sources_ = None
        if described.sources_ is not None:
            by_source = np.asarray(sources, dtype=object)
            self.sources_ = self._with_errors(described.sources_, by_source, errors, gold)
        self.reading_ = self._read(errors["weak"])
        return self

    def _discover(
        self, features: FeatureMatrix, squares: FloatArray, rng: np.random.Generator
    ) -> AnyArray:
        n = features.shape[0]
        if self.n_groups != "auto" and self.n_groups > n:
            raise InputError(f"n_groups is {self.n_groups}, more than the {n} points")
        wanted = None if self.n_groups == "auto" else int(self.n_groups)
        if self.discovery == "errors":
            if not np.isfinite(squares).any():
                raise InputError("discovery='errors' needs gold values of some rows: pass targets")
            codes = square_groups(features, squares, wanted, self.device, rng)
            self.discovery_ = "errors" if codes.any() else "none"
        else:
            found = discover_groups(
                features,
                np.zeros(n, dtype=np.int64),
                np.full(n, -1),
                method=self.discovery,
                n_groups=wanted,
                device=self.device,
                rng=rng,
            )
            codes, self.discovery_ = found.codes, found.method
        return np.array([f"group {code}" for code in codes], dtype=object)

    def _take(self, described: GroupAnalyzer) -> None:
        """Take over what does not depend on labels."""
        self.similarity_, self.minority_ = described.similarity_, described.minority_
        self.points_ = described.points_.drop(columns="agreement")
        self.duplicates_, self.group_ = described.duplicates_, described.group_
        self.duplicate_threshold_ = described.duplicate_threshold_
        self.index_, self.warnings_ = described.index_, described.warnings_

    def _with_errors(
        self,
        table: pd.DataFrame,
        names: AnyArray,
        errors: Mapping[str, FloatArray],
        gold: FloatArray,
    ) -> pd.DataFrame:
        """Put mean squared errors and offsets in the place of accuracies."""
        limits = [f"{name}{end}" for name in OF_CLASSES for end in ("", "_low", "_high")]
        table = table.drop(columns=[name for name in limits if name in table])
        columns: dict[str, list[float]] = {}
        for name in table.index:
            own = names == name
            for role, error in errors.items():
                known = error[own & np.isfinite(error)]
                for key, found in (
                    (f"{role}_mse", self._mean(known**2, positive=True)),
                    (f"{role}_offset", self._mean(known)),
                ):
                    for column, value in found.columns(key).items():
                        columns.setdefault(column, []).append(value)
        counts = [int(np.isfinite(gold[names == name]).sum()) for name in table.index]
        table = table.assign(n_gold=counts, **columns)
        table["unknown"] = [_unknown(record) for record in table.to_dict("records")]
        return table

    def _mean(self, values: FloatArray, *, positive: bool = False) -> Estimate:
        if not len(values):
            return Estimate(np.nan, level=self.level)
        return (positive_mean_estimate if positive else mean_estimate)(values, self.level)

    def _read(self, errors: FloatArray) -> str:
        """Say where the groups come from, and where the teacher is worst or off."""
        table = self.groups_
        text = f"{len(table)} groups were given"
        if self.discovery_ != "given":
            found = len(table) if self.discovery_ != "none" else "No"
            text = f"{found} groups were discovered by {HOW[self.discovery_]}"
            if self.discovery_ == "none":
                text = f"No groups were discovered: the points show {HOW['none']}"
        known = errors[np.isfinite(errors)]
        if not len(known):
            return f"{text}; without gold values, errors are unknown."
        overall = float((known**2).mean())
        worse = table[table["weak_mse_low"] > overall].sort_values("weak_mse", ascending=False)
        if len(worse):
            row = worse.iloc[0]
            text += (
                f"; the weak values are further off in {str(row.name)!r} (MSE "
                f"{row['weak_mse']:.3g} [{row['weak_mse_low']:.3g}, {row['weak_mse_high']:.3g}]) "
                f"than overall ({overall:.3g})"
            )
        off = table[(table["weak_offset_low"] > 0) | (table["weak_offset_high"] < 0)]
        if len(off) and len(table) > 1:
            row = off.iloc[int(np.argmax(np.abs(off["weak_offset"])))]
            side = "low" if row["weak_offset"] > 0 else "high"
            size = abs(row["weak_offset"])
            text += f"; in {str(row.name)!r} they are {size:.3g} too {side} on average"
        return f"{text}."

    def to_dict(self) -> dict[str, Any]:
        """Return tables and the reading as plain JSON values."""
        index = {"kind": self.index_.kind_, "recall": self.index_.recall_}
        result: dict[str, Any] = jsonable({"task": "regression", **self.summary(), "index": index})
        return result


def _column(values: Any, name: str, n: int) -> FloatArray:
    if values is None:
        return np.full(n, np.nan)
    column = np.asarray(values, dtype=np.float64)
    check_same_length(strong_features=np.empty(n), **{name: column})
    return column


def _unknown(record: dict[Any, Any]) -> str:
    """Explain which numbers of a group are unknown; empty if none is."""
    reasons = []
    if record["n_gold"] == 0:
        reasons.append("no gold value: errors are unknown")
    if record["n_labelled"] == 0 and np.isfinite(record["eta_labelled"]):
        reasons.append("no labelled row: the weak model never saw it")
    return "; ".join(reasons)
