"""Shift of a run: whether pool, test splits and sources come from where the labelled rows do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import listing
from w2s_data.features.matrix import FeatureMatrix, sampled
from w2s_data.features.store import FeatureStore
from w2s_data.probes.linear import LinearProbe
from w2s_data.run import Run
from w2s_data.shift import ShiftDetector
from w2s_data.shift.inputs import FEWEST_ROWS
from w2s_data.shift.predictions import FoldPredictions, SideBySide
from w2s_data.shift.words import read_shift, source_set
from w2s_data.stages.embedding import manifest_of, store_path
from w2s_data.stages.gold import GoldRows, gold_rows
from w2s_data.stages.graph import EMBED, SCORES, SHIFT_SUMMARY
from w2s_data.stages.label_shift import FoundLabelShift
from w2s_data.stages.weak_labels import WeakLabels
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.weighting import effective_size

MOST_TRAINED = 2_000  # gold rows that models of the predictions learn from
PENALTY = 0.1  # of the model of the gold labels; a choice would take most of the time
# More sources would make each test weaker, and take longer than the scores.
MOST_SOURCES = 12
# Numbers per compared row: ranks and scores of permuted sides, and coordinates.
NUMBERS_PER_PERMUTATION, COORDINATES = 10, 800
SURPRISE = 0.01  # chance of so few labelled rows of a source, of all sources together
WEIGHT = "shift_weight"  # column of the scores


@dataclass(frozen=True, eq=False)
class FoundShift:
    """Whether the pool of a run is shifted, and what the labelled rows are worth for it.

    Attributes
    ----------
    detector : ShiftDetector or None
        None where nothing could be compared, and where the result was read from a run.
    summary : dict
        Content of `shift.json`.
    weights : array (N,) or None
        Density ratio of the pool to the labelled rows at gold rows of the labelled split, whose
        mean is the share of the pool that they cover; 1 at all other rows. None unless the pool set
        off an alarm.
    effective_size : float
        Gold rows that the weighted ones are worth; their number without an alarm, NaN if unknown.
    unexplained : Estimate
        Share of the pool that labelled rows cannot explain, at least; NaN if unknown.
    views : mapping
        Features (N, D) that the detector compared, by its argument; empty without a detector.
    """

    detector: ShiftDetector | None
    summary: dict[str, Any]
    weights: FloatArray | None
    effective_size: float
    unexplained: Estimate
    views: Mapping[str, FeatureMatrix] = field(default_factory=dict)

    def with_labels(self, found: FoundLabelShift, dataset: W2SDataset) -> FoundShift:
        """Add the class shares of the pool; where only these differ they make the weights."""
        summary = self.summary | {"label_shift": found.summary}
        if found.ratio is None:
            return replace(self, summary=summary)
        rows, weights = gold_rows(dataset).consistent, np.ones(len(dataset))
        ratio = found.ratio[dataset.labels[rows]]
        weights[rows] = ratio / ratio.mean()
        effective = effective_size(weights[gold_rows(dataset).rows])
        summary["effective_size"] = effective
        return replace(self, summary=summary, weights=weights, effective_size=effective)

    def column(self, dataset: W2SDataset) -> FloatArray:
        """Return the weights (N,) as a column of the scores, NaN where there are none."""
        column = np.full(len(dataset), np.nan)
        if self.weights is not None:
            rows = gold_rows(dataset).consistent
            column[rows] = self.weights[rows]
        return column


def shift_detector(compute: Compute) -> ShiftDetector:
    """Return the detector of a run, not yet fitted."""
    return ShiftDetector(random_state=compute.seed)


def find_shift(
    dataset: W2SDataset,
    features: Mapping[Any, FeatureMatrix],
    weak: WeakLabels | None,
    compute: Compute,
    learned: Collection[str] = (),
) -> FoundShift:
    """Compare pool, test splits, validation and new sources with the gold rows.

    Without weak labels of classes only features are compared.

    Every item counts once, since copies would make chance look significant. `learned` are roles
    whose encoder learned from labelled rows and pool.
    """
    gold = gold_rows(dataset)
    pool = distinct_rows(dataset, dataset.rows("pool"))
    if reason := _reason_against(len(gold.rows), len(pool)):
        return _unknown(reason)
    sets = {"pool": pool} | _new_sources(dataset, pool, gold.consistent)
    notes = []
    views = {role: features[role] for role in ("strong", "weak") if role in features}
    others = _held_out_splits(dataset)
    views_of = {}
    if learned and others:
        # With few texts they tell the splits apart with an AUC of .75 where nothing is shifted.
        left = [role for role in views if role not in learned]
        compared = f"compared by {' and '.join(left)} features only" if left else "not compared"
        notes.append(
            f"{' and '.join(sorted(learned))} features come from an encoder that learned from "
            f"labelled rows and pool, so that other rows differ from them: {listing(others)} are "
            f"{compared}"
        )
        others = others if left else {}
        views_of = dict.fromkeys(others, left)
    sets |= others
    detector = shift_detector(compute)
    n_columns = sum(view.shape[1] for view in views.values())
    most = _most_rows(detector, n_columns, len(sets), compute)
    if most < detector.max_rows:
        detector.set_params(max_rows=most)
        largest = max(len(gold.rows), *map(len, sets.values()))
        if largest > most:
            notes.append(
                f"shift is looked for in random samples of {most:,} rows, as memory allows"
            )
    predictions = None
    if weak is not None:
        predictions = _predictions(dataset, views["strong"], weak, gold.rows, compute)
    if predictions is not None:
        views["predictions"] = predictions
    detector.fit(
        views["strong"],
        views.get("weak"),
        predictions=predictions,
        reference=gold.rows,
        others=sets,
        views_of=views_of,
        progress=compute.progress,
    )
    found = _found(detector, dataset, gold, notes, learned=weak is not None and weak.learned)
    return replace(found, views=views)


def shift_of(run: Run) -> FoundShift:
    """Return the shift that a scored run found, without its detector."""
    summary = run.read_summary(SHIFT_SUMMARY)
    if summary["unknown"]:
        return _unknown(summary["unknown"])
    column = run.read_table(SCORES, per_item=True)[WEIGHT].to_numpy(dtype=np.float64)
    weights = None if np.isnan(column).all() else np.where(np.isnan(column), 1.0, column)
    unexplained = Estimate(**summary["unexplained"])
    return FoundShift(None, summary, weights, summary["effective_size"], unexplained)


def learned_roles(run: Run) -> list[str]:
    """Return the roles of an embedded run whose encoder learned from its labelled and pool rows."""
    record = run.manifest["stages"][EMBED.name]
    # Such an encoder is recorded by its settings, another by all that it computes with.
    return [
        role
        for role, made in record["settings"].items()
        if manifest_of(role) in record["files"]
        and FeatureStore.open(store_path(run, role)).encoder != jsonable(made)
    ]


def distinct_rows(dataset: W2SDataset, rows: IntArray) -> IntArray:
    """Return the first row of each item among some rows, ascending."""
    return np.sort(rows[np.unique(dataset.units[rows], return_index=True)[1]])


def _reason_against(n_gold: int, n_pool: int) -> str:
    """Say why nothing can be compared; an empty text if it can."""
    if not n_gold:
        return (
            "shift is unknown without gold labels in the labelled split, with which the pool could "
            "be compared"
        )
    for name, n in (("labelled split", n_gold), ("pool", n_pool)):
        if n < FEWEST_ROWS:
            return (
                f"shift is unknown: the {name} has {n} different items, fewer than the "
                f"{FEWEST_ROWS} that can be compared"
            )
    return ""


def _unknown(reason: str) -> FoundShift:
    summary: dict[str, Any] = {"unknown": reason, "alarm": None, "pool_alarm": None}
    return FoundShift(None, summary | {"sets": [], "notes": []}, None, np.nan, Estimate(np.nan))


def _held_out_splits(dataset: W2SDataset) -> dict[str, IntArray]:
    """Return different items of each test split and of validation, by name."""
    tests = dataset.test_splits
    splits: dict[str, IntArray] = {
        name: np.flatnonzero(tests == name) for name in sorted({*tests} - {""})
    }
    splits["validation"] = dataset.rows("validation")
    return {name: distinct_rows(dataset, rows) for name, rows in splits.items() if len(rows)}


def _new_sources(dataset: W2SDataset, pool: IntArray, gold: IntArray) -> dict[str, IntArray]:
    """Return the pool rows of sources that have fewer gold rows than a random sample has.

    Any other source stands out from a mixture of all of them too, without being new to it. The
    largest come first.
    """
    import pandas as pd
    from scipy.stats import binom

    if dataset.sources is None:
        return {}
    counts = pd.Series(dataset.sources[pool]).value_counts()
    counts = counts[(counts >= FEWEST_ROWS) & (counts < len(pool))]
    known = pd.Series(dataset.sources[gold]).value_counts().reindex(counts.index, fill_value=0)
    chance = binom.cdf(known, len(gold), counts / len(pool))
    new = counts.index[chance < SURPRISE / max(1, len(counts))]
    return {source_set(n): pool[dataset.sources[pool] == n] for n in new[:MOST_SOURCES]}


def _most_rows(detector: ShiftDetector, n_columns: int, n_sets: int, compute: Compute) -> int:
    """Return how many rows of each set may be compared within the memory limit."""
    per_row = (n_sets + 1) * (n_columns + COORDINATES)
    per_row += 2 * NUMBERS_PER_PERMUTATION * detector.n_permutations
    return min(detector.max_rows, max(FEWEST_ROWS, compute.memory.rows(per_row)))


def _predictions(
    dataset: W2SDataset,
    strong: FeatureMatrix,
    weak: WeakLabels,
    gold: IntArray,
    compute: Compute,
) -> FeatureMatrix | None:
    """Return log-probabilities of the teachers, and of a model of the gold labels.

    Models that learn from gold rows predict each row without its fold; ready-made weak labels are
    taken as they are. None without either.
    """
    rng = np.random.default_rng(compute.seed)
    rows = sampled(gold, min(MOST_TRAINED, compute.memory.rows(strong.shape[1], 6)), rng)
    codes = np.unique(dataset.labels[rows], return_inverse=True)[1]
    parts = weak.fixed_views()
    probe = LinearProbe(l2=PENALTY, fit_intercept=not dataset.is_paired, device=compute.device)
    if codes.max() > 0:  # nothing is learned from a single class
        parts.append(FoldPredictions.fit(strong, probe, rows, codes, rng))
    parts += weak.fold_views(rows, rng)
    return SideBySide(parts) if parts else None


def _found(
    detector: ShiftDetector, dataset: W2SDataset, gold: GoldRows, notes: list[str], *, learned: bool
) -> FoundShift:
    sets = [_described(detector, name, dataset) for name in detector.shifts_]
    pool = detector.shifts_["pool"]
    effective = pool.effective_size if pool.alarm else float(len(gold.rows))
    summary = {
        "unknown": "",
        "alarm": detector.alarm_,
        "pool_alarm": pool.alarm,
        "reading": read_shift(sets, len(gold.rows), held_out=learned),
        "level": detector.level,
        "significance": detector.significance,
        "n_labelled": len(gold.rows),
        "effective_size": effective,
        "unexplained": pool.share.to_dict(),
        "sets": sets,
        "notes": [*notes, *detector.notes_],
    }
    weights = _weights(dataset, gold, detector.weights_["pool"]) if pool.alarm else None
    return FoundShift(detector, summary, weights, effective, pool.share)


def _weights(dataset: W2SDataset, gold: GoldRows, ratio: FloatArray) -> FloatArray:
    """Return weights (N,) of all rows; further rows of a gold item get the weight of the first."""
    by_unit = dict(zip(gold.units[gold.rows], ratio, strict=True))
    weights: FloatArray = np.ones(len(dataset))
    weights[gold.consistent] = [by_unit[unit] for unit in gold.units[gold.consistent]]
    return weights


def _described(detector: ShiftDetector, name: str, dataset: W2SDataset) -> dict[str, Any]:
    """Return what was found of a set: its views, and ids of rows to look at."""
    shift = detector.shifts_[name]
    views = [c.to_dict() for c in detector.comparisons_ if c.name == name]
    return shift.to_dict() | {
        "kind": "source" if name.startswith(source_set("")) else "split",
        "n": views[0]["n_other"],
        "typical": dataset.ids[list(shift.typical)].tolist(),
        "nearest": dataset.ids[list(shift.nearest)].tolist(),
        "views": [{key: view[key] for key in view if key != "name"} for view in views],
    }
