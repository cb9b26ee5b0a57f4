"""How a `TypeModel` is found: fits from the regions by thresholds, of two forms, and of parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from w2s_data.data.regions import Region
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.overlap.changepoint import UNIFORM_EXPLAINED
from w2s_data.overlap.em import fit_mixture, start_from_axis, start_from_regions
from w2s_data.overlap.mixture import TYPES, Kind, Mixture, Points, bin_edges
from w2s_data.overlap.quantify import Reduction, TypeModel
from w2s_data.utils.threads import each_of, one_thread
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray

Part = TypeVar("Part")
T = TypeVar("T")

MOST_FITTED, LEAST_FITTED = 2000, 100  # points of the fit: its error is that of a share of 2,000
MOST_CLASSES = 12  # beyond them too few points of each are left, and the types are sought in all
KINDS: tuple[Kind, ...] = ("additive", "separate")
# No one number of directions is best on every kind of features; results are the mean of these.
DIMENSIONS: dict[Kind, tuple[int, ...]] = {"additive": (10, 20), "separate": (14, 20, 28)}
MOST_DIMENSIONS = 28
COMPARED = 20  # dimensions in which the forms are compared
POINTS_PER_DIMENSION = 50
N_PARTS = 6  # of the jackknife
# Share of the confidence's variance that the split explains: zeros for a missing pattern reach
# .93 or more, noise in its place .90 at most.
APART = 0.93
# Steps of fewer classes are so short that threads, which take turns in Python, would only wait.
FEWEST_CLASSES_OF_THREADS = 5


@dataclass(frozen=True)
class Gold:
    """Rows with gold labels: strong features, weak probabilities that have not seen them, codes."""

    features: FloatArray
    proba: FloatArray
    confidence: FloatArray
    labels: IntArray


class Found(NamedTuple):
    """A model of the types, why it is not relied on, and what it is used for."""

    types: TypeModel | None
    objection: str
    quantified_by: Literal["mixture", "count"]
    regions_by: Literal["mixture", "thresholds"]


NOT_SOUGHT = Found(None, "", "count", "thresholds")


def find_types(
    features: FeatureMatrix,
    pool: IntArray,
    proba: FloatArray,
    confidence: FloatArray,
    regions: AnyArray,
    *,
    gold: Gold | None,
    explained: tuple[float, float],
    intervals: bool,
    seed: int,
) -> Found:
    """Fit a model of the types, and decide what it is used for.

    `explained` is how well the thresholds of confidence and alignment split. Where they do not even
    split as evenly spread values would, the regions are the model's. Where hard-only points stand
    apart, and the others split too, counting makes no error that a model could correct.
    """
    doubtful = min(explained) < UNIFORM_EXPLAINED
    if explained[0] >= APART and not doubtful:
        return NOT_SOUGHT
    # A stream of its own: anchors and replicates are those of a fit without a model.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    fit = fit_types(
        *(features, pool, proba, confidence, regions), gold=gold, intervals=intervals, rng=rng
    )
    if isinstance(fit, str):
        return NOT_SOUGHT._replace(objection=fit)
    if fit.objection:
        return NOT_SOUGHT._replace(types=fit, objection=fit.objection)
    by: Literal["mixture", "thresholds"]
    by = "mixture" if doubtful else "thresholds"
    return Found(fit, "", "mixture", by)


def fit_types(
    features: FeatureMatrix,
    pool: IntArray,
    proba: FloatArray,
    confidence: FloatArray,
    regions: AnyArray,
    *,
    gold: Gold | None,
    intervals: bool,
    rng: np.random.Generator,
) -> TypeModel | str:
    """Fit a model of the types to the pool, whose regions by thresholds it starts from.

    `proba` (N, C) and `confidence` (N,) are those of all rows, `regions` (n,) of the pool. A string
    says why there is no model. Intervals cost a jackknife.
    """
    if len(pool) < LEAST_FITTED:
        return f"{len(pool)} points are too few for a model of the types ({LEAST_FITTED} wanted)"
    if (np.bincount(regions, minlength=TYPES) == 0).any():
        return "the thresholds leave a region empty"
    chosen = np.sort(rng.permutation(len(pool))[:MOST_FITTED])
    rows, starts = pool[chosen], regions[chosen].astype(np.int64)
    sample = features.take(rows).astype(np.float64)
    n_classes = proba.shape[1] if proba.shape[1] <= MOST_CLASSES else 1
    with one_thread():  # else last bits depend on the threads of BLAS
        reduction = _reduce(sample, confidence[rows], n_classes, rng)
        if reduction is None:
            return "the strong features are constant"
        points = reduction.points(sample, proba[rows], confidence[rows])
        fitted = _Fit(points, starts, _gold_points(reduction, gold))
    try:
        models = (
            fitted.model(kind, reduction, chosen, confidence[rows], rng)
            for kind in fitted.ranked(rng)
        )
        model = next(models)
        # The form of few parameters may find types on which parts agree where the other does not.
        if model.objection and model.kind == "separate":
            other = next(models)
            model = model if other.objection else other
        if intervals:
            model = replace(model, replicates=fitted.jackknife(model.members, rng))
    except np.linalg.LinAlgError:
        return "the strong features do not span enough directions"
    log_types, likeliest = model.scored(features, proba, confidence, pool)
    return replace(model, log_types=log_types, regions=likeliest)


class _Fit:
    """The fits to one sample: of both kinds, of halves, and without each part."""

    def __init__(self, points: Points, regions: IntArray, gold: Points | None) -> None:
        self.n = len(points)
        self.points, self.regions = points, regions
        if gold is not None:
            self.points = _joined(points, gold)
            # The nearest of the sampled points in confidence lends a gold row its first region.
            order = np.argsort(points.bins, kind="stable")
            place = np.searchsorted(points.bins[order], gold.bins).clip(max=self.n - 1)
            self.regions = np.concatenate([regions, regions[order[place]]])
        most = max(1, self.n // POINTS_PER_DIMENSION)
        self.most = min(most, points.reduced.shape[1])
        self._whole: dict[tuple[Kind, int], Mixture] = {}

    def _each_of(self, fit: Callable[[Part], T], parts: Sequence[Part]) -> list[T]:
        if self.points.n_classes >= FEWEST_CLASSES_OF_THREADS:
            return each_of(fit, parts)
        with one_thread():
            return [fit(part) for part in parts]

    def members(self, kind: Kind) -> tuple[Mixture, ...]:
        """Return the fits to all points, one for each number of directions."""
        dims = sorted({min(d, self.most) for d in DIMENSIONS[kind]})
        return tuple(self._each_of(partial(self._to_all, kind), dims))

    def _to_all(self, kind: Kind, d: int) -> Mixture:
        if (kind, d) not in self._whole:
            every = np.arange(len(self.points))
            self._whole[kind, d] = self._from_regions(kind, every, d)
        return self._whole[kind, d]

    def ranked(self, rng: np.random.Generator) -> list[Kind]:
        """Return the forms, first the one under which features of left-out points are likelier."""
        d = min(COMPARED, self.most)
        halves = self._halves(rng)

        def held_out(kind: Kind) -> float:
            start = self._to_all(kind, d).share
            scores = []
            for train, test in (halves, halves[::-1]):
                own = self.points.take(train, d)
                fit = fit_mixture(own, kind, start[train], steps=10)
                scores.append(fit.log_features(self.points.take(test, d)))
            return float(np.mean(scores))

        likely = dict(zip(KINDS, self._each_of(held_out, KINDS), strict=True))
        return sorted(KINDS, key=likely.__getitem__, reverse=True)

    def model(
        self,
        kind: Kind,
        reduction: Reduction,
        rows: IntArray,
        confidence: FloatArray,
        rng: np.random.Generator,
    ) -> TypeModel:
        """Return the model of one form, before any row is scored."""
        members = self.members(kind)
        none = np.empty(0)
        less_confident = _less_confident(self.proba(members), confidence)
        agreement = self.agreement(kind, rng)
        return TypeModel(
            kind, reduction, members, agreement, less_confident, rows, (), none, none.astype(int)
        )

    def agreement(self, kind: Kind, rng: np.random.Generator) -> float:
        """Return how far two halves, each from its own regions, find the same types.

        Points of which the weak model says the same are compared with each other: what it says is
        no sign that features show types, and alone would have halves agree on any noise.
        """
        d = min(COMPARED, self.most)
        points = self.points.take(np.arange(len(self.points)), d)

        def types(half: IntArray) -> IntArray | None:
            fit = self._from_regions(kind, half, d)
            return None if fit.lost_a_type else _weighted(fit, points).argmax(axis=1)

        one, other = self._each_of(types, self._halves(rng))
        if one is None or other is None:  # two types, which any two halves may agree on
            return 0.0
        return kappa_within(points.said, one, other)

    def jackknife(
        self, members: tuple[Mixture, ...], rng: np.random.Generator
    ) -> tuple[tuple[FloatArray, ...], ...]:
        """Return log densities (n, 3) of the pool's points by fits that each lack a part."""
        part = rng.permutation(len(self.points)) % N_PARTS
        cases = [(part != left_out, member) for left_out in range(N_PARTS) for member in members]
        found = self._each_of(lambda case: self._without(*case), cases)
        each = len(members)
        return tuple(tuple(found[i : i + each]) for i in range(0, len(found), each))

    def proba(self, members: tuple[Mixture, ...]) -> FloatArray:
        """Return the mean chance (n, 3) of the types of the pool's points."""
        return np.asarray(
            np.mean([member.share[: self.n].sum(axis=2) for member in members], axis=0)
        )

    def _without(self, kept: AnyArray, member: Mixture) -> FloatArray:
        d = member.n_directions
        own = self.points.take(kept, d)
        fit = fit_mixture(own, member.kind, member.share[kept], steps=8)
        return fit.log_types(self.points.take(np.arange(self.n), d))

    def _from_regions(self, kind: Kind, rows: IntArray, d: int) -> Mixture:
        points, regions = self.points.take(rows, d), self.regions[rows]
        starts = [start_from_regions(points, regions)]
        if kind == "additive" and (axis := start_from_axis(points, regions)) is not None:
            starts.append(axis)
        fits = [fit_mixture(points, kind, start) for start in starts]
        return max(fits, key=lambda fit: fit.log_likelihood)

    def _halves(self, rng: np.random.Generator) -> tuple[IntArray, IntArray]:
        order = rng.permutation(len(self.points))
        return np.sort(order[::2]), np.sort(order[1::2])


