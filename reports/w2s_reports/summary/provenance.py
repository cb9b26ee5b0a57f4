"""Facts on the data, and where the numbers come from: models, settings, timings, versions."""

from __future__ import annotations

from typing import Any

from w2s_data.regression.forecast import FEWEST_LABELLED
from w2s_data.stages.graph import FORECAST_SUMMARY, GAIN_SUMMARY, GROUPS_SUMMARY
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import flatten, name_of, plain

SUMMARIES = (GAIN_SUMMARY, GROUPS_SUMMARY, FORECAST_SUMMARY)  # with warnings of data, beside scores


def describe_data(artefacts: Artefacts) -> dict[str, Any]:
    """Describe the data of a run."""
    facts, scored = artefacts.data, artefacts.overlap
    stages = artefacts.manifest.get("stages") or {}
    embedded = (stages.get("embed") or {}).get("notes") or ()
    names = scored.get("class_names") or facts.get("class_names") or []
    return {
        "name": name_of(facts.get("name")) or artefacts.path.name,
        "source": facts.get("source"),
        "kind": artefacts.kind,
        "task": "regression" if artefacts.is_regression else "classification",
        "fingerprint": facts.get("fingerprint"),
        "n_items": int(scored.get("n_items") or len(artefacts.scores)),
        "n_scored": int(scored.get("n_scored") or len(artefacts.scored())),
        "scored_split": scored.get("scored_split"),
        "n_classes": len(names),
        "class_names": [name_of(name) for name in names],
        "warnings": data_warnings(artefacts),
        "notes": [str(note) for note in (*(facts.get("notes") or ()), *embedded)],
        "created": artefacts.manifest.get("created"),
        "run": artefacts.path.resolve().name,  # not the whole path: a page may be sent on
        **({"few_gold": True} if _few_gold(artefacts) else {}),
    }


def _few_gold(artefacts: Artefacts) -> bool:
    """Return whether the labelled split has too few gold labels for a forecast."""
    scores, column = artefacts.scores, "target" if artefacts.is_regression else "label"
    if column not in scores:
        return False
    gold = scores.loc[scores["split"] == "labelled", column].dropna()
    if artefacts.is_regression:
        return len(gold) < FEWEST_LABELLED
    counts = gold.value_counts()  # two classes or more, with two rows or more of each
    return len(counts) < 2 or bool(counts.min() < 2)


def data_warnings(artefacts: Artefacts) -> list[dict[str, Any]]:
    """Collect the warnings of data that the stages wrote, each kind once."""
    summaries = (artefacts.later.get(name) or {} for name in SUMMARIES)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for summary in (artefacts.overlap, *summaries):
        for warning in summary.get("data_warnings") or ():
            # Several notes of reading share a code; of all others one stage is enough.
            code = str(warning["code"])
            key = (code, str(warning["text"]) if code == "note" else "")
            found.setdefault(key, dict(warning))
    return list(found.values())


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
