r"""Ridge regression for every penalty at once, from one eigendecomposition of the features.

With weighted, centred rows X = U diag(d)^(1/2) V^T and targets y, the ridge solution of penalty
:math:`\lambda` has coefficients :math:`V \frac{\sqrt d}{d + \lambda} U^T y`, so that a grid of
penalties costs no more than one of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from w2s_data.features.matrix import TILE_ROWS, FeatureMatrix, row_blocks
from w2s_data.utils.linalg import eigh
from w2s_data.utils.typing import FloatArray
from w2s_data.utils.validation import check_feature_block

BLOCK_BYTES = 2**21  # rows that stay in the cache between centring and product
# Multiplications from which float32 features are multiplied in float32 (blocks are summed in
# float64): twice as fast, and over that many rows the rounding averages out to 1e-7.
LARGE_WORK = 3e9
# Directions with a smaller share of the largest variance are the rounding of float32 features.
NO_VARIANCE = 1e-12
DETERMINED = 1e-10  # 1 - leverage of a row that the model cannot but reproduce


@dataclass(frozen=True)
class Rows:
    """Training rows: features (n, D), targets (n,) and weights (n,), read block by block."""

    features: FeatureMatrix | FloatArray  # an array of float64 keeps its digits
    targets: FloatArray
    weights: FloatArray

    @property
    def is_large(self) -> bool:
        """Whether rounding averages out, and a second reading of the rows would cost."""
        n, d = self.features.shape
        return bool(n * d * min(n, d) > LARGE_WORK)

    def blocks(self) -> Iterator[tuple[slice, FloatArray]]:
        """Yield (rows, block) in order."""
        yield from feature_blocks(self.features)


def feature_blocks(features: FeatureMatrix | FloatArray) -> Iterator[tuple[slice, FloatArray]]:
    """Yield (rows, block) in order: in the precision of an array, in float32 from elsewhere."""
    if not isinstance(features, np.ndarray):
        yield from features.blocks(BLOCK_BYTES)
        return
    for part in row_blocks((len(features), features.shape[1]), BLOCK_BYTES, features.itemsize):
        yield part, features[part]


@dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition of weighted, centred (and scaled) features, with targets projected."""

    variances: FloatArray  # (r,), eigenvalues d of X^T X, those that are not 0
    directions: FloatArray  # (D, r), V, orthonormal
    projections: FloatArray  # (r,), U^T y
    rest: float  # squared length of y outside of U
    mean: FloatArray  # (D,), zeros without an intercept
    scale: FloatArray  # (D,), infinite for a constant feature that is scaled
    target_mean: float
    n: int  # rows of a weight above 0
    weight: float  # sum of the weights
    intercept: bool

    @property
    def interpolates(self) -> bool:
        """Whether the least-norm solution reproduces every target."""
        return len(self.variances) > 0 and len(self.variances) >= self.n - self.intercept

    def coefficients(self, penalty: float) -> FloatArray:
        """Return the weights (D,) of the scaled features."""
        shrunk = np.sqrt(self.variances) / (self.variances + penalty) * self.projections
        return np.asarray(self.directions @ shrunk)

    def freedom(self, penalties: FloatArray) -> FloatArray:
        """Return the trace of the hat matrix by penalty, the intercept included."""
        kept = self.variances / (self.variances + penalties[:, None])
        return np.asarray(kept.sum(axis=1) + self.intercept)

    def residual_squares(self, penalties: FloatArray) -> FloatArray:
        """Return the weighted sum of squared residuals by penalty."""
        return np.asarray((self.lost(penalties) ** 2) @ self.projections**2 + self.rest)

    def lost(self, penalties: FloatArray) -> FloatArray:
        """Return the share (P, r) of each projection that stays in the residual.

        For penalty 0 and rows that are interpolated all shares vanish; they are then given over the
        penalty, in its limit, as ratios of residuals need them.
        """
        if self.interpolates and not penalties.any():
            return np.asarray(np.broadcast_to(1 / self.variances, (len(penalties), self._rank)))
        return np.asarray(penalties[:, None] / (self.variances + penalties[:, None]))

    @property
    def _rank(self) -> int:
        return len(self.variances)

    def uncertainty(self, block: FloatArray, penalty: float) -> FloatArray:
        """Return the variance (m,) of new targets, over that of the noise at weight 1.

        For penalty 0 and interpolated rows it is over the noise per penalty, as in `lost`.
        """
        centred = self.scaled(block)
        own = centred @ self.directions
        outside: FloatArray = np.zeros(len(block))
        if self._rank < len(self.mean):  # what no training row has shown
            outside = np.maximum((centred**2).sum(axis=1) - (own**2).sum(axis=1), 0.0)
        if penalty == 0 and self.interpolates:
            return outside
        known = own**2 @ (1 / (self.variances + penalty)) + self.intercept / self.weight
        return np.asarray(1 + known + (outside / penalty if penalty else 0.0))

    def scaled(self, block: FloatArray) -> FloatArray:
        """Return rows centred and scaled as the training rows were, in float64."""
        return np.asarray((block.astype(np.float64, copy=False) - self.mean) / self.scale)


