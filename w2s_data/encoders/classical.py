"""Cheap features for weak teachers: TF-IDF directions of texts, pixels of images."""

from __future__ import annotations

import hashlib
import logging
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from w2s_data.compute.base import Advance
from w2s_data.encoders.base import Encoder, Kind, as_items
from w2s_data.encoders.images import is_flat, open_images
from w2s_data.errors import DegenerateDataWarning, EmptyDataError, EncoderError
from w2s_data.utils.io import jsonable
from w2s_data.utils.threads import one_thread
from w2s_data.utils.typing import FloatArray, RandomState
from w2s_data.utils.validation import check_generator, check_parameters, one_of, whole

logger = logging.getLogger("w2s_data")

MOST_PIXELS = 1024  # a side; their square is the number of features
_BATCH = 4096  # texts whose sparse terms are in memory at the same time
# Shortest and longest sequence of words or characters that counts as a term.
_USUAL_NGRAMS = {"word": (1, 2), "char": (1, 3)}
_SAMPLE, _BEGINNING = 500, 500  # texts that are looked at, and characters of each
# Letters of scripts without spaces between words: Thai, Lao, Tibetan, Myanmar, Khmer, kana, Han.
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9d\U00020000-\U000323af]"
)
_LETTER = re.compile(r"[^\W\d_]")
# Characters read spaced texts nearly as well, while words miss all of an unspaced one. A lone
# word is found again more often than part of a text is.
_UNSPACED_SHARE, _LONE_SHARE = 0.1, 0.5


class TfidfEncoder(Encoder):
    """Standardised leading singular directions of TF-IDF: z = (V' tfidf(x) − mean) / std.

    A text without any known term is the origin of TF-IDF space, hence −mean / std.

    Parameters
    ----------
    n_components : int
        Dimensions D kept. Fewer remain, with a warning, where the texts span fewer.
    ngram_range : (int, int), optional
        Shortest and longest sequence of words, or of characters, that counts as a term; by default
        1 to 2 words, or 1 to 3 characters.
    min_df : int or float
        Terms in fewer texts (or in a smaller share of them) are left out.
    random_state : int, Generator or None
        Seed of the randomised SVD. Fixed by default, since other vectors need another store.
    analyzer : "auto", "word" or "char"
        Terms of words, or of characters (within words, where there are spaces). "auto" takes
        characters where a tenth of the texts is written without spaces between words (Chinese,
        Japanese, Thai, ...), where half of them are a single word or code, or where half of them
        share no word with any other, and says so in the log.

    Attributes
    ----------
    analyzer_, reason_ : str
        The terms that were chosen, and why.
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
        ngram_range: tuple[int, int] | None = None,
        min_df: int | float = 2,
        random_state: RandomState = 0,
        analyzer: str = "auto",
    ) -> None:
        self.n_components = n_components
        self.ngram_range = ngram_range
        self.min_df = min_df
        self.random_state = random_state
        self.analyzer = analyzer

    def check(self) -> None:
        """Raise EncoderError for a bad number of components, or an unknown analyzer."""
        named = {"n_components": whole(1), "analyzer": one_of("auto", *_USUAL_NGRAMS)}
        check_parameters(self, named, EncoderError)

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
        seed = int(check_generator(self.random_state).integers(2**31))
        # A single term is a direction already, and no SVD takes it.
        self.svd_ = None
        if weights.shape[1] > 1:
            self.svd_ = TruncatedSVD(self.n_components_, random_state=seed)
        # The ratio of explained variance is 0/0 where all texts are alike; it is not used.
        quiet = np.errstate(invalid="ignore", divide="ignore")
        with quiet, one_thread():  # else float32 differs by its threads in the third digit
            directions = self.svd_.fit_transform(weights) if self.svd_ else weights.toarray()
        self.mean_ = directions.mean(axis=0)
        self.scale_ = scales(directions)
        shape = f"{weights.shape[0]} texts hold {weights.shape[1]} terms"
        odd = None
        if np.isinf(self.scale_).all():
            odd = f"TfidfEncoder gives only zeros: {shape}, and no direction that is kept differs"
        elif self.n_components_ < self.n_components:
            kept = f"{self.n_components_} of {self.n_components} components"
            odd = f"TfidfEncoder keeps {kept}: {shape}"
        if odd is not None:
            warnings.warn(odd, DegenerateDataWarning, stacklevel=2)
        for note in self.notes():
            logger.info("TfidfEncoder: %s", note)
        self.state_sha256_ = _hash_inputs(self.vectorizer_, weights, seed)
        return self

    def _fit_vectorizer(self, texts: list[str]) -> Any:
        """Choose words or characters, and learn their vocabulary; return the weights (N, terms)."""
        chosen, self.reason_ = self.analyzer, "as given"
        if chosen == "auto":
            chosen, self.reason_ = choose_analyzer(texts)
        weights = self._weights(texts, chosen)
        if self.analyzer == "auto" and chosen == "word":
            alone = 1.0 if weights is None else float(np.mean(np.diff(weights.indptr) == 0))
            by_characters = self._weights(texts, "char") if alone >= _LONE_SHARE else None
            if by_characters is not None:
                chosen, weights = "char", by_characters
                self.reason_ = f"{alone:.0%} of the texts share no word with any other"
        if weights is None:
            blank = sum(not text.strip() for text in texts)
            empty = f", of which {blank} are empty" if blank else ""
            raise EncoderError(
                f"TfidfEncoder finds no terms in {len(texts)} texts{empty} with "
                f"min_df={self.min_df!r} and ngram_range={self._ngrams(chosen)!r}: no {chosen} "
                "is in enough of them; lower min_df"
            )
        self.analyzer_ = chosen
        self.vectorizer_ = self._vectorizer
        return weights

    def _weights(self, texts: list[str], analyzer: str) -> Any:
        """Learn the vocabulary; return the weights, or None if no term is in enough texts."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(
            analyzer="char_wb" if analyzer == "char" else analyzer,
            ngram_range=self._ngrams(analyzer),
            min_df=self.min_df,
            dtype=np.float32,
        )
        try:
            return self._vectorizer.fit_transform(texts)
        except ValueError as error:
            if re.search("empty vocabulary|no terms remain|max_df corresponds", str(error)):
                return None
            raise EncoderError(f"TfidfEncoder: {error}") from error

    def _ngrams(self, analyzer: str) -> tuple[int, int]:
        return self.ngram_range or _USUAL_NGRAMS[analyzer]

    def notes(self) -> list[str]:
        """Say which terms were chosen, where these are not words."""
        check_is_fitted(self, "svd_")
        if self.analyzer != "auto" or self.analyzer_ == "word":
            return []
        return [f"terms are characters, since {self.reason_}; pass analyzer to change it"]

    def zero_reason(self, item: Any) -> str:
        """Say why the vector of an item may hold zeros only."""
        if np.isinf(self.scale_).all():
            return "the texts that tfidf learned from are alike in the terms that it keeps"
        return super().zero_reason(item)

    def spec(self) -> dict[str, Any]:
        """Return the settings, and a hash of the texts that were learned from."""
        check_is_fitted(self, "svd_")
        return {
            "encoder": type(self).__name__,
            "n_components": self.n_components_,
            "analyzer": self.analyzer_,
            "ngram_range": jsonable(self._ngrams(self.analyzer_)),
            "min_df": self.min_df,
            "state_sha256": self.state_sha256_,
        }

    def _encode(self, items: list[Any], advance: Advance) -> FloatArray:
        check_is_fitted(self, "svd_")
        vectors = np.empty((len(items), self.n_components_), dtype=np.float32)
        for start in range(0, len(items), _BATCH):
            texts = items[start : start + _BATCH]
            weights = self.vectorizer_.transform(texts)
            directions = self.svd_.transform(weights) if self.svd_ else weights.toarray()
            vectors[start : start + _BATCH] = (directions - self.mean_) / self.scale_
            advance(len(texts))
        return vectors

    @property
    def _n_features_out(self) -> int:
        return int(self.n_components_)


