"""Models, settings, timings and versions as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import day, duration, number, number_interval
from w2s_reports.markdown.tables import escape

THRESHOLDS = ("confidence", "alignment")


def provenance(summary: Mapping[str, Any]) -> list[str]:
    """Models, settings, timings and versions."""
    provenance = summary["provenance"]
    facts = {
        "run": summary["data"]["run"],
        "data": summary["data"]["fingerprint"],
        **{f"{name} threshold": _threshold(summary["overlap"], name) for name in THRESHOLDS},
        **{f"{role} model": _listed(spec) for role, spec in provenance["models"].items()},
        "seed": provenance["seed"],
        "device": provenance["device"],
        "settings": _listed(provenance["settings"]),
        **{stage["name"]: _stage(stage) for stage in provenance["stages"]},
        "w2s-data": summary["version"],
        **provenance["versions"],
    }
    rows = [f"- {escape(k)}: {escape(v)}" for k, v in facts.items() if v not in (None, "")]
    rows += [f"- note: {escape(note)}" for note in summary["data"]["notes"]]
    return ["## Provenance", "\n".join(rows)] if rows else []


def _stage(stage: Mapping[str, Any]) -> str:
    finished = f"finished {day(stage['finished'])}" if stage["finished"] else ""
    said = [duration(stage["seconds"]), finished, _listed(stage["settings"])]
    return "; ".join(part for part in said if part)


def _threshold(overlap: Mapping[str, Any], name: str) -> str | None:
    found = overlap[f"{name}_threshold"]
    if found["value"] is None:
        return None
    limits = number_interval(found["low"], found["high"], 4)
    return number(found["value"], 4) + (f" ({limits})" if limits else "")


def _listed(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())