def _reduce(
    sample: FloatArray, confidence: FloatArray, n_classes: int, rng: np.random.Generator
) -> Reduction | None:
    from sklearn.utils.extmath import randomized_svd

    centre = sample.mean(axis=0)
    wanted = min(MOST_DIMENSIONS, *sample.shape)
    seed = int(rng.integers(2**31))
    _, length, axes = randomized_svd(sample - centre, wanted, n_iter=4, random_state=seed)
    kept = length > 1e-6 * length[0] if length[0] > 0 else length > 0
    if not kept.any():
        return None
    scale = length[0] / np.sqrt(len(sample))  # features may come in any unit
    return Reduction(centre, axes[kept].T / scale, bin_edges(confidence), n_classes)


def _gold_points(reduction: Reduction, gold: Gold | None) -> Points | None:
    if gold is None:
        return None
    return reduction.points(gold.features, gold.proba, gold.confidence, gold.labels)


def _joined(points: Points, gold: Points) -> Points:
    def both(name: str) -> AnyArray:
        return np.concatenate([getattr(points, name), getattr(gold, name)])

    return replace(
        points,
        reduced=both("reduced"),
        log_odds=both("log_odds"),
        labels=both("labels"),
        bins=both("bins"),
        gold=both("gold"),
    )


def _weighted(member: Mixture, points: Points) -> FloatArray:
    return np.asarray(member.log_types(points) + np.log(member.weights.sum(axis=1) + 1e-9))


