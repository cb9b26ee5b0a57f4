"""Overlap: density, regions, thresholds and how to read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_data.overlap.changepoint import UNIFORM_EXPLAINED
from w2s_data.stages.graph import SCORE, TEACH
from w2s_data.utils.stage import ITEMS, WEAK_PROBA
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import format_interval, percent, plain
from w2s_reports.palette import REGIONS
from w2s_reports.summary.parts import estimate

# Weak encoders that need no download, for the command in the hint.
ENCODERS = {"text": "tfidf", "image": "pixels"}


def hint(artefacts: Artefacts) -> str | None:
    """Return the command that scores the run, with the features it needs; None if scored."""
    if artefacts.is_scored:
        return None
    options = {f"{role}_features": f"{role.upper()}.npy" for role in missing_features(artefacts)}
    if artefacts.kind in ENCODERS:
        encoders = {"weak": ENCODERS[artefacts.kind], "strong": "MODEL"}
        options = {role: encoders[role] for role in missing_features(artefacts)}
    return (
        f"`{SCORE.with_options(**options)}` adds the region of every item, the overlap "
        "density, what each source and group holds of it, and the most telling items."
    )


def missing_features(artefacts: Artefacts) -> list[str]:
    """List the models whose features are missing; given weak labels need no weak model."""
    stages = artefacts.manifest.get("stages") or {}
    given = (stages.get("embed") or {}).get("settings") or {}
    taught = any(
        WEAK_PROBA in ((stages.get(name) or {}).get("files") or ())
        for name in (ITEMS.name, TEACH.name)
    )
    needed = ("strong",) if taught else ("weak", "strong")
    return [role for role in needed if not given.get(role)]


def reading(artefacts: Artefacts) -> dict[str, Any]:
    """Describe the overlap in a sentence, with warnings and what to check before acting."""
    if not artefacts.is_scored:
        return {"hint": hint(artefacts), "sentence": "", "warnings": [], "advice": []} | {
            "missing_features": missing_features(artefacts)
        }
    results = artefacts.overlap
    advice = [
        "Look at the two sorted curves: a clear bend and a narrow interval support the "
        "density, a straight slope does not."
    ]
    if results.get("by_source") or results.get("by_group"):
        advice.append(
            "Compare sources and groups by their intervals: where these overlap widely, treat "
            "the densities as equal."
        )
    advice.append(
        "Before crediting the overlap, train once on all confident points (overlap and easy-only "
        "together) as a control."
    )
    return {
        "hint": None,
        "sentence": results.get("reading") or _plain_reading(estimate(results.get("density"))),
        "warnings": [str(warning) for warning in results.get("warnings") or []],
        "advice": advice,
    }


def _plain_reading(density: Mapping[str, Any]) -> str:
    if density["value"] is None:
        return "The overlap density of this pool is undefined."
    spread = format_interval(density, "density")
    return f"The overlap density is {percent(density['value'])}" + (
        f" (interval {spread})." if spread else "."
    )


def _accuracy(values: Mapping[str, Any], key: str, level: float) -> dict[str, Any] | None:
    given = values.get(key)
    return estimate(given, level) | {"n": plain(given.get("n"))} if given else None


def overlap(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize density, regions and thresholds; no numbers where the run was not scored."""
    written = artefacts.overlap
    level = float(written.get("level") or 0.95)
    scored = artefacts.scored()
    regions = []
    # In the order of the palette, which is the order of the bar and its legend.
    for style in REGIONS if artefacts.is_scored else ():
        results = (written.get("regions") or {}).get(style.key) or {}
        regions.append(
            {
                "key": style.key,
                "meaning": style.meaning,
                "n": int(results.get("n") or (scored["region"] == style.key).sum()),
                "share": estimate(results.get("share"), level),
                "weak_accuracy": _accuracy(results, "weak_accuracy", level),
                "weak_mse": estimate(results.get("weak_mse")),
            }
        )
    result: dict[str, Any] = {
        "hint": hint(artefacts),
        "level": level,
        "density": estimate(written.get("density"), level),
        "regions": regions,
    }
    for key in ("confidence_threshold", "alignment_threshold"):
        given = written.get(key) or {}
        result[key] = estimate(given, level) | {"explained": plain(given.get("explained"))}
    for key in ("weak_accuracy", "confident_accuracy"):
        result[key] = _accuracy(written, key, level)
    result["weak_mse"] = estimate(written.get("weak_mse"))
    low, high = written.get("range") or (None, None)
    result["range"] = {"value": None, "low": plain(low), "high": plain(high), "level": level}
    result["regions_by"] = written.get("regions_by", "thresholds")
    result["quantified_by"] = written.get("quantified_by", "count")
    doubt = _doubt(result, written.get("objection") or "", artefacts.sureness)
    return result | {"doubt": doubt}


def _doubt(overlap: Mapping[str, Any], objection: str, sureness: str) -> str:
    """Say why the density should not be relied on; empty if its level is supported."""
    if overlap["quantified_by"] == "mixture":
        return ""
    if objection and overlap["density"]["value"] is not None:
        return f"a rank and a range rather than a number, since {objection}"
    explained = {
        name: overlap[f"{key}_threshold"]["explained"]
        for name, key in ((sureness, "confidence"), ("alignment", "alignment"))
    }
    poor = [n for n, share in explained.items() if share is not None and share < UNIFORM_EXPLAINED]
    if not poor or overlap["density"]["value"] is None:
        return ""
    fall = "falls" if len(poor) == 1 else "fall"
    return (
        f"doubtful, since the {' and the '.join(poor)} of these points {fall} into two parts "
        "no more clearly than evenly spread values do"
    )
