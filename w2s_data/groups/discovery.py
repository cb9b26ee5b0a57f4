"""Discovery of groups inside the classes of the pseudo-labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from sklearn.preprocessing import normalize

from w2s_data.errors import InputError
from w2s_data.features.matrix import FeatureMatrix, FeatureView, sampled
from w2s_data.groups.error_groups import error_groups
from w2s_data.groups.gaps import EVENLY_SPREAD, Split, apply_splits, find_splits
from w2s_data.groups.mixture import MAX_ROWS as MIXTURE_ROWS
from w2s_data.groups.mixture import Mixture, find_mixture
from w2s_data.utils.threads import each_of
from w2s_data.utils.typing import FloatArray, IntArray

Method = Literal["auto", "gaps", "mixture", "errors"]
METHODS = get_args(Method)
MAX_ROWS = 20_000  # of a class that splits are learned from; 60 MB in float64 at 384 features
MAX_HINTS = 4  # directions, the clearest of all classes, that every class tries
# Least cosine of the offsets from the class mean for two parts to be one group: in hundreds of
# dimensions unrelated offsets have cosines near 0.
SAME_DIRECTION = 0.5


@dataclass(frozen=True)
class Discovery:
    """Groups of N points, and one sentence with the result and its criterion."""

    codes: IntArray  # (N,), from 0, the largest first
    method: str  # "gaps", "mixture", "errors", or "none"
    spans: bool  # some group has several classes; else group determines label by construction
    reading: str


def discover_groups(
    features: FeatureMatrix,
    pseudo: IntArray,
    gold: IntArray,
    *,
    method: Method = "auto",
    n_groups: int | None = None,
    device: str = "auto",
    rng: np.random.Generator,
) -> Discovery:
    """Discover `n_groups` groups in each class; None lets the criterion of the method decide.

    Gold classes are -1 where unknown.
    """
    if method == "errors":
        return _by_errors(features, pseudo, gold, n_groups, device, rng)
    if method in ("auto", "gaps"):
        by_gaps = _by_gaps(features, pseudo, n_groups, rng)
        if by_gaps.method != "none" or method == "gaps":
            return by_gaps
    return _by_mixture(features, pseudo, n_groups, rng)


def _by_gaps(
    features: FeatureMatrix, pseudo: IntArray, n_groups: int | None, rng: np.random.Generator
) -> Discovery:
    codes = np.zeros(len(pseudo), dtype=np.int64)
    labels = np.argsort(-np.bincount(pseudo), kind="stable")[: len(np.unique(pseudo))]
    seeds = rng.integers(2**63, size=(2, len(labels)))
    # Each class is searched alone first: a direction that is clear in one class, where the group is
    # large, then serves as a hint in those where it is small.

    def alone(place: int) -> list[Split]:
        seed = seeds[0, place]
        sample = _learned_from(features, pseudo, labels[place], seed)
        return find_splits(sample, 2, np.random.default_rng(int(seed)))

    def together(place: int) -> tuple[list[Split], FloatArray]:
        seed = seeds[1, place]
        sample = _learned_from(features, pseudo, labels[place], seed)
        splits = find_splits(sample, n_groups, np.random.default_rng(int(seed)), hints)
        return splits, _directions(sample, splits)

    every = range(len(labels))
    firsts = [s for splits in each_of(alone, every) for s in splits]
    firsts = [split for split in firsts if split.separation > EVENLY_SPREAD]
    firsts.sort(key=lambda split: -split.separation)
    hints = [split.direction for split in firsts[:MAX_HINTS]]
    offsets: list[FloatArray] = []
    clearest = []
    for label, (splits, units) in zip(labels, each_of(together, every), strict=True):
        rows = np.flatnonzero(pseudo == label)
        clearest += [split.separation for split in splits[:1]]
        parts = _in_parts(rows)
        own = np.concatenate([apply_splits(features.take(part), splits) for part in parts])
        codes[rows] = _matched(units, offsets)[own]
    if not clearest:
        return _none(pseudo, "no direction inside a class shows a gap between its points")
    low, high = min(clearest), max(clearest)
    span = f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"
    return _discovery(
        codes,
        pseudo,
        "gaps",
        f"the items of {len(clearest)} of {len(np.unique(pseudo))} weak labels fall into parts "
        f"with a gap between them (whose means lie {span} standard deviations apart on held-out "
        f"items; up to {EVENLY_SPREAD:.1f} need no gap)",
    )


def _learned_from(features: FeatureMatrix, pseudo: IntArray, label: int, seed: int) -> FloatArray:
    rows = np.flatnonzero(pseudo == label)
    return features.take(sampled(rows, MAX_ROWS, np.random.default_rng(int(seed))))


def _in_parts(rows: IntArray) -> list[IntArray]:
    """Divide rows into parts of which one at a time fits in memory."""
    return np.array_split(rows, max(1, -(-len(rows) // MAX_ROWS)))


def _directions(sample: FloatArray, splits: list[Split]) -> FloatArray:
    """Return unit vectors (G, D) from the mean of a class to those of its groups."""
    own = apply_splits(sample, splits)
    means = np.stack([sample[own == group].mean(axis=0) for group in range(len(splits) + 1)])
    units = means - sample.mean(axis=0)
    units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
    return np.asarray(units)


def _matched(units: FloatArray, offsets: list[FloatArray]) -> IntArray:
    """Number the groups of a class among the groups of all classes so far.

    Two groups are one if they lie in the same direction from the mean of their class, as bright
    scans do for every digit. New groups are added to `offsets`.
    """
    from scipy.optimize import linear_sum_assignment

    numbers = np.full(len(units), -1)
    if offsets and len(units) > 1:
        cosines = units @ np.stack(offsets).T
        for group, number in zip(*linear_sum_assignment(-cosines), strict=True):
            if cosines[group, number] >= SAME_DIRECTION:
                numbers[group] = number
    for group in np.flatnonzero(numbers < 0):
        numbers[group] = len(offsets)
        offsets.append(units[group])
    return numbers


def _by_mixture(
    features: FeatureMatrix, pseudo: IntArray, n_groups: int | None, rng: np.random.Generator
) -> Discovery:
    rows = sampled(np.arange(len(pseudo)), MIXTURE_ROWS, rng)
    taken, labels = features.take(rows), pseudo[rows]
    sample = normalize(taken)
    means = np.zeros((int(pseudo.max()) + 1, features.shape[1]))
    for label in np.unique(labels):
        means[label] = sample[labels == label].mean(axis=0)
    mixture: Mixture | None = None
    if n_groups != 1:
        lengths = np.linalg.norm(taken, axis=1)
        mixture = find_mixture(sample - means[labels], lengths, n_groups or 2, rng)
    if mixture is None or (n_groups is None and not mixture.reproduced):
        halves = ""
        if mixture is not None:
            halves = f" (adjusted Rand index {mixture.agreement:.2f}, .8 needed)"
        return _none(
            pseudo,
            "no direction inside a class shows a gap, and mixtures learned on two halves do not "
            f"find the same groups{halves}",
        )
    codes = np.concatenate(
        [
            mixture.codes(normalize(features.take(part)) - means[pseudo[part]])
            for part in _in_parts(np.arange(len(pseudo)))
        ]
    )
    return _discovery(
        codes,
        pseudo,
        "mixture",
        "no clear gap, but a Gaussian mixture across the classes: mixtures learned on two halves "
        f"of the points agree with adjusted Rand index {mixture.agreement:.2f}",
    )


def _by_errors(
    features: FeatureMatrix,
    pseudo: IntArray,
    gold: IntArray,
    n_groups: int | None,
    device: str,
    rng: np.random.Generator,
) -> Discovery:
    known = gold >= 0
    if not known.any():
        raise InputError("discovery='errors' needs gold labels of some rows: pass labels")
    codes = np.zeros(len(pseudo), dtype=np.int64)
    taken = 0
    for label in np.unique(pseudo):
        rows = np.flatnonzero(pseudo == label)
        wrong = gold[rows] != label
        own = error_groups(FeatureView(features, rows), wrong, known[rows], n_groups, device, rng)
        codes[rows] = own + taken
        taken += int(own.max()) + 1
    return _discovery(
        codes,
        pseudo,
        "errors",
        f"fine clusters of {len(np.unique(pseudo))} pseudo-label classes, merged where the weak "
        f"model has similar error rates on the {int(known.sum()):,} rows with gold labels",
    )


def _discovery(codes: IntArray, pseudo: IntArray, method: str, how: str) -> Discovery:
    groups, own = np.unique(codes, return_inverse=True)
    order = np.argsort(-np.bincount(own), kind="stable")
    renamed = np.argsort(order)[own]
    pairs = len(np.unique(np.column_stack([renamed, pseudo]), axis=0))
    spans = pairs > len(groups)
    if len(groups) == 1:
        return _none(pseudo, how)
    return Discovery(renamed, method, spans, f"{len(groups)} groups were discovered: {how}")


def _none(pseudo: IntArray, why: str) -> Discovery:
    codes = np.zeros(len(pseudo), dtype=np.int64)
    return Discovery(codes, "none", True, f"no groups were discovered: {why}")
