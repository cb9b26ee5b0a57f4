"""Encode images by a pretrained vision model: one pooled hidden state per image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from w2s_data.encoders.backbone import StateModel, resolve_layer
from w2s_data.encoders.base import ItemError, Kind
from w2s_data.encoders.batches import Reading
from w2s_data.encoders.images import is_flat, open_images
from w2s_data.encoders.pixels import ImageReader, cast_inputs
from w2s_data.encoders.pretrained import PretrainedEncoder
from w2s_data.encoders.recipe import AUTO, IMAGE_POOLINGS, Recipe, image_recipe
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import Constraint, one_of, whole

if TYPE_CHECKING:
    import torch


class ImageEncoder(PretrainedEncoder):
    """Mean or first token of one hidden state of a pretrained vision model.

    Images are decoded upright, converted to RGB and prepared by the model's own processor. A model
    for images and text (CLIP, ...) contributes its vision part.

    Parameters
    ----------
    model, layer, normalize, dtype, device, backend, min_agreement, revision, trust_remote_code
        As for `TextEncoder`.
    pooling : "auto", "mean", "cls" or "pooler"
        Mean over all positions, class token included; the first position; or the model's own pooled
        output. "auto" is the mean, and of convolutional models their own pooled output: the mean
        over the area, in some families with a norm after it.
    batch_size : int
        Images in a batch. Halved, with a warning in the log, when memory runs out.

    Raises
    ------
    EncoderError
        By `fit`, `spec` and `encode`, for an unknown model, layer or pooling, or an image that
        cannot be decoded.

    Examples
    --------
    >>> ImageEncoder("models/vit", pooling="cls").get_params()["layer"]
    -1
    """

    kind: ClassVar[Kind] = "image"
    unit: ClassVar[str] = "images"
    recipe_settings: ClassVar[tuple[str, ...]] = ("pooling", "normalize")
    limits: ClassVar[dict[str, Constraint]] = {
        "pooling": one_of(AUTO, *IMAGE_POOLINGS),
        "normalize": one_of(True, False),
        "batch_size": whole(1),
    }

    def __init__(
        self,
        model: str,
        layer: int = -1,
        pooling: str = AUTO,
        normalize: bool = False,
        dtype: str = "auto",
        device: str | torch.device = "auto",
        backend: str = "torch",
        min_agreement: float = 0.98,
        batch_size: int = 32,
        revision: str | None = None,
        trust_remote_code: bool = False,
    ) -> None:
        self.model = model
        self.layer = layer
        self.pooling = pooling
        self.normalize = normalize
        self.dtype = dtype
        self.device = device
        self.backend = backend
        self.min_agreement = min_agreement
        self.batch_size = batch_size
        self.revision = revision
        self.trust_remote_code = trust_remote_code

    def _recipe(self, config: Any) -> Recipe:
        layer, last = (resolve_layer(config, n, self.kind) for n in (self.layer, -1))
        recipe = image_recipe(config, self.pooling, last_layer=layer == last)
        return replace(recipe, normalize=self.normalize)

    def _load_reader(self, model: Any) -> ImageReader:  # noqa: ARG002
        return ImageReader(self._source())

    def _budget(self) -> int:
        return self.batch_size

    def _probe(self, backbone: StateModel) -> Mapping[str, torch.Tensor]:
        reader: ImageReader = self.reader_
        return reader.batch(reader.example(), np.zeros(1, int), backbone.device, backbone.dtype)

    def _read(self, items: list[Any]) -> Reading:
        flat = np.zeros(len(items), dtype=bool)

        def compute(backbone: StateModel, rows: IntArray) -> FloatArray:
            try:
                images = open_images([items[row] for row in rows], "RGB")
            except ItemError as error:
                raise error.moved_to(rows.tolist()) from error
            flat[rows] = [is_flat(image) for image in images]
            inputs = cast_inputs(self.reader_.prepare(images), backbone.device, backbone.dtype)
            return self._pooled(backbone, inputs)

        return Reading(np.ones(len(items), dtype=np.int64), compute, flat=flat)
