"""Measured gain where labels are values: errors of teacher, students and ceiling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_data.stages.graph import GAIN, GAIN_SUMMARY
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import name_of, percent, plain
from w2s_reports.summary.gain import MEANINGS, best_student
from w2s_reports.summary.parts import estimate, named, sentence, texts
from w2s_reports.summary.values.options import read_measures, summarize_options

REFERENCES = {
    "teacher": "Teacher",
    "ceiling": "Ceiling: gold values of the pool",
    "labelled_only": "Gold values of the labelled items only",
    "posterior": "Posterior: teacher and students together at use",
}
# Meanings of the same names where labels are values.
VALUE_MEANINGS = {
    "stacked": "Trained on the posterior of the pool and on the gold values, together.",
    "labelled_only": "Trained on the gold values alone.",
    "naive": "Trained on the teacher's values as they are.",
    "crossfit": "Keeps the items on which teacher and out-of-fold student agree.",
    "vote": "Teacher and students together, whenever a value is asked for.",
}
Row = Mapping[str, Any]


def summarize_gain(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize the methods by error, or name the command that measures them."""
    result = artefacts.later.get(GAIN_SUMMARY)
    if result is None:
        return {"hint": GAIN.hint()}
    references = [_reference(name, result.get(name)) for name in REFERENCES]
    methods = [_method(row) for row in result["methods"]]
    groups = _groups(result.get("groups") or ())
    return {
        "hint": None,
        "reading": sentence(str(result.get("sentence") or "")),
        "tuning": str(result.get("tuning") or "head"),
        "head": str(result.get("head") or ""),
        "best_student": best_student(result),
        "level": plain(result["level"]),
        **{name: plain(result.get(name)) for name in ("n_labelled", "n_pool", "n_test")},
        "n_seeds": _n_seeds(result.get("seeds")),
        "target": {
            name: plain((result.get("target") or {}).get(name))
            for name in ("mean", "sd", "low", "high")
        },
        **summarize_options(result),
        "methods": methods,
        "references": references,
        "meanings": _meanings(methods),
        "reasons": _reasons(methods),
        "groups": groups,
        "splits": [
            {"name": name_of(row.get("name")), "n": plain(row.get("n"))}
            | {"rows": [_split_row(one) for one in row.get("methods") or ()]}
            for row in result.get("splits") or ()
        ],
        "findings": _findings(groups),
        "failures": [
            {"name": name_of(name), "reason": str(reason)}
            for name, reason in (result.get("failures") or {}).items()
        ],
        "warnings": texts(result.get("warnings")),
    }


def reference(gain: Row, name: str) -> Row:
    """Return the errors of teacher, ceiling or the student of gold values."""
    return next(row for row in gain["references"] if row["name"] == name)


def _n_seeds(seeds: Any) -> int:
    return len(seeds) if isinstance(seeds, Sequence) else int(seeds or 1)


def _reference(name: str, record: Row | None) -> dict[str, Any]:
    reason = str((record or {}).get("reason") or "")
    return {"name": name, "words": REFERENCES[name], "reason": reason, **read_measures(record)}


def _method(row: Row) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": name_of(row["name"]),
        "rank_group": str(row.get("rank_group") or ""),
        **read_measures(row),
        **{name: estimate(row.get(name)) for name in ("gain", "relative_gain", "over_labelled")},
    }
    for name in ("pgr", "opr"):
        found[name] = estimate(row.get(name)) | {"reason": str(row.get(f"{name}_reason") or "")}
    return found


def _split_row(row: Row) -> dict[str, Any]:
    return {
        "name": name_of(row.get("name")),
        **read_measures(row),
        "gain": estimate(row.get("gain")),
    }


def _groups(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Summarize the error of teacher and best student per group, the largest of these first."""
    found = [
        {
            "name": name_of(row.get("name")) or "(none)",
            "n": plain(row.get("n")),
            "teacher": estimate(row.get("teacher")),
            "student": estimate(row.get("student")),
            "gain": estimate(row.get("gain")),
        }
        for row in rows
    ]
    return sorted(found, key=lambda row: -(row["student"]["value"] or 0.0))


def _meanings(methods: Sequence[Row]) -> list[dict[str, str]]:
    known = MEANINGS | VALUE_MEANINGS
    names = dict.fromkeys(str(method["name"]).partition(":")[0] for method in methods)
    return [{"name": name, "text": known[name]} for name in names if name in known]


def _reasons(methods: Sequence[Row]) -> list[str]:
    """Say why the gap recovered, or the ratio to gold values alone, is undefined."""
    words = {"pgr": "the gap recovered", "opr": "the ratio to gold values alone"}
    reasons = [
        method[name]["reason"].replace(f"{name} is not defined", f"{said} is undefined", 1)
        for name, said in words.items()
        for method in methods
    ]
    return [sentence(reason) for reason in dict.fromkeys(reasons) if reason]


def _findings(groups: Sequence[Row]) -> list[str]:
    losing = [g for g in groups if g["gain"]["high"] is not None and g["gain"]["high"] < 0]
    if not losing:
        return []
    names = named(losing, lambda group: str(group["name"]))
    return [f"The best student loses against its teacher in {names}: look there before using it."]


def recovered(method: Row) -> str:
    """Format the performance gap recovered.

    >>> recovered({"pgr": {"value": 0.5}}), recovered({"pgr": {"value": None}})
    ('50%', 'undefined')
    """
    value = method["pgr"]["value"]
    return "undefined" if value is None else percent(value, 0)
