"""Example data sets that need no download; the synthetic ones come with their truth.

Every function returns an `Example`; `load_dataset("example:NAME?key=value")` returns its data set.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
import pandas as pd

from w2s_data.data.continuous import digit_ink, ridgeless
from w2s_data.data.dataset import W2SDataset
from w2s_data.data.digits import digits, read_scans, shifted_digits
from w2s_data.data.shifted import shifted_gaussian
from w2s_data.data.synthetic import (
    MOST_DIMENSIONS,
    MOST_POINTS,
    Block,
    Example,
    feature_dominoes,
    gaussian_overlap,
)
from w2s_data.errors import InputError, unknown
from w2s_data.utils.typing import FloatArray, RandomState
from w2s_data.utils.validation import between, check_generator, check_parameters, whole

DOMINO_SHARES = {  # (hard-only, easy-only, overlap) of the sources of `digit_dominoes`
    "A": (0.45, 0.45, 0.10),
    "B": (0.35, 0.40, 0.25),
    "C": (0.35, 0.25, 0.40),
    "D": (0.20, 0.25, 0.55),
    "E": (0.15, 0.15, 0.70),
}


def digit_dominoes(
    n_per_source: int = 250, n_teacher: int = 1000, random_state: RandomState = 0
) -> Example:
    """Join scans of 0 or 1 on the left with scans of 3 or 8 on the right, in five sources.

    A half that does not show the class shows another digit. Strong features are the
    standardised pixels of both halves; the weak model sees the left scan at 4 x 4 pixels. Five
    sources hold 10, 25, 40, 55 and 70 % overlap points.
    """
    return feature_dominoes(
        _digit_block(0, 1),
        _digit_block(3, 8),
        DOMINO_SHARES,
        n_per_source=n_per_source,
        n_teacher=n_teacher,
        random_state=random_state,
    )


def _digit_block(zero: int, one: int) -> Block:
    """Return scans of two digits as classes, the other eight as neutral items."""
    scans, digit = read_scans()
    pixels = scans.reshape(len(scans), -1)
    # Pixels at the border are nearly always blank: dividing by their deviation would blow them up.
    strong = (pixels - pixels.mean(axis=0)) / np.maximum(pixels.std(axis=0), 0.05)
    weak = scans.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(len(scans), -1)
    shown = (digit == zero) | (digit == one)
    return Block(
        features=strong[shown],
        labels=(digit[shown] == one).astype(np.int64),
        neutral=strong[~shown],
        weak_features=weak[shown],
        weak_neutral=weak[~shown],
    )


def spurious_gaussian(
    n_labelled: int = 600,
    n_pool: int = 3000,
    n_test: int = 2000,
    n_validation: int = 300,
    eta_labelled: float = 0.1,
    eta_pool: float = 0.5,
    eta_test: float = 0.5,
    dim_core: int = 10,
    teacher_dims: int = 4,
    student_dims: int = 2,
    similarity: float = 0.5,
    mu: float = 2.0,
    group_variance: float = 1.0,
    noise: float = 1.0,
    random_state: RandomState = 0,
) -> Example:
    r"""Draw a core signal and features that carry a group: the spurious-correlation model.

    Core z ~ N(0, I) in `dim_core` dimensions; group g ~ Bernoulli(eta), eta the minority share of
    the split (validation rows follow the labelled ones); group features xi ~ N(g mu, s_x I) with
    s_x = `group_variance`. With w = [1; T' xi] and psi = [1; S' xi] the teacher sees z (x) w (weak
    features) and the student z (x) psi (strong features). The target y = <b, z> + N(0, sigma_y^2)
    with \|b\| = 1 and sigma_y = `noise` depends on the core alone; its sign is the label.

    T holds `teacher_dims` orthonormal directions, S `student_dims <= teacher_dims` ones, with T'S =
    `similarity` on the diagonal; the mean shift has length `mu` and the same part of it in every
    direction. In the paper these numbers are p_T - 1 and p_S - 1.

    Groups are "majority" and "minority"; `truth` holds `target` (y), `signal` (<b, z>) and
    `minority`. Rows are ordered by split.

    References
    ----------
    Liu, Dong, Lei, "Does Weak-to-Strong Generalization Happen under Spurious Correlations?",
    ICLR 2026, section 2.

    Examples
    --------
    >>> example = spurious_gaussian(n_labelled=50, n_pool=100, n_test=20, n_validation=10)
    >>> example.weak_features.shape, example.strong_features.shape
    ((180, 50), (180, 30))
    """
    etas = {
        "labelled": (n_labelled, eta_labelled),
        "pool": (n_pool, eta_pool),
        "validation": (n_validation, eta_labelled),
        "test": (n_test, eta_test),
    }
    counts = {f"n_{name}": size for name, (size, _) in etas.items()}
    shares = {f"eta of the {name} split": eta for name, (_, eta) in etas.items()}
    check_parameters(
        counts
        | shares
        | {"dim_core": dim_core, "similarity": similarity, "student_dims": student_dims},
        dict.fromkeys(counts, whole(0, MOST_POINTS))
        | dict.fromkeys([*shares, "similarity"], between(0, 1))
        | {"dim_core": whole(1, MOST_DIMENSIONS), "student_dims": whole(0, teacher_dims)},
    )
    rng = check_generator(random_state)
    sizes = [size for size, _ in etas.values()]
    split = np.repeat(np.array(list(etas), dtype=object), sizes)
    n = len(split)
    minority = rng.random(n) < np.array([etas[name][1] for name in split])
    seen_by_teacher, seen_by_student = _group_directions(teacher_dims, student_dims, similarity)
    shift = np.full(teacher_dims + student_dims, mu / np.sqrt(max(1, teacher_dims + student_dims)))
    xi = rng.standard_normal((n, len(shift))) * np.sqrt(group_variance)
    xi += minority[:, None] * shift
    core = rng.standard_normal((n, dim_core))
    # b has equal entries and length 1: any other b is a rotation of the core.
    signal = core @ np.full(dim_core, 1 / np.sqrt(dim_core))
    target = signal + noise * rng.standard_normal(n)
    weak = _outer(core, xi @ seen_by_teacher)
    strong = _outer(core, xi @ seen_by_student)
    table = pd.DataFrame(
        {
            "id": [f"point-{i}" for i in range(n)],
            "label": np.where(target > 0, "positive", "negative"),
            "split": split,
            "group": np.where(minority, "minority", "majority"),
        }
    )
    dataset = W2SDataset(
        table=table,
        kind="features",
        class_names=("negative", "positive"),
        features=strong,
        name="spurious_gaussian",
        truth=pd.DataFrame({"target": target, "signal": signal, "minority": minority}),
    )
    return Example(dataset, strong, weak)


def _group_directions(
    teacher_dims: int, student_dims: int, similarity: float
) -> tuple[FloatArray, FloatArray]:
    """Return orthonormal T and S with T'S = similarity on the diagonal, 0 elsewhere."""
    basis = np.eye(teacher_dims + student_dims)
    teacher = basis[:, :teacher_dims]
    own = basis[:, teacher_dims:]
    # The rest of each direction is orthogonal to T, so that S is orthonormal as well.
    student = similarity * teacher[:, :student_dims] + np.sqrt(1 - similarity**2) * own
    return teacher, student


