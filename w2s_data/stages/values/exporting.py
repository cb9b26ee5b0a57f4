"""Exporting values: labelled rows and pool with the value to train on, its error, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.describing import spread_of
from w2s_data.run import Run, writes
from w2s_data.stages.exporting import export_made, stopped_sources
from w2s_data.stages.settings import ExportSettings
from w2s_data.stages.values.posterior import value_posterior_of
from w2s_data.stages.values.weak import ValueLabels, target_variance, weak_values_of
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import BoolArray, FloatArray

# Standard errors of the posterior by which a value moves: below the first it is as good as the
# weak one, from the second on chance hardly explains it.
NEAR, FAR = 1.0, 2.0


@writes
def export_values(
    run: Run,
    settings: ExportSettings | None = None,
    compute: Compute | None = None,  # noqa: ARG001 - as every stage takes it
) -> StageResult:
    """Write `relabelled.parquet`, and a copy in another format or place where one is asked for.

    Sources that a selection of the run has stopped are left out.

    Returns
    -------
    StageResult
        The content of `relabelled.json`, and the `path` of the copy or of the table.

    Raises
    ------
    InputError
        As `export_stage` raises.
    """

    def made(dataset: W2SDataset) -> tuple[pd.DataFrame, dict[str, Any]]:
        weak, posterior = weak_values_of(run, dataset), value_posterior_of(run)
        table = relabel_values(dataset, weak, posterior, stopped_sources(run))
        return table, _summary(table)

    return export_made(run, settings or ExportSettings(), {"near": NEAR, "far": FAR}, made)


def relabel_values(
    dataset: W2SDataset,
    weak: ValueLabels,
    posterior: tuple[FloatArray, FloatArray] | None,
    stopped: Sequence[str] = (),
) -> pd.DataFrame:
    """Return labelled rows and pool with the value to train on, its standard error, and why.

    Gold rows have their own value and error 0; the others that of the posterior, or the weak one
    where there is no posterior. Rows without any, and those of sources in `stopped`, have none.
    The weight is the share of the targets' variance that the error leaves, 0 without an error.
    """
    is_gold = (dataset.splits == "labelled") & dataset.is_labelled
    rows = np.flatnonzero(is_gold | (dataset.splits == "pool"))
    is_gold, said = is_gold[rows], weak.mean[rows]
    value, error = (said, weak.error[rows]) if posterior is None else (p[rows] for p in posterior)
    aside = np.zeros(len(rows), dtype=np.bool_)
    if dataset.sources is not None:
        aside = pd.Series(dataset.sources[rows]).isin(stopped).to_numpy() & ~is_gold
    value = np.where(is_gold, dataset.targets[rows], np.where(aside, np.nan, value))
    error = np.where(is_gold, 0.0, np.where(aside, np.nan, error))
    weight = np.nan_to_num(np.clip(1 - error**2 / target_variance(dataset, weak), 0.0, 1.0))
    kept = [name for name in ("source", "group", "split") if name in dataset.table]
    table = dataset.table.loc[rows, ["id", *kept]].reset_index(drop=True)
    return table.assign(
        value=value,
        error=error,
        weight=weight,
        weak_value=said,
        why=_reasons(value, error, said, is_gold, aside, posterior is not None),
    )


def _reasons(
    value: FloatArray,
    error: FloatArray,
    weak: FloatArray,
    is_gold: BoolArray,
    aside: BoolArray,
    checked: bool,
) -> Any:
    moved = np.abs(value - weak)
    conditions = {
        "gold": is_gold,
        "left out: source stopped by the selection": aside,
        "left out: no value": ~np.isfinite(value),
        "weak value kept: no gold labels to check it": np.full(len(value), not checked),
        "no weak value: by the posterior": ~np.isfinite(weak),
        "weak value confirmed: within one error": moved <= NEAR * error,
        "weak value changed: strong evidence": moved >= FAR * error,
    }
    return np.select(
        list(conditions.values()), list(conditions), "weak value changed: weak evidence"
    )


def _summary(table: pd.DataFrame) -> dict[str, Any]:
    counts = table["why"].value_counts()
    return {
        "task": "regression",
        "n": len(table),
        "total_weight": float(table["weight"].sum()),
        "n_valued": int(table["value"].notna().sum()),
        "values": spread_of(table["value"].to_numpy()),
        "by_reason": [{"why": str(why), "n": int(n)} for why, n in counts.items()],
        "by_class": [],
    }
