"""Principal components of pixels: features of images that are learned from the images."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from w2s_data.compute.base import Advance
from w2s_data.encoders.base import Encoder, Kind, as_items
from w2s_data.encoders.classical import PixelEncoder, scales
from w2s_data.errors import EmptyDataError, EncoderError
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import check_parameters, whole

MOST_SIDE = 64  # the covariance of more pixels than 64 x 64 takes gigabytes


class PcaEncoder(Encoder):
    """Standardised leading principal components of the grey pixels: z = V'(x − mean) / std.

    Parameters
    ----------
    n_components : int
        Dimensions D. Fewer remain where there are fewer images or pixels.
    size : int
        Side of the downsampled image, see `PixelEncoder`.

    Attributes
    ----------
    pca_, scale_
        Learned state.
    n_components_ : int

    Examples
    --------
    >>> from PIL import Image
    >>> images = [Image.new("L", (8, 8), grey) for grey in (0, 100, 200)]
    >>> PcaEncoder(n_components=1).fit(images).encode(images[1:]).round(1).ravel()
    array([0. , 1.2], dtype=float32)
    """

    kind: ClassVar[Kind] = "image"
    learns: ClassVar[bool] = True

    def __init__(self, n_components: int = 16, size: int = 16) -> None:
        self.n_components = n_components
        self.size = size

    def check(self) -> None:
        """Raise EncoderError unless components and size are counts."""
        named = {"n_components": whole(1), "size": whole(1, MOST_SIDE)}
        check_parameters(self, named, EncoderError)

    def fit(self, items: Iterable[Any], y: Any = None) -> Self:  # noqa: ARG002
        """Learn mean, directions and scales; EncoderError naming an image that cannot be read."""
        from sklearn.decomposition import PCA

        self.check()
        images = as_items(items, self.kind)
        if len(images) < 2:
            raise EmptyDataError(f"PcaEncoder.fit requires two images or more; got {len(images)}")
        pixels = PixelEncoder(self.size).encode(images)
        self.n_components_ = min(self.n_components, *pixels.shape)
        # Exact, and the size bounds the covariance; images that are all alike explain 0/0.
        self.pca_ = PCA(self.n_components_, svd_solver="covariance_eigh")
        with np.errstate(invalid="ignore", divide="ignore"):
            components = self.pca_.fit_transform(pixels)
        self.scale_ = scales(components)
        self.state_sha256_ = hashlib.sha256(pixels.tobytes()).hexdigest()
        return self

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)

    def spec(self) -> dict[str, Any]:
        """Return the settings, and a hash of the pixels that were learned from."""
        check_is_fitted(self, "pca_")
        return {
            "encoder": type(self).__name__,
            "n_components": self.n_components_,
            "size": self.size,
            "state_sha256": self.state_sha256_,
        }

    def zero_reason(self, item: Any) -> str:  # noqa: ARG002
        """Say why the vector of an item may hold zeros only."""
        return "the images that pca learned from are alike, or the image is their mean"

    def _encode(self, items: list[Any], advance: Advance) -> FloatArray:
        check_is_fitted(self, "pca_")
        pixels = PixelEncoder(self.size)
        centred = pixels.encode(items, advance=advance) - self.pca_.mean_
        self.n_flat_ = pixels.n_flat_
        return np.asarray(centred @ self.pca_.components_.T / self.scale_, dtype=np.float32)
