"""Measured gain: methods ranked, with seeds, controls and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from w2s_data.compute.memory import size_text
from w2s_data.finetune.methods.base import ORACLE
from w2s_data.stages.graph import BEST, FORECAST_SUMMARY, GAIN, GAIN_SUMMARY, GAIN_TABLE
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, format_interval, name_of, percent, plain, signed
from w2s_reports.summary.diagnostics import summarize_diagnostics
from w2s_reports.summary.options import summarize_options
from w2s_reports.summary.parts import estimate, named, sentence, texts
from w2s_reports.summary.splits import summarize_splits

# Scores of probabilities, beside accuracy, which sees the most probable class alone.
FINER = ("auroc", "log_loss")
# Students that every method is compared with.
REFERENCES = ("teacher", "ceiling", "labelled_only", "vote")
MEANINGS = {
    "stacked": "Trained on the label posterior of the pool and on the gold labels, together.",
    "labelled_only": "Trained on the gold labels alone, for as many steps.",
    "trust": "Keeps the weak labels that gold labels say are most probably right.",
    "prediction_powered": "Takes from the weak labels the bias that they show on gold ones.",
    "naive": "Trained on the teacher's labels as they are.",
    "confidence": "Trusts its own prediction more and more beside the teacher's label.",
    "bootstrap": "A chain of students of rising strength, each taught by the one before.",
    "vsup": "Trusts its own prediction as far as each point allows.",
    "bayes": "Learns how much evidence there is for each class, and not only which class.",
    "overlap": "Keeps the points that the overlap detector picks, some of every class.",
    "crossfit": "Keeps the points on which teacher and out-of-fold student agree most.",
    "enhanced": "Keeps the points of each class that the student is surest of, and trains again.",
    "cosupervised": "Gives each point to the specialist among the teachers that fits it.",
    "raven": "Learns how far to trust each of several teachers.",
    "label_model": "Weighs the teachers by how they agree, without gold labels.",
    "mixed": "Control: the same rows, with the teacher's labels as they are.",
    "first_round": "Control: the first student of the chain.",
    "random_subset": "Control: as many points as the method keeps, drawn at random.",
    "teacher_confidence": "Control: as many points, those of which the teacher is surest.",
    "l2_x10": "Control: all points, with ten times the penalty on the weights.",
    "single": "Control: the first teacher alone.",
    "self_training": "Control: the first teacher, then as many rounds on the student's own labels.",
    "mean_ensemble": "Control: the mean of all teachers.",
    ORACLE: "Reference, no control: gold labels of the pool assign a teacher to each point.",
}


def summarize_gain(artefacts: Artefacts) -> dict[str, Any]:
    """Summarize the methods by gain, or name the command that measures them."""
    result = artefacts.later.get(GAIN_SUMMARY)
    if result is None:
        return {"hint": GAIN.hint()}
    students = result["students"]
    by_seed = artefacts.later[GAIN_TABLE]
    methods = [_method(s, students, by_seed) for s in students if not s["control_of"]]
    groups = _groups(result["teacher"], methods[0]["name"] if methods else None, students)
    undertrained = result.get("undertrained", {})
    return {
        "hint": None,
        "reading": sentence(str(result["reading"])),
        "tuning": str(result["tuning"]),
        "level": plain(result["level"]),
        "n_labelled": plain(result["n_labelled"]),
        "n_pool": plain(result["n_pool"]),
        "n_test": plain(result["n_test"]),
        "n_seeds": len(result["seeds"]),
        **summarize_options(result),
        "methods": methods,
        "meanings": _meanings(methods),
        "findings": _findings(methods, groups),
        "reasons": _reasons(methods, undertrained),
        **{name: _reference(result[name], name in undertrained) for name in REFERENCES},
        "vote_lead": estimate(result["vote_lead"]),
        "finer": _finer(result, methods),
        "groups": groups,
        "splits": summarize_splits(result),
        "diagnostics": summarize_diagnostics(artefacts),
        "kept": _kept(result),
        "best_student": best_student(result),
        "forecast": _forecast(result["forecast"], artefacts.later.get(FORECAST_SUMMARY) or {}),
        "failures": [
            {"name": name_of(name), "reason": str(reason)}
            for name, reason in result["failures"].items()
        ],
        "warnings": texts(result["warnings"]),
    }


def _method(
    student: Mapping[str, Any], students: Sequence[Mapping[str, Any]], by_seed: pd.DataFrame
) -> dict[str, Any]:
    own = (by_seed["role"] == "method") & (by_seed["student"] == student["name"])
    return {
        "name": name_of(student["name"]),
        "rank_group": str(student["rank_group"]),
        "accuracy": estimate(student["scores"].get("accuracy")),
        "gain": estimate(student["gains"].get("accuracy")),
        **{name: estimate(student["scores"].get(name)) for name in FINER},
        **{f"{name}_gain": estimate(student["gains"].get(name)) for name in FINER},
        "pgr": estimate(student["pgr"]) | {"reason": str(student["pgr"]["reason"])},
        "controls": [
            {
                "name": name_of(control["name"]),
                "accuracy": estimate(control["scores"].get("accuracy")),
                "gain": estimate(control["gains"].get("accuracy")),
                "lead": estimate(control["lead"]),
            }
            for control in students
            if control["control_of"] == student["name"]
        ],
        "lead": _lead(student["name"], students),
        "over_labelled": estimate(student["over_labelled"]),
        "seeds": [plain(value) for value in by_seed.loc[own, "gain"].dropna()],
    }


def _meanings(methods: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Explain the names of methods and controls, in the order of the table."""
    controls = [control["name"] for method in methods for control in method["controls"]]
    names = dict.fromkeys(
        [*(str(method["name"]).partition(":")[0] for method in methods), *controls]
    )
    return [{"name": name, "text": MEANINGS[name]} for name in names if name in MEANINGS]


