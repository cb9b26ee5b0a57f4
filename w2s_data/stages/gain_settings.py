"""Settings of the students: what is trained, for how long, and which model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict

from w2s_data.stages.fields import (
    BelowOne,
    Bits,
    Clip,
    Count,
    Flag,
    Names,
    Penalty,
    Place,
    Positive,
    Rate,
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
    pooling: Text | None = Field(
        None,
        description="From hidden states to one vector: mean, cls, last, max, mean_sqrt_len, "
        "weightedmean, pooler (of image models), or several as in cls+mean; as the model's own "
        "files say by default.",
    )
    rank: Count | None = Field(None, description="Rank of the adapters of lora; 8 by default.")
    alpha: Positive | None = Field(
        None, description="Scale of the adapters, which is alpha / rank; 16 by default."
    )
    dropout: BelowOne | None = Field(None, description="Dropout before the adapters; 0 by default.")
    target_modules: Names | None = Field(
        None, description="Layers that get an adapter, by the end of their names; all by default."
    )
    quantize: Bits | None = Field(
        None, description="Load the frozen weights of lora in 4 or 8 bits; needs a CUDA device."
    )
    micro_batch: Count | None = Field(
        None,
        description="Most items whose gradient is computed at a time, of which a batch "
        "accumulates several; 32 by default, halved where memory does not suffice.",
    )
    micro_tokens: Count | None = Field(
        None, description="Most tokens, with padding, at a time; 16,384 by default."
    )
    decay: Literal["linear", "cosine"] | None = Field(
        None, description="How the learning rate falls to zero; linear by default."
    )
    warmup: BelowOne | None = Field(
        None, description="Share of the steps over which the rate rises; 0.06 by default."
    )
    clip: Clip | None = Field(
        None, description="Largest norm of the gradient, or none; 1 by default."
    )
    precision: Literal["auto", "float32", "bfloat16"] | None = Field(
        None,
        description="Precision of the computation; auto is bfloat16 on GPUs that are built for it.",
    )
    gradient_checkpointing: Flag | None = Field(
        None,
        description="Compute activations again on the way back: a third slower, in a fraction of "
        "the memory.",
    )
    evaluate_every: Count | None = Field(
        None, description="Steps between two evaluations for early stopping; an epoch by default."
    )
    save_every: Count | None = Field(
        None, description="Steps between two checkpoints, beside those by time."
    )
    save_minutes: Annotated[float, Strict(), Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, description="Minutes between two checkpoints; 5 by default."
    )
    reward: Literal["head", "dpo"] | None = Field(
        None,
        description="Of preference pairs: a linear reward on the hidden state (head, the default), "
        "or for decoders the implicit reward of DPO.",
    )
    beta: Positive | None = Field(
        None, description="Factor of the log-ratios in the reward of DPO; 0.1 by default."
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
    head: Literal["ridge", "ridgeless", "squared", "huber"] | None = Field(
        None,
        description="Of values: ridge (the default) and ridgeless are in closed form, squared and "
        "huber are losses of heads and whole models that are trained by steps.",
    )
    epochs: Annotated[Count, Field(le=MOST_EPOCHS)] | None = Field(
        None, description="Passes over the pool."
    )
    learning_rate: Rate | None = Field(
        None,
        description="Highest learning rate; auto, for whole models, finds one by a short range "
        "test. By default 0.001 for heads, and by tuning and size for whole models.",
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
