"""Label shift of a run: class shares of the pool, and a posterior that is corrected for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.posterior import LabelPosterior
from w2s_data.shift import LabelShift, ShiftDetector
from w2s_data.shift.labels import fewest_gold
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.typing import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class FoundLabelShift:
    """Class shares of the pool of a run.

    Attributes
    ----------
    summary : dict
        "label_shift" of `shift.json`.
    ratio : array (C,) or None
        Shares of the pool over those of the gold rows, if only these differ; None otherwise.
    """

    summary: dict[str, Any]
    ratio: FloatArray | None = None


def find_label_shift(
    posterior: LabelPosterior,
    dataset: W2SDataset,
    strong: FeatureMatrix,
    gold: IntArray,
    pool: IntArray,
    compute: Compute,
) -> FoundLabelShift:
    """Estimate class shares of the pool by a posterior of gold rows and pool rows.

    Where they differ significantly, a domain classifier looks for what they leave unexplained.
    """
    if reason := _reason_against(dataset, len(gold)):
        return no_label_shift(reason)
    shift = LabelShift(level=posterior.level, random_state=compute.seed)
    shift.fit(posterior.gold_proba_, dataset.labels[gold], posterior.proba_)
    alone = None
    if shift.shifted_:
        detector = ShiftDetector(random_state=compute.seed)
        proba = posterior.proba_
        alone = shift.explains(detector, strong, reference=gold, pool=pool, pool_proba=proba)
    summary = {
        "unknown": "",
        "shifted": shift.shifted_,
        "alone": alone,
        "p_value": shift.p_value_,
        "classes": _classes(shift, dataset.class_names),
        "reading": _reading(shift, dataset.class_names, alone),
    }
    return FoundLabelShift(summary, shift.ratio_ if alone else None)


def no_label_shift(reason: str = "class shares require a label posterior") -> FoundLabelShift:
    """Return the result where shares cannot be estimated."""
    summary = {"unknown": reason, "shifted": None, "alone": None, "p_value": None}
    return FoundLabelShift(summary | {"classes": [], "reading": ""})


def _reason_against(dataset: W2SDataset, n_gold: int) -> str:
    if dataset.is_paired:
        return "the two orders of a pair are no classes whose shares could differ"
    least = fewest_gold(len(dataset.class_names))
    if n_gold < least:
        return (
            f"class shares of the pool require {least:,} gold rows of {len(dataset.class_names)} "
            f"classes; there are {n_gold:,}"
        )
    return ""


def _classes(shift: LabelShift, names: tuple[str, ...]) -> list[dict[str, Any]]:
    columns = zip(
        names,
        shift.labelled_shares_,
        _estimates(shift.shares_, shift.intervals_, shift.level),
        _estimates(shift.black_box_, shift.black_box_intervals_, shift.level),
        strict=True,
    )
    return [
        {
            "name": name,
            "labelled_share": float(labelled),
            "pool_share": pool.to_dict(),
            "black_box_share": black_box.to_dict(),
        }
        for name, labelled, pool, black_box in columns
    ]


def _estimates(shares: FloatArray, sides: FloatArray, level: float) -> list[Estimate]:
    return [
        Estimate(float(share), float(low), float(high), level)
        for share, (low, high) in zip(shares, sides, strict=True)
    ]


def _reading(shift: LabelShift, names: tuple[str, ...], alone: bool | None) -> str:
    """Say which class is another share of the pool, and whether that explains the shift."""
    if alone is None:
        return "No class is significantly more or less frequent in the pool than in the gold rows."
    most = int(np.abs(shift.shares_ - shift.labelled_shares_).argmax())
    low, high = shift.intervals_[most]
    text = (
        f"Class {names[most]!r} is {shift.shares_[most]:.0%} of the pool ({low:.0%} to {high:.0%}) "
        f"and {shift.labelled_shares_[most]:.0%} of the gold rows"
    )
    if alone:
        return f"{text}; the posterior is corrected for it, and gold rows are weighted by class."
    return (
        f"{text}, but this is not label shift alone: items of one class differ too, so that these "
        "shares may be wrong, and nothing is corrected for them."
    )
