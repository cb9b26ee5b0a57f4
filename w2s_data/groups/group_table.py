"""The table of groups or sources: shares, accuracies and neighbourhoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.regions import Region
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.groups.inputs import Rows
from w2s_data.overlap.confidence import weak_confidence
from w2s_data.overlap.detector import OverlapDetector
from w2s_data.utils.intervals import percentile_interval, poisson_counts, wilson_interval
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray

CALIBRATION_BINS = 10  # the usual number; more of them measure noise in groups of a few hundred
N_RESAMPLES = 200  # each visits all gold rows of all groups
FEW_ROWS = 10  # of a group, below which its numbers are guesses


def describe_groups(
    rows: Rows,
    points: pd.DataFrame,
    codes: IntArray,
    names: Sequence[Any],
    *,
    detector: OverlapDetector | None,
    level: float,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Make the table `GroupAnalyzer.groups_`, and the cosines of the groups' centres (G, G)."""
    n_groups = len(names)
    counter = _Counter(codes, n_groups, level)
    everyone, known = np.ones(len(codes), dtype=bool), rows.known
    right = rows.pseudo == rows.gold
    table: dict[str, Any] = {"n": counter.sizes}
    for split in ("labelled", "pool"):
        inside = rows.splits == split
        table[f"n_{split}"] = np.bincount(codes[inside], minlength=n_groups)
    for split in ("labelled", "pool"):
        total = np.full(n_groups, np.count_nonzero(rows.splits == split))
        table |= counter.shares(f"eta_{split}", table[f"n_{split}"], total)
    table |= _density(rows, codes, names, counter, detector)
    table |= counter.mean("weak_confidence", weak_confidence(rows.proba, "margin", None), everyone)
    table["n_gold"] = np.bincount(codes[known], minlength=n_groups)
    table |= counter.mean("weak_accuracy", right, rows.voted)
    student = np.full(len(codes), -1) if rows.student is None else rows.student
    table |= counter.mean("student_accuracy", student == rows.gold, known & (student >= 0))
    table |= _calibration(rows, codes, n_groups, level, rng)
    table |= _classes(rows, codes, counter, table["n_gold"])
    agreement = points["agreement"].to_numpy()
    table |= counter.mean("purity", agreement, np.isfinite(agreement))
    table["n_duplicates"] = np.bincount(codes[points["has_duplicate"]], minlength=n_groups)
    table["n_leaking"] = np.bincount(codes[points["leaks"]], minlength=n_groups)
    cosines = _centre_cosines(rows.features, codes, n_groups)
    table |= _nearest(cosines, names)
    index = pd.Index(list(names), name="group")
    frame = pd.DataFrame(table, index=index)
    frame["unknown"] = [_unknown(record) for record in frame.to_dict("records")]
    return frame, pd.DataFrame(cosines, index=index, columns=index)


class _Counter:
    """Means of values in [0, 1] by group, with Wilson's interval.

    Values strictly between 0 and 1 vary less than 0 and 1 of the same mean, so that their interval
    is on the safe side.
    """

    def __init__(self, codes: IntArray, n_groups: int, level: float) -> None:
        self._codes, self._n_groups, self._level = codes, n_groups, level
        self.sizes = np.bincount(codes, minlength=n_groups)

    def mean(self, name: str, values: AnyArray, where: BoolArray) -> dict[str, FloatArray]:
        """Average the chosen rows of each group, in three columns."""
        codes = self._codes[where]
        total = np.bincount(codes, minlength=self._n_groups)
        sums = np.bincount(
            codes, weights=values[where].astype(np.float64), minlength=self._n_groups
        )
        return self.shares(name, sums, total)

    def shares(self, name: str, part: AnyArray, total: IntArray) -> dict[str, FloatArray]:
        """Return `part / total` in three columns, NaN where the total is 0."""
        low, high = wilson_interval(part, total, self._level)
        value = np.divide(part, total, out=np.full(len(total), np.nan), where=np.asarray(total) > 0)
        return {name: value, f"{name}_low": low, f"{name}_high": high}


def _density(
    rows: Rows,
    codes: IntArray,
    names: Sequence[Any],
    counter: _Counter,
    detector: OverlapDetector | None,
) -> dict[str, AnyArray]:
    """Measure the overlap density among scored rows; a detector's bootstrap covers thresholds."""
    scored = rows.regions >= 0
    table: dict[str, AnyArray] = {"n_scored": np.bincount(codes[scored], minlength=len(names))}
    if detector is None:
        return table | counter.mean("overlap_density", rows.regions == Region.OVERLAP, scored)
    shares = detector.shares(codes[scored]).set_index("name").reindex(range(len(names)))
    ends = ("", "_low", "_high")
    return table | {f"overlap_density{end}": shares[f"density{end}"].to_numpy() for end in ends}