def scales(directions: FloatArray) -> FloatArray:
    """Return the standard deviation (D,) of directions (N, D), infinite where it is rounding."""
    spread = directions.std(axis=0)
    # A direction that only rounding errors span carries no signal, and becomes zero.
    vanishing = spread <= 1e-5 * max(1e-30, float(np.abs(directions).max()))
    return np.asarray(np.where(vanishing, np.inf, spread))


def choose_analyzer(texts: Sequence[str]) -> tuple[str, str]:
    """Choose "word" or "char" by how texts are written; also return the reason.

    >>> choose_analyzer(["天气很好", "今天下雨"])
    ('char', '100% of the texts are written without spaces between words')
    >>> choose_analyzer(["a good film", "a bad day"])[0]
    'word'
    """
    wanted = np.unique(np.linspace(0, len(texts) - 1, min(len(texts), _SAMPLE)).astype(int))
    sample = [text for i in wanted if (text := texts[i][:_BEGINNING].strip())]
    if not sample:
        return "word", "the texts are empty"
    # Half of the letters, since names and numbers of other scripts stand among them.
    unspaced = sum(
        2 * len(_UNSPACED.findall(text)) > max(1, len(_LETTER.findall(text))) for text in sample
    )
    if (share := unspaced / len(sample)) >= _UNSPACED_SHARE:
        return "char", f"{share:.0%} of the texts are written without spaces between words"
    lone = sum(len(text.split(None, 1)) == 1 for text in sample)
    if (share := lone / len(sample)) >= _LONE_SHARE:
        return "char", f"{share:.0%} of the texts are a single word or code"
    return "word", "words have spaces between them"


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

    def zero_reason(self, item: Any) -> str:  # noqa: ARG002
        """Say why the vector of an item may hold zeros only."""
        return "the images are black"

    def _encode(self, items: list[Any], advance: Advance) -> FloatArray:
        from PIL import Image

        self.fit(items)
        vectors = np.empty((len(items), self.size**2), dtype=np.float32)
        self.n_flat_ = 0
        for row, item in enumerate(items):
            grey = open_images([item], "L", first=row)[0]
            self.n_flat_ += is_flat(grey)
            # Mode F averages in float; mode L would round to 256 levels.
            small = grey.convert("F").resize((self.size, self.size), Image.Resampling.BOX)
            vectors[row] = np.asarray(small, dtype=np.float32).reshape(-1) / 255
            advance(1)
        return vectors
