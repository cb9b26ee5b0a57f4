"""Settings of the papers' figures on one's own data."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from w2s_data.errors import InputError
from w2s_data.stages.fields import Count, Flag, Names, Positive, Text
from w2s_data.stages.settings import Settings
from w2s_data.sweep.options import Over


def _as_shares(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        try:
            inside = 0 < float(name) < 1
        except ValueError:
            inside = False
        if not inside:
            raise InputError(f"eta_labelled must be shares between 0 and 1; got {name!r}")
    return names


class SweepSettings(Settings):
    """Choice of the figure, its draws, and how students are trained."""

    panel: ClassVar[str] = "Sweep"

    over: Over = Field(
        "overlap",
        description="Share of overlap points, of a group (eta), number of gold or of weak labels "
        "(pool), noise of the weak labels, the models, or the rounds of the run's selection; "
        "where labels are values, gold or pool (the default there).",
    )
    seeds: Count = Field(5, description="Draws of labelled set and pool.")
    draws: Count = Field(3, description="Random training sets behind each number of a seed.")
    labels: Literal["hard", "soft"] = Field(
        "hard", description="Students learn the weak classes, or their probabilities."
    )
    student_l2: Positive = Field(0.01, description="Penalty of the students.")
    max_pool: Count = Field(8000, description="Pool items that are used, at most.")
    group: Text | None = Field(
        None, description="Group of eta; the rarest of the labelled set by default."
    )
    eta_labelled: Annotated[Names, AfterValidator(_as_shares)] = Field(
        (), description="Further shares of that group in the teacher's labelled set, e.g. 0.5."
    )
    strong_models: Names = Field(
        (), description="Strong encoders of model, as in `w2s embed`; that of the run by default."
    )
    weak_models: Names = Field((), description="Weak encoders of model, likewise.")
    restart: Flag = Field(False, description="Measure again what is stored.")
