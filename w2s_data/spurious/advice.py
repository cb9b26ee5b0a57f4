"""One sentence of advice on a group, with its uncertainty."""

from __future__ import annotations

from typing import Literal

import numpy as np

from w2s_data.spurious.results import GroupPrediction, PredictedRisks
from w2s_data.spurious.theory import ROUNDING
from w2s_data.utils.intervals import Estimate

Remedy = Literal["none", "unclear", "reweight"]
WORTHWHILE = 0.01  # part of the risk to save: re-weighting costs pool rows
MENTIONED = 0.05  # chance of failing from which a part of the test is named with it
# Mean squared difference of the covariances, in units of the covariance inside groups, from which
# the closed form is only a tendency. A typical standard deviation then differs by a quarter.
DIFFERENT = 0.25


def advise(
    now: GroupPrediction, best: GroupPrediction, saving: Estimate, covariance_difference: float
) -> str:
    """Explain the shares of a group and recommend what to do.

    `now` is at the pool's share, `best` at the one with the lowest risk, of which `saving` is the
    part that it saves.
    """
    sentence = (
        f"group {str(now.group)!r} is {now.eta_pool:.0%} of the pool and {now.eta_labelled:.0%} of "
        f"the labelled set: {_gain(now.average)}, {_part(now.inside)} in the group and "
        f"{_part(now.others)} outside; {_remedy(best, saving)}"
    )
    if covariance_difference > DIFFERENT:
        sentence += (
            "; the covariances inside and outside the group differ, so take this as a tendency"
        )
    return sentence


def remedy_of(saving: Estimate) -> Remedy:
    """Decide on re-weighting the pool, by the part of the student's risk that it saves.

    "none" where that is little, "unclear" where its interval reaches 0.

    >>> remedy_of(Estimate(0.3, 0.1, 0.5)), remedy_of(Estimate(0.3, -0.1, 0.5))
    ('reweight', 'unclear')
    """
    if saving.value <= WORTHWHILE:
        return "none"
    return "unclear" if saving.low <= 0 else "reweight"


def _gain(risks: PredictedRisks) -> str:
    gain = risks.relative_gain
    amount = f"{gain.value:+.0%} of the teacher's variance"
    if np.isnan(gain.low):
        return f"predicted gain {amount}, interval unknown"
    if max(abs(gain.low), abs(gain.high)) <= ROUNDING:
        return "predicted gain 0, as the student sees all that the teacher sees"
    interval = f"{gain.level:.0%} interval {gain.low:+.0%} to {gain.high:+.0%}"
    if gain.differs_from_zero:
        return f"predicted gain {amount} ({interval})"
    return (
        f"cannot tell whether the student gains, predicted {amount} ({interval}, chance that it "
        f"does not {risks.chance_fails:.0%})"
    )


def _part(risks: PredictedRisks) -> str:
    chance = risks.chance_fails
    doubt = f" (chance that it fails {chance:.0%})" if chance > MENTIONED else ""
    return f"{risks.relative_gain.value:+.0%}{doubt}"


def _remedy(best: GroupPrediction, saving: Estimate) -> str:
    remedy = remedy_of(saving)
    if remedy == "none":
        return "another share in the pool would change little"
    gain = f"towards {best.eta_pool:.0%} (gain {best.average.relative_gain.value:+.0%})"
    if remedy == "unclear":
        return (
            f"cannot tell whether to re-weight the pool {gain}, which saves {saving.low:+.0%} to "
            f"{saving.high:+.0%} of the student's variance"
        )
    return f"re-weight the pool {gain}"
