"""Models, settings, timings and versions as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from w2s_reports.formats import duration
from w2s_reports.markdown.tables import escape


def provenance(summary: Mapping[str, Any]) -> list[str]:
    """Models, settings, timings and versions."""
    provenance = summary["provenance"]
    facts = {
        "data": summary["data"]["fingerprint"],
        **{f"{role} model": _listed(spec) for role, spec in provenance["models"].items()},
        "seed": provenance["seed"],
        "device": provenance["device"],
        "settings": _listed(provenance["settings"]),
        **{stage["name"]: duration(stage["seconds"]) for stage in provenance["stages"]},
        "w2s-data": summary["version"],
        **provenance["versions"],
    }
    rows = [f"- {escape(k)}: {escape(v)}" for k, v in facts.items() if v not in (None, "")]
    return ["## Provenance", "\n".join(rows)] if rows else []


def _listed(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())
