"""Choosing the rows whose values a person should find out next, as a table to fill in."""

from __future__ import annotations

import numpy as np
import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.filled import AT_RANDOM
from w2s_data.errors import NotApplicableError
from w2s_data.features.matrix import FeatureView
from w2s_data.posterior.query import MOST_ROWS, Choice, choose_uncertain
from w2s_data.run import Run, writes
from w2s_data.stages.checks import Known
from w2s_data.stages.embedding import load_features, required
from w2s_data.stages.labelling import Choosing, check_next, counts_of, write_choice
from w2s_data.stages.settings import NextSettings
from w2s_data.stages.values.posterior import value_posterior_of
from w2s_data.stages.values.weak import weak_values_of
from w2s_data.utils.stage import StageResult
from w2s_data.utils.typing import FloatArray, IntArray


@writes
def next_values(
    run: Run, settings: NextSettings | None = None, compute: Compute | None = None
) -> StageResult:
    """Choose the pool rows to label next, and write them as a table to fill in.

    Rows of large errors of the posterior that are unlike each other, see `choose_uncertain`; a run
    without gold labels gets a random sample.

    Returns
    -------
    StageResult
        The content of `next.json`, the `path` of the table, and `class_names`, which is empty.

    Raises
    ------
    SplitError
        If the pool is empty.
    WriteError
        If labels of a table of this name would be lost.
    """
    return write_choice(run, settings, compute, check_value_next, _chosen)


def check_value_next(settings: NextSettings, known: Known) -> None:
    """Raise for the choice against a shift, and what `check_next` raises for."""
    if settings.purpose == "shift":
        raise NotApplicableError(
            "rows against a shift are chosen for classes, and the labels are values: leave out "
            "purpose"
        )
    check_next(settings, known)


def _chosen(
    run: Run, dataset: W2SDataset, settings: NextSettings, number: int, compute: Compute
) -> Choosing:
    budget, pool = settings.budget, dataset.rows("pool")
    n = min(budget, len(pool))
    weak = weak_values_of(run, dataset).mean[pool]
    posterior = value_posterior_of(run)
    rng = np.random.default_rng([compute.seed, number])  # other rows in each round
    notes = [] if n == budget else [f"the pool has {n:,} rows: all of them are in the table"]
    if posterior is None or not np.isfinite(posterior[1][pool]).all():
        errors = None
        rows: IntArray = rng.choice(len(pool), n, replace=False)
        table = _described(dataset, pool[rows], weak[rows])
    else:
        values, errors = posterior[0][pool], posterior[1][pool]
        strong = FeatureView(required(load_features(run, compute), "strong"), pool)
        most = max(n, min(MOST_ROWS, compute.memory.rows(strong.shape[1], 4)))
        choice = choose_uncertain(strong, errors, n, max_rows=most, random_state=rng)
        rows = choice.rows
        table = _described(dataset, pool[rows], weak[rows], values[rows], choice)
    known = int(dataset.is_labelled[pool].sum())
    if known:
        notes.append(f"{known:,} pool rows have a gold label in the data, which is not used here")
    sources = dataset.sources
    return table, {
        "task": dataset.task,
        "round": number,
        "purpose": "student",
        "n": len(table),
        "n_pool": len(pool),
        "n_labelled": len(dataset.rows("labelled")),
        "by_posterior": errors is not None,
        "doubt": None if errors is None else float(table["error"].mean()),
        "pool_doubt": None if errors is None else float(errors.mean()),
        "by_class": [],
        "by_source": [] if sources is None else counts_of(table["source"], sources[pool]),
        "warnings": notes,
    }


def _described(
    dataset: W2SDataset,
    rows: IntArray,
    weak: FloatArray,
    values: FloatArray | None = None,
    choice: Choice | None = None,
) -> pd.DataFrame:
    """Return `next.parquet`: the chosen rows, what is thought of them, and why they were chosen."""
    table = pd.DataFrame({"row": rows, "id": dataset.ids[rows]})
    if dataset.sources is not None:
        table["source"] = dataset.sources[rows]
    table["weak_value"] = weak
    if values is None or choice is None:
        return table.assign(guess=np.nan, error=np.nan, why=AT_RANDOM)
    reasons = [
        f"{value:.4g} ± {error:.2g}" + (f"; stands for {int(n):,} rows" if n > 1 else "")
        for value, error, n in zip(values, choice.doubt, choice.similar, strict=True)
    ]
    return table.assign(guess=values, error=choice.doubt, why=reasons)
