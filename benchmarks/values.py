"""Real tasks whose targets are values, with weak and strong features, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from corpora import LAST_LAYER, load_corpus, minilm_features
from images import fashion_mnist, shrunk
from models import has_mobilenet, mobilenet

from w2s_data import ImageEncoder, TfidfEncoder, embed

IMAGES, SIDE, WIDEST = 5000, 96, 60.0  # images, pixels that MobileNet reads, degrees
TEXTS = 4000
LEAST_KEPT = 0.3  # share of an image that is left at least


@dataclass(frozen=True)
class ValueTask:
    """Targets (N,), and features of the teacher and of the student."""

    name: str
    targets: np.ndarray
    weak: np.ndarray
    strong: np.ndarray


def rotated(cache: Path) -> ValueTask | None:
    """Angle in degrees by which an image of clothing was turned; the teacher sees 7 x 7 pixels."""
    from scipy.ndimage import rotate

    found = fashion_mnist()
    if found is None or not has_mobilenet():
        return None
    angles = np.random.default_rng(0).uniform(-WIDEST, WIDEST, IMAGES)
    images = [
        rotate(image, angle, reshape=False, order=1)
        for image, angle in zip(found[0], angles, strict=False)
    ]
    return _of_images("rotated", np.stack(images), angles, cache)


def cropped(cache: Path) -> ValueTask | None:
    """Share of an image of clothing that was cut away before it was enlarged again."""
    from scipy.ndimage import affine_transform

    found = fashion_mnist()
    if found is None or not has_mobilenet():
        return None
    rng = np.random.default_rng(1)
    kept = rng.uniform(LEAST_KEPT, 1.0, IMAGES)
    images = []
    for image, share in zip(found[0], kept, strict=False):
        edge = np.sqrt(share)  # the window has this share of the area
        corner = rng.uniform(0, 27 * (1 - edge), 2)
        images.append(affine_transform(image, [edge, edge], corner, order=1))
    return _of_images("cropped", np.stack(images), 1 - kept, cache)


def _of_images(name: str, images: np.ndarray, targets: np.ndarray, cache: Path) -> ValueTask:
    from PIL import Image

    encoder = ImageEncoder(str(mobilenet(SIDE)))
    shown = [Image.fromarray((np.clip(i, 0, 1) * 255).astype(np.uint8)) for i in images]
    strong = embed(shown, encoder, cache / f"fashion-{name}-{SIDE}").array()
    return ValueTask(name, targets, shrunk(images, 7), np.asarray(strong))


def words(cache: Path) -> ValueTask:
    """Number of words of a news item; the teacher sees 16 directions of its TF-IDF."""
    # Under a name of its own: other scripts keep the features of more texts of this corpus.
    corpus = replace(load_corpus("ag_news_test", TEXTS), name="words")
    targets = np.array([len(text.split()) for text in corpus.texts], dtype=np.float64)
    weak = TfidfEncoder(16).fit(list(corpus.texts)).encode(list(corpus.texts))
    return ValueTask("words", targets, weak, minilm_features(corpus, LAST_LAYER, cache))


def diabetes(cache: Path) -> ValueTask:  # noqa: ARG001
    """Progression of diabetes; the teacher sees age, sex, weight and blood pressure."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    columns = data.data / data.data.std(axis=0)
    rows, cols = np.triu_indices(columns.shape[1])
    strong = np.hstack([columns, columns[:, rows] * columns[:, cols]])
    return ValueTask("diabetes", data.target, columns[:, :4], strong)


TASKS: dict[str, Callable[[Path], ValueTask | None]] = {
    "rotated": rotated,
    "cropped": cropped,
    "words": words,
    "diabetes": diabetes,
}
