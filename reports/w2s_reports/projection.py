r"""The strong features in two dimensions: principal components, and UMAP on FAISS neighbours.

Features are read block by block; only the drawn points, at most ten thousand, are held at once.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np

from w2s_data.discrepancy.moments import Moments
from w2s_data.errors import EmptyDataError
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.neighbors.index import NeighborIndex
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_feature_block

logger = logging.getLogger("w2s_reports")

# Default of UMAP; larger values give up local structure for global structure.
N_NEIGHBORS = 15
# Default of UMAP above 10,000 points; fixed, so that all sizes are comparable.
N_EPOCHS = 200
# Above, the covariance (D, D) costs more than the passes over the features.
EXACT_DIMENSIONS = 2_048
# Two axes and ten extra columns; eight passes separate eigenvalues that are close.
SKETCH, PASSES = 12, 8  # columns and passes of the randomised axes
SAME = 1e-12  # of the squared mean: the variance of features that are all the same


@dataclass(frozen=True, repr=False)
class Projection:
    """Positions of n points in two dimensions, `pca` and `umap` (n, 2).

    `explained` are the shares of the variance of all N points on the two axes, None where all are
    equal; of `umap` only neighbourhoods mean something; `reason` says why there is none.
    """

    pca: FloatArray
    explained: tuple[float, float] | None
    solver: str
    umap: FloatArray | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Everything but the positions, as plain JSON types."""
        return {
            "n": len(self.pca),
            "explained": None if self.explained is None else list(self.explained),
            "solver": self.solver,
            "umap": self.umap is not None,
            "reason": self.reason,
        }

    def __repr__(self) -> str:
        held = "all equal" if self.explained is None else f"{sum(self.explained):.1%} of variance"
        return (
            f"Projection({len(self.pca):,} points: PCA with {held} ({self.solver}), "
            f"{'UMAP' if self.umap is not None else 'no UMAP'})"
        )


def project(features: Any, rows: IntArray | None = None, *, rng: np.random.Generator) -> Projection:
    r"""Project points of features (N, D) by PCA and by UMAP; `rows` are those to draw, ascending.

    The principal axes are the eigenvectors :math:`v_1, v_2` of the covariance of all N points,
    each with its largest entry positive, so that the sign is fixed:

    .. math:: z_i = (v_1^\top (x_i - \bar x),\; v_2^\top (x_i - \bar x)), \qquad
              \mathrm{explained}_j = \lambda_j / \operatorname{tr} C

    Up to 2,048 dimensions C is accumulated in float64 over the blocks and decomposed exactly;
    above, subspace iteration (Halko, Martinsson, Tropp, *Finding structure with randomness*, 2011,
    algorithm 4.4) finds the axes with nine passes over the features and without C.

    UMAP (McInnes, Healy, Melville, 2018) sees the drawn points alone: the 15 nearest of each,
    itself included, by cosine, exactly; it starts from their principal components and takes 200
    epochs in one thread, so that a seed fixes the result.

    >>> line = np.outer(np.arange(5), [3.0, 4.0])
    >>> result = project(line, rng=np.random.default_rng(0))
    >>> result.pca[:, 0].round(6).tolist(), [round(share, 6) for share in result.explained]
    ([-10.0, -5.0, 0.0, 5.0, 10.0], [1.0, 0.0])
    >>> result.reason
    'UMAP needs more than 15 points; there are 5'
    """
    matrix = as_feature_matrix(features)
    if not matrix.shape[0]:
        raise EmptyDataError("features have no rows: there is nothing to project")
    exact = matrix.shape[1] <= EXACT_DIMENSIONS
    mean, axes, explained = _exact(matrix) if exact else _randomised(matrix, rng)
    taken = matrix.take(np.arange(matrix.shape[0]) if rows is None else rows)
    pca = (taken.astype(np.float64) - mean) @ axes
    umap, reason = None, _obstacle(taken, explained)
    if not reason:
        try:
            umap = _umap(taken, pca, rng)
        # umap-learn depends on numba, which is missing on some platforms.
        except ImportError as error:
            reason = f"UMAP cannot be imported: {error}"
    if umap is not None and not np.isfinite(umap).all():
        umap, reason = None, "UMAP found no finite positions for these features"
    if umap is not None:
        umap = _turned(umap)
    return Projection(pca, explained, "exact" if exact else "randomised", umap, reason)


def _obstacle(taken: FloatArray, explained: tuple[float, float] | None) -> str:
    """Return why UMAP cannot place these points; empty if it can."""
    n, d = taken.shape
    if explained is None:
        return "all points have the same strong features: a map would be a single point"
    if n <= N_NEIGHBORS:
        return f"UMAP needs more than {N_NEIGHBORS} points; there are {n:,}"
    if d < 2:
        return "UMAP needs features of two dimensions or more; these have one"
    # Cosine is undefined for a vector of zeros.
    zero = int((~taken.any(axis=1)).sum())
    if zero:
        return f"UMAP by cosine needs features with a direction; {zero:,} points are all zero"
    return ""


