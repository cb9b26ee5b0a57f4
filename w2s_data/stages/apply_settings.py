"""Settings of labelling new rows."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from w2s_data.stages.fields import File, Flag, Place, Text
from w2s_data.stages.settings import Settings


class ApplySettings(Settings):
    """Settings of labelling new rows with a student of the run."""

    panel: ClassVar[str] = "Apply"

    student: Literal["best", "naive"] = Field(
        "best", description="The most accurate student on the test split, or the naive one."
    )
    to: File = Field(
        None, description="Table of labels, by its suffix; RUN/applied-NAME.parquet by default."
    )
    item: Text | None = Field(
        None, description="Column of the new items, if it has another name than in the run."
    )
    id: Text | None = Field(None, description="Column of unique ids, likewise.")
    scores: Flag = Field(
        True,
        description="Add weak label, the chance that it is right, and region, where rows have weak "
        "labels or the run's teacher gives them.",
    )
    skip_unreadable: Flag = Field(False, description="Leave out images that cannot be decoded.")
    strong: Place = Field(
        None, description="Where the run's strong encoder is now, if it was moved."
    )
    base: Place = Field(
        None, description="Where the pretrained model under a student's adapters is now, likewise."
    )