def _less_confident(proba: FloatArray, confidence: FloatArray) -> float:
    """Chance that a hard-only point has a lower confidence than another one (AUC)."""
    from sklearn.metrics import roc_auc_score

    hard = proba.argmax(axis=1) == Region.HARD
    if hard.all() or not hard.any():
        return 0.5
    return float(roc_auc_score(~hard, confidence))


def kappa_within(strata: IntArray, one: IntArray, other: IntArray) -> float:
    r"""Return Cohen's kappa of two labellings (n,), with chance as it is within each stratum.

    :math:`(\sum_s o_s - \sum_s e_s) / (n - \sum_s e_s)` over strata of two points or more, where
    :math:`o` counts points labelled alike and :math:`e = (\sum_t a_t b_t - o) / (n_s - 1)` those
    expected so, by how often two different points are. At most 1; 0 is chance. It is a stratified
    kappa (Barlow, Lai and Azen, *A comparison of methods for calculating a stratified kappa*, 1991)
    in which few points of a stratum make no agreement of their own.
    """
    _, strata = np.unique(strata, return_inverse=True)
    shape = (strata.max() + 1, TYPES, TYPES)
    cells = np.ravel_multi_index((strata, one, other), shape)
    counts = np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape).astype(np.float64)
    counts = counts[counts.sum(axis=(1, 2)) > 1]
    alike = np.trace(counts, axis1=1, axis2=2)
    pairs = (counts.sum(axis=2) * counts.sum(axis=1)).sum(axis=1) - alike
    expected = (pairs / (counts.sum(axis=(1, 2)) - 1)).sum()
    beyond = counts.sum() - expected
    # Where all of each stratum are of one type, there is nothing to agree on.
    return float((alike.sum() - expected) / beyond) if beyond > 1e-9 else 0.0
