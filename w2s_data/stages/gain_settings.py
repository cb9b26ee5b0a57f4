"""Settings of the students: what is trained, for how long, and which model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict

from w2s_data.stages.fields import (
    Count,
    Flag,
    Names,
    Penalty,
    Place,
    Positive,
    Text,
)
from w2s_data.stages.settings import Settings
from w2s_data.utils.constants import MOST_EPOCHS, MOST_SEEDS


class TuningSettings(Settings):
    """The pretrained model of tunings lora and full, and how it is trained.

    None stands for the default of `TrainingSettings` and `Adaptation`, which have these fields.
    """

    panel: ClassVar[str] = "Whole models"

    model: Place = Field(
        None, description="For lora and full: transformers model, a folder or a hub name."
    )
    revision: Text | None = Field(None, description="Revision of a model on the hub.")
    max_length: Count | None = Field(
        None, description="Tokens after which a text is cut; 256 by default."
    )
    rank: Count | None = Field(None, description="Rank of the adapters of lora; 8 by default.")
    alpha: Positive | None = Field(
        None, description="Scale of the adapters, which is alpha / rank; 16 by default."
    )
    dropout: Annotated[float, Strict(), Field(ge=0, lt=1)] | None = Field(
        None, description="Dropout before the adapters; 0 by default."
    )
    micro_batch: Count | None = Field(
        None,
        description="Items whose gradient is computed at a time, of which a batch accumulates "
        "several; halved where memory does not suffice.",
    )


class GainSettings(TuningSettings):
    """Settings of the students and of the measurement of their gain."""

    panel: ClassVar[str] = "Training"

    methods: Annotated[Names, Field(min_length=1)] = Field(
        ("stacked", "naive", "confidence", "crossfit", "enhanced"),
        description="Methods; NAME:PARAMETER=VALUE sets a parameter.",
    )
    seeds: Annotated[Count, Field(le=MOST_SEEDS)] = Field(
        5, description="Number of seeds per method."
    )
    test_by: Literal["source", "group"] | None = Field(
        None,
        description="Measure each source, or group, of the test rows as a test split of its own; "
        "by default the test splits that the data come with.",
    )
    tuning: Literal["head", "lora", "full"] = Field(
        "head",
        description="What is trained: a head on the strong features, adapters of a pretrained "
        "model (lora), or all its weights (full).",
    )
    epochs: Annotated[Count, Field(le=MOST_EPOCHS)] | None = Field(
        None, description="Passes over the pool."
    )
    learning_rate: Annotated[Positive, Field(le=1)] | None = Field(
        None, description="Learning rate of Adam."
    )
    student_l2: Penalty | None = Field(
        None, description="The student's penalty; of heads chosen by cross-validation if not given."
    )
    batch_size: Count | None = Field(None, description="Batch size.")
    early_stopping: Flag = Field(
        False,
        description="Stop by the gold labels of the validation split, which a team without labels "
        "does not have.",
    )
    patience: Count | None = Field(
        None,
        description="Epochs without a lower validation loss after which to stop; 5 by default.",
    )
    controls: Flag = Field(True, description="Train the controls of each method too.")
    restart: Flag = Field(False, description="Retrain all students; finished ones are reused.")
