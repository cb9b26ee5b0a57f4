"""Cheap features for weak teachers: TF-IDF directions of texts, pixels of images."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from w2s_data.compute.base import Advance
from w2s_data.encoders.base import Encoder, Kind, as_items
from w2s_data.encoders.images import open_images
from w2s_data.errors import DegenerateDataWarning, EmptyDataError, EncoderError
from w2s_data.utils.io import jsonable
from w2s_data.utils.typing import FloatArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters, whole

MOST_PIXELS = 1024  # a side; their square is the number of features
_BATCH = 4096  # texts whose sparse terms are in memory at the same time


class TfidfEncoder(Encoder):
    """Standardised leading singular directions of TF-IDF: z = (V' tfidf(x) − mean) / std.

    A text without any known term is the origin of TF-IDF space, hence −mean / std.

    Parameters
    ----------
    n_components : int
        Dimensions D kept. Fewer remain, with a warning, where the texts span fewer.
    ngram_range : (int, int)
        Shortest and longest word sequence that counts as a term.
    min_df : int or float
        Terms in fewer texts (or in a smaller share of them) are left out.
    random_state : int, Generator or None
        Seed of the randomised SVD. Fixed by default, since other vectors need another store.

    Attributes
    ----------
    vectorizer_, svd_, mean_, scale_
        Learned state.
    n_components_ : int

    Examples
    --------
    >>> texts = ["a good film", "a bad film", "good acting", "bad acting"]
    >>> TfidfEncoder(n_components=2).fit(texts).encode(texts).shape
    (4, 2)
    """

    kind: ClassVar[Kind] = "text"
    learns: ClassVar[bool] = True

    def __init__(
        self,
        n_components: int = 64,
        ngram_range: tuple[int, int] = (1, 2),
        min_df: int | float = 2,
        random_state: RandomState = 0,
    ) -> None:
        self.n_components = n_components
        self.ngram_range = ngram_range
        self.min_df = min_df
        self.random_state = random_state

    def check(self) -> None:
        """Raise EncoderError unless n_components is a count."""
        check_parameters(self, {"n_components": whole(1)}, EncoderError)

    def fit(self, items: Iterable[Any], y: Any = None) -> Self:  # noqa: ARG002
        """Learn vocabulary, inverse document frequencies, directions and scales.

        Raise EncoderError if no term is left, or an item is not a string.
        """
        from sklearn.decomposition import TruncatedSVD

        self.check()
        texts = as_items(items, self.kind)
        if not texts:
            raise EmptyDataError("TfidfEncoder.fit requires texts; got none")
        weights = self._fit_vectorizer(texts)
        self.n_components_ = min(self.n_components, *weights.shape)
        if self.n_components_ < self.n_components:
            warnings.warn(
                f"TfidfEncoder keeps {self.n_components_} of {self.n_components} components: "
                f"{weights.shape[0]} texts hold {weights.shape[1]} terms",
                DegenerateDataWarning,
                stacklevel=2,
            )
        seed = int(check_generator(self.random_state).integers(2**31))
        self.svd_ = TruncatedSVD(self.n_components_, random_state=seed)
        # The ratio of explained variance is 0/0 where all texts are alike; it is not used.
        with np.errstate(invalid="ignore", divide="ignore"):
            directions = self.svd_.fit_transform(weights)
        self.mean_ = directions.mean(axis=0)
        spread = directions.std(axis=0)
        # A direction that only rounding errors span carries no signal, and stays zero.
        vanishing = spread <= 1e-5 * max(1e-30, float(np.abs(directions).max()))
        self.scale_ = np.where(vanishing, np.inf, spread)
        self.state_sha256_ = _hash_inputs(self.vectorizer_, weights, seed)
        return self

    def _fit_vectorizer(self, texts: list[str]) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.vectorizer_ = TfidfVectorizer(
            ngram_range=self.ngram_range, min_df=self.min_df, dtype=np.float32
        )
        try:
            return self.vectorizer_.fit_transform(texts)
        except ValueError as error:
            raise EncoderError(
                f"TfidfEncoder finds no terms in {len(texts)} texts with min_df={self.min_df!r} "
                f"and ngram_range={self.ngram_range!r} ({error}); lower min_df"
            ) from error

    def spec(self) -> dict[str, Any]:
        """Return the settings, and a hash of the texts that were learned from."""
        check_is_fitted(self, "svd_")
        return {
            "encoder": type(self).__name__,
            "n_components": self.n_components_,
            "ngram_range": jsonable(self.ngram_range),
            "min_df": self.min_df,
            "state_sha256": self.state_sha256_,
        }

    def _encode(self, items: list[Any], advance: Advance) -> FloatArray:
        check_is_fitted(self, "svd_")
        vectors = np.empty((len(items), self.n_components_), dtype=np.float32)
        for start in range(0, len(items), _BATCH):
            texts = items[start : start + _BATCH]
            directions = self.svd_.transform(self.vectorizer_.transform(texts))
            vectors[start : start + _BATCH] = (directions - self.mean_) / self.scale_
            advance(len(texts))
        return vectors

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)


def _hash_inputs(vectorizer: Any, weights: Any, seed: int) -> str:
    """Hash the inputs that determine the fitted state."""
    # Not the learned arrays, whose last bits differ between machines and numbers of threads.
    digest = hashlib.sha256("\n".join(vectorizer.get_feature_names_out()).encode())
    for array in (vectorizer.idf_, weights.data, weights.indices, weights.indptr):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(seed.to_bytes(8, "little"))
    return digest.hexdigest()


class PixelEncoder(Encoder):
    """Grey pixels of an image, averaged over areas to size x size, in [0, 1] (0 is black).

    Parameters
    ----------
    size : int
        Side of the downsampled image; D = size².

    Examples
    --------
    >>> from PIL import Image
    >>> PixelEncoder(size=2).encode([Image.new("L", (8, 8), 255)])
    array([[1., 1., 1., 1.]], dtype=float32)
    """

    kind: ClassVar[Kind] = "image"

    def __init__(self, size: int = 8) -> None:
        self.size = size

    def check(self) -> None:
        """Raise EncoderError unless size is a count."""
        check_parameters(self, {"size": whole(1, MOST_PIXELS)}, EncoderError)

    def fit(self, items: Iterable[Any], y: Any = None) -> Self:  # noqa: ARG002
        """Check the settings; nothing is learned from the items."""
        self.check()
        return self

    @property
    def _n_features_out(self) -> int:
        return self.size**2

    def spec(self) -> dict[str, Any]:
        """Return the settings."""
        return {"encoder": type(self).__name__, "size": self.size}

    def _encode(self, items: list[Any], advance: Advance) -> FloatArray:
        from PIL import Image

        self.fit(items)
        vectors = np.empty((len(items), self.size**2), dtype=np.float32)
        for row, item in enumerate(items):
            # Mode F averages in float; mode L would round to 256 levels.
            grey = open_images([item], "L", first=row)[0].convert("F")
            small = grey.resize((self.size, self.size), Image.Resampling.BOX)
            vectors[row] = np.asarray(small, dtype=np.float32).reshape(-1) / 255
            advance(1)
        return vectors
