"""Predicted risks of teacher and student, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from w2s_data.utils.intervals import Estimate

PARTS = ("others", "inside", "average", "worst")


@dataclass(frozen=True)
class PredictedRisks:
    """Expected squared errors of teacher and student on one test."""

    teacher: Estimate
    student: Estimate
    gain: Estimate  # teacher minus student: above 0 the student is better
    relative_gain: Estimate  # as a part of the teacher's risk, at most 1
    chance_fails: float  # probability that the student is no better than its teacher

    def estimates(self) -> dict[str, Estimate]:
        """Return the estimates by name."""
        names = ("teacher", "student", "gain", "relative_gain")
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Return the estimates as dictionaries, and the chance."""
        estimates = {name: estimate.to_dict() for name, estimate in self.estimates().items()}
        return {**estimates, "chance_fails": self.chance_fails}


@dataclass(frozen=True, repr=False)
class GroupPrediction:
    """Predicted variance of teacher and student for one share of a group in the pool.

    The group is compared with all other rows.
    """

    group: Any
    eta_labelled: float
    eta_pool: float
    eta_test: float
    n: int  # labelled rows
    N: int  # pool rows
    noise: float  # variance of the label noise; risks are in units of it where it is 1
    others: PredictedRisks  # outside the group
    inside: PredictedRisks
    average: PredictedRisks  # on a test with share eta_test
    worst: PredictedRisks  # for each model where it is worst
    level: float

    @property
    def risks(self) -> dict[str, PredictedRisks]:
        """The four risks by the part of the test that they are about."""
        return {part: getattr(self, part) for part in PARTS}

    def to_dict(self) -> dict[str, Any]:
        """Return the setting as plain values, and each part's risks as a dictionary."""
        return {**self._setting(), **{part: r.to_dict() for part, r in self.risks.items()}}

    def to_frame(self) -> pd.DataFrame:
        """Return one row per part of the test, with `_low` and `_high` of each estimate."""
        rows = {
            part: columns(risks.estimates()) | {"chance_fails": risks.chance_fails}
            for part, risks in self.risks.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def to_row(self) -> dict[str, Any]:
        """Return one row of a curve: `gain_average`, `gain_average_low` and so on."""
        row = self._setting()
        for part, risks in self.risks.items():
            row |= columns({f"{name}_{part}": e for name, e in risks.estimates().items()})
            row[f"chance_fails_{part}"] = risks.chance_fails
        return row

    def _setting(self) -> dict[str, Any]:
        names = ("group", "eta_labelled", "eta_pool", "eta_test", "n", "N", "noise", "level")
        return {name: getattr(self, name) for name in names}

    def __repr__(self) -> str:
        shares = ("eta_labelled", "eta_pool", "eta_test")
        first = ", ".join(f"{name}={getattr(self, name):.4g}" for name in shares)
        average, indent = self.average, " " * 16  # below the opening bracket
        gain = average.gain
        return (
            f"GroupPrediction(group={self.group!r}, {first},\n{indent}"
            f"teacher={average.teacher.value:.4g}, student={average.student.value:.4g}, "
            f"gain={gain.value:.4g} [{gain.low:.4g}, {gain.high:.4g}],\n{indent}"
            f"worst gain={self.worst.gain.value:.4g})"
        )


def columns(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """Return the columns NAME, NAME_low and NAME_high of every estimate."""
    return {key: v for name, e in estimates.items() for key, v in e.columns(name).items()}
