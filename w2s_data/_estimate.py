"""A number with its interval, as the analyses give it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, repr=False)
class Estimate:
    """A number with its interval; NaN limits where the interval is unknown.

    >>> Estimate(0.06, 0.04, 0.09)
    Estimate(0.06, 0.04 to 0.09)
    """

    value: float
    low: float
    high: float

    def __float__(self) -> float:
        return self.value

    def to_dict(self) -> dict[str, float]:
        """All fields by name."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __repr__(self) -> str:
        return f"Estimate({self.value:.4g}, {self.low:.4g} to {self.high:.4g})"
