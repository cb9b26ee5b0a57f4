"""The label posterior of a run: the chance of each class of every item, and of its weak label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.weak import proba_of, proba_table
from w2s_data.features.matrix import ArrayFeatures, FeatureMatrix, sampled
from w2s_data.forecast.inputs import sampled_by_class
from w2s_data.posterior import LabelPosterior
from w2s_data.posterior.pooling import with_shares
from w2s_data.posterior.views import predict_blocks
from w2s_data.run import Run
from w2s_data.stages.gold import GoldRows, gold_rows
from w2s_data.stages.graph import POSTERIOR
from w2s_data.stages.label_shift import FoundLabelShift, find_label_shift, no_label_shift
from w2s_data.stages.weak_labels import WeakLabels
from w2s_data.utils.manifest import owner
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.votes import chance, votes

# Gold rows beyond these lengthen the choice of a penalty and change the weights little.
MOST_GOLD = 5_000
FIT_COPIES = 6  # of its rows: the sample, and what fitting a probe makes of it in float64
# Entries of `posterior.json` that the posterior itself measured, all about the pool.
MEASURED = (
    *("accuracy", "weak_accuracy", "student_accuracy", "teacher_accuracies"),
    *("accuracy_by", "n_known", "lead"),
)
DOUBTFUL = 0.5  # trust below which a weak label is more probably wrong than right


@dataclass(frozen=True)
class ItemPosterior:
    """Posterior (N, C) of all items, or None; trust (N,), NaN where unknown; `posterior.json`."""

    proba: FloatArray | None
    trust: FloatArray
    summary: dict[str, Any]
    fitted: LabelPosterior | None = None
    label_shift: FoundLabelShift = field(default_factory=no_label_shift)

    def table(self, dataset: W2SDataset) -> pd.DataFrame:
        """Return `posterior.parquet`: by item the chance of each class, the likeliest, trust."""
        proba = np.asarray(self.proba)
        labels = np.array([*dataset.class_names, None], dtype=object)[votes(proba)]
        return proba_table(dataset, proba, ("posterior",)).assign(label=labels, trust=self.trust)


def is_joining_worse(summary: Mapping[str, Any]) -> bool:
    """Return whether joined labels are clearly right less often than the weak labels alone.

    `summary` is `posterior.json`, and False of values and where there is none.
    """
    lead = summary.get("lead") or {}
    if "n_doubtful" not in summary or lead.get("high") is None or lead["high"] >= 0:
        return False
    if summary["n_known"] < summary["n_pool"]:
        return True
    # All gold labels are known, and the interval is a point: tossed coins for the doubtful labels
    # would seldom lose by more.
    lost = -lead["value"] * (summary["n_pool"] - summary["n_abstained"])
    return bool(lost > 2 * summary["n_doubtful"] ** 0.5)


def fit_posterior(
    posterior: LabelPosterior,
    dataset: W2SDataset,
    strong: FeatureMatrix,
    weak: WeakLabels,
    compute: Compute,
    gold_weight: FloatArray | None = None,
    drawn: frozenset[str] = frozenset(),
) -> ItemPosterior:
    """Fit a posterior on the pool and the gold rows of the labelled split, and label all items.

    Students learn from a sample of the pool that fits into memory, at most `max_pool` rows. Rows
    of the sample get a posterior that is out of fold, gold rows one that is held out; all others
    took no part, and are predicted. `gold_weight` (N,) has the weights of gold rows if the pool
    comes from elsewhere.
    Gold labels of pool rows, and gold rows `drawn` from the pool (ids), measure accuracies. Where
    only the classes' shares differ in the pool, its rows are corrected for them.
    Without gold rows of two classes there is no posterior, and the summary says why.
    """
    gold = gold_rows(dataset)
    if reason := _reason_against(dataset, gold.rows):
        return ItemPosterior(None, np.full(len(dataset), np.nan), unknown_posterior(reason))
    weak_proba = weak.proba
    n_columns = strong.shape[1] + weak.n_columns
    n_columns += (weak.by_teacher.shape[1] + 2) * len(dataset.class_names)
    most = compute.memory.rows(n_columns, FIT_COPIES)
    pool = dataset.rows("pool")
    learned, sample, of_samples = _samples(dataset, gold.rows, pool, most, posterior, compute.seed)
    fitted = clone(posterior).fit(
        ArrayFeatures(strong.take(sample)),
        weak_proba[sample],
        gold=(ArrayFeatures(strong.take(learned)), weak_proba[learned], dataset.labels[learned]),
        relabel=weak.relabel(gold.units, learned, sample),
        relabel_folds=weak.relabel_folds(learned),
        gold_weight=None if gold_weight is None else gold_weight[learned],
        pool_labels=dataset.labels[sample],
        from_pool=np.isin(dataset.ids[learned], list(drawn)),
        weak_names=weak.names,
        class_names=dataset.class_names,
        progress=compute.progress,
    )
    proba = predict_blocks(fitted, strong, weak_proba.shape[-1], weak_proba)
    proba[sample], proba[learned] = fitted.proba_, fitted.gold_proba_
    label_shift = find_label_shift(fitted, dataset, strong, learned, sample, compute)
    if label_shift.ratio is not None:
        # The other rows, as those of a test, need not have the shares of the pool.
        fitted.correct_shares(label_shift.ratio)
        proba[pool] = with_shares(proba[pool], label_shift.ratio)
    _copy_to_repeats(proba, gold, learned)
    trust = chance(proba, votes(weak.mean))
    summary = _summary(fitted, dataset, trust[pool], len(learned), len(sample))
    doubts = [*gold.notes(dataset, "the posterior"), *fitted.notes_]
    summary |= {"warnings": doubts, "notes": of_samples}
    return ItemPosterior(proba, trust, summary, fitted, label_shift)


def _samples(
    dataset: W2SDataset,
    gold: IntArray,
    pool: IntArray,
    most: int,
    posterior: LabelPosterior,
    seed: int,
) -> tuple[IntArray, IntArray, list[str]]:
    """Draw gold and pool rows to learn from, at most `most` of each; return notes on them."""
    rng = np.random.default_rng(seed)
    notes = []
    most_gold, most_pool = min(MOST_GOLD, most), min(posterior.max_pool, most)
    learned, sample = gold, sampled(pool, most_pool, rng)
    if len(gold) > most_gold:
        learned = gold[sampled_by_class(dataset.labels[gold], most_gold, rng)]
        notes.append(
            f"the posterior learned from a random {len(learned):,} of {len(gold):,} gold rows"
        )
    if len(sample) < len(pool):
        notes.append(
            f"students of the posterior learned from a random {len(sample):,} of {len(pool):,} "
            "pool rows; all rows have a posterior"
        )
    return learned, sample, notes


def posterior_of(run: Run, dataset: W2SDataset) -> FloatArray | None:
    """Return the posterior (N, C) of a run's items; None if its scores came without one.

    Pool rows are out of fold, gold rows held out, and all others were seen by no model of it.
    """
    if owner(run.manifest, POSTERIOR) is None:
        return None
    table = run.read_table(POSTERIOR, per_item=True).drop(columns=["label", "trust"])
    return proba_of(table, dataset.class_names)[:, 0]


def unknown_posterior(reason: str) -> dict[str, Any]:
    """Return the content of `posterior.json` where there is no posterior."""
    return {"unknown": reason, "warnings": [], "notes": []}


def _reason_against(dataset: W2SDataset, gold: IntArray) -> str:
    """Say why there can be no posterior; an empty text if there can."""
    if not len(gold):
        return (
            "a posterior requires gold labels in the labelled split: label a few dozen items, and "
            "put them there"
        )
    classes = np.unique(dataset.labels[gold])
    if len(classes) < 2:
        return (
            f"the gold labels of the labelled split hold the single class "
            f"{dataset.class_names[classes[0]]!r}: a posterior requires two or more"
        )
    return ""


def _copy_to_repeats(proba: FloatArray, gold: GoldRows, learned: IntArray) -> None:
    """Give the other rows of a gold item its posterior, since models saw the item."""
    row_of = dict(zip(gold.units[learned], learned, strict=True))
    for row in gold.repeats:
        first = row_of.get(gold.units[row], row)
        # The classes of a pair in the other order are swapped.
        proba[row] = proba[first, :: -1 if gold.turned[row] != gold.turned[first] else 1]


def _summary(
    posterior: LabelPosterior, dataset: W2SDataset, trust: FloatArray, n_gold: int, n_sample: int
) -> dict[str, Any]:
    """Return the content of `posterior.json`; `trust` is that of the pool."""
    found = posterior.to_dict()
    known = trust[np.isfinite(trust)]
    # With a weak label everywhere it is the accuracy.
    voted = {} if len(known) == len(trust) else {"voted_accuracy": found["voted_accuracy"]}
    return {
        "unknown": "",
        "n_gold": n_gold,
        "n_pool": len(trust),
        "n_learned": n_sample,
        "level": posterior.level,
        "equal_weights": posterior.equal_weights_,
        "weights": found["weights"],
        "offsets": dict(zip(dataset.class_names, found["offsets"], strict=True)),
        **{name: found[name] for name in MEASURED},
        **voted,
        "calibration_error": found["calibration_error"],
        "reliability": found["reliability"],
        "n_abstained": len(trust) - len(known),
        "n_doubtful": int((known < DOUBTFUL).sum()),
    }
