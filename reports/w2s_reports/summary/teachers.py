"""Several teachers side by side: coverage, accuracy, weights, agreement and dependence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from w2s_data.stages.graph import GAIN, GAIN_SUMMARY, SCORE
from w2s_data.teachers.beyond import FEWEST
from w2s_data.utils.constants import LEVEL
from w2s_reports.artefacts import Artefacts
from w2s_reports.formats import count, format_estimate, name_of, percent, plain
from w2s_reports.summary.parts import estimate, sentence, texts

MOST_TEACHERS = 12  # side by side in a matrix, or in the columns of a table
MOST_PAIRS = 15  # in a list
MOST_RULES = 50  # of a teacher, those that vote most
RAVEN = "raven"
PARTS = {"source": "Source", "group": "Group", "class": "Class"}


def summarize_teachers(artefacts: Artefacts) -> dict[str, Any] | None:
    """Summarize the reliability of several teachers, and rules; None for one without rules."""
    written, rules = artefacts.overlap.get("reliability"), _rules(artefacts)
    if not written:
        return _rules_alone(rules) if rules else None
    raven = _raven_weights(artefacts, len(written["teachers"]))
    rows = [
        {
            "name": name_of(row["name"]),
            **{name: plain(row[name]) for name in ("coverage", "n_gold", "weight", "coefficient")},
            "accuracy": estimate(row["accuracy"]),
            "calibration_error": plain(row["calibration_error"]),
            "raven": weight,
            "beyond": name_of(row["beyond"]),
            "added": _rounded(estimate(row["added"])),
            "adds_nothing": bool(row["adds_nothing"]),
        }
        for row, weight in zip(written["teachers"], raven, strict=True)
    ]
    pairs = [_pair(pair) for pair in written["pairs"]]
    return {
        "rows": rows,
        "n_gold": plain(written["n_gold"]),
        "level": plain(written["level"]),
        "pairs": sorted(pairs, key=lambda p: -(p["dependence"]["value"] or 0))[:MOST_PAIRS],
        "n_pairs": len(pairs),
        "matrix": _matrix(rows, pairs) if len(rows) <= MOST_TEACHERS else [],
        "parts": _parts(written["teachers"][:MOST_TEACHERS]),
        "rules": rules,
        "reading": _reading(rows),
        "notes": [sentence(note) for note in texts(written["notes"])],
    }


def _rules(artefacts: Artefacts) -> list[dict[str, Any]]:
    """Return the rules of each teacher that has some, those that vote on most items first."""
    found = []
    for teacher in (artefacts.overlap.get("teachers") or {}).get("teachers", ()):
        records = teacher["summary"].get("rules") or ()
        rows = [
            {
                "name": name_of(own["rule"]),
                "classes": ", ".join(filter(None, map(name_of, own["classes"]))),
                **{name: plain(own[name]) for name in ("coverage", "overlaps", "conflicts")},
                "n_gold": plain(own["n_gold"]),
                "accuracy": estimate(own["accuracy"]),
            }
            for own in sorted(records, key=lambda own: -own["n"])[:MOST_RULES]
        ]
        if rows:
            found.append({"teacher": name_of(teacher["name"]), "n": len(records), "rows": rows})
    return found


def _rules_alone(rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Summarize a single teacher, which has rules."""
    n = sum(own["n"] for own in rules)
    none = dict.fromkeys(("rows", "pairs", "matrix", "parts", "notes"), ())
    reading = f"One teacher, {count(n)} rules: they vote together, and the most votes win."
    return {**none, "n_gold": None, "level": LEVEL, "n_pairs": 0, "rules": rules} | {
        "reading": reading
    }


def _raven_weights(artefacts: Artefacts, n_teachers: int) -> list[dict[str, Any]]:
    """Return the final weights of `raven`, averaged over seeds, with the lowest and highest."""
    diagnostics = (artefacts.later.get(GAIN_SUMMARY) or {}).get("diagnostics") or {}
    path = (diagnostics.get(RAVEN) or {}).get("weights")
    stale = {SCORE.name, GAIN.name} & set(artefacts.outdated)
    if not path or stale or len(path["mean"][-1]) != n_teachers:
        return [estimate(None)] * n_teachers
    ends = zip(*(path[name][-1] for name in ("mean", "low", "high")), strict=True)
    return [estimate(dict(zip(("value", "low", "high"), e, strict=True))) for e in ends]


def _rounded(added: dict[str, Any]) -> dict[str, Any]:
    """Return an estimate in thousandths, without a sign before a zero."""
    value = added["value"]
    return added if value is None else added | {"value": round(value, 3) + 0.0}


def _pair(pair: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: name_of(pair[name]) for name in ("first", "second")},
        **{name: plain(pair[name]) for name in ("n", "n_gold", "agreement", "p_value")},
        "dependence": estimate(pair["dependence"]),
        "copies": bool(pair["copies"]),
    }


def _matrix(
    rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Return a row per teacher: agreement to the right of the diagonal, dependence left of it."""
    names = [row["name"] for row in rows]
    # The pairs come in the order of the teachers, whose names need not differ when shortened.
    places = [(i, j) for i in range(len(names)) for j in range(i + 1, len(names))]
    cells: list[list[Any]] = [[None] * len(names) for _ in names]
    for (i, j), pair in zip(places, pairs, strict=True):
        cells[i][j], cells[j][i] = pair["agreement"], pair["dependence"]["value"]
    return [{"name": name, "cells": own} for name, own in zip(names, cells, strict=True)]


def _parts(teachers: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return a table per kind of part: accuracy and coverage of each teacher on each of them."""
    found = []
    for kind, title in PARTS.items():
        by_teacher = [teacher[f"by_{kind}"] for teacher in teachers]
        lines = [
            {
                "name": name_of(own[0]["name"]) or "(none)",
                "cells": [
                    {"coverage": plain(p["coverage"]), **estimate(p["accuracy"])} for p in own
                ],
            }
            for own in zip(*by_teacher, strict=True)
        ]
        if len(lines) > 1:
            found.append({"kind": kind, "title": title, "rows": lines})
    return found


def _reading(rows: Sequence[Mapping[str, Any]]) -> str:
    """Name the most accurate teacher, and the one with the most weight."""
    shares = [row["coverage"] for row in rows if row["coverage"] is not None]
    text = f"{count(len(rows))} teachers"
    if shares:
        low, high = percent(min(shares), 0), percent(max(shares), 0)
        text += f" vote on {low}" + (f" to {high}" if low != high else "") + " of the pool"
    known = [row for row in rows if row["n_gold"] >= FEWEST]
    if not known:
        return f"{text}. None votes on {FEWEST} gold items, so that little is known of any."
    # By the lower limit, since the one of fewer votes may be ahead by luck.
    best = max(known, key=lambda row: row["accuracy"]["low"])
    text += f". Most surely right is {best['name']}, on {format_estimate(best['accuracy'])} of its"
    text += " votes"
    weighted = [row for row in rows if row["weight"] is not None]
    if not weighted:
        return f"{text}."
    heaviest = max(weighted, key=lambda row: row["weight"])
    if heaviest is best:
        return f"{text}, and these carry the most evidence."
    return f"{text}; the most evidence comes from the votes of {heaviest['name']}."
