"""`ValueForecast`: expected errors of the four options, and the advice."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from textwrap import fill
from typing import Any

import pandas as pd

from w2s_data.forecast.options import Difference
from w2s_data.forecast.result import WITHHELD
from w2s_data.utils.intervals import Estimate


@dataclass(frozen=True)
class ValueOption:
    """Expected errors of an option; NaN where they are not known."""

    name: str  # teacher, gold, weak or both
    mse: Estimate
    rmse: Estimate  # in units of the target
    r2: Estimate  # share of the variance of the labelled rows' targets


@dataclass(frozen=True, repr=False)
class ValueForecast:
    """Expected mean squared errors of the options, by labelled rows held out."""

    options: tuple[ValueOption, ...]
    differences: tuple[Difference, ...]  # error of an option minus that of a cheaper one
    best: str  # the least error
    advised: str  # the cheapest at most 2 % above it, and not significantly; "" if withheld
    gain: Estimate  # the teacher's error minus that of a student of weak values alone
    chance_w2s_helps: float  # that this is above 0
    verdict: str
    reading: str
    n: int
    N: int
    level: float
    variance: float  # of the labelled targets
    effective_size: float  # labelled rows that weighted ones are worth
    warnings: tuple[str, ...] = ()

    def mse(self, name: str) -> Estimate:
        """Return the expected mean squared error of an option."""
        return next(option.mse for option in self.options if option.name == name)

    def withheld(self, reason: str) -> ValueForecast:
        """Return the forecast with a reason in place of its advice; a first reason stays."""
        if self.verdict == WITHHELD:
            return self
        reading = f"{self.reading}, which is no advice: {reason}"
        return replace(self, advised="", verdict=WITHHELD, reading=reading)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields by name; estimates as dictionaries."""
        return {"task": "regression", "metric": "mse", **asdict(self)}

    def to_frame(self) -> pd.DataFrame:
        """Return one row per option: `mse`, `rmse` and `r2`, each with `_low` and `_high`."""
        rows = {
            option.name: option.mse.columns("mse")
            | option.rmse.columns("rmse")
            | option.r2.columns("r2")
            for option in self.options
        }
        return pd.DataFrame.from_dict(rows, orient="index")

    def __repr__(self) -> str:
        lines = [f"ValueForecast: {self.verdict}"]
        lines.append(fill(self.reading, 100, initial_indent="  ", subsequent_indent="  "))
        lines.append(f"  n={self.n:,} labelled, N={self.N:,} pool rows")
        lines += [
            f"  {option.name:<8} MSE {option.mse.value:.4g}  ({self.level:.0%}: "
            f"{option.mse.low:.4g} to {option.mse.high:.4g})  R2 {option.r2.value:.2f}"
            for option in self.options
        ]
        lines.append(f"  chance that weak values alone help: {self.chance_w2s_helps:.2f}")
        return "\n".join([*lines, *(f"  warning: {text}" for text in self.warnings)])