def decompose(rows: Rows, *, intercept: bool, standardize: bool, exact: bool) -> Spectrum:
    """Decompose the features: D x D products where D <= n, n x n ones of rows in memory else.

    `exact` multiplies in float64 whatever the size.
    """
    n, d = rows.features.shape
    with np.errstate(all="ignore"):  # rows that cannot be used are named below
        moments = _moments(rows, intercept=intercept, products=d <= n, exact=exact)
    if not np.isfinite(moments.sums).all():
        refuse_unfit(rows.features)
    scale = np.ones(d)
    if standardize:
        # Rounding leaves a constant column with a tiny variance; scaling by it would invent one.
        rounding = np.finfo(np.float64).eps * n * np.maximum(1.0, np.abs(moments.mean))
        variance = moments.squares / moments.weight
        scale = np.where(variance <= rounding**2, np.inf, np.sqrt(np.maximum(variance, 0.0)))
    if moments.products is not None:
        gram = moments.products / np.outer(scale, scale)
        variances, directions = _eigen(gram)
        projections = directions.T @ (moments.sums / scale) / np.sqrt(variances)
    else:
        root = np.sqrt(rows.weights)[:, None]
        whole = np.concatenate([block for _, block in rows.blocks()]).astype(np.float64)
        whole = (whole - moments.mean) / scale * root
        variances, left = _eigen(whole @ whole.T)
        projections = left.T @ ((rows.targets - moments.target_mean) * root[:, 0])
        directions = whole.T @ left / np.sqrt(variances)
    return Spectrum(
        variances,
        directions,
        projections,
        max(0.0, moments.target_squares - float(projections @ projections)),
        moments.mean,
        scale,
        moments.target_mean,
        int(np.count_nonzero(rows.weights)),
        moments.weight,
        intercept,
    )


@dataclass(frozen=True)
class _Moments:
    """Weighted moments of centred features and targets."""

    mean: FloatArray  # (D,)
    target_mean: float
    weight: float
    squares: FloatArray  # (D,)
    sums: FloatArray  # (D,), of feature times target
    target_squares: float
    products: FloatArray | None  # (D, D)


def _moments(rows: Rows, *, intercept: bool, products: bool, exact: bool) -> _Moments:
    """Sum squares and products in one reading of the rows."""
    weights, d = rows.weights, rows.features.shape[1]
    weight = float(weights.sum())
    target_mean = float(weights @ rows.targets) / weight if intercept else 0.0
    targets = rows.targets - target_mean
    equal = bool((weights == 1).all())
    shift: FloatArray | None = None if intercept else np.zeros(d)
    gram = np.zeros((d, d)) if products else None
    total, squares, sums = np.zeros(d), np.zeros(d), np.zeros(d)
    room = np.empty(0)
    for part, raw in rows.blocks():
        single = raw.dtype == np.float32 and rows.is_large and not exact
        kind = np.float32 if single else np.float64
        if shift is None:  # near the mean already, so that centring at the end cancels no digits
            shift = raw.mean(axis=0, dtype=np.float64)
        if len(room) < len(raw) or room.dtype != kind:  # a new array per block costs a tenth
            room = np.empty(raw.shape, kind)
        block = np.subtract(raw, shift.astype(kind), out=room[: len(raw)], casting="same_kind")
        root = np.sqrt(weights[part]).astype(kind)
        if not equal:
            block *= root[:, None]
        both = _tile_sums(np.stack([root, root * targets[part].astype(kind)]), block)
        total += both[0]
        sums += both[1]
        if gram is None:
            squares += np.einsum("ij,ij->j", block, block)
        else:
            gram += block.T @ block
    assert shift is not None
    if gram is not None:
        squares = gram.diagonal().copy()
    if intercept:  # targets are centred, so that their sums need no correction
        squares -= total**2 / weight
        shift = shift + total / weight
        if gram is not None:
            gram -= np.outer(total, total) / weight
    return _Moments(shift, target_mean, weight, squares, sums, float(weights @ targets**2), gram)


