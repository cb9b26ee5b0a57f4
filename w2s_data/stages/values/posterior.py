"""The posterior of values of a run: a value and its standard error of every item."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from w2s_data.compute.context import Compute
from w2s_data.data.dataset import W2SDataset
from w2s_data.features.matrix import FeatureMatrix
from w2s_data.stages.posterior import unknown_posterior
from w2s_data.stages.values.weak import ValueLabels
from w2s_data.utils.typing import FloatArray


@dataclass(frozen=True)
class JoinedValues:
    """Posterior values and errors (N,) of all items, or None; `posterior.json`."""

    values: FloatArray | None
    errors: FloatArray | None
    summary: dict[str, Any]

    def table(self, dataset: W2SDataset) -> pd.DataFrame:
        """Return `posterior.parquet`."""
        return pd.DataFrame({"id": dataset.ids, "value": self.values, "error": self.errors})


def fit_value_posterior(
    dataset: W2SDataset,  # noqa: ARG001
    strong: FeatureMatrix,  # noqa: ARG001
    weak: ValueLabels,  # noqa: ARG001
    compute: Compute,  # noqa: ARG001
) -> JoinedValues:
    """Return no posterior."""
    return JoinedValues(None, None, unknown_posterior("values have no posterior yet"))
