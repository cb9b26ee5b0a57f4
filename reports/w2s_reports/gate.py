"""Conditions under which a run is not good enough: `density<0.2`, `worst_group_gain<0`.

A condition is about one number of the summary. Shares, accuracies and gains are fractions: a gain
of two points is 0.02, or 2%. Where labels are values, gains and errors are mean squared errors, in
squared units of the target.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from w2s_data.errors import InputError, unknown
from w2s_data.shift.words import source_set
from w2s_data.stages.graph import SCORE
from w2s_reports.formats import format_interval, format_value, name_of

COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
# Greedy, so that the last operator splits: names of sources may hold one, as in "a<b".
_CONDITION = re.compile(r"\s*(.+)(<=|>=|==|!=|<|>)\s*(\S+)\s*", flags=re.S)
# Metrics of one member, written FAMILY.NAME, and the kind of member.
FAMILIES = {"gain": "method", "density": "source", "accuracy": "option", "mse": "option"}
FAMILIES |= {"shift": "set"}
_UNITS = {"gain": "points", "density": "density", "accuracy": "share", "mse": "value"}
_UNITS |= {"shift": "number"}
# Metrics that have no meaning where labels are values, and those that have none for classes.
OF_CLASSES = ("accuracy", "weak_accuracy", "trust", "worst_split_gain", "lead", "lead_low")
OF_VALUES = ("mse", "r2", "relative_gain")
NOTHING: dict[str, Any] = {"value": None, "low": None, "high": None}

Summary = Mapping[str, Any]
Estimate = Mapping[str, Any]  # value, low, high; reason where the value is unknown


class GateError(InputError):
    """A condition that cannot be read or checked."""


@dataclass(frozen=True)
class Condition:
    """Condition under which the gate fails; `metric` is a name in `METRICS` or FAMILY.NAME."""

    metric: str
    operator: str
    threshold: float

    def __str__(self) -> str:
        return f"{self.metric}{self.operator}{self.threshold:g}"


@dataclass(frozen=True)
class Outcome:
    """Result of checking a condition; `failed` is None where the number is not there.

    `unit` is share, density, points, value, change, number or count; `reason` says why there is no
    number.
    """

    condition: str
    failed: bool | None
    value: float | None
    low: float | None
    high: float | None
    unit: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain types."""
        return asdict(self)

    def __str__(self) -> str:
        words = {True: "FAILED", False: "passed", None: "unknown"}[self.failed]
        if self.value is None:
            return f"{words}  {self.condition}: {self.reason}"
        limits = format_interval(self.to_dict(), self.unit)
        points = " points" if self.unit == "points" else ""
        value = f"{format_value(self.value, self.unit)}{points}"
        return f"{words}  {self.condition}: {value}{f' ({limits})' if limits else ''}"


@dataclass(frozen=True)
class Metric:
    """Number of the summary: how to read it, and the reason where it is missing."""

    unit: str
    read: Callable[[Summary], Estimate]
    stage: str
    undefined: str


def parse(text: str, task: str | None = None) -> Condition:
    """Read a condition: METRIC, one of < <= > >= == !=, and a number that may end in %.

    An unknown metric is answered by those of the task, "classification" or "regression", or by all.
    """
    result = _CONDITION.fullmatch(text)
    if result is None:
        raise GateError(f"a condition reads METRIC<NUMBER, e.g. 'density<0.2'; got {text!r}")
    metric = result[1].strip()
    threshold = _number(result[3])
    if threshold is None:
        raise GateError(f"{result[3]!r} in the condition {text!r} is not a number")
    family, _, name = metric.partition(".")
    if metric not in METRICS and not (family in FAMILIES and name):
        others = {"classification": OF_VALUES, "regression": OF_CLASSES}.get(task or "", ())
        known = unknown("metric", metric, [name for name in METRICS if name not in others])
        members = ", ".join(
            f"'{family}.{kind.upper()}'"
            for family, kind in FAMILIES.items()
            if family not in others
        )
        raise GateError(f"{known}, {members}")
    return Condition(metric, result[2], threshold)