def _calibration(
    rows: Rows, codes: IntArray, n_groups: int, level: float, rng: np.random.Generator
) -> dict[str, FloatArray]:
    """Compute the weak model's expected calibration error over bins of its top probability."""
    known = rows.voted  # without a gold label there is nothing to be calibrated to
    own = codes[known]
    top = rows.proba[known].max(axis=1)
    bins = np.minimum((top * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    excess = (rows.pseudo[known] == rows.gold[known]) - top
    cells = own * CALIBRATION_BINS + bins
    order = np.argsort(cells, kind="stable")  # so that a sum over a cell is one over a slice
    filled, starts = np.unique(cells[order], return_index=True)
    excess, group = excess[order], filled // CALIBRATION_BINS

    def error(counts: AnyArray) -> FloatArray:
        if not len(filled):
            return np.full(n_groups, np.nan)
        gaps = np.abs(np.add.reduceat(counts * excess, starts))
        sizes = np.add.reduceat(counts, starts, dtype=np.int64)
        gap, total = (np.bincount(group, part, minlength=n_groups) for part in (gaps, sizes))
        with np.errstate(invalid="ignore"):
            return np.asarray(gap / total)

    value = error(np.ones(len(own), np.uint8))
    # A Poisson bootstrap: counts of 1 on average resample all groups in one pass.
    drawn = np.stack([error(poisson_counts(rng, len(own))) for _ in range(N_RESAMPLES)])
    limits = [percentile_interval(drawn[:, g], value[g], level) for g in range(n_groups)]
    for g in np.flatnonzero(np.bincount(own, minlength=n_groups) < 2):
        limits[g] = (np.nan, np.nan)  # a single row has no spread to resample
    return {
        "calibration_error": value,
        "calibration_error_low": np.array([low for low, _ in limits]),
        "calibration_error_high": np.array([high for _, high in limits]),
    }


def _classes(
    rows: Rows, codes: IntArray, counter: _Counter, n_gold: IntArray
) -> dict[str, AnyArray]:
    """Find the largest class and the balance, by gold labels where all rows of a group have one."""
    from scipy.special import entr

    n_groups, n_classes = len(counter.sizes), rows.proba.shape[1]
    # Per group, since gold labels of a part of a group could be of its easy rows only.
    by_gold = (n_gold == counter.sizes)[codes]
    labels = np.where(by_gold, rows.gold, rows.pseudo)
    counts = np.bincount(codes * n_classes + labels, minlength=n_groups * n_classes)
    counts = counts.reshape(n_groups, n_classes)
    share = counts / counts.sum(axis=1, keepdims=True)
    return {
        "classes_from": np.where(n_gold == counter.sizes, "gold", "pseudo"),
        "largest_class": counts.argmax(axis=1),
        **counter.shares("largest_class_share", counts.max(axis=1), counter.sizes),
        "class_balance": np.clip(entr(share).sum(axis=1) / np.log(n_classes), 0, 1),
    }


def _centre_cosines(features: FeatureMatrix, codes: IntArray, n_groups: int) -> FloatArray:
    """Compute the cosines (G, G) of the mean directions of the groups."""
    from scipy.sparse import csr_array

    sums = np.zeros((n_groups, features.shape[1]))
    for where, block in features.blocks():
        units = block / np.linalg.norm(block, axis=1, keepdims=True)
        own = codes[where]
        # Sums by group as a sparse product: np.add.at is many times slower.
        members = csr_array(
            (np.ones(len(own), np.float32), (own, np.arange(len(own)))), (n_groups, len(own))
        )
        sums += members @ units
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    sums = np.divide(sums, length, out=np.zeros_like(sums), where=length > 0)
    return np.asarray(np.clip(sums @ sums.T, -1, 1))


def _nearest(cosines: FloatArray, names: Sequence[Any]) -> dict[str, Any]:
    """Find the other group whose centre is nearest, and the cosine."""
    if len(names) < 2:
        return {"nearest_group": [None], "nearest_cosine": [np.nan]}
    others = cosines - 3 * np.eye(len(names))  # below -1, so that no group is its own neighbour
    nearest = others.argmax(axis=1)
    return {
        "nearest_group": pd.Series([names[i] for i in nearest], dtype=object).to_numpy(),
        "nearest_cosine": others.max(axis=1),
    }


def _unknown(record: dict[Any, Any]) -> str:
    """Explain which numbers of a group are unknown or uncertain; empty if none is."""
    reasons = []
    if record["n"] < FEW_ROWS:
        rows = "1 row" if record["n"] == 1 else f"{record['n']} rows"
        reasons.append(f"only {rows}: every number about it is a guess")
    if record["n_gold"] == 0:
        reasons.append("no gold label: accuracies and calibration are unknown")
    if record["n_labelled"] == 0 and np.isfinite(record["eta_labelled"]):
        reasons.append("no labelled row: the weak model never saw it")
    if record["largest_class_share"] == 1 and record["n"] > 1:
        source = "gold labels" if record["classes_from"] == "gold" else "pseudo-labels"
        reasons.append(f"one class by its {source}")
    return "; ".join(reasons)
