"""Groups: shares, reliability and duplicates of each, and the cost of unequal shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_data.stages.graph import GROUPS, GROUPS_SUMMARY, SPURIOUS
from w2s_reports.artefacts import Artefacts
from w2s_reports.discovered import group_names, shown_name
from w2s_reports.formats import name_of, percent, plain, signed
from w2s_reports.summary.parts import average, estimate, named, sentence, texts
from w2s_reports.summary.worst import worst_groups

ESTIMATES = (
    *("eta_labelled", "eta_pool", "overlap_density", "weak_accuracy"),
    *("student_accuracy", "calibration_error", "purity"),
)
COUNTS = ("n", "n_labelled", "n_pool", "n_scored", "n_gold", "n_duplicates", "n_leaking")
PARTS = ("average", "inside", "others")


def summarize_groups(artefacts: Artefacts, gain: Mapping[str, Any]) -> dict[str, Any]:
    """Summarize groups, associations and prediction, or name the command that adds them.

    `gain` is the summary of the measured gain, which has groups too.
    """
    results = artefacts.later.get(GROUPS_SUMMARY)
    if results is None:
        return {"hint": GROUPS.hint()}
    reading = sentence(str(results["reading"]))
    warnings = [*texts(results["warnings"]), *texts(results.get("notes"))]
    lead = reading
    # The page lists warnings above the reading: repeating them would double its length.
    for warning in warnings:  # those that the reading repeats stand above it
        lead = lead.replace(sentence(warning), "").strip()
    names = group_names(results)
    about = describe_groups(results, names)
    rows = [
        _row(row, "group", names) | {"about": about.get(shown_name(names, row["group"]), "")}
        for row in results["groups"]
    ]
    lead, reading = (named_by_content(text, names) for text in (lead, reading))
    return {
        "hint": None,
        "reading": reading,
        "lead": lead,
        "level": plain(results["level"]),
        "discovery": str(results["discovery"]),
        "student": _student(artefacts, results),
        "rows": rows,
        "sources": [_row(row, "source", {}) for row in results["sources"] or ()],
        "worst": worst_groups(rows, gain.get("groups") or (), _whole(rows, gain)),
        "about": about,
        "association": [
            {
                "split": str(row["split"]),
                "labels": str(row["labels"]),
                "n": plain(row["n"]),
                "cramers_v": estimate(row.get("cramers_v")),
                "reason": str(row["reason"]),
            }
            for row in results["association"]
        ],
        "warnings": warnings,
        "prediction": summarize_cost(artefacts.later[SPURIOUS], names, gain),
        **({"of_prompts": True} if are_prompts(results) else {}),
    }


def are_prompts(results: Mapping[str, Any] | None) -> bool:
    """Return whether near-duplicates are pairs of like prompts, whose responses may differ."""
    return "of" in ((results or {}).get("duplicates") or {})


def describe_groups(results: Mapping[str, Any], names: Mapping[str, str]) -> dict[str | None, str]:
    """Say what sets each discovered group apart, by its shown name; empty for given groups."""
    about = {}
    for portrait in results.get("portraits") or ():
        parts = [
            f"{percent(value['share'], 0)} {role} {name_of(value['name'])}, "
            f"{percent(value['elsewhere'], 0)} elsewhere"
            for role, value in portrait["telling"].items()
            if value is not None
        ]
        if portrait["words"]:
            parts.append(f"words: {', '.join(portrait['words'])}")
        about[shown_name(names, portrait["group"])] = (
            "; ".join(parts) or f"no {_named(portrait)}, source or word stands out"
        )
    return about


def _named(portrait: Mapping[str, Any]) -> str:
    return "value" if "value" in portrait["telling"] else "class"


def named_by_content(text: str, names: Mapping[str, str]) -> str:
    """Call discovered groups in a sentence what the page calls them."""
    for name, shown in names.items():
        text = text.replace(f"group {name!r}", repr(name)).replace(f"Group {name!r}", repr(name))
        text = text.replace(repr(name), shown)
    return sentence(text)


def _student(artefacts: Artefacts, results: Mapping[str, Any]) -> str | None:
    """Return the method whose student was described, if it is of the run's present gain."""
    if not artefacts.manifest:  # the stage alone: there is no later gain
        return name_of(results.get("student"))
    stages = artefacts.manifest.get("stages") or {}
    described = ((stages.get("groups") or {}).get("settings") or {}).get("student") or {}
    present = (stages.get("gain") or {}).get("key")
    is_present = bool(described) and described.get("gain") == present
    return name_of(results.get("student")) if is_present else None


