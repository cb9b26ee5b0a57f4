"""The map of the strong features: by which method, of how many points, and how it may be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import percent, plain
from w2s_reports.summary.parts import sentence

ADDS = "`{command}` adds a map of the strong features."
OUTDATED = "The map is older than the features or the scores: `{command}` draws it again."


def projection(artefacts: Artefacts) -> dict[str, Any]:
    """Methods, shares of variance, seed and limits of the map, or the command that adds it."""
    found = artefacts.later.get("projection.json")
    command = f"w2s report RUN --map{_file(artefacts)}"
    if found is None:
        return {"hint": ADDS.format(command=command)}
    if "projection" in artefacts.outdated:
        return {"hint": OUTDATED.format(command=command)}
    explained = found["explained"]
    summary = {
        "hint": None,
        "n": int(found["n"]),
        "n_scored": int(found["n_scored"]),
        "explained": None if explained is None else [plain(share) for share in explained],
        "solver": str(found["solver"]),
        "umap": bool(found["umap"]),
        "n_neighbors": int(found["n_neighbors"]),
        "n_epochs": int(found["n_epochs"]),
        "reason": sentence(str(found["reason"])),
        "seed": plain(found["seed"]),
    }
    return summary | {"readings": _readings(summary)}


def _readings(found: Mapping[str, Any]) -> dict[str, str]:
    """How each projection may be read, by its name; none where there is nothing to read."""
    if found["explained"] is None:
        return {}
    readings = {}
    if found["umap"]:
        readings["umap"] = (
            f"UMAP of the strong features, from the {found['n_neighbors']} nearest of each point "
            "by cosine: what lies together is alike; distances between far groups, and how large a "
            "group looks, mean little."
        )
    first, second = (percent(share) for share in found["explained"])
    by = " (found by randomised subspace iteration)" if found["solver"] == "randomised" else ""
    readings["pca"] = (
        f"The first two principal components of the strong features{by} hold {first} and {second} "
        "of the variance of the scored points; the rest is not seen."
    )
    return readings


def _file(artefacts: Artefacts) -> str:
    """What the command needs besides, where the strong features came from a file."""
    embedded = (artefacts.manifest.get("stages") or {}).get("embed") or {}
    strong = (embedded.get("settings") or {}).get("strong") or {}
    return " --strong-features FILE" if "file" in strong else ""