def check_source(condition: Condition, sources: Iterable[Any]) -> None:
    """Raise if a condition is about the density of a source that is not among these."""
    family, _, given = condition.metric.partition(".")
    names = sorted({str(name_of(source)) for source in sources})
    if family == "density" and given and name_of(given) not in names:
        raise GateError(unknown("source", str(name_of(given)), names))


def check(conditions: Iterable[str | Condition], summary: Summary) -> tuple[Outcome, ...]:
    """Check conditions on the numbers of a summary."""
    parsed = [parse(c) if isinstance(c, str) else c for c in conditions]
    return tuple(_outcome(condition, summary) for condition in parsed)


def _number(text: str) -> float | None:
    try:
        # Shares may be given as percentages; the summary has fractions.
        value = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    # "nan" and "inf" are floats, but every comparison with them would be meaningless.
    return value if math.isfinite(value) else None


def _outcome(condition: Condition, summary: Summary) -> Outcome:
    if reason := _meaningless(condition, summary):
        return Outcome(str(condition), None, None, None, None, "number", reason)
    metric = METRICS.get(condition.metric) or _member(condition.metric, summary)
    hint = summary[metric.stage]["hint"]
    result = NOTHING if hint else metric.read(summary)
    value = result["value"]
    reason = ""
    if value is None:
        undefined = f"{metric.undefined}: {result['reason']}" if result.get("reason") else ""
        reason = hint or undefined or f"{metric.undefined} in this run"
    return Outcome(
        str(condition),
        None if value is None else COMPARE[condition.operator](value, condition.threshold),
        value,
        result["low"],
        result["high"],
        # Gains in points are those of accuracies.
        "change" if metric.unit == "points" and _is_regression(summary) else metric.unit,
        reason,
    )


def _is_regression(summary: Summary) -> bool:
    return bool(summary["data"].get("task") == "regression")


def _meaningless(condition: Condition, summary: Summary) -> str:
    """Say why a metric has no meaning for these labels; empty where it has one."""
    name = condition.metric.partition(".")[0]
    if _is_regression(summary) and name in OF_CLASSES:
        return f"labels are values: use one of {', '.join(OF_VALUES)}, gain"
    if not _is_regression(summary) and name in OF_VALUES:
        return "labels are classes, which have no mean squared error"
    return ""


def _member(metric: str, summary: Summary) -> Metric:
    """Return the metric of one method, option, source or compared set."""
    family, _, given = metric.partition(".")
    # Names in the summary are cut to a length; the given one is cut alike.
    name = name_of(given)
    if family == "gain":
        stage, rows = "gain", () if summary["gain"]["hint"] else summary["gain"]["methods"]
        result = {row["name"]: row["gain"] for row in rows}
    elif family == "mse":
        stage, rows = "gain", () if summary["gain"]["hint"] else summary["gain"]["options"]
        result = {row["name"]: {**row["mse"], "reason": row["reason"]} for row in rows}
    elif family == "accuracy":
        stage, rows = "gain", () if summary["gain"]["hint"] else summary["gain"]["options"]
        result = {row["name"]: {**row["accuracy"], "reason": row["reason"]} for row in rows}
    elif family == "shift":
        stage, rows = "shift", summary["shift"]["sets"]
        # Sources by their name alone too, as those of densities are, unless a split has it.
        result = {row["name"].removeprefix(source_set("")): row["auc"] for row in rows}
        result |= {row["name"]: row["auc"] for row in rows}
    else:
        stage, rows = "overlap", summary["sources"]["rows"]
        result = {row["name"]: row["density"] for row in rows}
    if not summary[stage]["hint"] and name not in result:
        if not result:
            raise GateError(f"{metric!r} cannot be checked: {summary['sources']['hint']}")
        raise GateError(unknown(FAMILIES[family], str(name), [*result]))
    estimate = result.get(name, NOTHING)
    return Metric(_UNITS[family], lambda _: estimate, stage, f"{metric} is undefined")


