"""Shift: whether pool, test splits and sources are where the labels came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.stages.graph import NEXT, SCORE
from w2s_data.utils.weighting import FEWEST_EFFECTIVE
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, name_of, plain
from w2s_reports.items import shown_once
from w2s_reports.summary.parts import estimate, texts

AGAIN = f"`{SCORE.command}` compares pool, test splits and sources with the labelled rows."
TO_LABEL = NEXT.with_options(**{"for": "shift"})
SHOWN = 6  # two rows of three cards
# A domain classifier that finds nothing has an AUC of a half.
NO_SHIFT = {"value": 0.5, "low": None, "high": None, "level": None}
# Doubts that the intervals leave out.
LIMITS = (
    "Intervals are for these items as a sample, given the classifier that was trained. It sees "
    "features and predictions only: items that look the same and have other labels there show in "
    "gold labels of the pool alone. Shares are lower bounds, of what mixing in labelled items "
    "cannot explain."
)


def summarize_shift(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize the comparisons with the labelled rows; `hint` says why there are none."""
    written = artefacts.overlap.get("shift")
    if written is None:
        return {"hint": AGAIN, "sets": [], "alarm": None}
    if written["unknown"]:
        return {"hint": f"Not known: {written['unknown']}.", "sets": [], "alarm": None}
    sets = [_set(one) for one in written["sets"]]
    consequence = _consequence(written)
    return {
        "hint": None,
        "alarm": bool(written["alarm"]),
        "pool_alarm": bool(written["pool_alarm"]),
        "reading": str(written["reading"]),
        "consequence": consequence,
        "advice": f"{consequence} `{TO_LABEL}` chooses the items whose labels close the gap."
        if written["pool_alarm"]
        else consequence,
        "level": written["level"],
        "n_labelled": written["n_labelled"],
        "effective_size": plain(written["effective_size"]),
        "unexplained": estimate(written["unexplained"]),
        "auc": max((one["auc"] for one in sets), key=lambda auc: auc["value"], default=NO_SHIFT),
        "sets": sets,
        "limits": LIMITS,
        "labels": _labels(written.get("label_shift")),
        "notes": texts(written["notes"]),
    }


def find_shifted(artefacts: Artefacts) -> list[dict[str, Any]]:
    """List items of each shifted set: the most typical ones, and those most like the labelled."""
    written = artefacts.overlap.get("shift")
    if written is None or not written["alarm"]:
        return []
    row_of = {str(id): row for row, id in enumerate(artefacts.scores["id"])}
    found = []
    for one in (one for one in written["sets"] if one["alarm"]):
        for key, about in (
            ("typical", "typical of what the labelled items lack"),
            ("nearest", "most like the labelled items"),
        ):
            rows = [row_of[str(id)] for id in one[key] if str(id) in row_of]
            items = shown_once(artefacts, rows, SHOWN)
            found.append({"name": _name(one), "about": about, "items": items})
    return found


def _set(one: Mapping[str, Any]) -> dict[str, Any]:
    views = [
        {
            "view": view["view"],
            "auc": estimate(view["auc"]),
            "share": estimate(view["share"]),
            "p_value": plain(view["p_value"]),
            "alarm": bool(view["alarm"]),
        }
        for view in one["views"]
    ]
    alarms = [view["auc"] for view in views if view["alarm"]]
    return {
        "name": _name(one),
        "kind": one["kind"],
        "n": int(one["n"]),
        "alarm": bool(one["alarm"]),
        "auc": max(alarms, key=lambda auc: auc["value"], default=NO_SHIFT),
        "share": estimate(one["share"]),
        "effective_size": plain(one["effective_size"]),
        "views": views,
    }


def _labels(written: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return class shares of pool and labelled items; None unless they differ."""
    if not written or not written["shifted"]:
        return None
    return {
        "reading": str(written["reading"]),
        "alone": bool(written["alone"]),
        "classes": [
            {
                "name": name_of(one["name"]),
                "labelled": plain(one["labelled_share"]),
                "pool": estimate(one["pool_share"]),
                "black_box": estimate(one["black_box_share"]),
            }
            for one in written["classes"]
        ],
    }


def _name(one: Mapping[str, Any]) -> str:
    return str(name_of(one["name"]))


def _consequence(written: Mapping[str, Any]) -> str:
    """Say what an alarm means for the other numbers; empty without an alarm."""
    if not written["alarm"]:
        return ""
    if not written["pool_alarm"]:
        return (
            "The pool as a whole raises no alarm, so that forecast and trust hold for it. Results "
            "on a shifted split or source are about other items than the labelled ones."
        )
    size = written["effective_size"]
    text = (
        "Forecast and trust weight the labelled items to stand for the pool, where the "
        f"{count(written['n_labelled'])} are then worth about {count(round(size))}"
    )
    if size < FEWEST_EFFECTIVE:
        text += f": fewer than the {FEWEST_EFFECTIVE} that an advice requires"
    return f"{text}."
