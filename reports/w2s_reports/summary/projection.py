"""Map of the strong features: method, number of points, and how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.stages.graph import MAP, PROJECTION
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import percent, plain
from w2s_reports.summary.parts import sentence

ADDS = "`{command}` adds a map of the strong features."
OUTDATED = "The map is older than the features or the scores: `{command}` draws it again."


def projection(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize the map, or name the command that adds it."""
    result = artefacts.later.get(MAP)
    command = PROJECTION.with_options(map="")
    if result is None:
        return {"hint": ADDS.format(command=command)}
    if PROJECTION.name in artefacts.outdated:
        return {"hint": OUTDATED.format(command=command)}
    explained = result["explained"]
    summary = {
        "hint": None,
        "n": int(result["n"]),
        "n_scored": int(result["n_scored"]),
        "explained": None if explained is None else [plain(share) for share in explained],
        "solver": str(result["solver"]),
        "umap": bool(result["umap"]),
        "n_neighbors": int(result["n_neighbors"]),
        "n_epochs": int(result["n_epochs"]),
        "reason": sentence(str(result["reason"])),
        "seed": plain(result["seed"]),
    }
    return summary | {"readings": _readings(summary)}


def _readings(result: Mapping[str, Any]) -> dict[str, str]:
    """Explain each projection by its name; empty where there is nothing to read."""
    # All features are the same: one point, of which nothing can be read.
    if result["explained"] is None:
        return {}
    readings = {}
    if result["umap"]:
        readings["umap"] = (
            f"UMAP of the strong features, from the {result['n_neighbors']} nearest of each point "
            "by cosine: what lies together is alike; distances between far groups, and how large a "
            "group looks, mean little."
        )
    first, second = (percent(share) for share in result["explained"])
    by = " (found by randomised subspace iteration)" if result["solver"] == "randomised" else ""
    readings["pca"] = (
        f"The first two principal components of the strong features{by} hold {first} and {second} "
        "of the variance of the scored points; the rest is not visible."
    )
    return readings
