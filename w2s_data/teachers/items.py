"""The items of a data set as a teacher sees them: the columns of their table, and features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.columns import column
from w2s_data.data.dataset import W2SDataset
from w2s_data.errors import ColumnError, listing
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.utils.typing import IntArray


@dataclass(frozen=True)
class Items:
    """Items to label, N of them.

    Attributes
    ----------
    dataset : W2SDataset
    columns : DataFrame (N rows)
        Columns of the original table that teachers name, in the order of the rows.
    features : function of a teacher's settings and the rows that it learns from
        Returns the features (N, D) of its encoder; those of equal encoders are computed once.
    compute : Compute
    folder : path or None
        Where a teacher may keep what it must not lose, such as answers that were paid for.
    """

    dataset: W2SDataset
    columns: pd.DataFrame
    features: Callable[[Any, IntArray | None], FeatureMatrix]
    compute: Compute = field(default_factory=Compute)
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The C classes, in the order of the columns of probabilities."""
        return self.dataset.class_names

    def column(self, name: str) -> pd.Series:
        """Return a column of the original table.

        Raise ColumnError if the table has none of that name, or was not read for this teacher.
        """
        if name not in self.columns:
            known = [str(own) for own in self.columns]
            has = f"it has {listing(known)}" if known else "it has none"
            raise ColumnError(
                f"column {name!r} is not among those that were read for teachers ({has}): pass "
                f"the data file instead of the run, or load the data set with keep=[{name!r}]"
            )
        return column(self.columns, name)
