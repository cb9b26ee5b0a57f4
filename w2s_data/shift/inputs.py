"""Checks of the sets of rows that are compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from w2s_data.errors import InputError, listing, unknown
from w2s_data.features.matrix import FeatureMatrix, as_feature_matrix
from w2s_data.utils.typing import FloatArray, IntArray
from w2s_data.utils.validation import check_feature_block, check_rows

VIEWS = {"strong": "strong features", "weak": "weak features", "predictions": "predictions"}
FEWEST_ROWS = 20  # of a set: with fewer, no difference that matters would be significant


@dataclass(frozen=True)
class Finite:
    """Features of a view whose rows are refused if they are NaN or infinite."""

    features: FeatureMatrix
    name: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.features.shape

    def take(self, rows: IntArray) -> FloatArray:
        """Return some rows as a float32 array."""
        taken = self.features.take(rows)
        check_feature_block(taken, rows, VIEWS[self.name], nonzero=False)
        return taken


def check_views(strong: Any, weak: Any, predictions: Any) -> dict[str, Finite]:
    """Return the features of each view that is given; raise unless their rows agree."""
    given = {"strong": strong, "weak": weak, "predictions": predictions}
    views = {
        name: Finite(as_feature_matrix(features, VIEWS[name]), name)
        for name, features in given.items()
        if features is not None
    }
    if not views:
        raise InputError("there are no features to compare: pass strong or weak features")
    counts = {name: features.shape[0] for name, features in views.items()}
    if len(set(counts.values())) > 1:
        words = ", ".join(f"{VIEWS[name]} have {count}" for name, count in counts.items())
        raise InputError(f"row counts disagree: {words}")
    return views


def names_of(
    name: str, views: Mapping[str, Finite], views_of: Mapping[str, Collection[str]] | None
) -> list[str]:
    """Return the views in which a set is compared, in their order; raise if there is none."""
    wanted = views if views_of is None else views_of.get(name, views)
    if misspelt := [view for view in wanted if view not in VIEWS]:
        raise InputError(unknown("view", misspelt[0], list(VIEWS)))
    found = [view for view in views if view in wanted]
    if not found:
        raise InputError(
            f"views_of[{name!r}] is {listing(wanted)}; the features given are {listing(views)}"
        )
    return found


def check_sets(
    reference: Any, others: Any, n_rows: int
) -> tuple[IntArray, dict[str, IntArray], list[str]]:
    """Return the reference rows as given, the sets with enough rows, and notes on the others.

    The rows of a set ascend, each once.

    Raises
    ------
    InputError
        Fewer than 20 reference rows, rows that are not there, or two sets of one name.
    """
    if not isinstance(others, Mapping):
        others = {"others": others}
    kept = check_rows(reference, n_rows, "reference")
    if (n_kept := len(np.unique(kept))) < FEWEST_ROWS:
        raise InputError(
            f"reference has {n_kept} rows: {FEWEST_ROWS} or more can be compared with others"
        )
    sets, notes = {}, []
    for name, rows in others.items():
        numbers = np.unique(check_rows(rows, n_rows, f"others[{name!r}]"))
        if str(name) in sets:
            raise InputError(f"others has two sets with the name {str(name)!r}: rename one")
        if len(numbers) < FEWEST_ROWS:
            notes.append(
                f"{name} has {len(numbers)} rows, fewer than the {FEWEST_ROWS} that can be "
                "compared: whether it is shifted is not known"
            )
        else:
            sets[str(name)] = numbers
    return kept, sets, notes
