"""Parameters and results that analyzers of groups share, whatever the labels are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal

import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from w2s_data.groups.discovery import Method
from w2s_data.neighbors.index import NeighborIndex
from w2s_data.utils.intervals import estimate_records
from w2s_data.utils.typing import AnyArray, RandomState


class BaseGroupAnalyzer(BaseEstimator, ABC):  # type: ignore[misc]
    """Base of `GroupAnalyzer` and `ValueGroupAnalyzer`, which describe parameters and results."""

    groups_: pd.DataFrame
    sources_: pd.DataFrame | None
    similarity_: pd.DataFrame
    minority_: list[Any]
    group_: AnyArray
    warnings_: list[str]
    reading_: str
    discovery_: str
    duplicate_threshold_: float
    index_: NeighborIndex

    def __init__(
        self,
        n_groups: int | Literal["auto"] = "auto",
        n_neighbors: int = 20,
        duplicate_threshold: float | Literal["auto"] = "auto",
        discovery: Method = "auto",
        level: float = 0.95,
        device: str = "auto",
        random_state: RandomState = None,
    ) -> None:
        self.n_groups = n_groups
        self.n_neighbors = n_neighbors
        self.duplicate_threshold = duplicate_threshold
        self.discovery = discovery
        self.level = level
        self.device = device
        self.random_state = random_state

    def to_frame(self) -> pd.DataFrame:
        """Return one row per group, as `groups_`."""
        check_is_fitted(self)
        return self.groups_.copy()

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return tables and the reading as plain JSON values."""

    def summary(self) -> dict[str, Any]:
        """Return what both say of their groups, with tables as records."""
        check_is_fitted(self)
        sources = None if self.sources_ is None else estimate_records(self.sources_, self.level)
        return {
            "level": self.level,
            "discovery": self.discovery_,
            "reading": self.reading_,
            "warnings": self.warnings_,
            "minority": self.minority_,
            "duplicate_threshold": self.duplicate_threshold_,
            "groups": estimate_records(self.groups_, self.level),
            "sources": sources,
            "similarity": self.similarity_.to_numpy(),
            "settings": {k: v for k, v in self.get_params().items() if k != "random_state"},
        }
