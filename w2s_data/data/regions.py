"""The three regions of points, and the scores of points."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from w2s_data.utils.typing import AnyArray, FloatArray


class Region(enum.IntEnum):
    """Region of a point: the patterns that it shows.

    Examples
    --------
    >>> Region.OVERLAP.label, int(Region.HARD)
    ('overlap', 0)
    """

    HARD = 0  # the codes are public, as values of `regions_`: their order must not change
    EASY = 1
    OVERLAP = 2

    @property
    def label(self) -> str:
        """Name in tables and reports."""
        return ("hard-only", "easy-only", "overlap")[self.value]


@dataclass(frozen=True)
class PointScores:
    """Scores of points by a fitted detector, one row each."""

    regions: AnyArray  # int8 (N,), values of `Region`
    confidence: FloatArray  # (N,) in [0, 1]
    alignment: FloatArray  # float32 (N,) in [0, 1]; NaN on hard-only points