def _limit(result: Estimate) -> Estimate:
    """Return the lower limit of an estimate as a number of its own."""
    # The limit is a bound, which has no interval of its own.
    return NOTHING | {"value": result["low"]}


def worst_group(rows: Sequence[Mapping[str, Any]], name: str) -> Estimate:
    """Return the smallest of the groups' known estimates, with the group's name."""
    known = [row for row in rows if row[name]["value"] is not None]
    if not known:
        return NOTHING
    least = min(known, key=lambda row: row[name]["value"])
    return {**least[name], "group": least["name"]}


def _worst_split(splits: Mapping[str, Any]) -> Estimate:
    """Return the smallest gain of the best method on a test split, with the split's name."""
    return NOTHING if splits["n"] < 2 else splits["least"]


def _total(summary: Summary, name: str) -> Estimate:
    # Unknown counts are left out, but a run without any count has no total.
    counts = [row[name] for row in summary["group_analysis"]["rows"] if row[name] is not None]
    return NOTHING | {"value": sum(counts) if counts else None}


def _best(name: str) -> Callable[[Summary], Estimate]:
    return lambda s: s["gain"]["methods"][0][name] if s["gain"]["methods"] else NOTHING


# Reasons that several metrics share.
_NO_METHOD = "no method has a result"
_NO_GROUP = "no group has a known value"
METRICS: dict[str, Metric] = {
    "density": Metric(
        "density", lambda s: s["overlap"]["density"], "overlap", "the density is undefined"
    ),
    "density_low": Metric(
        "share", lambda s: _limit(s["overlap"]["density"]), "overlap", "the density has no interval"
    ),
    "weak_accuracy": Metric(
        "share",
        lambda s: s["overlap"]["weak_accuracy"] or NOTHING,
        "overlap",
        "the weak accuracy is unknown without gold labels "
        f"(`{SCORE.with_options('DATA', label='COLUMN')}`)",
    ),
    "trust": Metric(
        "share", lambda s: s["posterior"]["weak_accuracy"], "posterior", "no weak label has trust"
    ),
    "shift": Metric("number", lambda s: s["shift"]["auc"], "shift", "shift is unknown"),
    "worst_group_density": Metric(
        "density", lambda s: worst_group(s["groups"]["rows"], "density"), "overlap", _NO_GROUP
    ),
    "gain": Metric("points", _best("gain"), "gain", _NO_METHOD),
    "gain_low": Metric("points", lambda s: _limit(_best("gain")(s)), "gain", _NO_METHOD),
    "mse": Metric("value", _best("mse"), "gain", _NO_METHOD),
    "r2": Metric("number", _best("r2"), "gain", _NO_METHOD),
    "relative_gain": Metric("share", _best("relative_gain"), "gain", _NO_METHOD),
    "lead": Metric("points", lambda s: s["gain"]["lead"], "gain", _NO_METHOD),
    "lead_low": Metric("points", lambda s: _limit(s["gain"]["lead"]), "gain", _NO_METHOD),
    "pgr": Metric("share", _best("pgr"), "gain", "the recovered gap is undefined"),
    "worst_group_gain": Metric(
        "points", lambda s: worst_group(s["gain"]["groups"], "gain"), "gain", _NO_GROUP
    ),
    "worst_split_gain": Metric(
        "points", lambda s: _worst_split(s["gain"]["splits"]), "gain", "there is one test split"
    ),
    "forecast_gain": Metric(
        "points", lambda s: s["forecast"]["gain"], "forecast", "the forecast gain is unknown"
    ),
    "forecast_chance": Metric(
        "share",
        lambda s: NOTHING | {"value": s["forecast"]["chance"]},
        "forecast",
        "the chance is unknown",
    ),
    "leaking": Metric(
        "count",
        lambda s: _total(s, "n_leaking"),
        "group_analysis",
        "it is unknown which items leak",
    ),
    "duplicates": Metric(
        "count", lambda s: _total(s, "n_duplicates"), "group_analysis", "duplicates are unknown"
    ),
}
