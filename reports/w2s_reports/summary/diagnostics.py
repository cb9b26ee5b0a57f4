"""Diagnostics of training: weights of teachers, assignments, points kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_data.stages.graph import GAIN_SUMMARY
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import name_of, percent, plain
from w2s_reports.summary.parts import estimate

CLEAR = 0.05  # smaller differences of shares are not worth a sentence


def summarize_diagnostics(artefacts: Artefacts) -> dict[str, list[dict[str, Any]]]:
    """Summarize the diagnostics of the methods by kind; a method may have none."""
    results = artefacts.later[GAIN_SUMMARY]
    diagnostics = results.get("diagnostics") or {}
    classes = [name_of(name) for name in results.get("class_names") or ()]
    teachers = _teachers(artefacts, results)
    result: dict[str, list[dict[str, Any]]] = {
        "weights": [], "assignments": [], "kept": [], "own_weight": [], "power": []
    }  # fmt: skip
    for method, parts in diagnostics.items():
        name = {"method": name_of(method)}
        if "weights" in parts:
            result["weights"].append(name | _weights(parts["weights"], teachers))
        if parts.get("stages"):
            stages = [_stage(stage, teachers, classes) for stage in parts["stages"]]
            result["assignments"].append(name | {"stages": stages})
        if "kept" in parts:
            result["kept"].append(name | _kept(parts["kept"], classes))
        if parts.get("own_weight"):
            result["own_weight"].append(name | _own_weight(parts["own_weight"]))
        if "power" in parts:
            result["power"].append(name | _power(parts["power"]))
    return result


def _own_weight(path: Sequence[float]) -> dict[str, Any]:
    largest = max(path)
    # Epochs are counted from 1 for readers.
    first = path.index(largest) + 1
    return {
        "largest": largest,
        "from_epoch": first,
        "n_epochs": len(path),
        "reading": f"The student's own label counts up to {percent(largest, 0)}, from epoch "
        f"{first} of {len(path)} on.",
    }


def _power(power: float) -> dict[str, Any]:
    text = (
        "By the gold labels, the weak ones are no help: it is trained on the gold labels alone."
        if power == 0
        else f"The weak labels count {percent(power, 0)} of their full weight, less the bias that "
        "they show on gold labels."
    )
    return {"power": plain(power), "reading": text}


def _teachers(artefacts: Artefacts, results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """List name and accuracy of each teacher."""
    names = results.get("teacher_names") or artefacts.data.get("weak_names") or ()
    scores = results.get("teachers") or [results["teacher"]]
    return [
        {
            "name": name_of(names[m]) if m < len(names) else f"teacher {m + 1}",
            "accuracy": estimate(teacher["scores"].get("accuracy")),
        }
        for m, teacher in enumerate(scores)
    ]


def _weights(path: Mapping[str, Any], teachers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lines = [
        {
            **teacher,
            "weight": {part: path[key][-1][m] for part, key in _FINAL.items()},
            **{key: [step[m] for step in path[key]] for key in _FINAL.values()},
        }
        for m, teacher in enumerate(teachers)
    ]
    return {"steps": path["steps"], "teachers": lines, "reading": _trust(lines)}


_FINAL = {"value": "mean", "low": "low", "high": "high"}


def _trust(lines: Sequence[Mapping[str, Any]]) -> str:
    """Name the teacher with the largest weight, and whether it is the most accurate one."""
    trusted = max(lines, key=lambda line: line["weight"]["value"])
    weight, even = trusted["weight"]["value"], 1 / len(lines)
    # Even weights are the starting point: a small lead is noise of the seeds.
    if weight - even < CLEAR:
        return f"The weights stay even ({percent(even, 0)} each): no teacher is trusted more."
    text = (
        f"{trusted['name']} ends with {percent(weight, 0)} of the weight (even would be "
        f"{percent(even, 0)})"
    )
    known = [line for line in lines if line["accuracy"]["value"] is not None]
    if not known:
        return f"{text}."
    best = max(known, key=lambda line: line["accuracy"]["value"])
    if best is trusted:
        return f"{text}; it is the most accurate teacher, {percent(best['accuracy']['value'])}."
    return (
        f"{text}, though {best['name']} is the most accurate teacher "
        f"({percent(best['accuracy']['value'])} against {percent(trusted['accuracy']['value'])}): "
        "a weight says whose labels are easy to fit, not whose are right."
    )


def _stage(
    stage: Mapping[str, Any], teachers: Sequence[Mapping[str, Any]], classes: Sequence[str | None]
) -> dict[str, Any]:
    own, chance = stage["own"], stage["own_by_chance"]
    known = (
        f"{percent(own, 0)} of the points went to a teacher who knows their class; by chance it "
        f"would be {percent(chance, 0)}."
        if chance < 1
        else "Every teacher knows every class."
    )
    right, told = stage.get("right"), stage.get("right_by_oracle")
    if right is not None and told is not None:
        known += (
            f" {percent(right, 0)} of the assigned labels are right; if gold labels assigned the "
            f"teachers, which no method can, {percent(told, 0)} would be."
        )
    return {
        "teachers": [teachers[m]["name"] for m in stage["teachers"]],
        "classes_from": stage["classes_from"],
        "rows": [
            {
                "class": name,
                "cells": [
                    {"share": plain(share), "knows": knows[c]}
                    for share, knows in zip(shares, stage["knows"], strict=True)
                ],
            }
            for c, (name, shares) in enumerate(zip(classes, stage["shares"], strict=True))
        ],
        **{name: plain(stage[name]) for name in ("own", "own_by_chance", "consensus", "kept")},
        "reading": known,
    }


def _kept(kept: Mapping[str, Any], classes: Sequence[str | None]) -> dict[str, Any]:
    def named(shares: Sequence[Any] | None) -> list[dict[str, Any]]:
        pairs = zip(classes, shares or (), strict=False)
        return [{"name": name, "share": plain(share)} for name, share in pairs]

    right, everywhere = kept["right"], kept["right_all"]
    text = f"Trained on {percent(kept['share'], 0)} of the pool"
    if right is not None:
        text += f"; weak labels are right on {percent(right)} of it, {percent(everywhere)} overall"
    return {
        **{name: plain(kept[name]) for name in ("share", "right", "right_all")},
        "by_label": named(kept["by_label"]),
        "by_gold": named(kept["by_gold"]),
        "by_group": [
            {"name": name_of(name), "share": plain(share)}
            for name, share in (kept.get("by_group") or {}).items()
        ],
        "reading": f"{text}.",
    }
