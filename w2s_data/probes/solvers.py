"""Solvers behind the linear probes: preconditioned L-BFGS, and ridge by SVD."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.compute.device import free_bytes, resolve_device
from w2s_data.features.matrix import row_blocks
from w2s_data.utils.typing import FloatArray

if TYPE_CHECKING:
    import torch

# Wider than this, the D x D preconditioner costs more than the iterations it saves.
MAX_PRECONDITIONED = 4096
FREE_SHARE = 2  # features take at most this part of a GPU's free memory: products need some too
STREAMED_BYTES = 256 * 2**20  # of float64 features on the device at a time, where not all fit


class LogisticProblem:
    """The logistic objective in preconditioned coordinates: numpy on the CPU, torch elsewhere.

    On CUDA the features stay on the device where half of its free memory holds them; larger ones
    stay on the host and pass through in blocks, in every step.

    The Hessian of the cross-entropy is at most X^T V X / (4 n) for two classes and X^T V X / (2 n)
    for more (Böhning 1992). With R R^T that bound plus the penalty, W = U R^-1 makes every
    curvature at most one, and L-BFGS converges in a few dozen steps however the features correlate.

    Targets are (n, C), or (n, 1) with the probability of the second of two classes; weights have
    mean 1.
    """

    def __init__(
        self,
        features: FloatArray,
        targets: FloatArray,
        weights: FloatArray,
        l2: float,
        fit_intercept: bool,
        device: str,
    ) -> None:
        self.n, self.d = features.shape
        self.n_outputs = targets.shape[1]
        self.l2 = l2
        self.fit_intercept = fit_intercept
        self.device = resolve_device(device)
        self._place(self.device)
        self._rows = (features, targets, weights[:, None] / self.n)
        self._resident = self._fits()
        if self._resident:
            self._rows = tuple(map(self._moved, self._rows))
        self.to_weights = self._inverse_root()
        self.penalty = self.l2 * (self.to_weights @ self.to_weights.T)

    def _place(self, device: torch.device) -> None:
        """Choose the array library: numpy has none of torch's overhead on small problems."""
        if device.type == "cpu":
            self.xp: Any = np
            self._moved: Callable[[FloatArray], Any] = np.asarray
            return
        import torch

        dtype = torch.float32 if device.type == "mps" else torch.float64
        self.xp = torch
        self._moved = functools.partial(torch.tensor, dtype=dtype, device=device)

    def _fits(self) -> bool:
        """Return whether the device holds all rows."""
        free = free_bytes(self.device)
        return free is None or 8 * self.n * (self.d + self.n_outputs + 1) <= free // FREE_SHARE

    def _parts(self) -> Iterator[tuple[Any, Any, Any]]:
        """Yield features, targets and weights on the device: all rows at once where they fit."""
        if self._resident:
            yield self._rows
            return
        for part in row_blocks((self.n, self.d), STREAMED_BYTES, itemsize=8):
            x, y, v = (self._moved(rows[part]) for rows in self._rows)
            yield x, y, v

    def _inverse_root(self) -> Any:
        """Return R^-1 of the curvature bound; the identity where a D x D matrix does not pay."""
        identity = self._moved(np.eye(self.d))
        if self.d > min(MAX_PRECONDITIONED, 2 * self.n):
            return identity
        bound = 0.25 if self.n_outputs == 1 else 0.5
        gram = bound * sum((x * v).T @ x for x, _, v in self._parts())
        # Directions without variance keep a curvature, or the root would not exist.
        floor = max(self.l2, 1e-10 * float(gram.diagonal().max()), 1e-300)
        return self.xp.linalg.inv(self.xp.linalg.cholesky(gram + floor * identity))

    def minimize(self, max_iter: int, tol: float) -> tuple[FloatArray, FloatArray, float, int]:
        """Return (coef (C, D), intercept (C,), objective, iterations)."""
        from scipy.optimize import minimize

        result = minimize(
            self._objective,
            np.zeros(self.n_outputs * (self.d + 1)),
            jac=True,
            method="L-BFGS-B",
            # Only the gradient decides: a flat objective may still move the coefficients.
            options={"maxiter": max_iter, "maxfun": 2 * max_iter, "gtol": tol, "ftol": 0.0},
        )
        solution = self._moved(result.x).reshape(self.n_outputs, self.d + 1)
        coef = self._back(solution[:, :-1] @ self.to_weights)
        return coef, self._back(solution[:, -1]), float(result.fun), int(result.nit)

    def _objective(self, flat: FloatArray) -> tuple[float, FloatArray]:
        xp = self.xp
        parameters = self._moved(flat).reshape(self.n_outputs, self.d + 1)
        u, intercept = parameters[:, :-1], parameters[:, -1]
        weights = u @ self.to_weights
        loss, slopes = 0.0, xp.zeros_like(weights)
        gradient = xp.zeros_like(parameters)
        for x, y, v in self._parts():
            scores = x @ weights.T + (intercept if self.fit_intercept else 0.0)
            fit, residual = self._cross_entropy(scores, y, v)
            loss = loss + fit
            slopes += residual.T @ x
            if self.fit_intercept:
                gradient[:, -1] += residual.sum(0)
        penalised = u @ self.penalty
        gradient[:, :-1] = slopes @ self.to_weights.T + penalised
        return float(loss + 0.5 * (u * penalised).sum()), self._back(gradient.reshape(-1))

    def _cross_entropy(self, scores: Any, y: Any, v: Any) -> tuple[Any, Any]:
        """Return the weighted cross-entropy of some rows, and its derivative by the scores."""
        xp = self.xp
        if self.n_outputs == 1:
            log_partition = xp.logaddexp(scores, xp.zeros_like(scores))
            loss = (v * (log_partition - y * scores)).sum()
        else:
            top = xp.amax(scores, 1)[:, None]  # so that no exponential overflows
            log_partition = top + xp.log(xp.exp(scores - top).sum(1)[:, None])
            loss = (v * y * (log_partition - scores)).sum()
        return loss, v * (xp.exp(scores - log_partition) - y)

    def _back(self, array: Any) -> FloatArray:
        on_host = array if self.xp is np else array.cpu().numpy()
        return np.array(on_host, dtype=np.float64)


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