def _lead(method: str, students: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the lead over the most accurate of the method's controls."""
    # An oracle is told what the method has to find out: no rival, and nothing simpler.
    controls = [s for s in students if s["control_of"] == method and s["name"] != ORACLE]
    if not controls:
        return None
    best = max(controls, key=lambda control: control["scores"]["accuracy"]["value"])
    return estimate(best["lead"]) | {"control": name_of(best["name"])}


def _reference(result: Mapping[str, Any], undertrained: bool) -> dict[str, Any]:
    accuracy = estimate(result["scores"].get("accuracy"))
    return accuracy | {"reason": str(result["reason"]), "undertrained": undertrained}


def _finer(result: Mapping[str, Any], methods: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """AUROC and log-loss of references and methods, with the methods' gains over the teacher."""
    gains = tuple(f"{name}_gain" for name in FINER)
    rows: list[dict[str, Any]] = [
        {"name": name, **dict.fromkeys(gains)}
        | {metric: estimate(result[name]["scores"].get(metric)) for metric in FINER}
        for name in REFERENCES
    ]
    rows += [{key: method[key] for key in ("name", *FINER, *gains)} for method in methods]
    # None of a run of an earlier version; AUROC is unknown where the test items have one class.
    return [row for row in rows if row["log_loss"]["value"] is not None]


def best_student(result: Mapping[str, Any]) -> str | None:
    """Return the name of the student that a run keeps to label new rows; None if it keeps none."""
    return name_of((result.get("kept") or {}).get(BEST))


def _kept(result: Mapping[str, Any]) -> str:
    """Say which whole models are kept, and how large they and the checkpoints are."""
    size = result.get("kept_size")
    if not size:
        return ""
    names = ", ".join(f"{role} ({name})" for role, name in result["kept"].items())
    seed = f", by seed {result['seeds'][0]}" if len(result["seeds"]) > 1 else ""
    trained = f"{count(size['parameters'])} parameters, {count(size['trained'])} of them trained"
    return (
        f"Students that are kept{seed}: {names}, of {trained}; {size_text(size['students'])} on "
        f"disk, and {size_text(size['checkpoints'])} of checkpoints, from which more seeds and "
        "methods resume."
    )


def _reasons(methods: Sequence[Mapping[str, Any]], undertrained: Mapping[str, float]) -> list[str]:
    """Say why the gap recovered is undefined, or too high."""
    reasons = [
        sentence(reason.replace("pgr is not defined", "The gap recovered is undefined", 1))
        for reason in dict.fromkeys(m["pgr"]["reason"] for m in methods)
        if reason
    ]
    if "ceiling" in undertrained and any(m["pgr"]["value"] is not None for m in methods):
        reasons.append("The gap recovered is flattered, since the ceiling is undertrained.")
    return reasons


def _groups(
    teacher: Mapping[str, Any], best: str | None, students: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Summarize teacher, best method and gains per group of the test split, worst first."""
    methods = [student for student in students if not student["control_of"]]
    rows = [
        {
            "name": name_of(group) or "(none)",
            "teacher": estimate(accuracy),
            "best": best,
            "accuracy": estimate(methods[0]["groups"].get(group) if methods else None),
            "gain": estimate(methods[0]["group_gains"].get(group) if methods else None),
            "gains": [
                {"name": name_of(s["name"]), **estimate(s["group_gains"].get(group))}
                for s in methods
            ],
        }
        for group, accuracy in teacher["groups"].items()
    ]
    # Groups without a known accuracy come last, not first.
    unknown = float("inf")
    return sorted(rows, key=lambda row: unknown if (a := row["accuracy"]["value"]) is None else a)


def _findings(
    methods: Sequence[Mapping[str, Any]], groups: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Put in words what controls and groups show, and what to do about it."""
    text = [_against_control(method) for method in methods if method["lead"]]
    left = [_beyond_penalty(method) for method in methods]
    if text and (best := methods[0])["lead"]:
        control, lead = best["lead"]["control"], best["lead"]
        # Beating a control is worth nothing if both lose against the teacher.
        if (gained := best["gain"]["value"]) is not None and gained <= 0:
            text[0] += f" {best['name']} gains nothing over the teacher here."
        elif lead["low"] is not None and lead["low"] > 0:
            text[0] += f" {_beside_gold(best)}"
        else:
            text[0] += f" So take {control}, which is simpler, unless more seeds decide otherwise."
    return text + [sentence for sentence in left if sentence] + _of_groups(groups)


def _beside_gold(best: Mapping[str, Any]) -> str:
    """Say whether a method that leads its controls is worth it beside the gold labels alone."""
    name, over = best["name"], best["over_labelled"]
    if over["value"] is None or (over["low"] is not None and over["low"] > 0):
        return f"So {name} is worth its effort here."
    points = f"{signed(over['value'])} points"
    if over["low"] is not None:
        points += f", {format_interval(over, 'points')}"
    does = "do better" if over["high"] is not None and over["high"] < 0 else "do as well"
    return f"So what {name} adds to its control counts, but gold labels alone {does} ({points})."


def _against_control(method: Mapping[str, Any]) -> str:
    lead = method["lead"]
    by = f"{signed(lead['value'])} points"
    if lead["low"] is None:
        return f"{method['name']} stands {by} from {lead['control']}; the interval is unknown."
    by += f" ({format_interval(lead, 'points')})"
    if lead["low"] > 0:
        return f"{method['name']} leads the best of its controls, {lead['control']}, by {by}."
    if lead["high"] < 0:
        return f"{method['name']} falls behind its control {lead['control']}: {by}."
    return (
        f"{method['name']} does not differ significantly from its control {lead['control']}: {by}; "
        "something simpler does as well."
    )


def _beyond_penalty(method: Mapping[str, Any]) -> str:
    """Tell what a method gains beyond a stronger penalty, unless its lead is over that already."""
    leads = [each["lead"] for each in method["controls"] if each["name"] == "l2_x10"]
    if not leads or method["lead"]["control"] == "l2_x10" or leads[0]["low"] is None:
        return ""
    lead = leads[0]
    text = f"{signed(lead['value'])} points ({format_interval(lead, 'points')})"
    return (
        f"{method['name']} is {text} above plain training with ten times the penalty on the "
        "weights (l2_x10), which also trusts single weak labels less."
    )


def _of_groups(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the group with the lowest accuracy, and groups with a significant loss."""
    if len(groups) < 2 or groups[0]["accuracy"]["value"] is None:
        return []
    worst = groups[0]
    text = [
        f"{worst['best']} is least right in group {worst['name']}: "
        f"{percent(worst['accuracy']['value'])}, its teacher {percent(worst['teacher']['value'])}."
    ]
    losing = [g for g in groups if g["gain"]["high"] is not None and g["gain"]["high"] < 0]
    if losing:
        names = named(losing, lambda group: group["name"])
        text.append(f"It loses against its teacher in {names}: look there before using it.")
    return text


def _forecast(
    result: Mapping[str, Any] | None, forecast: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Summarize the forecast that was compared with the gain of a plain student."""
    if result is None:
        return None
    return {
        **estimate(result, forecast.get("level")),
        "student": name_of(result["student"]) if result["student"] else None,
        "measured": plain(result["measured"]),
        "inside": plain(result["inside"]),
    }
