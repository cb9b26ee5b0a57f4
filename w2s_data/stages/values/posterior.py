"""The posterior of values of a run: a value and its standard error of every item."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import DegenerateDataWarning
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.regression.posterior import ValuePosterior
from w2s_data.run import Run
from w2s_data.stages.gold import GoldRows, gold_rows
from w2s_data.stages.graph import POSTERIOR
from w2s_data.stages.posterior import unknown_posterior
from w2s_data.stages.values.weak import ValueLabels
from w2s_data.utils.constants import LEVEL
from w2s_data.utils.intervals import mean_estimate, positive_mean_estimate
from w2s_data.utils.manifest import owner
from w2s_data.utils.typing import FloatArray, IntArray

FEWEST_GOLD = 3  # of two rows each says how far off the other is, and nothing says who is right


@dataclass(frozen=True)
class JoinedValues:
    """Posterior values and errors (N,) of all items, or None; `posterior.json`."""

    values: FloatArray | None
    errors: FloatArray | None
    summary: dict[str, Any]
    fitted: ValuePosterior | None = None

    def table(self, dataset: W2SDataset) -> pd.DataFrame:
        """Return `posterior.parquet`."""
        return pd.DataFrame({"id": dataset.ids, "value": self.values, "error": self.errors})


def value_posterior(compute: Compute) -> ValuePosterior:
    """Return the posterior of a run, not yet fitted."""
    return ValuePosterior(random_state=compute.seed)


def fit_value_posterior(
    posterior: ValuePosterior,
    dataset: W2SDataset,
    strong: FeatureMatrix,
    weak: ValueLabels,
) -> JoinedValues:
    """Fit a posterior on the pool and the gold rows of the labelled split.

    Each gold item counts once. Teachers that learned from gold rows are trained again without some
    of them. Gold values of pool rows measure errors.
    """
    gold = gold_rows(dataset)
    if len(gold.rows) < FEWEST_GOLD:
        reason = (
            f"a posterior requires {FEWEST_GOLD} gold values or more in the labelled split, which "
            f"has {len(gold.rows)}: label a few dozen items"
        )
        return JoinedValues(None, None, {"task": dataset.task, **unknown_posterior(reason)})
    targets = np.full(len(dataset), np.nan)
    targets[gold.rows] = dataset.targets[gold.rows]
    fitted = clone(posterior)
    with warnings.catch_warnings():  # its notes are among those of the summary
        warnings.simplefilter("ignore", DegenerateDataWarning)
        fitted.fit(
            strong,
            weak.values,
            targets=targets,
            weak_errors=weak.errors,
            pool=dataset.rows("pool"),
            relabel=_relabel(dataset, weak),
            weak_names=weak.names,
        )
    values, errors = fitted.values_.copy(), fitted.errors_.copy()
    _copy_to_repeats((values, errors), gold)
    return JoinedValues(values, errors, _summary(fitted, dataset, weak, values), fitted)


def value_posterior_of(run: Run) -> tuple[FloatArray, FloatArray] | None:
    """Return posterior values and errors (N,) of a run; None if its scores came without them."""
    if owner(run.manifest, POSTERIOR) is None:
        return None
    table = run.read_table(POSTERIOR, per_item=True)
    return table["value"].to_numpy(np.float64), table["error"].to_numpy(np.float64)


def _relabel(dataset: W2SDataset, weak: ValueLabels) -> Callable[[IntArray], FloatArray] | None:
    """Return a function that trains teachers again on some gold rows, if any learned from them."""
    if not any(one is not None for one in weak.learned):
        return None

    def relabel(rows: IntArray) -> FloatArray:
        values = weak.values.copy()
        for m, learned in enumerate(weak.learned):
            if learned is not None:
                values[:, m] = learned.again(dataset.targets, rows)
        return values

    return relabel


def _copy_to_repeats(columns: tuple[FloatArray, ...], gold: GoldRows) -> None:
    """Give the other rows of a gold item its posterior, since models saw the item."""
    row_of = dict(zip(gold.units[gold.rows], gold.rows, strict=True))
    for row in gold.repeats:
        for column in columns:
            column[row] = column[row_of[gold.units[row]]]


def _summary(
    posterior: ValuePosterior, dataset: W2SDataset, weak: ValueLabels, values: FloatArray
) -> dict[str, Any]:
    """Return the content of `posterior.json`: views, and errors on pool rows with a gold value."""
    pool = dataset.rows("pool")
    off = (values - dataset.targets)[pool] ** 2
    weak_off = (weak.mean - dataset.targets)[pool] ** 2
    known, both = np.isfinite(off), np.isfinite(off + weak_off)
    measured = {
        "mse": positive_mean_estimate(off[known]).to_dict() if known.any() else None,
        "weak_mse": positive_mean_estimate(weak_off[both]).to_dict() if both.any() else None,
        # Paired: most of each error is that of the item itself.
        "lead": mean_estimate((weak_off - off)[both]).to_dict() if both.any() else None,
    }
    found = posterior.to_dict()
    return {
        "unknown": "",
        **{name: found[name] for name in ("task", "weights", "view_errors", "error", "n_gold")},
        "n_pool": len(pool),
        "n_known": int(known.sum()),
        "level": LEVEL,
        **measured,
        "warnings": found["notes"],
        "notes": [],
    }
