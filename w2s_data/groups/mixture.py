"""Groups that differ in how features vary together: a Gaussian mixture across the classes.

Where a group scales or couples features rather than shifting them, no direction shows a gap. The
mixture has full covariances in the space of the first principal components of the features, of
length one and less the mean of their class, so that a group is one thing in all classes. It stands
for groups only if mixtures that are learned on either half of the points divide all of them alike:
the prediction strength of Tibshirani and Walther, *Cluster Validation by Prediction Strength*
(2005), with the adjusted Rand index as agreement.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.groups.gaps import principal_axes
from w2s_data.utils.threads import serial
from w2s_data.utils.typing import FloatArray, IntArray

MAX_COMPONENTS = 30  # two full covariances then have 930 parameters
MAX_ROWS = 8_000  # for up to six starts on both halves and on the whole
STARTS = 3  # at random; more begin with the longest rows
LONG_SHARES = (0.1, 0.3, 0.5)  # of rows that are called long, as the group may be small or large
REPRODUCED = 0.8  # least adjusted Rand index of the two halves: Tibshirani and Walther's threshold
ROWS_PER_PARAMETER = 2  # fewer rows fit noise, and the halves disagree


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture and the axes of its space."""

    axes: FloatArray
    model: Any
    agreement: float  # adjusted Rand index of the mixtures of two halves: 1 is perfect, 0 chance

    @property
    def reproduced(self) -> bool:
        """Whether two halves give the same groups."""
        return self.agreement >= REPRODUCED

    def codes(self, centred: FloatArray) -> IntArray:
        """Assign points, less the mean of their class, to groups."""
        return np.asarray(self.model.predict(centred @ self.axes))


def find_mixture(
    centred: FloatArray, lengths: FloatArray, n_groups: int, rng: np.random.Generator
) -> Mixture | None:
    """Fit a mixture to features (n, D) of length one, less the mean of their class.

    None where points are too few or constant. Long against short original features is one of the
    starts, since groups that scale features often differ in length.
    """
    from sklearn.metrics import adjusted_rand_score

    axes = principal_axes(centred)[1]
    half = len(centred) // 2
    most = int(np.sqrt(2 * half / (ROWS_PER_PARAMETER * n_groups)))  # d² / 2 parameters a group
    axes = axes[:, : min(MAX_COMPONENTS, most)]
    if axes.shape[1] == 0:
        return None
    points = centred @ axes
    order = rng.permutation(len(points))
    parts = [
        _fitted(points[rows], lengths[rows], n_groups, rng).predict(points)
        for rows in (order[:half], order[half:])
    ]
    agreement = float(adjusted_rand_score(*parts))
    return Mixture(axes, _fitted(points, lengths, n_groups, rng), agreement)


def _fitted(
    points: FloatArray, lengths: FloatArray, n_groups: int, rng: np.random.Generator
) -> Any:
    """Fit mixtures from several starts and return the likeliest."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    ridge = 1e-3 * float(points.var(axis=0).mean()) + 1e-12  # keeps covariances invertible
    starts: list[dict[str, Any]] = [{"init_params": "k-means++"}] * STARTS
    for share in LONG_SHARES if n_groups == 2 else ():
        long = lengths > np.quantile(lengths, 1 - share)
        parts = (long, ~long)
        if min(part.sum() for part in parts) > points.shape[1]:
            starts.append(_moments([points[part] for part in parts], ridge))
    fitted = []
    with serial(), warnings.catch_warnings():
        # Mixtures that have not converged do not agree between the halves.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for start in starts:
            seed = int(rng.integers(2**31))
            model = GaussianMixture(n_groups, reg_covar=ridge, random_state=seed, **start)
            fitted.append(model.fit(points))
    return max(fitted, key=lambda model: model.lower_bound_)


def _moments(parts: list[FloatArray], ridge: float) -> dict[str, Any]:
    """Start a mixture from given parts."""
    size = ridge * np.eye(parts[0].shape[1])
    total = sum(len(part) for part in parts)
    return {
        "weights_init": [len(part) / total for part in parts],
        "means_init": [part.mean(axis=0) for part in parts],
        "precisions_init": [
            np.linalg.inv(np.cov(part.T).reshape(size.shape) + size) for part in parts
        ],
    }
