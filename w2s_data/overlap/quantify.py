"""`TypeModel`: shares of the three types of points by a fitted model instead of by counting.

A share of thresholded noisy scores is not the share of types: it is drawn towards the middle,
the more the scores overlap. A mixture of the types knows its own errors, and the share that makes
the scores most likely is right in level as far as the mixture is. The mixture is fitted to a sample
of the pool and, where they are given, to gold rows, whose class is known; sources and groups get
the shares that make their own points most likely under the densities of all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.special import expit, logit

from w2s_data.data.regions import Region
from w2s_data.features.matrix import FeatureMatrix, pieces
from w2s_data.overlap.mixture import (
    TYPES,
    Kind,
    Mixture,
    Points,
    log_odds,
    shares_of,
)
from w2s_data.utils.intervals import Estimate
from w2s_data.utils.threads import for_each
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray
from w2s_data.utils.votes import abstains

LEAST_OF_GROUP = 30  # points of the fit that say how far a group's own share depends on it
# Cohen's kappa of the types that two halves of the points find, beyond what the weak model tells.
# Noise mostly stays below .15, one in a hundred is above; types at a separation of 2 reach .2 to .5
# and at 3 and in real dominoes mostly .6 up. From .2 on they are nearer to the truth than counts.
LEAST_AGREEMENT = 0.25
LEAST_LESS_CONFIDENT = 0.6  # chance that a hard-only point is less confident than another


class Shares(NamedTuple):
    """Shares of the types in each of G groups, with the limits of their intervals: (G, 3) each."""

    value: FloatArray
    low: FloatArray
    high: FloatArray


@dataclass(frozen=True)
class Reduction:
    """How rows become points of the mixture."""

    centre: FloatArray  # (D,)
    directions: FloatArray  # (D, d), the main ones of the strong features
    edges: FloatArray  # between the ranks of confidence
    n_classes: int

    def points(
        self,
        features: FloatArray,
        proba: FloatArray,
        confidence: FloatArray,
        gold: IntArray | None = None,
    ) -> Points:
        """Return the points of some rows."""
        kind = features.dtype  # float64 would double the time for blocks of float32
        reduced = (features - self.centre.astype(kind)) @ self.directions.astype(kind)
        labels = np.where(abstains(proba), -1, proba.argmax(axis=1))
        if self.n_classes == 1:
            labels, proba, gold = np.minimum(labels, 0), np.ones((len(proba), 1)), None
        return Points(
            reduced.astype(np.float32),
            log_odds(proba).astype(np.float32),
            labels,
            np.searchsorted(self.edges, confidence, side="right"),
            np.full(len(proba), -1) if gold is None else gold,
            self.n_classes,
        )


@dataclass(frozen=True)
class TypeModel:
    """A fitted mixture, or the mean of several with different numbers of directions."""

    kind: Kind
    reduction: Reduction
    members: tuple[Mixture, ...]
    agreement: float  # Cohen's kappa of the types of two halves, beyond what the weak model tells
    less_confident: float  # chance that a hard-only point is so, against another one
    rows: IntArray  # (n,) of the pool that were fitted
    replicates: tuple[tuple[FloatArray, ...], ...]  # log densities (n, 3): jackknife, member
    log_types: FloatArray  # (N, M, 3), log densities of the pool's points
    regions: IntArray  # int8, the likeliest type of every row, in or out of the pool

    @property
    def objection(self) -> str:
        """Why the shares are not to be relied on; empty if nothing speaks against them."""
        if any(member.lost_a_type for member in self.members):
            return "the model leaves no point to one of the types"
        if self.agreement < LEAST_AGREEMENT:
            return (
                "models of two halves of the points disagree on which those are, beyond what the "
                f"weak model tells (Cohen's kappa {self.agreement:.2f}, at least "
                f"{LEAST_AGREEMENT:g} wanted)"
            )
        if self.less_confident < LEAST_LESS_CONFIDENT:
            return (
                "the weak model is hardly less confident of the hard-only points that the model "
                f"finds than of others (AUC {self.less_confident:.2f}, "
                f"{LEAST_LESS_CONFIDENT:g} wanted)"
            )
        return ""

    def score(self, points: Points) -> FloatArray:
        """Return log densities (n, M, 3) of points under each type."""
        parts = [m.log_types(_shorter(points, m)) for m in self.members]
        return np.stack(parts, axis=1).astype(np.float32)

    def proba(self, log_types: FloatArray) -> FloatArray:
        """Return the chance (n, 3) of each type, from log densities (n, M, 3)."""
        weights = np.stack([member.weights.sum(axis=1) for member in self.members])
        joint = np.exp(log_types - log_types.max(axis=2, keepdims=True)) * weights
        return np.asarray((joint / joint.sum(axis=2, keepdims=True)).mean(axis=1))

    def scored(
        self, features: FeatureMatrix, proba: FloatArray, confidence: FloatArray, pool: IntArray
    ) -> tuple[FloatArray, AnyArray]:
        """Return log densities (n, M, 3) of the pool's rows, and likeliest types (N,) of all."""
        log_types = np.empty((len(pool), len(self.members), TYPES), dtype=np.float32)
        regions = np.empty(len(proba), dtype=np.int8)
        place = np.full(len(proba), -1)
        place[pool] = np.arange(len(pool))

        def score(piece: tuple[slice, FloatArray]) -> None:
            rows, block = piece
            scores = self.score(self.reduction.points(block, proba[rows], confidence[rows]))
            # Types whose components are one are as likely: rounding shall not decide between them.
            regions[rows] = self.proba(scores).round(5).argmax(axis=1)
            own = place[rows]
            log_types[own[own >= 0]] = scores[own >= 0]

        for_each(score, pieces(features))
        return log_types, regions

    def regions_of(
        self, features: FeatureMatrix, proba: FloatArray, confidence: FloatArray
    ) -> AnyArray:
        """Return the likeliest types (n,) of new rows, int8."""
        return self.scored(features, proba, confidence, np.empty(0, dtype=np.int64))[1]

    def shares(self, codes: IntArray | None, n_groups: int, level: float) -> Shares:
        """Return the shares of the types in groups of the pool's points; -1 is in no group.

        None stands for all points as one group. Limits are NaN where the jackknife was left out.
        """
        from scipy.stats import norm

        value, spread = self._whole if codes is None else self._estimates(codes, n_groups)
        # On the scale of log-odds, where limits do not leave [0, 1].
        near = np.clip(value, 1e-3, 1 - 1e-3)
        reach = norm.ppf((1 + level) / 2) * np.sqrt(spread) / (near * (1 - near))
        low, high = expit(logit(near) - reach), expit(logit(near) + reach)
        return Shares(value, np.minimum(low, value), np.maximum(high, value))  # keep NaN

    def density(self, level: float) -> Estimate:
        """Return the share of overlap points in the pool."""
        value, low, high = self.shares(None, 1, level)
        overlap = (0, Region.OVERLAP)
        return Estimate(float(value[overlap]), float(low[overlap]), float(high[overlap]), level)

    @cached_property
    def _whole(self) -> tuple[FloatArray, FloatArray]:
        # Density, table and summary all begin with it.
        return self._estimates(np.zeros(len(self.log_types), dtype=np.int64), 1)

    def _estimates(self, codes: IntArray, n_groups: int) -> tuple[FloatArray, FloatArray]:
        """Return the shares in groups, and their variances: (G, 3) each."""
        value = np.full((n_groups, TYPES), np.nan)
        spread = np.zeros_like(value)
        fitted_codes = codes[self.rows]
        everywhere = self._model_variance(np.arange(len(self.rows)))
        for group in range(n_groups):
            inside = np.flatnonzero(codes == group)
            members = self.log_types[inside].transpose(1, 0, 2).astype(np.float64)
            each = np.stack([shares_of(own) for own in members])
            value[group] = each.mean(axis=0)
            own = np.flatnonzero(fitted_codes == group)
            enough = len(own) >= LEAST_OF_GROUP
            spread[group] = (
                np.mean([_sampling_variance(m, s) for m, s in zip(members, each, strict=True)], 0)
                + (self._model_variance(own) if enough else everywhere)
                + each.var(axis=0)
            )
        return value, spread

    def _model_variance(self, own: IntArray) -> FloatArray:
        """Variance (3,) of the shares among some fitted points, by leaving out parts of the fit."""
        if not self.replicates:
            return np.full(TYPES, np.nan)
        each = np.array(
            [np.mean([shares_of(m[own]) for m in members], axis=0) for members in self.replicates]
        )
        n = len(each)
        return np.asarray((n - 1) / n * ((each - each.mean(axis=0)) ** 2).sum(axis=0))


def _shorter(points: Points, member: Mixture) -> Points:
    return replace(points, reduced=points.reduced[:, : member.n_directions])


def _sampling_variance(log_types: FloatArray, share: FloatArray) -> FloatArray:
    """Variance (3,) of the shares among n points under densities that are known exactly.

    The inverse of the observed information of the two free shares.
    """
    density = np.exp(log_types - log_types.max(axis=1, keepdims=True))
    ratio = density / (density @ share)[:, None]
    slope = ratio[:, :2] - ratio[:, 2:]
    covariance = np.linalg.inv(slope.T @ slope + 1e-6 * np.eye(2))
    return np.append(np.diag(covariance), covariance.sum())
