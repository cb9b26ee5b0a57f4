"""Synthetic points of an easy and a hard block, whose region is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from w2s_data.data.dataset import W2SDataset
from w2s_data.data.regions import Region
from w2s_data.data.splits import apportion
from w2s_data.errors import InputError
from w2s_data.utils.typing import AnyArray, FloatArray, IntArray, RandomState
from w2s_data.utils.validation import between, check_generator, check_parameters, one_of, whole

# Beyond these an example asks for more memory than machines have.
MOST_POINTS, MOST_DIMENSIONS = 10**8, 10**5
TYPES = HARD, EASY, OVERLAP = tuple(int(region) for region in Region)  # ints, for numpy


@dataclass(frozen=True)
class Example:
    """A data set, with its features and regions if they are known by construction."""

    dataset: W2SDataset
    strong_features: FloatArray | None = None  # float32 (N, D_s)
    weak_features: FloatArray | None = None  # float32 (N, D_w)
    regions: IntArray | None = None  # int8 (N,), values of `Region`


def gaussian_overlap(
    n: int = 2000,
    overlap: float = 0.3,
    missing: str = "zero",
    mu: float = 3.0,
    dim: int = 20,
    n_teacher: int = 2000,
    sources: Mapping[str, float] | None = None,
    random_state: RandomState = 0,
) -> Example:
    """Draw Gaussian points that show an easy pattern, a hard one, or both.

    A share `overlap` of the points is overlap, half of the rest each hard-only and easy-only;
    `sources` of equal size (name: overlap) have each a share of their own. For a label y = +-1 a
    block of `dim` dimensions that carries its pattern is N(y mu, I), one that does not is 0
    (`missing="zero"`) or N(0, I) (`missing="noise"`); a pattern has length `mu`. Strong features
    are both blocks side by side, weak features the easy block; the weak model is a logistic
    regression on `n_teacher` separate points.
    """
    check_parameters(
        {"missing": missing, "n": n, "dim": dim, "n_teacher": n_teacher, "overlap": overlap},
        {
            "missing": one_of("zero", "noise"),
            **dict.fromkeys(("n", "n_teacher"), whole(1, MOST_POINTS)),
            "dim": whole(1, MOST_DIMENSIONS),
            "overlap": between(0, 1),
        },
    )
    rng = check_generator(random_state)
    densities = {"": overlap} if sources is None else dict(sources)
    named = {f"overlap of source {name!r}": density for name, density in densities.items()}
    check_parameters(named, dict.fromkeys(named, between(0, 1)))
    sizes = apportion(n, np.ones(len(densities)))
    source_of = np.repeat(np.array(list(densities), dtype=object), sizes)
    parts = [
        np.repeat(TYPES, apportion(size, ((1 - o) / 2, (1 - o) / 2, o)))
        for size, o in zip(sizes, densities.values(), strict=True)
    ]
    regions = np.concatenate(parts)
    y, easy, hard = _gaussian_points(rng, regions, missing, mu, dim)
    # The teacher sees points of the same mixture of regions, but never the scored points.
    teacher_regions = rng.choice(regions, size=n_teacher)
    y_teacher, easy_teacher, _ = _gaussian_points(rng, teacher_regions, missing, mu, dim)
    return _two_block_example(
        "gaussian_overlap",
        strong=np.hstack([easy, hard]),
        weak=easy,
        weak_proba=weak_model(easy_teacher, y_teacher, easy),
        labels=(y + 1) // 2,
        regions=regions,
        source=None if sources is None else source_of,
        class_names=("negative", "positive"),
        rng=rng,
    )


def _gaussian_points(
    rng: np.random.Generator, regions: IntArray, missing: str, mu: float, dim: int
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Draw labels +-1, easy blocks and hard blocks of points of the given regions."""
    n = len(regions)
    y = rng.choice([-1, 1], size=n)
    pattern = y[:, None] * np.full(dim, mu / np.sqrt(dim))  # of length mu, in every dimension
    blocks = []
    for absent in (HARD, EASY):  # the easy block is absent from hard-only points, and vice versa
        noise = rng.standard_normal((n, dim))
        lacks = (regions == absent)[:, None]
        blocks.append(np.where(lacks, noise if missing == "noise" else 0.0, noise + pattern))
    return y, blocks[0], blocks[1]


@dataclass(frozen=True)
class Block:
    """Real features of one half of a domino: items that show a class, and neutral items."""

    features: FloatArray  # strong features (n, D) of items of two classes
    labels: IntArray  # 0 or 1, (n,)
    neutral: FloatArray  # strong features (m, D) of items of neither class
    weak_features: FloatArray | None = None  # (n, D_w), required of the left block only
    weak_neutral: FloatArray | None = None  # (m, D_w)


