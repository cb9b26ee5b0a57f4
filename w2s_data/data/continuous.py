"""Examples whose labels are values: a linear target of known parts, and the slant of digits."""

from __future__ import annotations

import numpy as np
import pandas as pd

from w2s_data.data.dataset import W2SDataset
from w2s_data.data.digits import CHANNELS, png, read_scans
from w2s_data.data.synthetic import MOST_DIMENSIONS, MOST_POINTS, Example
from w2s_data.errors import InputError
from w2s_data.utils.typing import FloatArray, RandomState
from w2s_data.utils.validation import (
    between,
    check_generator,
    check_parameters,
    nonnegative,
    one_of,
    whole,
)

READER_SCANS = 150  # that the old reader learned from: its error is then a third of the variance
TURN = 30.0  # degrees by which scans are turned, at most: their own slant varies by 7


def ridgeless(
    n_labelled: int = 150,
    n_pool: int = 2000,
    n_test: int = 1000,
    n_validation: int = 100,
    d_w: int = 30,
    d_s: int = 20,
    d_sw: float = 10,
    shared: float = 1.0,
    strong_only: float = 0.0,
    weak_only: float = 0.0,
    unseen: float = 0.0,
    noise: float = 1.0,
    random_state: RandomState = 0,
) -> Example:
    r"""Draw jointly Gaussian weak and strong features and a linear target whose parts are known.

    Both sides are N(0, I) in d_w and d_s dimensions, turned at random. They share as many
    directions as `d_sw` has whole ones, and one more pair whose squared correlation is its
    fraction. The target is the sum of independent parts of the given variances along one direction
    each: a common one (`shared`), one of the strong or of the weak features alone, and one that no
    feature shows. In the terms of `discrepancy.theory.risks`

    .. math:: \rho_w = strong + unseen, \quad \rho_s = weak + unseen, \quad
              c_2 = strong, \quad \rho_{ws} = weak

    and labels are the target plus noise of variance `noise`. With the defaults the error of every
    model is variance alone. `truth` holds `value`, the target; rows are ordered by split.

    References
    ----------
    Dong, Li, Li, Lee, Lei, *Discrepancies are Virtue*, 2025 (arXiv 2502.05075): ridgeless
    regression on features that share d_sw dimensions.

    Examples
    --------
    >>> example = ridgeless(n_labelled=50, n_pool=100, d_sw=7.5)
    >>> example.weak_features.shape, example.strong_features.shape
    ((1250, 30), (1250, 20))
    """
    sizes = {"labelled": n_labelled, "pool": n_pool, "validation": n_validation, "test": n_test}
    counts = {f"n_{name}": size for name, size in sizes.items()}
    dims = {"d_w": d_w, "d_s": d_s}
    parts = {"shared": shared, "strong_only": strong_only, "weak_only": weak_only, "unseen": unseen}
    known = {**counts, **dims, **parts, "noise": noise, "d_sw": d_sw}
    limit = min(d_w, d_s)
    check_parameters(
        known,
        dict.fromkeys(counts, whole(0, MOST_POINTS))
        | dict.fromkeys(dims, whole(1, MOST_DIMENSIONS))
        | dict.fromkeys([*parts, "noise"], nonnegative)
        | {"d_sw": between(0, limit)},
    )
    whole_pairs, pairs = int(d_sw), int(np.ceil(d_sw))
    asked = {"shared": whole_pairs, "strong_only": d_s - pairs, "weak_only": d_w - pairs}
    for name, directions in asked.items():
        if parts[name] and not directions:
            raise InputError(
                f"{name} must be 0 where d_w = {d_w}, d_s = {d_s} and d_sw = {d_sw:g}: there is no "
                "such direction"
            )
    rng = check_generator(random_state)
    n = sum(counts.values())
    weak, strong = rng.standard_normal((n, d_w)), rng.standard_normal((n, d_s))
    strong[:, :whole_pairs] = weak[:, :whole_pairs]
    if pairs > whole_pairs:
        square = d_sw - whole_pairs
        strong[:, whole_pairs] *= np.sqrt(1 - square)
        strong[:, whole_pairs] += np.sqrt(square) * weak[:, whole_pairs]
    # Directions of a part are all alike: any other choice is a rotation.
    along = {
        "shared": weak[:, 0],
        "strong_only": strong[:, -1],
        "weak_only": weak[:, -1],
        "unseen": rng.standard_normal(n),
    }
    value = np.sum([np.sqrt(parts[name]) * x for name, x in along.items()], axis=0)
    label = value + np.sqrt(noise) * rng.standard_normal(n)
    weak_features, strong_features = _turned(weak, rng), _turned(strong, rng)
    table = pd.DataFrame(
        {
            "id": [f"point-{i}" for i in range(n)],
            "label": label,
            "split": np.repeat(np.array(list(sizes), dtype=object), list(sizes.values())),
        }
    )
    dataset = W2SDataset(
        table=table,
        kind="features",
        class_names=(),
        features=strong_features,
        task="regression",
        name="ridgeless",
        truth=pd.DataFrame({"value": value}),
    )
    return Example(dataset, strong_features, weak_features)


