"""What `w2s score` left behind: the data, the overlap, its slices, examples and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import excerpt, flatten, interval, name_of, percent, plain
from w2s_reports.palette import REGIONS

EXAMPLES_PER_REGION = 6
EXAMPLE_BYTES = 320

# The most telling items of a region are those furthest from the threshold that made them so.
_TELLING = {
    "overlap": ("alignment", False, "highest alignment first"),
    "easy-only": ("alignment", True, "lowest alignment first"),
    "hard-only": ("confidence", True, "lowest confidence first"),
}
_ROW_NUMBERS = (
    "density",
    "density_low",
    "density_high",
    "hard_only",
    "easy_only",
    "weak_accuracy",
    "weak_accuracy_low",
    "weak_accuracy_high",
)


def data(artefacts: Artefacts) -> dict[str, Any]:
    """What data the run is about."""
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
    }


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


def slices(artefacts: Artefacts, key: str, role: str) -> dict[str, Any]:
    """The overlap in each source or group."""
    rows = [
        {
            "name": name_of(row.get("name")) or "(none)",
            "n": int(row.get("n") or 0),
            **{name: plain(row.get(name)) for name in _ROW_NUMBERS},
        }
        for row in artefacts.overlap.get(key) or []
    ]
    option = f"w2s score DATA --{role} COLUMN"
    return {
        "rows": rows,
        "hint": None if rows else f"No {role} column was given; `{option}` compares {role}s.",
    }


def example_rows(scored: pd.DataFrame) -> dict[str, list[int]]:
    """Rows of the most telling items of each region, by their label in `scored`'s index."""
    chosen = {}
    for key, (column, ascending, _) in _TELLING.items():
        members = scored.loc[scored["region"] == key, column].dropna()
        order = members.sort_values(ascending=ascending, kind="stable")
        chosen[key] = [int(row) for row in order.index[:EXAMPLES_PER_REGION]]
    return chosen


def examples(artefacts: Artefacts) -> list[dict[str, Any]]:
    """The most telling items of each region."""
    scored = artefacts.scored()
    chosen = example_rows(scored)
    is_text = artefacts.kind == "text"
    wanted = [row for rows in chosen.values() for row in rows] if is_text else []
    texts = {
        row: excerpt(str(item), EXAMPLE_BYTES)
        for row, item in artefacts.items(wanted)
        if item is not None
    }
    return [
        {
            "region": key,
            "order": _TELLING[key][2],
            "items": [
                _item(score, row, texts.get(row))
                for row, score in zip(rows, scored.loc[rows].to_dict("records"), strict=True)
            ],
        }
        for key, rows in chosen.items()
    ]


def _item(score: Mapping[Any, Any], row: int, text: str | None) -> dict[str, Any]:
    correct = plain(score.get("weak_correct"))
    return {
        "row": row,
        "id": str(score["id"]),
        "text": text,
        "region": str(score["region"]),
        **{name: name_of(score.get(name)) for name in ("label", "weak_label", "source", "group")},
        "weak_correct": None if correct is None else bool(correct),
        "confidence": plain(score["confidence"]),
        "alignment": plain(score["alignment"]),
    }


def provenance(artefacts: Artefacts) -> dict[str, Any]:
    """Models, settings, timings and versions."""
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
