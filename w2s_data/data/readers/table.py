"""A table as it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from w2s_data.utils.typing import AnyArray


@dataclass(frozen=True)
class RawTable:
    """A table as it was read, with the facts that its format states about the columns."""

    frame: pd.DataFrame
    name: str = "data"
    roles: Mapping[str, str] = field(default_factory=dict)  # e.g. the class folder is the label
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # behind class codes
    folder: Path | None = None  # of relative item paths
    fixed_splits: AnyArray | None = None  # that came with the data; None where a row has none
    notes: tuple[str, ...] = ()