def _whole(rows: Sequence[Mapping[str, Any]], gain: Mapping[str, Any]) -> dict[str, Any]:
    """Average the groups' numbers, weighted by the items that each was computed on."""
    methods = gain.get("methods") or ()
    return {
        "weak_accuracy": average(rows, "weak_accuracy", "n_gold"),
        "overlap_density": average(rows, "overlap_density", "n_scored"),
        "gain": methods[0]["gain"]["value"] if methods else None,
    }


def _row(row: Mapping[str, Any], role: str, names: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": shown_name(names, row[role]) or "(none)",
        **{name: plain(row.get(name)) for name in COUNTS},
        **{name: estimate(row.get(name)) for name in ESTIMATES},
        "largest_class": name_of(row.get("largest_class")),
        "nearest_group": shown_name(names, row.get("nearest_group")),
        "nearest_cosine": plain(row.get("nearest_cosine")),
    }


def summarize_cost(
    results: Mapping[str, Any],
    names: Mapping[str, str],
    gain: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Summarize the predicted gain over the share of the worst group, and the advice.

    `gain` is the measured one of accuracies, which may contradict the prediction.
    """
    level = plain(results.get("level"))
    little = [row for row in results["groups"] if row["remedy"] == "none"]
    others = [row for row in results["groups"] if row["remedy"] != "none"]
    result = {
        "reading": named_by_content(str(results["reading"]), names),
        "against": _against(results, gain or {}),
        "group": shown_name(names, results["worst_group"]),
        "level": level,
        "little": _little(little, len(results["groups"]), names),
        "lines": [named_by_content(str(row["advice"]), names) for row in others],
        "unknown": [
            {"name": shown_name(names, row["group"]), "reason": str(row["reason"])}
            for row in results["unknown"]
        ],
        "warnings": texts(results["warnings"]),
        "eta_pool": estimate(None),
        "optimal_eta_pool": estimate(results.get("optimal_eta_pool"), level),
        "curve": [
            {
                "eta_pool": plain(point["eta_pool"]),
                **{part: estimate(point[part]["relative_gain"], level) for part in PARTS},
            }
            for point in results.get("curve") or ()
        ],
    }
    if not results["groups"]:  # the reading says why
        result["lines"] = [result["reading"]]
    for row in results["groups"]:
        if row["group"] == results["worst_group"]:
            result["eta_pool"] = estimate(row["eta_pool"], level)
    return result


def _little(rows: Sequence[Mapping[str, Any]], n_groups: int, names: Mapping[str, str]) -> str:
    """Count and name the groups that need no other share in the pool; empty if there are none."""
    if not rows:
        return ""
    listed = named(rows, lambda row: shown_name(names, row["group"]) or "(none)", 6)
    return (
        f"In {len(rows)} of {n_groups} groups another share in the pool would change little: "
        f"{listed}."
    )


def _against(results: Mapping[str, Any], gain: Mapping[str, Any]) -> str:
    """Say that the measurement contradicts the predicted gain; empty where it does not."""
    methods = gain.get("methods") or ()
    measured = methods[0]["gain"]["value"] if methods else None
    predicted = [
        value
        for row in results["groups"]
        if (value := row["risks"]["average"]["relative_gain"]["value"]) is not None
    ]
    if measured is None or measured > 0 or not any(value > 0 for value in predicted):
        return ""
    return (
        f"Measured, the best student gained {signed(measured)} points. Where a gain is predicted "
        "here, believe the measurement: the prediction covers the teacher's label noise only, and "
        "is meant for comparing shares."
    )
