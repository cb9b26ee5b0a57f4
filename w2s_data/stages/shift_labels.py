"""Rows to label so that the labelled rows speak for a pool that comes from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.features.matrix import FeatureView, sampled
from w2s_data.posterior.query import MOST_ROWS, choose_rows
from w2s_data.run import Run
from w2s_data.shift.batch import coverage, novelty, rows_needed
from w2s_data.stages.embedding import load_features
from w2s_data.stages.shifting import FoundShift, distinct_rows, find_shift, learned_roles
from w2s_data.stages.weak_labels import weak_labels_of
from w2s_data.utils.typing import FloatArray, IntArray

COPIES = 6  # of sampled rows, in all views


@dataclass(frozen=True)
class ShiftBatch:
    """Rows of the pool to label, the most useful first, and what they change.

    `rows` are of the data set; `ratio` says how many times more frequent the like of each is in the
    pool than among the labelled rows, `similar` for how many pool rows it stands.
    """

    rows: IntArray
    ratio: FloatArray
    similar: IntArray
    summary: dict[str, Any]

    def reasons(self) -> list[str]:
        """Say of each row why it is in the batch."""
        pairs = zip(self.ratio, self.similar, strict=True)
        return [f"{_times(ratio)}; stands for {int(similar):,} rows" for ratio, similar in pairs]


def choose_shifted(run: Run, dataset: W2SDataset, budget: int, compute: Compute) -> ShiftBatch:
    """Choose the fewest pool rows whose labels make the labelled rows speak for the pool.

    Their number is foreseen by `coverage`; they are typical of what the labelled rows lack. Without
    an alarm of the pool there are none, and the summary says so.
    """
    found = _refitted(run, dataset, compute)
    nothing = np.empty(0, dtype=np.int64)
    if found.detector is None or found.weights is None:
        reason = found.summary["unknown"] or found.summary["reading"]
        if found.summary["alarm"]:
            reason = f"the pool as a whole raised no alarm. {reason}"
        return ShiftBatch(nothing, np.empty(0), nothing, {"reason": reason, "n_needed": 0})
    views, detector = found.views, found.detector
    rng = np.random.default_rng(compute.seed)
    n_columns = sum(view.shape[1] for view in views.values())
    most = max(budget, min(MOST_ROWS, compute.memory.rows(n_columns, COPIES)))
    pool = sampled(distinct_rows(dataset, dataset.rows("pool")), most, rng)
    own = {name: FeatureView(view, pool) for name, view in views.items()}
    at_pool = detector.log_ratio(
        "pool", own.get("strong"), own.get("weak"), predictions=own.get("predictions")
    )
    at_labelled = np.log(detector.weights_["pool"])
    most = min(budget, len(pool))
    needed = rows_needed(at_labelled, at_pool, most)
    n = needed or most
    new = novelty(at_pool) / 2  # as the doubt of a single class, by which rows are chosen
    choice = choose_rows(
        own["strong"], np.column_stack([1 - new, new]), n, max_rows=len(pool), random_state=rng
    )
    before, after = (coverage(at_labelled, at_pool, k).to_dict() for k in (0, n))
    stands_for = len(dataset.rows("pool")) / len(pool)
    return ShiftBatch(
        pool[choice.rows],
        np.exp(at_pool[choice.rows]),
        np.maximum(1, np.round(choice.similar * stands_for)).astype(np.int64),
        {"reason": "", "n_needed": needed, "before": before, "after": after},
    )


def _refitted(run: Run, dataset: W2SDataset, compute: Compute) -> FoundShift:
    """Find the shift again as the scores did: the run keeps no detector."""
    features = load_features(run, compute)
    weak = weak_labels_of(run, dataset, compute)
    return find_shift(dataset, features, weak, compute, learned_roles(run))


def _times(ratio: float) -> str:
    if ratio < 1.5:
        return "as frequent among the labelled rows as in the pool"
    more = f"{ratio:.0f}" if ratio < 1000 else "over 1,000"
    return f"its like is {more} times as frequent in the pool as among the labelled rows"