def _outer(core: FloatArray, group: FloatArray) -> FloatArray:
    """Return z (x) [1; group] of each row, float32."""
    extended = np.hstack([np.ones((len(group), 1)), group])
    products = core[:, :, None] * extended[:, None, :]
    return products.reshape(len(core), -1).astype(np.float32)


EXAMPLES: Mapping[str, Callable[..., Example]] = {
    "digit_ink": digit_ink,
    "digits": digits,
    "feature_dominoes": digit_dominoes,
    "gaussian_overlap": gaussian_overlap,
    "ridgeless": ridgeless,
    "shifted_digits": shifted_digits,
    "shifted_gaussian": shifted_gaussian,
    "spurious_gaussian": spurious_gaussian,
}


def available_examples() -> list[str]:
    """Return the names that `load_dataset("example:NAME")` accepts.

    >>> available_examples()
    ['digit_ink', 'digits', 'feature_dominoes', 'gaussian_overlap', 'ridgeless', 'shifted_digits',
     'shifted_gaussian', 'spurious_gaussian']
    """
    return sorted(EXAMPLES)


def load_example(name: str, random_state: RandomState = 0) -> Example:
    """Make an example from `NAME` or `NAME?key=value&key=value`.

    Raise InputError if the name or a parameter is unknown, with the nearest one.

    Examples
    --------
    >>> load_example("gaussian_overlap?n=50&missing=noise").strong_features.shape
    (50, 40)
    """
    name, _, query = name.partition("?")
    if name not in EXAMPLES:
        raise InputError(unknown("example", name, available_examples()))
    function = EXAMPLES[name]
    valid = list(inspect.signature(function).parameters)
    parameters: dict[str, Any] = {"random_state": random_state}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in valid:
            raise InputError(unknown(f"parameter of example {name!r}", key, valid))
        parameters[key] = _literal(text)
    try:
        return function(**parameters)
    except InputError:
        raise
    # A value of another type fails wherever it is first used.
    except (TypeError, ValueError, AttributeError, ArithmeticError, MemoryError) as error:
        raise InputError(f"example {name!r} cannot take {query!r}: {error}") from error


def _literal(text: str) -> Any:
    """Parse a Python literal or names separated by commas; return other text unchanged."""
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return tuple(text.split(",")) if "," in text else text
