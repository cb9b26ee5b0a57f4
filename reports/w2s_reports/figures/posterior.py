"""The label posterior: how well its probabilities match its accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.figures.base import Figure, curve, describe, layout, marks, title
from w2s_reports.formats import count, number, percent


def reliability(posterior: Mapping[str, Any]) -> Figure | None:
    """Draw the accuracy of the gold items by the probability that the posterior states."""
    bins = [] if posterior["hint"] else posterior["reliability"]
    if len(bins) < 2:
        return None
    confidence = [row["confidence"] for row in bins]
    accuracies = [row["accuracy"] for row in bins]
    words = [
        f"probability {percent(row['confidence'])}: right on {describe(row['accuracy'])} of "
        f"{count(row['n'])} gold items"
        for row in bins
    ]
    drawn = marks("gold items", accuracies, confidence, words, token="overlap")
    # Marks lie in rows; here the confidence is the horizontal axis.
    drawn["x"], drawn["y"], drawn["error_y"] = drawn["y"], drawn["x"], drawn.pop("error_x")
    lowest = min(
        *confidence, *(a["low"] if a["low"] is not None else a["value"] for a in accuracies)
    )
    start = max(0.0, lowest - 0.05)
    data = [curve("as confident as right", [start, 1], [start, 1], "muted", "dot"), drawn]
    data[0]["hoverinfo"] = "skip"
    axes = {"range": [start, 1.05], "tickformat": ".0%"}
    spec = layout(
        xaxis=axes | {"title": title("probability that the posterior states")},
        yaxis=axes | {"title": title("right on held-out gold items")},
    )
    error = number(posterior["calibration_error"], 3)
    caption = (
        f"Held-out gold items in {count(len(bins))} bins of equal size, with "
        f"{percent(posterior['level'], 0)} intervals. On the dotted line it is as high as the "
        f"accuracy; the mean distance to it is {error}, part of which is the noise of small bins."
    )
    heading = "Is the posterior as right as it is sure?"
    return Figure("reliability", heading, data, spec, caption, f"{heading} {'; '.join(words)}.")
