"""One sentence of advice on a group, with its doubt."""

from __future__ import annotations

import numpy as np

from w2s_data.spurious.evidence import PredictedRisks
from w2s_data.spurious.results import GroupPrediction
from w2s_data.spurious.theory import ROUNDING
from w2s_data.utils.intervals import Estimate

WORTHWHILE = 0.01  # part of the student's risk that re-weighting must save to be advised
WORTH_SAYING = 0.05  # chance of failing in a part of the test
DIFFERENT = 0.25  # covariance difference from which the closed form is only a tendency


def advise(
    now: GroupPrediction, best: GroupPrediction, saving: Estimate, covariance_difference: float
) -> str:
    """What the shares mean, and what to do.

    Parameters
    ----------
    now, best : GroupPrediction
        At the pool's share, and at the share with the lowest risk.
    saving : Estimate
        Part of the student's risk that the best share saves.
    covariance_difference : float
    """
    said = (
        f"the pool holds {now.eta_pool:.0%} of group {str(now.group)!r}, the teacher saw "
        f"{now.eta_labelled:.0%}: {_gain(now.average, now.level)}, "
        f"{_part(now.inside)} in the group and {_part(now.others)} outside; "
        f"{_remedy(best, saving)}"
    )
    if covariance_difference > DIFFERENT:
        said += "; the group differs in covariance too, so this is a tendency, not a number"
    return said


def _gain(risks: PredictedRisks, level: float) -> str:
    low, high = risks.relative_gain_interval
    if np.isnan(low):
        return (
            f"predicted gain {risks.relative_gain:+.0%} of the teacher's variance, interval unknown"
        )
    if max(abs(low), abs(high)) <= ROUNDING:
        return "predicted gain 0, as the student sees all that the teacher sees"
    amount = f"{risks.relative_gain:+.0%} of the teacher's variance"
    doubt = f"{level:.0%} interval {low:+.0%} to {high:+.0%}"
    if low <= 0 <= high:
        return (
            f"cannot tell whether the student gains: predicted {amount} ({doubt}, chance that it "
            f"does not {risks.chance_fails:.0%})"
        )
    return f"predicted gain {amount} ({doubt})"


def _part(risks: PredictedRisks) -> str:
    chance = risks.chance_fails
    doubt = f" (chance that it fails {chance:.0%})" if chance > WORTH_SAYING else ""
    return f"{risks.relative_gain:+.0%}{doubt}"


def _remedy(best: GroupPrediction, saving: Estimate) -> str:
    if saving.value <= WORTHWHILE:
        return "another share in the pool would change little"
    gain = f"towards {best.eta_pool:.0%} (gain {best.average.relative_gain:+.0%})"
    if saving.low <= 0:
        return (
            f"cannot tell whether to re-weight the pool {gain}: that saves {saving.low:+.0%} to "
            f"{saving.high:+.0%} of the student's variance"
        )
    return f"re-weight the pool {gain}"
