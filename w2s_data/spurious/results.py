"""What `SpuriousAnalyzer` measured of a group, and what it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from w2s_data.spurious.evidence import GroupEvidence, PredictedRisks
from w2s_data.spurious.model import GroupModel
from w2s_data.utils.intervals import Estimate

PARTS = {0.0: "others", 1.0: "inside", 0.5: "average"}  # of the test, by the group's share in it


@dataclass(frozen=True, repr=False)
class GroupSummary:
    """One group against all other rows.

    Attributes
    ----------
    evidence : GroupEvidence
        From which `SpuriousAnalyzer.predict` answers.
    risks : mapping
        Test share (0 others, 1 the group, .5 both alike) -> PredictedRisks at the shares at hand.
    fails : mapping
        Test share -> whether the student is no better than its teacher.
    optimal_eta_pool : Estimate
    covariance_difference : float
        At least 0; the model takes it as 0.
    """

    group: Any
    n_rows: int
    eta_labelled: Estimate
    eta_pool: Estimate
    model: GroupModel
    evidence: GroupEvidence
    risks: Mapping[float, PredictedRisks]
    fails: Mapping[float, bool]
    optimal_eta_pool: Estimate
    covariance_difference: float

    @property
    def worst_relative_gain(self) -> float:
        """Lowest of the relative gains."""
        return float(min(risk.relative_gain for risk in self.risks.values()))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, one row of `SpuriousAnalyzer.groups_`."""
        estimates = {
            "eta_labelled": self.eta_labelled,
            "eta_pool": self.eta_pool,
            **self.evidence.shifts(),
        }
        for share, risk in self.risks.items():
            interval = risk.relative_gain_interval
            estimates[f"relative_gain_{PARTS[share]}"] = Estimate(risk.relative_gain, *interval)
        estimates["optimal_eta_pool"] = self.optimal_eta_pool
        return {
            "group": self.group,
            "n_rows": self.n_rows,
            **_columns(estimates),
            **{f"chance_fails_{PARTS[t]}": risk.chance_fails for t, risk in self.risks.items()},
            **{f"fails_{PARTS[t]}": fails for t, fails in self.fails.items()},
            "covariance_difference": self.covariance_difference,
        }

    def __repr__(self) -> str:
        return (
            f"GroupSummary({self.group!r}, eta_labelled={self.eta_labelled.value:.4g}, "
            f"eta_pool={self.eta_pool.value:.4g}, {self.model!r})"
        )


@dataclass(frozen=True, repr=False)
class GroupPrediction:
    """Predicted variance of teacher and student for one share of a group in the pool.

    Attributes
    ----------
    group : the group, against all other rows
    eta_labelled, eta_pool, eta_test : float
    n, N : int
    noise : float
        Variance of the label noise; risks are in its units where it is 1.
    others, inside, average, worst : PredictedRisks
        Outside the group, inside it, on a test with share eta_test, and for either model where it
        is worst; each with intervals and the chance that the student is no better.
    level : float
        Coverage of the intervals.
    """

    group: Any
    eta_labelled: float
    eta_pool: float
    eta_test: float
    n: int
    N: int
    noise: float
    others: PredictedRisks
    inside: PredictedRisks
    average: PredictedRisks
    worst: PredictedRisks
    level: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `teacher_PART`, `student_PART`, `gain_PART`, `relative_gain_PART`.

        Each with `_low` and `_high`; and `chance_fails_PART`.
        """
        first = ("group", "eta_labelled", "eta_pool", "eta_test", "n", "N", "noise", "level")
        result = {name: getattr(self, name) for name in first}
        for part in ("others", "inside", "average", "worst"):
            for name, value in getattr(self, part).to_dict().items():
                stem, limit = _split_limit(name)
                result[f"{stem}_{part}{limit}"] = value
        return result

    def __repr__(self) -> str:
        shares = ("eta_labelled", "eta_pool", "eta_test")
        first = ", ".join(f"{name}={getattr(self, name):.4g}" for name in shares)
        low, high = self.average.gain_interval
        return (
            f"GroupPrediction(group={self.group!r}, {first},\n{' ' * 16}"
            f"teacher={self.average.teacher:.4g}, student={self.average.student:.4g}, "
            f"gain={self.average.gain:.4g} [{low:.4g}, {high:.4g}],\n{' ' * 16}"
            f"worst gain={self.worst.gain:.4g})"
        )


def _columns(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    """`name`, `name_low` and `name_high` of every estimate."""
    return {
        f"{name}{suffix}": getattr(estimate, part)
        for name, estimate in estimates.items()
        for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high"))
    }


def _split_limit(name: str) -> tuple[str, str]:
    """Name without and its ending `_low` or `_high`."""
    for limit in ("_low", "_high"):
        if name.endswith(limit):
            return name.removesuffix(limit), limit
    return name, ""