def _exact(matrix: FeatureMatrix) -> tuple[FloatArray, FloatArray, tuple[float, float] | None]:
    """Compute mean (D,), axes (D, 2) and explained shares from the covariance of all rows."""
    from scipy.linalg import eigh

    d = matrix.shape[1]
    moments, origin = Moments.zero(d, d), np.zeros(d)
    for block in _blocks(matrix):
        if not moments.n:
            # Centred on the first block: sums of squares far from 0 would lose digits.
            origin = block.mean(axis=0)
        moments += Moments.of(block - origin, d)
    shift = moments.total / moments.n
    scatter = moments.scatter
    values, vectors = eigh(scatter, subset_by_index=(max(0, d - 2), d - 1))
    total = float(np.trace(scatter))
    mean = origin + shift
    return mean, _signed(vectors[:, ::-1]), _shares(values[::-1], total, moments.n, mean)


def _randomised(
    matrix: FeatureMatrix, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, tuple[float, float] | None]:
    """Compute the same by subspace iteration, which never forms the covariance."""
    (n, d), total = matrix.shape, 0.0
    origin, sums = np.zeros(d), np.zeros(d)
    for i, block in enumerate(_blocks(matrix)):
        if not i:
            origin = block.mean(axis=0)
        sums += (block - origin).sum(axis=0)
        total += float(((block - origin) ** 2).sum())
    shift = sums / n
    mean, total = origin + shift, total - n * float(shift @ shift)
    basis = np.linalg.qr(rng.normal(size=(d, SKETCH)))[0]
    image = basis
    for last in (False,) * (PASSES - 1) + (True,):
        image = np.zeros((d, SKETCH))
        for block in _blocks(matrix):
            centred = block - mean
            image += centred.T @ (centred @ basis)
        if not last:
            basis = np.linalg.qr(image)[0]
    values, turned = np.linalg.eigh(basis.T @ image)
    axes = _signed(basis @ turned[:, :-3:-1])
    return mean, axes, _shares(values[:-3:-1], total, n, mean)


def _blocks(matrix: FeatureMatrix) -> Iterator[FloatArray]:
    for rows, block in matrix.blocks():
        numbers = np.arange(rows.start, rows.stop)
        check_feature_block(block, numbers, "strong features", nonzero=False)
        yield block.astype(np.float64)


def _signed(vectors: FloatArray) -> FloatArray:
    """Fix the signs of two axes (D, 2) by their largest entry; the second is zero if D is 1."""
    # An eigenvector is defined up to its sign; fixing it makes the map reproducible.
    largest = np.abs(vectors).argmax(axis=0)
    axes = vectors * np.where(vectors[largest, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    return np.asarray(np.pad(axes, ((0, 0), (0, 2 - axes.shape[1]))))


def _shares(
    values: FloatArray, total: float, n: int, mean: FloatArray
) -> tuple[float, float] | None:
    """Return the eigenvalues' shares of the variance; None where it is rounding error."""
    if total <= SAME * n * float(mean @ mean) or total <= 0:
        return None
    shares = np.clip(values / total, 0.0, 1.0)
    return float(shares[0]), float(shares[1]) if len(shares) > 1 else 0.0


def _turned(positions: FloatArray) -> FloatArray:
    """Turn positions so that the longest side is level; UMAP has no axes, a page is wide."""
    mean, axes, _ = _exact(as_feature_matrix(positions))
    return np.asarray((positions - mean) @ axes)


def _umap(taken: FloatArray, pca: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Compute UMAP from exact cosine neighbours, starting from the principal components."""
    n = len(taken)
    logger.info("map: UMAP of %s points, which takes a minute where it is first used", f"{n:,}")
    reducer_class = compiled_umap()
    near = NeighborIndex(kind="flat", device="cpu").fit(taken).neighbors(N_NEIGHBORS - 1)
    # UMAP expects each point as its own first neighbour, at distance 0.
    own = np.arange(n)[:, None]
    indices = np.hstack([own, near.indices])
    distances = np.hstack([np.zeros((n, 1)), 1 - near.scores]).clip(0).astype(np.float32)
    reducer = reducer_class(
        n_neighbors=N_NEIGHBORS,
        n_epochs=N_EPOCHS,
        metric="cosine",
        precomputed_knn=(indices, distances),
        init=pca,
        random_state=int(rng.integers(2**31)),
        # Several threads make UMAP depend on their timing, whatever the seed.
        n_jobs=1,
    )
    with warnings.catch_warnings():
        # New points are never placed on a finished map.
        warnings.filterwarnings("ignore", r"precomputed_knn\[2\]", UserWarning)
        return np.asarray(reducer.fit_transform(taken))


def compiled_umap() -> Any:
    """Import UMAP, with what numba compiles for it kept on disk for later processes."""
    # Imported here: it takes seconds, and most commands draw no map.
    from umap import UMAP, layouts, umap_

    # umap-learn keeps some of its functions, but not those that take five of its six seconds.
    for module in (layouts, umap_):
        for function in vars(module).values():
            if isinstance(getattr(function, "enable_caching", None), MethodType):
                # Where no folder can be written, it compiles as ever.
                with suppress(RuntimeError):
                    function.enable_caching()
    return UMAP
