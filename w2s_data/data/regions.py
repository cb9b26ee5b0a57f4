"""The three regions that a point can lie in."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from w2s_data.utils.typing import AnyArray, FloatArray


class Region(enum.IntEnum):
    """Which patterns a point shows.

    Examples
    --------
    >>> Region.OVERLAP.label, int(Region.HARD)
    ('overlap', 0)
    """

    HARD = 0
    EASY = 1
    OVERLAP = 2

    @property
    def label(self) -> str:
        """The name that tables and reports show."""
        return ("hard-only", "easy-only", "overlap")[self.value]


@dataclass(frozen=True)
class PointScores:
    """What a fitted detector says about points: one row each.

    Attributes
    ----------
    regions : int8 array (N,)
        Values of `Region`.
    confidence : array (N,)
        In [0, 1].
    alignment : float32 array (N,)
        In [0, 1]; NaN on hard-only points.
    """

    regions: AnyArray
    confidence: FloatArray
    alignment: FloatArray
