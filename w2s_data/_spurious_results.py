"""What `SpuriousAnalyzer` measured of a group, and what it predicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from w2s_data._group_model import GroupModel, GroupRisks


@dataclass(frozen=True, repr=False)
class Share:
    """Share of a group with its interval, all in [0, 1].

    >>> Share(0.06, 0.04, 0.09)
    Share(0.06, 0.04 to 0.09)
    """

    value: float
    low: float
    high: float

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        return f"Share({self.value:.4g}, {self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True, repr=False)
class GroupSummary:
    """One group against all other rows.

    Attributes
    ----------
    relative_gains : mapping
        Test share (0 others, 1 the group, .5 both alike) -> gain over the teacher's risk.
    covariance_difference : float
        At least 0; the model takes it as 0.
    """

    group: Any
    n_rows: int
    eta_labelled: Share
    eta_pool: Share
    model: GroupModel
    fails: Mapping[float, bool]
    relative_gains: Mapping[float, float]
    optimal_eta_pool: float
    covariance_difference: float

    @property
    def worst_relative_gain(self) -> float:
        """Lowest of the relative gains."""
        return min(self.relative_gains.values())

    def to_dict(self) -> dict[str, Any]:
        """Plain values, one row of `SpuriousAnalyzer.groups_`."""
        shares = {
            f"eta_{name}{suffix}": getattr(share, part)
            for name, share in (("labelled", self.eta_labelled), ("pool", self.eta_pool))
            for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high"))
        }
        tests = {0.0: "others", 1.0: "inside", 0.5: "average"}
        return {
            "group": self.group,
            "n_rows": self.n_rows,
            **shares,
            "shift_teacher": self.model.m_t**0.5,
            "shift_student": self.model.m_s**0.5,
            "shared": self.model.shared,
            **{f"relative_gain_{tests[t]}": gain for t, gain in self.relative_gains.items()},
            **{f"fails_{tests[t]}": fails for t, fails in self.fails.items()},
            "optimal_eta_pool": self.optimal_eta_pool,
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
    others, inside, average : GroupRisks
        Outside the group, inside it, and on a test with share eta_test.
    """

    group: Any
    eta_labelled: float
    eta_pool: float
    eta_test: float
    n: int
    N: int
    noise: float
    others: GroupRisks
    inside: GroupRisks
    average: GroupRisks

    @property
    def worst(self) -> GroupRisks:
        """Risk of either model where it is worst, for each its own worst part."""
        return GroupRisks(
            max(self.others.teacher, self.inside.teacher),
            max(self.others.student, self.inside.student),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `MODEL_PART` for both models, `gain_PART` for their difference."""
        first = ("group", "eta_labelled", "eta_pool", "eta_test", "n", "N", "noise")
        result = {name: getattr(self, name) for name in first}
        for part in ("others", "inside", "average", "worst"):
            risks: GroupRisks = getattr(self, part)
            result |= {
                f"teacher_{part}": risks.teacher,
                f"student_{part}": risks.student,
                f"gain_{part}": risks.gain,
            }
        return result

    def __repr__(self) -> str:
        shares = ("eta_labelled", "eta_pool", "eta_test")
        first = ", ".join(f"{name}={getattr(self, name):.4g}" for name in shares)
        return (
            f"GroupPrediction(group={self.group!r}, {first},\n{' ' * 16}"
            f"teacher={self.average.teacher:.4g}, student={self.average.student:.4g}, "
            f"gain={self.average.gain:.4g}, worst gain={self.worst.gain:.4g})"
        )
