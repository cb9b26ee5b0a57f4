"""Facts on the data of a run."""

from __future__ import annotations

from typing import Any

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import name_of


def data(artefacts: Artefacts) -> dict[str, Any]:
    """Describe the data of a run."""
    facts, scored = artefacts.data, artefacts.overlap
    names = scored.get("class_names") or facts.get("class_names") or []
    return {
        "name": name_of(facts.get("name")) or artefacts.path.name,
        "source": facts.get("source"),
        "kind": artefacts.kind,
        "fingerprint": facts.get("fingerprint"),
        "n_items": int(scored.get("n_items") or len(artefacts.scores)),
        "n_scored": int(scored.get("n_scored") or len(artefacts.scored())),
        "scored_split": scored.get("scored_split"),
        "n_classes": len(names),
        "class_names": [name_of(name) for name in names],
        "notes": [str(note) for note in facts.get("notes") or []],
        "created": artefacts.manifest.get("created"),
        "run": artefacts.path.resolve().name,  # not the whole path: a page may be sent on
    }
