"""What `w2s score` found: density, regions, thresholds and how to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import interval, percent, plain
from w2s_reports.palette import REGIONS


def reading(artefacts: Artefacts) -> dict[str, Any]:
    """The overlap in a sentence, its warnings, and what to check before acting on it."""
    found = artefacts.overlap
    advice = [
        "Look at the two sorted curves: a clear bend and a narrow interval support the "
        "density, a straight slope does not."
    ]
    if found.get("by_source") or found.get("by_group"):
        advice.append(
            "Compare sources and groups by their intervals: where these overlap widely, treat "
            "the densities as equal."
        )
    advice.append(
        "Before crediting the overlap, train once on all confident points (overlap and easy-only "
        "together) as a control."
    )
    return {
        "sentence": found.get("reading") or _plain_reading(_estimate(found, "density")),
        "warnings": [str(warning) for warning in found.get("warnings") or []],
        "advice": advice,
    }


def _plain_reading(density: Mapping[str, Any]) -> str:
    if density["value"] is None:
        return "The overlap density of this pool is undefined."
    spread = interval(density["low"], density["high"])
    return f"The overlap density is {percent(density['value'])}" + (
        f" (interval {spread})." if spread else "."
    )


def _estimate(values: Mapping[str, Any], key: str, *more: str) -> dict[str, Any]:
    found = values.get(key) or {}
    return {name: plain(found.get(name)) for name in ("value", "low", "high", *more)}


def _accuracy(values: Mapping[str, Any], key: str) -> dict[str, Any] | None:
    return _estimate(values, key, "n") if values.get(key) else None


def overlap(artefacts: Artefacts) -> dict[str, Any]:
    """Density, regions and thresholds."""
    written = artefacts.overlap
    level = float(written.get("level") or 0.95)
    scored = artefacts.scored()
    regions = []
    for style in REGIONS:
        found = (written.get("regions") or {}).get(style.key) or {}
        regions.append(
            {
                "key": style.key,
                "meaning": style.meaning,
                "n": int(found.get("n") or (scored["region"] == style.key).sum()),
                **{name: plain(found.get(name)) for name in ("share", "low", "high")},
                "weak_accuracy": _accuracy(found, "weak_accuracy"),
            }
        )
    result: dict[str, Any] = {
        "level": level,
        "density": _estimate(written, "density"),
        "regions": regions,
    }
    for key in ("confidence_threshold", "alignment_threshold"):
        result[key] = _estimate(written, key, "explained")
    for key in ("weak_accuracy", "confident_accuracy"):
        result[key] = _accuracy(written, key)
    return result
