"""Calibration of probabilities on gold rows, and means over the pool that gold rows correct."""

from __future__ import annotations

import numpy as np
import pandas as pd

from w2s_data.utils.intervals import Estimate, student_interval, wilson_interval
from w2s_data.utils.typing import AnyArray, BoolArray, FloatArray, IntArray
from w2s_data.utils.weighting import covered_share, kish_size, widened

BINS = 10  # of equal size: those of equal width would be empty where a model is sure
WEIGHTED_ROWS = 200  # effective gold rows whose correction counts by half
FEWEST_IN_BIN = 10  # rows; the accuracy of fewer is mostly noise
# Held-out gold rows share the models that they helped to train. On 96 tasks of text the error of a
# mean was 1.15 times what it is for independent rows.
SHARED_MODELS = 1.2


def corrected_mean(
    pool: FloatArray,
    gold: FloatArray,
    right: AnyArray,
    level: float,
    least: float = 0.0,
    gold_weight: FloatArray | None = None,
) -> Estimate:
    r"""Return an accuracy on the pool from predicted chances, corrected by gold rows.

    .. math:: \frac1N \sum_{pool} g_i + \frac1n \sum_{gold} ([right_i] - g_i)

    Unbiased whatever the chances g in [0, 1] are; the better they are, the shorter the interval.
    With `least` -1, g and `right` may be differences of two chances and of two answers.
    `gold_weight` (n,) are density ratios of the pool to the gold rows: the second mean is then
    weighted and, since its noise grows more than its bias shrinks, multiplied by m / (m + 200) for
    rows that are worth m. The part of the pool that gold rows do not cover may be right or wrong.
    Angelopoulos et al., *Prediction-powered inference*, Science 2023.

    >>> pool, gold = np.full(1000, 0.9), np.full(50, 0.9)
    >>> estimate = corrected_mean(pool, gold, np.arange(50) < 40, 0.95)
    >>> round(estimate.value, 2), round(estimate.low, 2), round(estimate.high, 2)
    (0.8, 0.65, 0.95)
    """
    excess = right - gold
    if len(excess) < 2 or not len(pool):
        return Estimate(float(pool.mean()) if len(pool) else np.nan, level=level)
    if gold_weight is not None:
        return _weighted(pool, excess, gold_weight, level, least)
    value = float(np.clip(pool.mean() + excess.mean(), least, 1))
    error = np.sqrt(SHARED_MODELS**2 * _variance_of_mean(excess) + pool.var() / len(pool))
    low, high = student_interval(value, error, len(excess) - 1, level, least, 1.0)
    return Estimate(value, float(low), float(high), level)


def completed_mean(
    pool: FloatArray, inside: FloatArray, outside: FloatArray, level: float, least: float = 0.0
) -> Estimate:
    r"""Return an accuracy on these pool rows, some of which have a gold label.

    .. math:: \frac1N \sum_{pool} g_i + \frac1m \sum_{known} ([right_i] - g_i)

    `inside` are excesses [right] - g of known rows of the pool, `outside` those of rows drawn from
    it that became gold rows, held out. The known rows have to be drawn at random; then it holds
    wherever the other gold rows come from, and where all rows are known it is their accuracy.

    >>> right = np.arange(1000) % 10 < 8
    >>> completed_mean(np.full(1000, 0.9), right - 0.9, np.zeros(0), 0.95)
    Estimate(0.8, 0.8 to 0.8)
    """
    excess = np.concatenate([inside, outside])
    if len(excess) < 2 or not len(pool):
        return Estimate(float(pool.mean()) if len(pool) else np.nan, level=level)
    value = float(np.clip(pool.mean() + excess.mean(), least, 1))
    factor = SHARED_MODELS if len(outside) else 1.0
    error = factor * np.sqrt(_variance_of_mean(excess) * (1 - len(inside) / len(pool)))
    low, high = student_interval(value, error, len(excess) - 1, level, least, 1.0)
    return Estimate(value, float(low), float(high), level)


def _variance_of_mean(excess: FloatArray) -> float:
    # + 1 keeps the variance of rows that are all right from being 0.
    return float((len(excess) * excess.var(ddof=1) + 1) / len(excess) ** 2)


def _weighted(
    pool: FloatArray, excess: FloatArray, weight: FloatArray, level: float, least: float
) -> Estimate:
    size, share = kish_size(weight), weight / weight.sum()
    mean = share @ excess
    # The spread is that of the whole correction, since the part that is left out is a bias.
    spread = (share**2 @ (excess - mean) ** 2 + size**-2) * size / max(size - 1, 1)
    value = float(np.clip(pool.mean() + mean * size / (size + WEIGHTED_ROWS), least, 1))
    error = np.sqrt(spread + pool.var() / len(pool))
    low, high = student_interval(value, error, max(size - 1, 1), level, least, 1.0)
    found = Estimate(value, float(low), float(high), level)
    return widened(found, 1 - covered_share(weight), least)


def reliability(confidence: FloatArray, right: BoolArray, level: float) -> pd.DataFrame:
    """Return mean confidence and accuracy of bins of equal size, sorted by confidence."""
    records = []
    for part in _bins(confidence):
        successes = int(right[part].sum())
        low, high = wilson_interval(successes, len(part), level)
        records.append(
            {
                "n": len(part),
                "confidence": float(confidence[part].mean()),
                "accuracy": successes / len(part),
                "accuracy_low": float(low),
                "accuracy_high": float(high),
            }
        )
    return pd.DataFrame(records)


def calibration_error(confidence: FloatArray, right: BoolArray) -> float:
    """Return the mean distance of confidence and accuracy over bins of equal size, in [0, 1].

    >>> right = np.arange(100) % 10 < 8  # eight of ten in every bin
    >>> round(calibration_error(np.full(100, 0.9), right), 3)
    0.1
    """
    gaps = [len(p) * abs(confidence[p].mean() - right[p].mean()) for p in _bins(confidence)]
    return float(sum(gaps) / len(confidence)) if len(confidence) else np.nan


def _bins(confidence: FloatArray) -> list[IntArray]:
    """Return the rows of each bin, sorted by confidence; fewer bins of few rows."""
    n_bins = int(np.clip(len(confidence) // FEWEST_IN_BIN, 1, BINS))
    parts = np.array_split(np.argsort(confidence, kind="stable"), n_bins)
    return [part for part in parts if len(part)]
