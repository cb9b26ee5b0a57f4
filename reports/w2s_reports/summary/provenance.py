"""Where the numbers come from: models, settings, timings and versions."""

from __future__ import annotations

from typing import Any

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import flatten, plain


def provenance(artefacts: Artefacts) -> dict[str, Any]:
    """Collect models, settings, timings and versions."""
    manifest = artefacts.manifest
    stages = manifest.get("stages") or {}
    embed = (stages.get("embed") or {}).get("settings") or {}
    return {
        "models": {role: flatten(embed[role]) for role in ("weak", "strong") if embed.get(role)},
        "stages": [
            {
                "name": str(name),
                "seconds": plain(stage.get("seconds")),
                "finished": stage.get("finished"),
                "settings": flatten(stage.get("settings") or {}),
            }
            for name, stage in stages.items()
        ],
        "settings": flatten(artefacts.overlap.get("settings") or {}),
        "seed": manifest.get("seed"),
        "device": manifest.get("device"),
        "versions": {str(k): str(v) for k, v in (manifest.get("versions") or {}).items()},
    }
