"""Settings of the models: the encoders of both roles, or files of ready-made features."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, Strict

from w2s_data.stages.fields import (
    Count,
    File,
    Flag,
    Place,
    RoleCount,
    RoleFlag,
    RoleShare,
    RoleText,
    Text,
    UpToOne,
)
from w2s_data.stages.settings import Settings

# Settings of an encoder, and the names of their parameters.
ENCODER_SETTINGS = {
    name: {"encoder_prompt": "prompt"}.get(name, name)
    for name in (
        *("pooling", "max_length", "normalize", "encoder_prompt"),
        *("dtype", "backend", "min_agreement", "analyzer"),
    )
}
# Said of one role in TOML and of both in a shell.
_POOLING = (
    "Of pretrained encoders: mean, cls, last, max, mean_sqrt_len, weightedmean, or several as in "
    "cls+mean; as the model's own files say by default."
)
_MAX_LENGTH = "Tokens kept of a text; as the model's own files say by default."
_NORMALIZE = "Scale vectors to length 1; as the model's own files say by default."
_PROMPT = "Text to put before each text, or the name of one of the model's prompts."
_DTYPE = "Precision of pretrained encoders: auto, float32, bfloat16, float16 or int8."
_BACKEND = "Library that computes pretrained encoders: torch, onnx or openvino."
_AGREEMENT = (
    "Least cosine of int8 vectors with those in float32, and least share of a probe's accuracy "
    "that they keep; .98 by default."
)
_ANALYZER = "Terms of tfidf: word, char, or auto, which depends on the texts."


class EmbedSettings(Settings):
    """Models of the two roles: an encoder, or a file of ready-made features."""

    panel: ClassVar[str] = "Models"

    strong: Place = Field(
        None,
        description="Strong encoder: transformers model (folder or hub name), MODEL or "
        "MODEL@LAYER.",
    )
    strong_features: File = Field(
        None,
        description="Ready-made strong features, a .npy file (N, D); of pairs, chosen minus "
        "rejected.",
    )
    weak: Place = Field(
        None,
        description="Weak encoder: tfidf[:COMPONENTS], pixels[:SIZE], pca[:COMPONENTS], MODEL or "
        "MODEL@LAYER.",
    )
    weak_features: File = Field(None, description="Ready-made weak features, likewise.")
    pooling: RoleText | None = Field(
        None,
        description=f"{_POOLING} ROLE= (strong= or weak=) sets this and the following for one of "
        "two encoders.",
    )
    max_length: RoleCount | None = Field(None, description=_MAX_LENGTH)
    normalize: RoleFlag | None = Field(None, description=_NORMALIZE)
    encoder_prompt: RoleText | None = Field(None, description=_PROMPT)
    dtype: RoleText | None = Field(None, description=_DTYPE)
    backend: RoleText | None = Field(None, description=_BACKEND)
    min_agreement: RoleShare | None = Field(None, description=_AGREEMENT)
    analyzer: RoleText | None = Field(None, description=_ANALYZER)


class ModelSettings(Settings):
    """The model of one role: an encoder, or a file of ready-made features."""

    encoder: Place = Field(
        None, description="Encoder: tfidf, pixels, pca, or a transformers model."
    )
    features: File = Field(None, description="Ready-made features, a .npy file (N, D).")
    pooling: Text | None = Field(None, description=_POOLING)
    max_length: Count | None = Field(None, description=_MAX_LENGTH)
    normalize: Flag | None = Field(None, description=_NORMALIZE)
    # An empty one stands for none, where the model has a default.
    encoder_prompt: Annotated[str, Strict()] | None = Field(None, description=_PROMPT)
    dtype: Text | None = Field(None, description=_DTYPE)
    backend: Text | None = Field(None, description=_BACKEND)
    min_agreement: UpToOne | None = Field(None, description=_AGREEMENT)
    analyzer: Text | None = Field(None, description=_ANALYZER)


def embed_settings(strong: ModelSettings, weak: ModelSettings) -> EmbedSettings:
    """Join the models of both roles, as the embedding stage takes them.

    >>> embed_settings(ModelSettings(encoder="a/b", pooling="cls"), ModelSettings()).pooling
    {'strong': 'cls'}
    """
    by_role = {"strong": strong, "weak": weak}
    settings = {
        name: {r: value for r, s in by_role.items() if (value := getattr(s, name)) is not None}
        for name in ENCODER_SETTINGS
    }
    return EmbedSettings.model_validate(
        {
            "strong": strong.encoder,
            "strong_features": strong.features,
            "weak": weak.encoder,
            "weak_features": weak.features,
            **{name: values or None for name, values in settings.items()},
        }
    )
