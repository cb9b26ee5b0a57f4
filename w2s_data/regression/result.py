"""`ValueGainResult`: the measured gains of students of values, as tables, text and JSON types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from w2s_data.finetune.gain.intervals import Measurement, format_limits
from w2s_data.finetune.settings import Tuning
from w2s_data.regression.comparison import (
    CEILING,
    LABELLED_ONLY,
    POSTERIOR,
    TEACHER,
    MeasuredOption,
    MethodGain,
)
from w2s_data.regression.heads import Head
from w2s_data.regression.options import ValueChoice
from w2s_data.regression.student import Student
from w2s_data.utils.intervals import Estimate

if TYPE_CHECKING:
    import pandas as pd

REFERENCES = (TEACHER, CEILING, LABELLED_ONLY, POSTERIOR)


@dataclass(frozen=True, repr=False)
class ValueGainResult:
    """Mean squared errors of teacher and students on the same test rows.

    Attributes
    ----------
    methods : tuple of MethodGain
        The least error first; two share a letter in `rank_group` if they do not differ
        significantly (paired, Bonferroni over the pairs).
    references : dict of str to dict
        mse, rmse, mae and r2 of teacher, ceiling (a student of the pool's gold values),
        labelled_only (one of the labelled rows alone) and posterior (`ValuePosterior`, which needs
        the teacher at use); empty where there is none, with the reason in `reasons`.
    options : tuple of MeasuredOption
        Use the teacher, train on gold values, on weak ones, on both; of each kind the best method.
    choice : ValueChoice
        Paired differences of the options, `best` and `advised`.
    sentence : str
        The advice with its numbers.
    splits, groups : tuple of dict
        Errors on each test split, and of teacher and best student in each group.
    worst_group : dict of str to Estimate
        Largest mean squared error over the groups, of the teacher and of each method.
    failures : dict of str to str
        Reason of each method that could not be trained.
    target : dict of str to float
        Mean, sd, low and high of the targets of the test rows.
    students : dict of str to Student
    by_item : DataFrame
        One row per test row: its row number, split, target and the value of each model.
    """

    methods: tuple[MethodGain, ...]
    references: Mapping[str, Mapping[str, Measurement]]
    reasons: Mapping[str, str]
    options: tuple[MeasuredOption, ...]
    choice: ValueChoice
    sentence: str
    splits: tuple[dict[str, Any], ...]
    groups: tuple[dict[str, Any], ...]
    worst_group: Mapping[str, Estimate]
    failures: Mapping[str, str]
    warnings: tuple[str, ...]
    target: Mapping[str, float]
    seeds: tuple[int, ...]
    tuning: Tuning
    head: Head
    level: float
    n_labelled: int
    n_pool: int
    n_test: int
    students: Mapping[str, Student]
    by_item: pd.DataFrame

    @property
    def advised(self) -> str:
        """The cheapest option that is about as good as the best: teacher, gold, weak or both."""
        return self.choice.advised

    def __getitem__(self, name: str) -> MethodGain:
        for method in self.methods:
            if method.name == name:
                return method
        raise KeyError(name)

    def predictions(self) -> pd.DataFrame:
        """Return one row per test row: row, split, target, and the value of each model."""
        return self.by_item.copy()

    def to_frame(self) -> pd.DataFrame:
        """Return one row per model: errors and gain with the limits of their intervals."""
        import pandas as pd

        rows: list[dict[str, Any]] = [
            {"role": name, "name": name, **_columns(self.references[name])}
            for name in REFERENCES
            if self.references[name]
        ]
        for method in self.methods:
            own = {"gain": method.gain, "relative_gain": method.relative_gain}
            more = {"pgr": method.pgr, "opr": method.opr}
            rows.append(
                {"role": "method", "name": method.name, **_columns(method.measures)}
                | _columns({**own, **more})
                | {"rank_group": method.rank_group}
            )
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but students and predictions as plain types."""
        return {
            "task": "regression",
            "metric": "mse",
            "level": self.level,
            "n_labelled": self.n_labelled,
            "n_pool": self.n_pool,
            "n_test": self.n_test,
            "seeds": list(self.seeds),
            "tuning": self.tuning,
            "head": self.head,
            "target": dict(self.target),
            **{name: self._reference(name) for name in REFERENCES},
            "methods": [_method(method) for method in self.methods],
            "options": [
                {
                    "name": option.name,
                    "student": option.student,
                    "reason": option.reason,
                    **_dicts(option.measures),
                }
                for option in self.options
            ],
            "differences": [
                {"name": own.name, "other": own.other, "difference": own.difference.to_dict()}
                for own in self.choice.differences
            ],
            "best": self.choice.best,
            "advised": self.choice.advised,
            "sentence": self.sentence,
            "splits": list(self.splits),
            "groups": list(self.groups),
            "worst_group": {name: own.to_dict() for name, own in self.worst_group.items()},
            "failures": dict(self.failures),
            "warnings": list(self.warnings),
        }

    def _reference(self, name: str) -> dict[str, Any]:
        return {"reason": self.reasons.get(name, ""), **_dicts(self.references[name])}

    def __repr__(self) -> str:
        head = f"head {self.head}" if self.tuning == "head" else f"tuning {self.tuning}"
        lines = [
            f"ValueGainResult: {self.n_labelled:,} labelled, {self.n_pool:,} pool, "
            f"{self.n_test:,} test rows; {head}; targets {self.target['mean']:.4g} "
            f"(sd {self.target['sd']:.3g})",
            f"  {'':14}{'MSE':>10}{'R2':>8}   gain in MSE ({self.level:.0%})       PGR",
        ]
        lines += [
            f"  {name:14}{own['mse'].value:>10.4g} {own['r2'].value:>7.3f}"
            for name in REFERENCES
            if (own := self.references[name])
        ]
        for method in self.methods:
            mse, r2 = method.measures["mse"].value, method.measures["r2"].value
            gain = f"{method.gain.value:+.3g} ({_limits(method.gain)})"
            pgr = "" if np.isnan(method.pgr.value) else f"{method.pgr.value:.2f}"
            letters = f"{method.rank_group:4}"
            lines.append(
                f"  {method.name:14}{mse:>10.4g} {r2:>7.3f}   {gain:26} {pgr:>5} {letters}"
            )
        lines += [f"  {name}: {reason}" for name, reason in self.failures.items()]
        lines.append(f"  {self.sentence}")
        return "\n".join(line.rstrip() for line in lines)


def _limits(estimate: Estimate) -> str:
    if abs(estimate.value) < 10 and abs(estimate.value) > 1e-2:
        return format_limits(estimate, "+")
    return f"{estimate.low:+.3g} to {estimate.high:+.3g}"


def _columns(measures: Mapping[str, Measurement]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, own in measures.items():
        found |= own.columns(name)
    return found


def _dicts(measures: Mapping[str, Measurement]) -> dict[str, Any]:
    return {name: Estimate.to_dict(own) for name, own in measures.items()}


def _method(method: MethodGain) -> dict[str, Any]:
    """Return a method as plain types; ratios that are not defined are None, with the reason."""
    ratios: dict[str, Any] = {}
    for name in ("pgr", "opr"):
        own: Measurement = getattr(method, name)
        ratios[name] = None if own.reason else own.to_dict()
        ratios[f"{name}_reason"] = own.reason
    return {
        "name": method.name,
        **_dicts(method.measures),
        "gain": method.gain.to_dict(),
        "relative_gain": method.relative_gain.to_dict(),
        "over_labelled": method.over_labelled.to_dict(),
        **ratios,
        "rank_group": method.rank_group,
    }
