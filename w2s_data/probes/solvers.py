"""Solvers behind the linear probes: preconditioned L-BFGS, and ridge by SVD."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.compute.device import free_bytes, is_cpu, resolve_device
from w2s_data.features.matrix import row_blocks
from w2s_data.probes.lbfgs import ROUNDING, ROUNDING_32, minimize_together
from w2s_data.utils.typing import FloatArray, IntArray

if TYPE_CHECKING:
    import torch

# Wider than this, the D x D preconditioner costs more than the iterations it saves.
MAX_PRECONDITIONED = 4096
# Share of the largest, in float64 and float32, which cannot tell less from none.
LEAST_CURVATURE, LEAST_CURVATURE_32 = 1e-10, 1e-6
FREE_SHARE = 2  # features take at most this part of a GPU's free memory: products need some too
STREAMED_BYTES = 256 * 2**20  # of float64 features on the device at a time, where not all fit


@dataclass(frozen=True)
class Solutions:
    """Solutions of L problems on the features they share."""

    coef: FloatArray  # (L, C, D)
    intercept: FloatArray  # (L, C)
    loss: FloatArray  # (L,)
    n_iter: IntArray  # (L,)


class LogisticProblems:
    """Logistic objectives of L label vectors on the same features, in preconditioned coordinates.

    Numpy on the CPU, torch elsewhere. On CUDA the features stay on the device where half of its
    free memory holds them; larger ones stay on the host and pass through in blocks, in every step.

    The Hessian of the cross-entropy is at most X^T V X / (4 n) for two classes and X^T V X / (2 n)
    for more (Böhning 1992). With R R^T that bound plus the penalty, W = U R^-1 makes every
    curvature at most about one, and L-BFGS converges in a few dozen steps however the features
    correlate. One R serves all problems: their rows differ by the folds that they leave out.

    Targets are (L, n, C), or (L, n, 1) with the probability of the second of two classes; weights
    (L, n) sum to 1 in each problem. Its penalty is on weights of features times `columns` (L, D).
    Products with features in float32 are computed in float32, for tolerances that this allows.
    """

    def __init__(
        self,
        features: FloatArray,
        targets: FloatArray,
        weights: FloatArray,
        fit_intercept: bool,
        device: str,
        columns: FloatArray | None = None,
    ) -> None:
        self.n, self.d = features.shape
        self.n_outputs = targets.shape[2]
        self.fit_intercept = fit_intercept
        # Numpy has none of torch's overhead on small problems, and is there at once.
        self.xp: Any = np
        self.device: torch.device | None = None
        if not is_cpu(device):
            import torch

            self.xp, self.device = torch, resolve_device(device)
        on_mps = self.device is not None and self.device.type == "mps"
        single = features.dtype == np.float32 or on_mps
        self._dtype = np.dtype(np.float32 if single else np.float64)
        self._rounding = ROUNDING_32 if single else ROUNDING
        self._least_curvature = LEAST_CURVATURE_32 if single else LEAST_CURVATURE
        # Rows last, so that sums over classes add whole rows of memory.
        rows = features, np.ascontiguousarray(targets.transpose(2, 0, 1)), weights
        self._resident = self._fits(len(targets))
        self._rows: tuple[Any, ...] = tuple(map(self._moved, rows)) if self._resident else rows
        self._columns = None if columns is None else self._moved(columns)
        self._kept: tuple[IntArray, tuple[Any, ...]] = np.empty(0, dtype=np.int64), ()
        self._gram = self._curvature()
        self._last: Any = self._moved(np.zeros((len(targets), self.n_outputs, self.d + 1)))

    def _moved(self, array: FloatArray) -> Any:
        """Return an array in the precision of the products, on the device."""
        on_host = np.asarray(array, dtype=self._dtype)
        return on_host if self.xp is np else self.xp.tensor(on_host, device=self.device)

    def _fits(self, n_problems: int) -> bool:
        """Return whether the device holds all rows."""
        free = None if self.device is None else free_bytes(self.device)
        columns = self.d + n_problems * (self.n_outputs + 1)
        return free is None or 8 * self.n * columns <= free // FREE_SHARE

    def _parts(self, active: IntArray) -> Iterator[tuple[Any, Any, Any]]:
        """Yield features, targets and weights on the device: all rows at once where they fit."""
        x, y, v = self._rows
        if len(active) < len(v):
            if not np.array_equal(active, self._kept[0]):
                self._kept = active, (y[:, active], v[active])
            y, v = self._kept[1]
        if self._resident:
            yield x, y, v
            return
        for part in row_blocks((self.n, self.d), STREAMED_BYTES, itemsize=8):
            yield self._moved(x[part]), self._moved(y[:, :, part]), self._moved(v[:, part])

    def _curvature(self) -> Any:
        """Return the bound of the curvature; nothing where a D x D matrix does not pay."""
        if self.d > min(MAX_PRECONDITIONED, 2 * self.n):
            return None
        bound = 0.25 if self.n_outputs == 1 else 0.5
        every = np.arange(len(self._rows[2]))
        return bound * sum((x.T * v.mean(0)) @ x for x, _, v in self._parts(every))

    def _roots(self, l2: float) -> tuple[Any, Any]:
        """Return R and R^-1 of the curvature and a penalty; None for the identity."""
        if self._gram is None:
            return None, None
        identity = self._moved(np.eye(self.d))
        # Directions without variance keep a curvature, or the root would not exist.
        floor = max(l2, self._least_curvature * float(self._gram.diagonal().max()), 1e-300)
        root = self.xp.linalg.cholesky(self._gram + floor * identity)
        return root, self.xp.linalg.inv(root)

    def minimize(self, l2: float, max_iter: int, tol: float) -> Solutions:
        """Minimise all objectives at one penalty, from the solutions of the last one."""
        n_problems, (root, to_weights) = len(self._rows[2]), self._roots(l2)
        start = self._last
        start[:, :, :-1] = _times(start[:, :, :-1], root)
        found = minimize_together(
            lambda flat, active: self._objective(flat, active, l2, to_weights),
            self._back(start.reshape(n_problems, -1)),
            max_iter,
            tol,
            self._rounding,
        )
        self._last = self._moved(found.parameters).reshape(start.shape)
        self._last[:, :, :-1] = _times(self._last[:, :, :-1], to_weights)
        coef = self._scaled(self._last[:, :, :-1], np.arange(n_problems))
        intercept = self._last[:, :, -1]
        return Solutions(self._back(coef), self._back(intercept), found.values, found.steps)

    def _scaled(self, weights: Any, active: IntArray) -> Any:
        """Return weights (A, C, D) of the shared features, or slopes of a problem's own weights."""
        return weights if self._columns is None else weights * self._columns[active][:, None]

    def _objective(
        self, flat: FloatArray, active: IntArray, l2: float, to_weights: Any
    ) -> tuple[FloatArray, FloatArray]:
        xp, shape = self.xp, (len(active), self.n_outputs, self.d + 1)
        parameters = self._moved(flat).reshape(shape)
        own = _times(parameters[:, :, :-1], to_weights)
        weights = self._scaled(own, active).swapaxes(0, 1).reshape(-1, self.d)
        intercepts = parameters[:, :, -1:].swapaxes(0, 1)
        loss, slopes = 0.5 * l2 * (own**2).sum((1, 2)), xp.zeros_like(weights)
        gradient = xp.zeros_like(parameters)
        for x, y, v in self._parts(active):
            scores = (weights @ x.T).reshape(y.shape)
            if self.fit_intercept:
                scores += intercepts
            fit, residual = self._cross_entropy(scores, y, v)
            loss = loss + fit
            slopes += residual.reshape(len(weights), -1) @ x
            if self.fit_intercept:
                gradient[:, :, -1] += residual.sum(2).T
        slopes = self._scaled(slopes.reshape(shape[1], shape[0], -1).swapaxes(0, 1), active)
        slopes = slopes + l2 * own
        gradient[:, :, :-1] = slopes if to_weights is None else slopes @ to_weights.T
        return self._back(loss), self._back(gradient.reshape(len(active), -1))

    def _cross_entropy(self, scores: Any, y: Any, v: Any) -> tuple[Any, Any]:
        """Return the weighted cross-entropy (A,) of some rows, and its derivative by the scores."""
        xp = self.xp
        if self.n_outputs == 1:
            small = xp.exp(-xp.abs(scores))  # so that no exponential overflows
            log_partition = xp.log1p(small) + xp.where(scores > 0, scores, 0.0)
            proba = xp.where(scores > 0, 1.0, small) / (1 + small)
        else:
            top = xp.amax(scores, 0)
            proba = xp.exp(scores - top)
            total = proba.sum(0)
            log_partition = top + xp.log(total)
            proba /= total
        loss = (v * (log_partition - (y * scores).sum(0))).reshape(len(v), -1).sum(1)
        proba -= y
        proba *= v
        return loss, proba

    def _back(self, array: Any) -> FloatArray:
        on_host = array if self.xp is np else array.cpu().numpy()
        return np.array(on_host, dtype=np.float64)


def _times(array: Any, root: Any) -> Any:
    return array if root is None else array @ root


def ridge(
    features: FloatArray, targets: FloatArray, weights: FloatArray, l2: float, intercept: bool
) -> tuple[FloatArray, FloatArray]:
    """Solve weighted ridge by SVD; l2 = 0 gives the least-norm solution."""
    n = len(features)
    feature_mean = np.average(features, axis=0, weights=weights) if intercept else 0.0
    target_mean = (
        np.average(targets, axis=0, weights=weights) if intercept else np.zeros(targets.shape[1])
    )
    root = np.sqrt(weights / n)[:, None]
    left, singular, right = np.linalg.svd((features - feature_mean) * root, full_matrices=False)
    keep = singular > singular.max(initial=0.0) * max(features.shape) * np.finfo(np.float64).eps
    shrink = np.divide(singular, singular**2 + l2, out=np.zeros_like(singular), where=keep)
    coef = ((left.T @ ((targets - target_mean) * root)) * shrink[:, None]).T @ right
    return coef, target_mean - coef @ np.broadcast_to(feature_mean, features.shape[1])
