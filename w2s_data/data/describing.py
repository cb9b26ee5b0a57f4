"""A data set in words and numbers: counts of classes or the spread of values, by split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from w2s_data.data.columns import ERROR_SUFFIX
from w2s_data.data.splits import SPLITS
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

_SHOWN = 12  # classes, sources and groups in a repr, which fits one screen


def count_classes(labels: IntArray, splits: AnyArray, class_names: Sequence[str]) -> str:
    """Count rows by class and split, cut to fit a screen, with a total."""
    names = np.array([*class_names, "(no label)"], dtype=object)
    kept = [*range(len(class_names)), *([-1] if (labels < 0).any() else [])]
    present = pd.crosstab(labels, splits)
    counts = present.reindex(index=kept, columns=list(SPLITS), fill_value=0).set_axis(names[kept])
    counts.columns.name = None
    if len(counts) > _SHOWN:
        rest = counts.iloc[_SHOWN - 1 :].sum().to_frame(f"{len(counts) - _SHOWN + 1} more").T
        counts = pd.concat([counts.iloc[: _SHOWN - 1], rest])
    counts = pd.concat([counts, counts.sum().to_frame("total").T])
    return str(counts.to_string(formatters=["{:,}".format] * len(SPLITS)))


def spread_of(values: FloatArray) -> dict[str, float]:
    """Return mean, standard deviation, minimum, quartiles and maximum of the known values.

    >>> spread_of(np.array([1.0, 2.0, 3.0, np.nan]))
    {'mean': 2.0, 'sd': 1.0, 'min': 1.0, '25 %': 1.5, '50 %': 2.0, '75 %': 2.5, 'max': 3.0}
    """
    known = values[np.isfinite(values)]
    shares = dict(zip(("min", "25 %", "50 %", "75 %", "max"), np.linspace(0, 1, 5), strict=True))
    if len(known) < 2:  # without a spread
        return dict.fromkeys(("mean", "sd", *shares), float(known[0]) if len(known) else np.nan)
    found = {name: float(np.quantile(known, share)) for name, share in shares.items()}
    return {"mean": float(known.mean()), "sd": float(known.std(ddof=1)), **found}


def describe_values(targets: FloatArray, splits: AnyArray) -> str:
    """Return numbers of rows, and the spread of the targets, by split."""
    shown = {}
    for split in SPLITS:
        own = targets[splits == split]
        known = np.isfinite(own)
        spread = {name: f"{value:.4g}" for name, value in spread_of(own).items()}
        if known.sum() < 2:
            spread = dict.fromkeys(spread, "-")
        shown[split] = {"rows": f"{len(own):,}", "labelled": f"{known.sum():,}"} | spread
    return str(pd.DataFrame(shown).to_string())


def describe_roles(table: pd.DataFrame) -> list[str]:
    """Count rows by test split, source and group, the most frequent ones."""
    lines = []
    for role in ("test_split", "source", "group"):
        if role in table.columns:
            counts = table[role].value_counts().drop("", errors="ignore")
            shown = [f"{name} {count:,}" for name, count in counts.head(_SHOWN).items()]
            more = ["..."] if len(counts) > _SHOWN else []
            lines.append(f"{role.replace('_', ' ')}s: {', '.join(shown + more)}")
    return lines


def weak_columns(
    names: Sequence[str],
    class_names: Sequence[str],
    proba: FloatArray | None,
    values: FloatArray | None,
    errors: FloatArray | None,
) -> dict[str, FloatArray]:
    """Return the weak labels by column: MODEL_CLASS, or MODEL and MODEL_error."""
    if proba is not None:
        several = proba.reshape(len(proba), -1, len(class_names))
        models = names or [f"weak{m}" for m in range(several.shape[1])]
        return {
            f"{model}_{name}": several[:, m, c]
            for m, model in enumerate(models)
            for c, name in enumerate(class_names)
        }
    columns: dict[str, FloatArray] = {}
    for array, suffix in ((values, ""), (errors, ERROR_SUFFIX)):
        if array is not None:
            columns |= {f"{name}{suffix}": array[:, m] for m, name in enumerate(names)}
    return columns
