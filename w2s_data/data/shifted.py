"""Synthetic points whose pool comes from elsewhere than the labelled rows, by a known amount."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from w2s_data.data.dataset import W2SDataset
from w2s_data.data.synthetic import MOST_DIMENSIONS, MOST_POINTS, Example, weak_model
from w2s_data.errors import InputError
from w2s_data.utils.typing import AnyArray, FloatArray, RandomState
from w2s_data.utils.validation import between, check_generator, check_parameters, one_of, whole


def shifted_gaussian(
    n_labelled: int = 400,
    n_pool: int = 2000,
    n_validation: int = 200,
    n_test: int = 1000,
    shift: float = 2.0,
    along: str = "neither",
    flip: bool = False,
    prior: float = 0.5,
    mu: float = 1.8,
    mu_steady: float = 1.0,
    dim: int = 10,
    n_teacher: int = 2000,
    random_state: RandomState = 0,
) -> Example:
    r"""Draw labelled rows from one distribution, and the pool from a shifted one.

    At home a label y = +-1 has equal chances, and strong features are [cue; steady; place]: a block
    cue ~ N(y m, I) of `dim` dimensions with \|m\| = `mu`, a block steady ~ N(y k, I) with \|k\| =
    `mu_steady`, and one number place ~ N(0, 1) that says nothing of the label. The teacher sees the
    cue alone, a logistic regression on `n_teacher` separate points from home: it is right there
    with chance Phi(mu), .964. The sources are "home" and "away":

    - home: labelled and validation rows, and the test split `test`;
    - away: the pool and the test split `test_shifted` (`n_test` rows each).

    Away differs by

    - `flip`: cue ~ N(-y m, I), so that the teacher is right with chance Phi(-mu), .036;
    - `prior`: the chance of y = +1 (label shift);
    - `shift`, in standard deviations: place ~ N(shift, 1) for `along="neither"`; for
      `along="label"` cue and steady are moved in the direction that the label depends on and y is
      drawn again from P(y | x), so that P(x) alone has changed (covariate shift).

    `truth` holds `shifted` (True away), `proba`, the chance of "positive" given the strong features
    where the row comes from, and `log_ratio`, log p_away(x) - log p_home(x) of the strong features.
    Rows are ordered by split.

    Raises
    ------
    InputError
        For `along="label"` with a `prior` other than .5: the classes follow from P(y | x) there.

    Examples
    --------
    >>> data = shifted_gaussian(flip=True).dataset
    >>> right = data.weak_proba.argmax(axis=1) == data.labels
    >>> [f"{right[data.rows(split)].mean():.2f}" for split in ("labelled", "pool")]
    ['0.95', '0.04']
    """
    counts = {
        "labelled": n_labelled, "pool": n_pool, "validation": n_validation,
        "test": n_test, "test_shifted": n_test,
    }  # fmt: skip
    sizes = {f"n_{name}": size for name, size in counts.items() if name != "test_shifted"}
    check_parameters(
        sizes | {"shift": shift, "along": along, "flip": flip, "prior": prior, "mu": mu}
        | {"mu_steady": mu_steady, "dim": dim, "n_teacher": n_teacher},
        dict.fromkeys(sizes, whole(0, MOST_POINTS))
        | dict.fromkeys(("mu", "mu_steady"), between(0, 100))
        | {
            "shift": between(-100, 100),
            "along": one_of("neither", "label"),
            "flip": one_of(True, False),
            "prior": between(0, 1),
            "dim": whole(1, MOST_DIMENSIONS),
            "n_teacher": whole(1, MOST_POINTS),
        },
    )  # fmt: skip
    if along == "label" and prior != 0.5:
        raise InputError(
            "along='label' draws the labels from P(y | x), which leaves no choice of prior: use "
            "along='neither', or leave out prior"
        )
    home = _Place(mu, mu_steady)
    away = _Place(-mu if flip else mu, mu_steady, prior, shift, along == "label")
    rng = check_generator(random_state)
    split = np.repeat(np.array(list(counts), dtype=object), list(counts.values()))
    shifted = np.isin(split, ["pool", "test_shifted"])
    core, positive = np.empty((len(split), 3)), np.empty(len(split), dtype=bool)
    for place, rows in ((home, ~shifted), (away, shifted)):
        core[rows], positive[rows] = place.draw(int(rows.sum()), rng)
    taught, known = home.draw(n_teacher, rng)
    cue = _spread(core[:, 0], dim, rng)
    strong = np.hstack([cue, _spread(core[:, 1], dim, rng), core[:, 2:]]).astype(np.float32)
    proba = np.where(shifted, away.chance(core), home.chance(core))
    dataset = W2SDataset(
        table=pd.DataFrame(
            {
                "id": [f"point-{i}" for i in range(len(split))],
                "label": np.where(positive, "positive", "negative"),
                "split": "pool",
                "source": np.where(shifted, "away", "home"),
            }
        ),
        kind="features",
        class_names=("negative", "positive"),
        weak_proba=weak_model(_spread(taught[:, 0], dim, rng), known.astype(int), cue),
        features=strong,
        name="shifted_gaussian",
        truth=pd.DataFrame(
            {
                "shifted": shifted,
                "proba": proba,
                "log_ratio": away.log_density(core) - home.log_density(core),
            }
        ),
    )
    return Example(dataset.with_given_splits(split), strong, cue.astype(np.float32))


@dataclass(frozen=True)
class _Place:
    """Distribution of (cue, steady, place), each along the only direction that matters of it."""

    cue: float  # distance of the class means from 0, with its sign
    steady: float
    prior: float = 0.5
    shift: float = 0.0
    along_label: bool = False

    @property
    def _direction(self) -> FloatArray:
        if not self.along_label:
            return np.array([0.0, 0.0, 1.0])
        length = np.hypot(self.cue, self.steady)
        return np.array([self.cue, self.steady, 0.0]) / (length or 1.0)

    def draw(self, n: int, rng: np.random.Generator) -> tuple[FloatArray, AnyArray]:
        """Draw n points (n, 3), and whether their label is positive (n,)."""
        positive = rng.random(n) < self.prior
        means = np.where(positive, 1.0, -1.0)[:, None] * np.array([self.cue, self.steady, 0.0])
        core = means + rng.standard_normal((n, 3)) + self.shift * self._direction
        if self.along_label:
            positive = rng.random(n) < self.chance(core)
        return core, positive

    def chance(self, core: FloatArray) -> FloatArray:
        """Return P(positive | x), (n,)."""
        negative, positive = _log_sides(self, core)
        return np.asarray(np.exp(positive - np.logaddexp(negative, positive)))

    def log_density(self, core: FloatArray) -> FloatArray:
        """Return log p(x), (n,), up to a constant that every place with these means shares."""
        before = core - self.shift * self._direction
        return np.asarray(-0.5 * (before**2).sum(axis=1) + np.logaddexp(*_log_sides(self, before)))


def _log_sides(place: _Place, core: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return log P(y) + <x, mean of y> of both classes, negative first."""
    score = core[:, :2] @ np.array([place.cue, place.steady])
    with np.errstate(divide="ignore"):  # a prior of 0 or 1
        return np.log(1 - place.prior) - score, np.log(place.prior) + score


def _spread(along: FloatArray, dim: int, rng: np.random.Generator) -> FloatArray:
    """Return points (n, dim) of this coordinate (n,) along (1, ..., 1), standard normal across."""
    noise = rng.standard_normal((len(along), dim))
    direction: FloatArray = np.full(dim, 1 / np.sqrt(dim))
    return np.asarray(noise + (along - noise @ direction)[:, None] * direction)
