"""The four options by mean squared error: the table, the advice, and how it compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_data.forecast.options import ADVICE, WITH
from w2s_reports.formats import format_interval, has_interval, name_of, percent, significant
from w2s_reports.summary.options import capitalized
from w2s_reports.summary.parts import estimate

MEASURES = ("mse", "rmse", "mae", "r2")
Row = Mapping[str, Any]


def read_measures(record: Row | None) -> dict[str, dict[str, Any]]:
    """Read the errors of one model; every number is None where there is none."""
    return {name: estimate((record or {}).get(name)) for name in MEASURES}


def summarize_options(result: Row) -> dict[str, Any]:
    """Summarize options, their paired differences and the advice of a forecast or a gain."""
    return {
        "options": [
            {
                "name": str(row["name"]),
                "words": capitalized(ADVICE[str(row["name"])]),
                "student": name_of(row.get("student") or None),
                "reason": str(row.get("reason") or ""),
                **read_measures(row),
            }
            for row in result.get("options") or ()
        ],
        "differences": [
            {"name": str(pair["name"]), "other": str(pair["other"])}
            | {"difference": estimate(pair["difference"])}
            for pair in result.get("differences") or ()
        ],
        "advised": str(result.get("advised") or ""),
    }


def find_option(stage: Row, name: str) -> Row | None:
    """Return an option by its name; None where the stage has none."""
    return next((row for row in stage.get("options") or () if row["name"] == name), None)


def is_measured(row: Row | None) -> bool:
    """Return whether an option has an error."""
    return row is not None and row["mse"]["value"] is not None


def difference(stage: Row, name: str, other: str) -> dict[str, Any]:
    """Return the MSE of an option minus that of another, paired where the stage compared them."""
    for pair in stage["differences"]:
        if {pair["name"], pair["other"]} == {name, other}:
            found = pair["difference"]
            return dict(found) if pair["name"] == name else negative(found)
    values = [
        row["mse"]["value"] if (row := find_option(stage, key)) else None for key in (name, other)
    ]
    own, against = values
    if own is None or against is None:
        return estimate(None)
    return estimate({"value": own - against})


def negative(found: Row) -> dict[str, Any]:
    """Return an estimate with the other sign.

    >>> negative({"value": 2.0, "low": 1.0, "high": 4.0, "level": 0.95})["low"]
    -4.0
    """
    sides = {"value": found["value"], "low": found["high"], "high": found["low"]}
    turned = {side: None if value is None else -value for side, value in sides.items()}
    return estimate(turned, found["level"])


def rival(stage: Row) -> str | None:
    """Return the option with the least error besides the advised one."""
    others = [r for r in stage["options"] if r["name"] != stage["advised"] and is_measured(r)]
    return min(others, key=lambda row: row["mse"]["value"])["name"] if others else None


def evidence(stage: Row) -> str:
    """Compare the advised option with its rival: both errors, and the paired difference."""
    own = find_option(stage, stage["advised"])
    if own is None or not is_measured(own):
        return ""
    text = f"MSE {significant(own['mse']['value'])}"
    if (explained := own["r2"]["value"]) is not None:
        text += f" (R² {format_r2(explained)})"
    other = rival(stage)
    if other is None:
        return f"{text}, and no other option to compare it with"
    against = find_option(stage, other)
    assert against is not None
    text += f" against {significant(against['mse']['value'])} {WITH[other]}"
    return f"{text}, {say_difference(difference(stage, stage['advised'], other), against)}"


def say_difference(found: Row, reference: Row) -> str:
    """Say how much lower or higher an error is, as a part of the reference's, with its interval."""
    value, base = found["value"], reference["mse"]["value"]
    if value is None or not base:
        return "the difference unknown"
    share = value / base
    if abs(share) < 0.0005:
        text = "the same"
    else:
        text = f"{percent(abs(share))} {'lower' if share < 0 else 'higher'}"
    limits = format_interval(found, "change")
    return (
        f"{text} ({percent(found['level'], 0)} interval of the difference {limits})"
        if limits
        else text
    )


def format_r2(value: float) -> str:
    """Format a share of explained variance, which may be negative."""
    return significant(value, 3) if abs(value) >= 0.01 else significant(round(value, 3), 2)


def known_interval(row: Row) -> bool:
    """Return whether an option's error has an interval."""
    return has_interval(row["mse"])


def shown_columns(rows: Sequence[Row]) -> list[str]:
    """List the measures that some row has, in the order of the table."""
    return [m for m in MEASURES if any(row[m]["value"] is not None for row in rows)]