def feature_dominoes(
    left: Block,
    right: Block,
    shares: Mapping[str, tuple[float, float, float]],
    n_per_source: int = 250,
    n_teacher: int = 1000,
    class_names: tuple[str, str] = ("0", "1"),
    random_state: RandomState = 0,
) -> Example:
    """Join items of two real feature blocks into points whose region is known.

    The left block shows the class on overlap and easy-only points and a neutral item on hard-only
    ones; the right block shows it on overlap and hard-only points and a neutral item on easy-only
    ones. Both halves of a point agree on the label. Strong features are [left; right]; the weak
    model, a logistic regression, sees the left block's weak features only and is trained on
    `n_teacher` points drawn the same way from items of their own (two fifths of each block).
    `shares` of a source are (hard-only, easy-only, overlap), exact up to rounding.
    """
    if left.weak_features is None or left.weak_neutral is None:
        raise InputError("the left block requires weak_features and weak_neutral")
    if not shares:
        raise InputError("shares must be {source: (hard, easy, overlap)}; got no source")
    for name, share in shares.items():
        if len(share) != 3 or min(share) < 0 or abs(sum(share) - 1) > 1e-6:
            raise InputError(
                f"shares of source {name!r} must be (hard, easy, overlap) that sum to 1; "
                f"got {share}"
            )
    counts = {"n_per_source": n_per_source, "n_teacher": n_teacher}
    check_parameters(counts, dict.fromkeys(counts, whole(1)))
    rng = check_generator(random_state)
    regions = np.concatenate(
        [np.repeat(TYPES, apportion(n_per_source, s)) for s in shares.values()]
    )
    source = np.repeat(np.array(list(shares), dtype=object), n_per_source)
    teacher_regions = rng.choice(regions, size=n_teacher)
    y, y_teacher = rng.integers(0, 2, size=len(regions)), rng.integers(0, 2, size=n_teacher)

    lefts, lefts_teacher = _draw_halves(
        left, (y, regions != HARD), (y_teacher, teacher_regions != HARD), rng
    )
    rights, _ = _draw_halves(right, (y, regions != EASY), (y_teacher, teacher_regions != EASY), rng)
    weak = np.vstack([left.weak_features, left.weak_neutral])
    return _two_block_example(
        "feature_dominoes",
        strong=np.hstack(
            [
                np.vstack([left.features, left.neutral])[lefts],
                np.vstack([right.features, right.neutral])[rights],
            ]
        ),
        weak=weak[lefts],
        weak_proba=weak_model(weak[lefts_teacher], y_teacher, weak[lefts]),
        labels=y,
        regions=regions,
        source=source,
        class_names=class_names,
        rng=rng,
    )


def _draw_halves(
    block: Block,
    scored: tuple[IntArray, AnyArray],
    teacher: tuple[IntArray, AnyArray],
    rng: np.random.Generator,
) -> tuple[IntArray, IntArray]:
    """Draw rows of [features; neutral] for scored and for teacher points (labels, shows class)."""
    labels = np.concatenate([block.labels, np.full(len(block.neutral), -1)])
    drawn = (np.empty(len(scored[0]), dtype=np.int64), np.empty(len(teacher[0]), dtype=np.int64))
    for value in (-1, 0, 1):
        items = rng.permutation(np.flatnonzero(labels == value))
        if len(items) < 2:
            raise InputError("a block needs two items or more of each class and neutral ones")
        # The teacher learns from items of its own, or it would have seen the scored ones.
        cut = max(1, round(0.6 * len(items)))
        for (y, shows), own, rows in zip(
            (scored, teacher), (items[:cut], items[cut:]), drawn, strict=True
        ):
            wanted = np.flatnonzero(np.where(shows, y, -1) == value)
            rows[wanted] = _draw_evenly(own, len(wanted), rng)
    return drawn


def _draw_evenly(items: IntArray, n: int, rng: np.random.Generator) -> IntArray:
    """Draw n items, none a second time before all have had a turn."""
    rounds = [rng.permutation(items) for _ in range(-(-n // len(items)))]
    return np.concatenate([items[:0], *rounds])[:n]


def weak_model(x: FloatArray, y: IntArray, points: FloatArray) -> FloatArray:
    """Return probabilities of two classes at `points`, by a logistic regression on (x, y)."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(y)) < 2:
        raise InputError(
            f"the weak model requires both classes among its {len(y)} points; raise n_teacher"
        )
    # Well separated points take more than the default 100 iterations.
    return np.asarray(LogisticRegression(max_iter=1000).fit(x, y).predict_proba(points))


def _two_block_example(
    name: str,
    *,
    strong: FloatArray,
    weak: FloatArray,
    weak_proba: FloatArray,
    labels: IntArray,
    regions: IntArray,
    source: AnyArray | None,
    class_names: tuple[str, str],
    rng: np.random.Generator,
) -> Example:
    order = rng.permutation(len(labels))  # points of a source do not lie side by side
    # float32, like the features of a store.
    strong, weak = strong[order].astype(np.float32), weak[order].astype(np.float32)
    regions = regions[order].astype(np.int8)
    table = pd.DataFrame(
        {
            "id": [f"point-{i}" for i in range(len(order))],
            "label": np.array(class_names, dtype=object)[labels[order]],
            "split": "pool",
        }
    )
    if source is not None:
        table["source"] = source[order]
    dataset = W2SDataset(
        table=table,
        kind="features",
        class_names=class_names,
        weak_proba=weak_proba[order],
        features=strong,
        name=name,
        truth=pd.DataFrame({"region": regions}),
    )
    return Example(dataset.with_splits(random_state=rng), strong, weak, regions)