def _tile_sums(rows: FloatArray, block: FloatArray) -> FloatArray:
    """Return rows (2, m) times a block (m, D), summed in float64 over tiles of the block."""
    tiled = len(block) // TILE_ROWS * TILE_ROWS
    tiles = block[:tiled].reshape(-1, TILE_ROWS, block.shape[1])
    products = rows[:, :tiled].reshape(len(rows), -1, TILE_ROWS).swapaxes(0, 1) @ tiles
    rest = rows[:, tiled:] @ block[tiled:]
    return np.asarray(products.sum(axis=0, dtype=np.float64) + rest)


def _eigen(gram: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the eigenvalues that are not 0, the largest last, and their vectors."""
    values, vectors = eigh(gram)
    kept = values > max(0.0, values[-1]) * max(NO_VARIANCE, len(gram) * np.finfo(np.float64).eps)
    return values[kept], vectors[:, kept]


def refuse_unfit(features: FeatureMatrix | FloatArray) -> None:
    """Raise with the rows whose features are NaN or infinite, if there are any."""
    for part, block in feature_blocks(features):
        check_feature_block(block, np.arange(part.start, part.stop), "X", nonzero=False)


def left_out_residuals(
    spectrum: Spectrum, rows: Rows, penalties: FloatArray
) -> Iterator[tuple[slice, FloatArray, FloatArray]]:
    r"""Yield (rows, residuals e (P, m), remainders h (P, m)) by penalty.

    Leaving a row out gives it the residual e / h, and that has variance
    :math:`\sigma^2 / (w h)` where noise has :math:`\sigma^2 / w`. Rows of weight 0 have h = 1.
    """
    lost = spectrum.lost(penalties)
    for part, block in rows.blocks():
        own = spectrum.scaled(block) @ (spectrum.directions / np.sqrt(spectrum.variances))
        weights = rows.weights[part]
        apart = rows.targets[part] - spectrum.target_mean - own @ spectrum.projections
        room = 1 - weights * (spectrum.intercept / spectrum.weight + (own**2).sum(axis=1))
        # Where the features determine a row, rounding is all that is left of it.
        tight = (room < DETERMINED) | (spectrum.interpolates & (weights > 0))
        apart, room = np.where(tight, 0.0, apart), np.where(tight, 0.0, room)
        error = apart + (lost * spectrum.projections) @ own.T
        yield part, error, room + weights * (lost @ (own**2).T)


def mean_square_left_out(spectrum: Spectrum, rows: Rows, penalties: FloatArray) -> FloatArray:
    """Return the weighted mean squared error of rows left out, by penalty."""
    total = np.zeros(len(penalties))
    for part, error, room in left_out_residuals(spectrum, rows, penalties):
        # A single row has neither residual nor room.
        left = np.divide(error, room, out=np.full_like(error, np.nan), where=room > 0)
        total += left**2 @ rows.weights[part]
    return total / spectrum.n


@dataclass(frozen=True)
class LeftOut:
    """Predictions of training rows, each by the model of all others."""

    values: FloatArray  # (n,), NaN where the others do not determine one
    errors: FloatArray  # (n,), their standard errors as guesses of the target
    variance: float  # of the noise at weight 1, with which these errors are right on average


def leave_out(spectrum: Spectrum, rows: Rows, penalty: float) -> LeftOut:
    """Leave out each row at one penalty; of one row all is NaN."""
    residuals, rooms = np.full((2, len(rows.targets)), np.nan)
    for part, error, room in left_out_residuals(spectrum, rows, np.array([penalty])):
        residuals[part], rooms[part] = error[0], room[0]
    rooms[rooms <= 0] = np.nan
    squares = (rows.weights * residuals**2 / rooms)[rows.weights > 0]
    variance = float(np.nanmean(squares)) if np.isfinite(squares).any() else np.nan
    errors = np.sqrt(variance / rooms / np.where(rows.weights > 0, rows.weights, np.nan))
    return LeftOut(rows.targets - residuals / rooms, errors, variance)


def generalised_score(spectrum: Spectrum, penalties: FloatArray) -> FloatArray:
    r"""Return the score of generalised cross-validation by penalty.

    .. math:: \frac{\mathrm{RSS} / n}{(1 - \mathrm{df} / n)^2}

    It is the mean squared error of rows left out with the leverages replaced by their mean, and
    needs no second reading of the rows. Golub, Heath, Wahba, Technometrics 21, 1979.
    """
    freedom = spectrum.freedom(penalties) / spectrum.n
    return np.asarray(spectrum.residual_squares(penalties) / spectrum.n / (1 - freedom) ** 2)


def penalty_grid(spectrum: Spectrum) -> FloatArray:
    """Return penalties from none to total shrinkage, four to a decade."""
    if not len(spectrum.variances):
        return np.ones(1)
    grid: FloatArray = spectrum.variances[-1] * 10.0 ** np.arange(-8, 3.01, 0.25)
    return grid
