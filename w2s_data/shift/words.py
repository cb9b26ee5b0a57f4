"""A search for shift in a few sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from w2s_data.errors import listing

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
        names = listing([subject(one) for one in sets], quoted=False)
        return f"No shift was found between the {n_labelled:,} labelled rows and {names}."
    return " ".join(_sentence(one, held_out) for one in alarms)


def subject(one: dict[str, Any]) -> str:
    """Return a set's name in a sentence."""
    if one["kind"] == "source" or one["name"] == "pool":
        return str(one["name"]) if one["kind"] == "source" else "the pool"
    return f"split {one['name']}"


def _sentence(one: dict[str, Any], held_out: bool) -> str:
    alarms = [view for view in one["views"] if view["alarm"]]
    view = max(alarms, key=lambda found: found["auc"]["value"])
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
    if not held_out and {found["view"] for found in alarms} == {"predictions"}:
        text += (
            " Only predictions differ, which they also do if the weak models were trained on the "
            "labelled rows."
        )
    return text
