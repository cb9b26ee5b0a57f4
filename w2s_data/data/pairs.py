r"""Preference data: pairs of items, one of which was preferred.

The features of a pair are the difference of the features of its items. With a reward that is linear
in the features, :math:`r(x) = w \cdot \phi(x)`, the Bradley-Terry model of preferences is the
logistic model on that difference, without an intercept:

.. math:: P(\text{first is preferred}) = \sigma(r(x_1) - r(x_2))
          = \sigma(w \cdot (\phi(x_1) - \phi(x_2)))

The two classes are the two orders. The order of each pair is drawn at random, so that both occur.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.classes import read_weak
from w2s_data.data.columns import ItemKind, Roles, read_items
from w2s_data.data.readers import RawTable
from w2s_data.errors import ColumnError, FeatureError, InputError, rows
from w2s_data.utils.typing import BoolArray, FloatArray

PAIR_CLASSES = ("first preferred", "second preferred")


def read_pairs(
    raw: RawTable, roles: Roles, kind: ItemKind | None, rng: np.random.Generator
) -> tuple[dict[str, pd.Series | None], pd.Series, dict[str, Any]]:
    """Read the chosen and the rejected item of each row, and draw their order.

    Return item columns, labels, and fields of a data set. Raise InputError for items of two
    kinds, images, or a pair of equal items.
    """
    chosen = read_items(raw, Roles(item=roles.chosen), kind, None)
    rejected = read_items(raw, Roles(item=roles.rejected), kind or chosen[0], None)
    # A permutation makes the two orders equally frequent, off by at most one.
    swapped = rng.permutation(len(raw.frame)) % 2 == 1
    weak, weak_names = _read_weak(raw.frame, roles)
    labels = pd.Series(np.array(PAIR_CLASSES, dtype=object)[swapped.astype(int)], dtype=object)
    if weak is not None:
        weak[swapped] = weak[swapped][..., ::-1]
    parts = {"class_names": PAIR_CLASSES, "weak_proba": weak, "weak_names": weak_names}
    if chosen[0] == "features":
        features = _differences(chosen[2], rejected[2])
        features[swapped] *= -1
        return {}, labels, parts | {"kind": "features", "features": features}
    if chosen[0] == "image":
        raise InputError(
            "pairs of images are not supported; give their feature vectors as chosen and rejected"
        )
    better, worse = chosen[1], rejected[1]
    assert better is not None
    assert worse is not None
    _check_different((better == worse).to_numpy(dtype=bool))
    first, second = better.where(~swapped, worse), worse.where(~swapped, better)
    return {"item": first, "other": second}, labels, parts | {"kind": "text"}


def check_pair_roles(roles: Roles, features: Any, class_names: Any) -> None:
    """Raise for one of chosen and rejected without the other, or a role that they have."""
    if (roles.chosen is None) != (roles.rejected is None):
        missing = "rejected" if roles.rejected is None else "chosen"
        raise InputError(f"chosen and rejected require each other: {missing} is missing")
    if roles.chosen is None:
        return
    given = [role for role in ("item", "label") if getattr(roles, role) is not None]
    given += [n for n, v in (("features", features), ("class_names", class_names)) if v is not None]
    if given:
        raise InputError(
            f"chosen and rejected determine the items and their labels; leave out {given[0]}"
        )


def _read_weak(frame: pd.DataFrame, roles: Roles) -> tuple[FloatArray | None, tuple[str, ...]]:
    """Return weak probabilities (chosen first, rejected first), and names of the models."""
    columns = roles.weak_columns
    if not isinstance(columns, Mapping) or not columns:
        return _read_weak_model(frame, roles), ()
    models = [_read_weak_model(frame, replace(roles, weak_columns=own)) for own in columns.values()]
    return np.stack(models, axis=1), tuple(str(name) for name in columns)  # type: ignore[arg-type]


def _read_weak_model(frame: pd.DataFrame, roles: Roles) -> FloatArray | None:
    columns = roles.weak_columns
    if isinstance(columns, str) or (columns is not None and len(columns) == 1):
        # P(chosen is better), but of two classes a single column is the probability of the second.
        proba, _ = read_weak(frame, roles, ("rejected", "chosen"))
        return None if proba is None else proba[:, ::-1].copy()
    return read_weak(frame, roles, ("chosen", "rejected"))[0]


def _differences(chosen: FloatArray | None, rejected: FloatArray | None) -> FloatArray:
    assert chosen is not None
    assert rejected is not None
    if chosen.shape != rejected.shape:
        raise FeatureError(
            f"chosen and rejected need vectors of one length; got {chosen.shape[1]} and "
            f"{rejected.shape[1]}"
        )
    features = np.asarray(chosen - rejected)
    # Equal items have no order; their features would be a row of zeros, without direction.
    _check_different((features == 0).all(axis=1))
    return features


def _check_different(equal: BoolArray) -> None:
    if equal.any():
        raise ColumnError(
            f"chosen and rejected are the same in {rows(np.flatnonzero(equal))}; drop these rows, "
            "since neither order is right"
        )


def mirrored(features: FloatArray) -> FloatArray:
    """Return rows with the sign that makes their first nonzero value positive."""
    leading = features[np.arange(len(features)), (features != 0).argmax(axis=1)]
    return np.asarray(features * np.where(leading < 0, -1, 1)[:, None])
