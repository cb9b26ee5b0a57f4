"""Weights that make labelled rows stand for rows from elsewhere, and what the rows are then worth.

The weights are density ratios of the other rows to the labelled ones, as `ShiftDetector` has them.
"""

from __future__ import annotations

from dataclasses import replace

from w2s_data.utils.intervals import Estimate
from w2s_data.utils.typing import FloatArray

# Weighted rows worth fewer than this say nothing of the others that is worth its name: their
# interval would be 30 points wide.
FEWEST_EFFECTIVE = 30


WEIGHTED = "weighted: "  # how a note on weights begins


def effective_size(weights: FloatArray) -> float:
    r"""Return the rows that weighted ones are worth (Kish), for what they can explain.

    .. math:: \frac{(\sum w)^2}{\sum w^2} \min(1, \bar w)

    >>> import numpy as np
    >>> round(effective_size(np.array([1.0, 1.0, 3.0, 3.0])), 1)
    3.2
    """
    return kish_size(weights) * covered_share(weights)


def kish_size(weights: FloatArray) -> float:
    r"""Return :math:`(\sum w)^2 / \sum w^2`, whatever the scale of the weights; 0 without any."""
    square = float((weights**2).sum())
    return float(weights.sum()) ** 2 / square if square > 0 else 0.0


def covered_share(weights: FloatArray) -> float:
    """Return the share of the other rows that the weighted ones cover, in [0, 1].

    Density ratios have mean 1 over rows that cover the others; a smaller mean is the share that
    they cover.
    """
    return min(1.0, float(weights.mean()))


def widened(estimate: Estimate, uncovered: float, least: float = 0.0) -> Estimate:
    """Widen an interval of a share of rows by those that may be right or wrong.

    With `least` -1 it is that of a difference, to which they add as much on both sides.

    >>> widened(Estimate(0.8, 0.7, 0.9), 0.1)
    Estimate(0.8, 0.63 to 0.91)
    """
    covered = 1 - uncovered
    low, high = covered * estimate.low + uncovered * least, covered * estimate.high + uncovered
    return replace(estimate, low=low, high=high)


def worth(n: int, weights: FloatArray) -> str:
    """Say what weighted labelled rows are worth.

    >>> import numpy as np
    >>> worth(4, np.array([1.0, 1.0, 3.0, 3.0]))
    'weighted: 4 gold rows are worth 3 for this pool'
    """
    return f"{WEIGHTED}{n:,} gold rows are worth {effective_size(weights):,.0f} for this pool"
