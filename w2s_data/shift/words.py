"""A search for shift in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SHOWN = 6  # sets in a sentence
VIEWS = {
    "strong": "by strong features",
    "weak": "by weak features",
    "predictions": "by predictions",
}


def read_shift(sets: Sequence[dict[str, Any]], n_labelled: int, *, held_out: bool) -> str:
    """Say which sets are not where the labels came from, and how far they lie apart.

    `held_out` says whether predictions of labelled rows come from models that did not see them.
    """
    alarms = [one for one in sets if one["alarm"]]
    if not alarms:
        names = _joined([subject(one) for one in sets])
        return f"No shift was found between the {n_labelled:,} labelled rows and {names}."
    first, *others = alarms
    if not others:
        return _sentence(first, held_out)
    same = [f"{subject(one)} (AUC {_clearest(one)['auc']['value']:.2f})" for one in others]
    return f"{_sentence(first, held_out)} The same holds for {_joined(same)}."


def source_set(name: Any) -> str:
    """Return the name of the set that holds the pool's rows of a source."""
    return f"source {name}"


def subject(one: dict[str, Any]) -> str:
    """Return a set's name in a sentence."""
    if one["kind"] == "source" or one["name"] == "pool":
        return str(one["name"]) if one["kind"] == "source" else "the pool"
    return f"split {one['name']}"


def _joined(names: Sequence[str]) -> str:
    """Join names by commas and a last "and"; many are cut."""
    if len(names) > SHOWN:
        names = [*names[:SHOWN], f"{len(names) - SHOWN} more"]
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def _clearest(one: dict[str, Any]) -> dict[str, Any]:
    """Return the view of the largest AUC among those that set off the alarm."""
    alarms = [view for view in one["views"] if view["alarm"]]
    return max(alarms, key=lambda view: view["auc"]["value"])


def _sentence(one: dict[str, Any], held_out: bool) -> str:
    view = _clearest(one)
    auc, share, name = view["auc"], one["share"], subject(one)
    text = (
        f"{name[0].upper()}{name[1:]} is not where the labels came from: a classifier tells the "
        f"two apart {VIEWS[view['view']]} with AUC {auc['value']:.2f} ({auc['low']:.2f} to "
        f"{auc['high']:.2f})"
    )
    if share["low"] > 0:
        text += (
            f", and labelled rows cannot explain {share['value']:.0%} of it ({share['low']:.0%} "
            f"to {share['high']:.0%})"
        )
    text += "."
    if not held_out and {v["view"] for v in one["views"] if v["alarm"]} == {"predictions"}:
        text += (
            " Only predictions differ, which they also do if the weak models were trained on the "
            "labelled rows."
        )
    return text
