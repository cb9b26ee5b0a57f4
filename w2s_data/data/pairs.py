r"""Preference data: pairs of items, one of which was preferred.

The features of a pair are the difference of the features of its items. With a reward that is linear
in the features, :math:`r(x) = w \cdot \phi(x)`, the Bradley-Terry model of preferences is the
logistic model on that difference, without an intercept:

.. math:: P(\text{first is preferred}) = \sigma(r(x_1) - r(x_2))
          = \sigma(w \cdot (\phi(x_1) - \phi(x_2)))

The two classes are the two orders. The order of each pair is drawn at random, so that both occur.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from w2s_data.data.columns import ItemKind, Roles, column, distinct_names, read_items
from w2s_data.data.meaning.classes import Gold
from w2s_data.data.meaning.inputs import Weak, read_weak
from w2s_data.data.meaning.match import WeakInputs, mentions
from w2s_data.data.meaning.rules import LabelRules
from w2s_data.data.prompts import Prompts
from w2s_data.data.readers import RawTable
from w2s_data.errors import FeatureError, InputError
from w2s_data.utils.typing import BoolArray, FloatArray

PAIR_CLASSES = ("first preferred", "second preferred")
SIDES = ("chosen", "rejected")


def read_pairs(
    raw: RawTable,
    roles: Roles,
    kind: ItemKind | None,
    rules: LabelRules,
    rng: np.random.Generator | None,
    prompts: Prompts | None = None,
) -> tuple[dict[str, pd.Series | None], pd.Series, dict[str, Any], tuple[str, ...]]:
    """Read the chosen and the rejected item of each row, and draw their order.

    Without a generator the chosen item is the first of every pair.
    Return item columns, labels, fields of a data set, and notes. Raise InputError for items of two
    kinds, and for images.
    """
    chosen = read_items(raw, Roles(item=roles.chosen), kind, None)
    rejected = read_items(raw, Roles(item=roles.rejected), kind or chosen[0], None)
    swapped = np.zeros(len(raw.frame), dtype=bool)
    if rng is not None:
        # A permutation makes the two orders equally frequent, off by at most one.
        swapped = rng.permutation(len(raw.frame)) % 2 == 1
    weak = read_pair_weak(raw, roles, rules)
    proba = weak.proba
    labels = pd.Series(np.array(PAIR_CLASSES, dtype=object)[swapped.astype(int)], dtype=object)
    if proba is not None:
        proba[swapped] = proba[swapped][..., ::-1]
    parts = {"class_names": PAIR_CLASSES, "weak_proba": proba, "weak_names": weak.names}
    if chosen[0] == "features":
        features = _differences(chosen[2], rejected[2])
        features[swapped] *= -1
        return {}, labels, parts | {"kind": "features", "features": features}, weak.notes
    if chosen[0] == "image":
        raise InputError(
            "pairs of images are not supported; give their feature vectors as chosen and rejected"
        )
    better, worse = chosen[1], rejected[1]
    assert better is not None
    assert worse is not None
    columns: dict[str, pd.Series | None]
    columns = {"item": better.where(~swapped, worse), "other": worse.where(~swapped, better)}
    if prompts is not None:
        columns |= prompts.columns(swapped)
    return columns, labels, parts | {"kind": "text"}, weak.notes


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


def read_pair_weak(raw: RawTable, roles: Roles, rules: LabelRules) -> Weak:
    """Read weak probabilities of the chosen and of the rejected item, in this order."""
    inputs = WeakInputs(roles.weak_columns, roles.weak_label, roles.weak_confidence)
    names = _pair_names(raw, roles, inputs)
    gold = Gold(names, np.zeros(len(raw.frame), dtype=np.int64), given=True)
    return read_weak(raw, inputs, gold, rules, single=names[0])


def _pair_names(raw: RawTable, roles: Roles, inputs: WeakInputs) -> tuple[str, str]:
    """Return the names of the two items in weak columns and labels.

    They are "chosen" and "rejected", or the names of their columns where those are mentioned.
    """
    if not (isinstance(roles.chosen, str) and isinstance(roles.rejected, str)):
        return SIDES
    own = (roles.chosen, roles.rejected)
    if inputs.label is not None:
        mentioned = distinct_names(column(raw.frame, inputs.label))[1]
    else:
        mentioned = inputs.all_columns()
    return own if mentions(mentioned, own) and not mentions(mentioned, SIDES) else SIDES


def _differences(chosen: FloatArray | None, rejected: FloatArray | None) -> FloatArray:
    assert chosen is not None
    assert rejected is not None
    if chosen.shape != rejected.shape:
        raise FeatureError(
            f"chosen and rejected need vectors of one length; got {chosen.shape[1]} and "
            f"{rejected.shape[1]}"
        )
    return np.asarray(chosen - rejected)


def starts_negative(features: FloatArray) -> BoolArray:
    """Return in which rows the first nonzero value is negative, one of the two orders of a pair."""
    return np.asarray(features[np.arange(len(features)), (features != 0).argmax(axis=1)] < 0)


def mirrored(features: FloatArray) -> FloatArray:
    """Return rows with the sign that makes their first nonzero value positive."""
    return np.asarray(features * np.where(starts_negative(features), -1, 1)[:, None])