def _turned(side: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Rotate features at random, so that no column is a direction of the construction."""
    rotation = np.linalg.qr(rng.standard_normal((side.shape[1],) * 2))[0]
    return np.asarray(side @ rotation, dtype=np.float32)


def digit_ink(
    n_labelled: int = 100,
    n_test: int = 400,
    n_validation: int = 100,
    reader: bool = True,
    random_state: RandomState = 0,
) -> Example:
    """Return scikit-learn's scans of digits, turned at random; the label is the slant of the ink.

    The slant is the angle in degrees, positive to the right, of the line that the ink of a row
    follows from row to row by least squares: a ratio of moments, which no linear model has exactly.
    Weak features are 4 x 4 pixels of the scan through a noisy camera, strong ones its own 8 x 8.
    With `reader` the weak labels are those of an old reader, a ridge regression of the weak
    features of 150 other scans, each with its standard error.

    `truth` holds `digit` and `scan`, the number in `sklearn.datasets.load_digits`.

    Examples
    --------
    >>> data = digit_ink().dataset
    >>> {name: len(data.rows(name)) for name in ("labelled", "pool", "test")}
    {'labelled': 100, 'pool': 1047, 'test': 400}
    """
    counts = {"n_labelled": n_labelled, "n_validation": n_validation, "n_test": n_test}
    check_parameters(
        counts | {"reader": reader},
        dict.fromkeys(counts, whole(1, 400)) | {"reader": one_of(True, False)},
    )
    rng = check_generator(random_state)
    scans, digit = read_scans()
    order = rng.permutation(len(scans))
    scans = np.array([_turned_scan(scan, rng.uniform(-TURN, TURN)) for scan in scans[order]])
    camera = np.array([CHANNELS["noisy"](scan, rng) for scan in scans])
    weak = camera.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(len(scans), -1)
    strong, slant = scans.reshape(len(scans), -1), ink_slant(scans)
    taught, kept = np.split(np.arange(len(scans)), [READER_SCANS if reader else 0])
    values = errors = None
    if reader:
        from sklearn.linear_model import RidgeCV

        model = RidgeCV(np.logspace(-3, 2, 11)).fit(weak[taught], slant[taught])
        values = model.predict(weak[kept])[:, None]
        # Left out one by one, as the error on other scans is.
        errors = np.full_like(values, np.sqrt(-model.best_score_))
    split = np.full(len(kept), "pool", dtype=object)
    gold = np.repeat(["labelled", "validation", "test"], list(counts.values()))
    split[: len(gold)] = gold
    number = order[kept]
    table = pd.DataFrame(
        {
            "id": [f"digit-{i:04d}" for i in number],
            "item": pd.Series([png(scan) for scan in scans[kept]], dtype=object),
            "label": slant[kept],
            "split": split,
        }
    )
    dataset = W2SDataset(
        table=table,
        kind="image",
        class_names=(),
        task="regression",
        weak_values=values,
        weak_errors=errors,
        weak_names=("reader",) if reader else (),
        name="digit_ink",
        truth=pd.DataFrame({"digit": digit[number], "scan": number}),
    )
    return Example(dataset, strong[kept].astype(np.float32), weak[kept].astype(np.float32))


def _turned_scan(scan: FloatArray, angle: float) -> FloatArray:
    from scipy.ndimage import rotate

    return np.asarray(np.clip(rotate(scan, angle, reshape=False, order=1), 0, 1))


def ink_slant(scans: FloatArray) -> FloatArray:
    """Return the slant (n,) of ink in images (n, H, W), in degrees, in (-90, 90).

    The angle whose tangent is the slope of column on row, weighted by ink; 0 is upright.

    >>> upright, leaning = np.zeros((2, 8, 8))
    >>> upright[:, 3], leaning[range(8), range(7, -1, -1)] = 1, 1
    >>> ink_slant(np.array([upright, leaning])).round() + 0
    array([ 0., 45.])
    """
    rows, columns = np.indices(scans.shape[1:], dtype=np.float64)
    ink = scans.sum(axis=(1, 2))[:, None, None]
    down, right = (
        axis - ((scans * axis).sum(axis=(1, 2))[:, None, None] / ink) for axis in (rows, columns)
    )
    slope = (scans * down * right).sum(axis=(1, 2)) / (scans * down**2).sum(axis=(1, 2))
    return np.asarray(np.degrees(np.arctan(-slope)))
