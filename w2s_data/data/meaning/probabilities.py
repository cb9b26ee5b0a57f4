"""Probabilities of classes from columns of numbers, of lists, or of mappings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.columns import as_numbers, column, is_empty
from w2s_data.data.meaning.spelling import MISSING_TEXTS
from w2s_data.errors import ColumnError, ProbabilityError, listing, rows
from w2s_data.utils.typing import BoolArray, FloatArray
from w2s_data.utils.validation import PROBABILITY_TOLERANCE, check_proba

_MOST_DECIMALS = 4  # of numbers that count as rounded; more are exact to the usual tolerance
_MOST_OFF = 0.5  # of a sum that rounding explains; beyond it nothing is sure


@dataclass(frozen=True)
class Distributions:
    """Probabilities (N, C) of one weak model, and what was done to them.

    Attributes
    ----------
    proba : float array (N, C)
        Uniform in the rows of `abstains`.
    abstains : bool array (N,)
        Rows without a number.
    rounding : str
        A note on rows that rounding keeps from a sum of 1; empty where there are none.
    """

    proba: FloatArray
    abstains: BoolArray
    rounding: str = ""


def read_numbers(frame: pd.DataFrame, names: Sequence[str]) -> FloatArray:
    """Return columns of numbers (N, K), NaN where a cell is empty or marked as missing."""
    columns = {name: column(frame, name) for name in names}
    if all(map(pd.api.types.is_numeric_dtype, columns.values())):
        return as_numbers(frame, names)
    cleaned = {name: _without_markers(values) for name, values in columns.items()}
    for name, values in cleaned.items():
        _check_notation(values, name)
    return as_numbers(pd.DataFrame(cleaned), names)


def _check_notation(values: pd.Series, name: str) -> None:
    """Raise for numbers in a notation that is certain to be read wrong or not at all."""
    first = next((v.strip() for v in values.dropna().head(1) if isinstance(v, str)), "")
    if re.fullmatch(r"[\d.,]+ ?%", first):
        raise ProbabilityError(
            f"weak column {name!r} holds percent such as {first!r}; divide them by 100"
        )
    if re.fullmatch(r"\d*,\d+", first):
        raise ProbabilityError(
            f"weak column {name!r} holds decimal commas such as {first!r}; write points"
        )


def _without_markers(values: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values):
        return values
    text = values.astype(str).str.strip().str.casefold()
    return values.where(~text.isin(MISSING_TEXTS))


def as_distributions(values: FloatArray, what: str) -> Distributions:
    """Return distributions of numbers (N, C) that sum to 1, but for the rounding of decimals.

    Rows without any number abstain: their distribution is uniform.

    Raises
    ------
    ProbabilityError
        For rows with some numbers missing, logits, logarithms, percent, and other sums.
    """
    n_classes = values.shape[1]
    empty = np.isnan(values)
    abstains = np.asarray(empty.all(axis=1))
    partly = np.flatnonzero(empty.any(axis=1) & ~abstains)
    if len(partly):
        raise ProbabilityError(
            f"{what} lack some of their numbers in {rows(partly)}; a row has all, or none "
            "to abstain"
        )
    if abstains.all():
        raise ProbabilityError(f"{what}: no row holds a number")
    if not abstains.any():
        _check_scale(values, what)
        proba, rounding = _unrounded(values, _sum_tolerance(values), what)
        return Distributions(check_proba(proba, what), abstains, rounding)
    known = values[~abstains]
    _check_scale(known, what)
    filled = np.where(abstains[:, None], 1 / n_classes, values)
    proba, rounding = _unrounded(filled, _sum_tolerance(known), what)
    return Distributions(check_proba(proba, what), abstains, rounding)


def _sum_tolerance(values: FloatArray) -> float:
    """Return how far from 1 the rounding of decimals may bring a sum; 0 if none are rounded."""
    off = np.abs(values.sum(axis=1) - 1)
    inside = bool((values >= 0).all() and (values <= 1).all())
    if not inside or not (off > PROBABILITY_TOLERANCE).any():
        return 0.0
    decimals = _decimals(values)
    # Each of C numbers is off by half a unit of the last decimal at most.
    return 0.0 if decimals is None else min(_MOST_OFF, values.shape[1] * 0.5 * 0.1**decimals)


def _unrounded(values: FloatArray, tolerance: float, what: str) -> tuple[FloatArray, str]:
    """Divide rows by their sum where it is within the tolerance of 1; return a note on them."""
    total = values.sum(axis=1)
    off = np.abs(total - 1)
    close = off <= tolerance + 1e-9
    note = ""
    if (off[close] > PROBABILITY_TOLERANCE).any():
        low, high = total[close].min(), total[close].max()
        values = np.where(close[:, None], values / np.where(close, total, 1.0)[:, None], values)
        note = (
            f"{what} are rounded and sum to {low:.3g} to {high:.3g}; rows were divided by their sum"
        )
    left = np.flatnonzero(~close & (off > PROBABILITY_TOLERANCE))
    if len(left) > len(values) / 2 and (values >= 0).all() and (values <= 1).all():
        raise ProbabilityError(
            f"{what} must sum to 1 in every row; {len(left):,} of {len(values):,} do not (row "
            f"{left[0]} sums to {total[left[0]]:.4g}): if these are independent scores, divide "
            "each row by its sum"
        )
    return values, note


def _decimals(values: FloatArray) -> int | None:
    """Return the number of decimals that all values are rounded to, None if it is not small."""
    for decimals in range(1, _MOST_DECIMALS + 1):
        # Single precision has seven digits.
        if np.allclose(values, np.round(values, decimals), rtol=0, atol=1e-7):
            return decimals
    return None


def _check_scale(values: FloatArray, what: str) -> None:
    """Raise if most rows look like percent, logarithms or logits."""
    if not np.isfinite(values).all():
        return  # the rows are named by `check_proba`
    outside = ((values < -PROBABILITY_TOLERANCE) | (values > 1 + PROBABILITY_TOLERANCE)).any(axis=1)
    if outside.mean() < 0.5:
        return
    total = values.sum(axis=1)
    if (values >= 0).all() and np.median(np.abs(total - 100)) < 0.5 * values.shape[1] + 1e-6:
        raise ProbabilityError(f"{what} sum to 100: they are percent; divide them by 100")
    if (values <= 0).all() and np.median(np.abs(np.exp(values).sum(axis=1) - 1)) < 0.01:
        raise ProbabilityError(f"{what} are logarithms of probabilities; apply exp to them")
    raise ProbabilityError(
        f"{what} leave [0, 1] in {int(outside.sum()):,} of {len(values):,} rows (row 0 holds "
        f"{listing(np.round(values[0], 3).tolist(), 4)}): they look like logits; apply softmax to "
        "each row"
    )


def check_single(values: FloatArray, name: str) -> None:
    """Raise if the probabilities (N,) of one class look like percent or logits."""
    known = values[np.isfinite(values)]
    outside = (known < -PROBABILITY_TOLERANCE) | (known > 1 + PROBABILITY_TOLERANCE)
    if not len(known) or outside.mean() < 0.1:
        return
    if (known >= 0).all() and (known <= 100).all():
        raise ProbabilityError(
            f"weak column {name!r} leaves [0, 1] in {int(outside.sum()):,} rows and reaches "
            f"{known.max():g}: if these are percent, divide them by 100; if logits, apply the "
            "sigmoid"
        )
    raise ProbabilityError(
        f"weak column {name!r} leaves [0, 1] in {int(outside.sum()):,} of {len(known):,} rows, "
        f"from {known.min():.3g} to {known.max():.3g}: these look like logits; apply the sigmoid"
    )


def holds_lists(values: pd.Series) -> bool:
    """Whether the cells of a column hold all probabilities of a row, as lists, JSON or mappings."""
    first = next((v for v in values.head(1000) if not is_empty(v)), None)
    if isinstance(first, str):
        return first.lstrip().startswith(("[", "{", "("))
    return isinstance(first, list | tuple | np.ndarray | dict)


def read_lists(values: pd.Series) -> tuple[FloatArray, tuple[str, ...]]:
    """Return numbers (N, K) of a column of lists, NaN in empty cells, and the keys of mappings.

    Raises
    ------
    ColumnError
        For cells of other kinds, and lists of two lengths.
    """
    cells = [_parsed(cell) for cell in values]
    given = [i for i, cell in enumerate(cells) if cell is not None]
    if given and isinstance(cells[given[0]], Mapping):
        names = tuple(str(key) for key in cells[given[0]])
        bad = [i for i in given if not isinstance(cells[i], Mapping) or set(cells[i]) != set(names)]
        cells = [None if c is None else [c.get(k) for k in names] for c in cells] if not bad else []
        expected = f"the same keys, {listing(names)}"
    else:
        names = ()
        length = len(cells[given[0]]) if given else 0
        bad = [i for i in given if not isinstance(cells[i], list) or len(cells[i]) != length]
        expected = f"lists of one length ({length})"
    if bad:
        raise ColumnError(f"column {values.name!r} must hold {expected}; {rows(bad)} do not")
    width = len(names) or length
    array = np.full((len(cells), width), np.nan)
    if given:
        try:
            array[given] = np.array([cells[i] for i in given], dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ColumnError(f"column {values.name!r} must hold lists of numbers") from error
    return array, names


def _parsed(cell: Any) -> Any:
    """Return a list of numbers or a mapping of them, None for an empty cell."""
    if isinstance(cell, str):
        text = cell.strip()
        if text.casefold() in MISSING_TEXTS:
            return None
        try:
            cell = json.loads(text.replace("(", "[").replace(")", "]").replace("'", '"'))
        except (ValueError, RecursionError):
            # As numpy prints an array, with blanks between the numbers.
            cell = text.strip("[]").split()
    if isinstance(cell, np.ndarray | tuple):
        cell = list(cell)
    if isinstance(cell, list) and len(cell) == 1 and isinstance(cell[0], list | np.ndarray):
        cell = list(cell[0])
    if isinstance(cell, list) and cell and all(isinstance(part, Mapping) for part in cell):
        # Classifiers of the transformers library return [{"label": ..., "score": ...}, ...].
        return {str(part.get("label")): part.get("score") for part in cell}
    if isinstance(cell, list | Mapping):
        return cell or None
    return None if is_empty(cell) else cell
